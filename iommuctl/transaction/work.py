# SPDX-License-Identifier: Apache-2.0
"""Work: what a transaction is for and may write, and what goes on disk about it before anything live changes."""

import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from types import MappingProxyType

from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import Change, FileEdit
from iommuctl.profile.beside import Beside
from iommuctl.transaction.durable import Metadata, temporary_name
from iommuctl.transaction.journal import Journal, JournalDirectory, JournalFile
from iommuctl.transaction.preflight import Target
from iommuctl.transaction.snapshot import Action, Blob, Manifest, Origin, SavedFile, State, new_id
from iommuctl.tree import digest
from iommuctl.value import NamedTuple


class Purpose(NamedTuple):
    """What a transaction is for, as its snapshot tells it. `of` is the snapshot that a rollback takes back.

    `entries` are the boot entries that are there, `drivers` those of the host's devices, as the snapshot keeps them.
    """

    action: Action
    of: str | None
    profile: str
    platform: Platform
    backend: str
    fingerprint: str
    changes: tuple[Change, ...] = ()
    inputs: Mapping[str, str] = MappingProxyType({})
    entries: tuple[PurePosixPath, ...] = ()
    origin: Origin = Origin()
    beside: Beside = Beside()
    drivers: Mapping[str, str] = MappingProxyType({})


class Work(NamedTuple):
    """What a transaction may write: `edits` in this order, then what generators make of them, published one by one.

    `metadata` overrides that of the file now, by the edit's path. `removed_directories` go, innermost last, if they are
    empty then. `marks` are the states that other snapshots get when it is committed.
    """

    edits: tuple[FileEdit, ...]
    generated: tuple[PurePosixPath, ...] = ()
    metadata: Mapping[PurePosixPath, Metadata] = MappingProxyType({})
    removed_directories: tuple[PurePosixPath, ...] = ()
    marks: Mapping[str, State] = MappingProxyType({})


def snapshot_of(created: datetime, purpose: Purpose, targets: tuple[Target, ...]) -> tuple[Manifest, bytes]:
    """Return the manifest of what is there now, in the state that holds until the commit, and the contents saved."""
    files: list[SavedFile] = []
    contents = bytearray()
    for target in targets:
        blob = None
        if target.before is not None:
            blob = Blob(offset=len(contents), size=len(target.before))
            contents += target.before
        files.append(
            SavedFile(
                path=target.path,
                target=target.final,
                file_class=target.file_class,
                before_sha256=digest(target.before),
                after_sha256=digest(target.after),
                before=target.metadata,
                blob=blob,
            )
        )
    manifest = Manifest(
        id=new_id(created),
        created=created,
        action=purpose.action,
        of=purpose.of,
        profile=purpose.profile,
        inputs=dict(purpose.inputs),
        platform=purpose.platform,
        backend=purpose.backend,
        state=State.UNDONE,
        fingerprint=purpose.fingerprint,
        files=tuple(files),
        changes=purpose.changes,
        made_directories=_folders_to_make(targets),
        entries=purpose.entries,
        origin=purpose.origin,
        beside=purpose.beside,
        drivers=purpose.drivers,
    )
    return manifest, bytes(contents)


def journal_of(root: Root, work: Work, targets: tuple[Target, ...], manifest: Manifest) -> Journal:
    """Return the journal of the work under way: each file with what it holds, and the temporary one next to it."""
    removed = [
        JournalDirectory(path=root.resolve(path), mode=stat.S_IMODE(status.st_mode))
        for path in work.removed_directories
        if (status := root.stat(path)) is not None
    ]
    files = tuple(
        JournalFile(
            path=target.final,
            before_sha256=digest(target.before),
            after_sha256=digest(target.after),
            temporary=temporary_name(),
        )
        for target in targets
    )
    return Journal(
        snapshot=manifest.id,
        files=files,
        made_directories=manifest.made_directories,
        removed_directories=tuple(removed),
        marks=dict(work.marks),
    )


def _folders_to_make(targets: tuple[Target, ...]) -> tuple[PurePosixPath, ...]:
    """Return the missing directories of every target, each above before below."""
    return tuple(sorted({path for target in targets for path in target.missing}))
