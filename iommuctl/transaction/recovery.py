# SPDX-License-Identifier: Apache-2.0
"""Recovery: end an interrupted transaction, exactly as it was before or exactly as it was meant to be."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.errors import ConflictError, IommuctlError
from iommuctl.host.root import Root
from iommuctl.host.signals import Interrupts
from iommuctl.plan import FileClass
from iommuctl.transaction.durable import Replacement, remove_empty_directory, remove_file, replace_files
from iommuctl.transaction.freeze import settle
from iommuctl.transaction.journal import Journal, JournalFile, journal_path, read_journal, remove_journal
from iommuctl.transaction.locks import state_lock
from iommuctl.transaction.snapshot import Manifest, SavedFile, State
from iommuctl.transaction.store import Store
from iommuctl.tree import digest


class Recovered(NamedTuple):
    """What became of an interrupted transaction.

    `completed` is True where it had been committed and was only to be closed, False where it was undone. `restored`
    are the files that were put back, `kept` those whose third content was accepted, `displaced` where a third
    content that was overwritten lies now. `started` are commands that must run again, since they wrote by themselves.
    """

    snapshot: Manifest
    completed: bool
    restored: tuple[PurePosixPath, ...] = ()
    kept: tuple[PurePosixPath, ...] = ()
    displaced: tuple[PurePosixPath, ...] = ()
    started: tuple[tuple[str, ...], ...] = ()


def recover(root: Root, store: Store, *, accept_current: bool = False, restore: bool = False) -> Recovered | None:
    """End an interrupted transaction; None where there is none. May itself be cut off at any point and run again.

    A file is touched only if it holds what it did before, what we meant to leave, or is a temporary file of ours. Any
    other content stays and is named in a ConflictError, after everything else is undone; `accept_current` makes it
    final, `restore` keeps it aside in the snapshot and puts back the content before.
    """
    if not store.exists:
        return None
    with state_lock(root, store), Interrupts():
        return recover_locked(root, store, accept_current=accept_current, restore=restore)


def recover_locked(root: Root, store: Store, *, accept_current: bool, restore: bool) -> Recovered | None:
    """Do what `recover` does, for one who holds the lock and has signals held."""
    try:
        journal = read_journal(root, store)
        manifest = store.load(journal.snapshot) if journal else None
    except IommuctlError as error:
        if not accept_current:
            again = root.command("recover", "--accept-current")
            raise ConflictError(
                "an interrupted transaction cannot be read",
                details=(error.brief, *error.details),
                hint=f"look at the boot configuration, then: {again}",
            ) from error
        remove_file(root, journal_path(store))
        return None
    if journal is None or manifest is None:
        store.sweep()
        return None
    if manifest.state is State.APPLIED:
        complete(root, store, journal)
        return Recovered(manifest, completed=True)
    return undo(root, store, journal, manifest, accept_current=accept_current, restore=restore)


def complete(root: Root, store: Store, journal: Journal) -> None:
    """Close a committed transaction: the states of other snapshots, then the journal, then what was left over."""
    store.mark(journal.marks)
    remove_journal(root, store)
    with suppress(IommuctlError):  # the next run sweeps again
        store.sweep()
        store.prune()
        store.write_index()


def undo(
    root: Root,
    store: Store,
    journal: Journal,
    manifest: Manifest,
    *,
    accept_current: bool,
    restore: bool,
    run_again: Callable[[tuple[str, ...]], None] | None = None,
) -> Recovered:
    """Put every file of a transaction back, with its metadata and time, and close the journal.

    `run_again` is called before that for each command that was started, so that a kill until then does not lose it.
    """
    saved = {file.target: file for file in manifest.files}
    for directory in journal.removed_directories:
        root.make_directories(directory.path, directory.mode)
    replacements: list[Replacement] = []
    third: list[PurePosixPath] = []
    displaced: list[PurePosixPath] = []
    for file in reversed(journal.files):
        remove_file(root, file.path.parent / file.temporary)
        content = root.read(file.path)
        now = digest(content)
        before = saved[file.path]
        if now == file.before_sha256 and not _is_rewritten(root, file, before):
            continue
        if now not in (file.before_sha256, file.after_sha256) and not _is_half_made(file, now):
            if not restore:
                third.append(file.path)
                continue
            if content is not None:
                displaced.append(store.keep_aside(manifest, content))
        old = store.content(manifest, before)
        replacements.append(Replacement(file.path, file.temporary, now, old, before.before, keep_time=True))
    replace_files(root, replacements)
    settle(root, store.directory, [replacement.path.parent for replacement in replacements])
    for path in reversed(journal.made_directories):
        remove_empty_directory(root, path)
    if third and not accept_current:
        raise ConflictError(
            "an interrupted transaction is not undone: somebody else changed a file since",
            details=[str(path) for path in third],
            hint=f"{root.command('recover', '--restore')} (or --accept-current)",
        )
    if run_again is not None:
        for argv in journal.started:
            run_again(argv)
    remove_journal(root, store)
    with suppress(IommuctlError):  # the next run sweeps again
        store.sweep()
        store.write_index()
    restored = tuple(replacement.path for replacement in replacements)
    return Recovered(
        manifest,
        completed=False,
        restored=restored,
        kept=tuple(third),
        displaced=tuple(displaced),
        started=journal.started,
    )


def _is_half_made(file: JournalFile, now: str | None) -> bool:
    """Whether a file that is made or removed is there, but empty: vfat writes a new name before its content."""
    return now == digest(b"") and None in (file.before_sha256, file.after_sha256)


def _is_rewritten(root: Root, file: JournalFile, before: SavedFile) -> bool:
    """Whether a file that was only to get a new time has one."""
    if file.before_sha256 != file.after_sha256 or before.before is None or before.file_class is FileClass.GENERATED:
        return False
    status = root.stat(file.path)
    return status is not None and status.st_mtime_ns != before.before.mtime_ns
