# SPDX-License-Identifier: Apache-2.0
"""Store: the state directory of one root, which keeps the snapshots and the index of them."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError, ConflictError, ExecutionError, IommuctlError, NotFoundError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.host.descriptors import READ_LIMIT
from iommuctl.host.root import Root
from iommuctl.kernel.spelling import meant
from iommuctl.pattern import pattern
from iommuctl.transaction.durable import remove_all, remove_any, remove_files, write_file
from iommuctl.transaction.index import LATEST, SNAPSHOT_ID, Rows, Stamp, decode_rows, encode_rows
from iommuctl.transaction.snapshot import Manifest, SavedFile, State, Summary, time_text
from iommuctl.tree import digest
from iommuctl.value import NamedTuple

STATE = PurePosixPath("/var/lib/iommuctl")
STATE_MODE = 0o700
KEPT_SNAPSHOTS = 50
LATEST_SNAPSHOT = "latest"  # what a user may say for the id of the newest
DAMAGED = Rule.SNAPSHOT_DAMAGED

_ID = pattern(SNAPSHOT_ID)
_MANIFEST = "manifest.json"
_PARTIAL = ".partial"

Clock = Callable[[], datetime]


class Listing(NamedTuple):
    """The snapshots, newest first; a finding for each that cannot be read, and its id in `damaged` or `newer`."""

    snapshots: tuple[Summary, ...]
    findings: tuple[Finding, ...] = ()
    damaged: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


class NewerStateError(ConflictError):
    """A state file that a newer iommuctl wrote: not damaged, and left alone."""

    kind = "newer-state"


def _resolved(root: Root) -> PurePosixPath:
    """Return where the state directory is. Raises ConflictError for links that lead nowhere, naming the first."""
    try:
        return root.resolve(STATE)
    except BootConfigError as error:
        link = root.outside(next(path for path in (*reversed(STATE.parents), STATE) if _is_endless(root, path)))
        raise ConflictError(
            f"{str(STATE)!r} is no directory, so there can be no state folder",
            details=(error.message,),
            hint=f"move it away: mv {link} {link}.aside",
        ) from error


def _is_endless(root: Root, path: PurePosixPath) -> bool:
    try:
        root.resolve(path)
    except BootConfigError:
        return True
    return False


class Store:
    """The state directory of one root. Refused when others than root and ourselves could have written it."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.directory = _resolved(root)
        self.snapshots = self.directory / "snapshots"
        self.staging = self.directory / "staging"
        self._index = self.directory / "index"
        self._written: dict[str, tuple[Stamp, Summary]] = {}  # the manifests of this run, which the index lacks
        self._read: str | None = None  # the snapshot whose contents, which never change, were read last
        self._contents = b""

    @property
    def exists(self) -> bool:
        """Whether the state directory is there. Raises ConflictError where it is not to be trusted."""
        status = self._root.stat(self.directory)
        if status is None:
            return False
        folder = self._root.outside(self.directory)
        if not stat.S_ISDIR(status.st_mode):
            raise ConflictError(
                f"{str(self.directory)!r} is in the place of the state folder, and no directory",
                details=(f"mode {stat.filemode(status.st_mode)}, owner {status.st_uid}",),
                hint=f"move it away: mv {folder} {folder}.aside",
            )
        loose = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid not in (0, os.geteuid()) or loose:
            raise ConflictError(
                f"state folder {str(self.directory)!r} is not to be trusted: others may have written it",
                details=(f"mode {stat.filemode(status.st_mode)}, owner {status.st_uid}",),
                hint=f"look at what is in it, then chown root: {folder} && chmod 0700 {folder}",
            )
        return True

    def prepare(self) -> None:
        """Make the state directory and what is always in it, durably. Raises ConflictError, NotPermittedError."""
        if not self.exists:
            self._root.make_directories(self.directory.parent, 0o755)
            self._root.make_directories(self.directory, STATE_MODE)
        self._root.make_directories(self.snapshots, STATE_MODE)

    def list(self) -> Listing:
        """Return every snapshot, newest first. One that is damaged is a finding that names its file."""
        if not self.exists:
            return Listing(())
        rows = self._rows()
        snapshots: list[Summary] = []
        findings: list[Finding] = []
        damaged: list[str] = []
        newer: list[str] = []
        for name, stamp in self._stamps().items():
            row = rows.get(name)
            if row is not None and row[0] == stamp:
                snapshots.append(row[1])
                continue
            try:
                snapshots.append(self._manifest(name).summary)
            except NewerStateError as error:
                findings.append(Finding(Rule.SNAPSHOT_NEWER, Severity.WARNING, error.brief, hint=error.hint))
                newer.append(name)
            except ConflictError as error:
                findings.append(Finding(DAMAGED, Severity.WARNING, error.brief, hint=error.hint))
                damaged.append(name)
        snapshots.sort(key=lambda one: (one.created, one.id), reverse=True)
        return Listing(tuple(snapshots), tuple(findings), tuple(damaged), tuple(newer))

    def load(self, name: str) -> Manifest:
        """Return the snapshot with this id, or the only one whose id begins or ends so, or the newest for `latest`.

        Raises NotFoundError, ConflictError.
        """
        names = [one for one in self._root.names(self.snapshots) if _ID.fullmatch(one)] if self.exists else []
        if name == LATEST_SNAPSHOT:
            found = [one.id for one in self.list().snapshots if one.state is not State.UNDONE][:1]
        else:
            found = [one for one in names if name and (one.startswith(name) or one.endswith(f"-{name}"))]
        if not found and name == LATEST_SNAPSHOT:
            raise NotFoundError("there is no snapshot of a change yet", hint=self._root.command("history"))
        if not found:
            raise NotFoundError(
                f"no such snapshot: {name!r}",
                hint=self._root.command("history"),
                correction=(name, meant(name, (*names, *((LATEST_SNAPSHOT,) if names else ())))),
            )
        if len(found) > 1:
            raise NotFoundError(f"more than one snapshot begins with {name!r}", details=found, hint="name one in full")
        return self._manifest(found[0])

    def content(self, manifest: Manifest, file: SavedFile) -> bytes | None:
        """Return what a file held before; None where there was none. Raises ConflictError where it is damaged."""
        if file.blob is None or file.before_sha256 is None:
            return None
        path = self.snapshots / manifest.id / "contents"
        fact = f"the content of {str(file.path)!r} is not what was saved"
        if self._read != manifest.id:
            self._contents, self._read = b"", manifest.id
            try:
                self._contents = self._root.read(path) or b""
            except BootConfigError as error:
                fact = error.message
        content = self._contents[file.blob.offset : file.blob.offset + file.blob.size]
        if digest(content) != file.before_sha256:
            from iommuctl.transaction.statefile import damaged  # noqa: PLC0415 - pydantic only where something is read

            raise damaged(self._root, path, fact)
        return content

    def add(self, manifest: Manifest, contents: bytes) -> None:
        """Keep a new snapshot: all of it is on disk when this returns, and until then none of it is seen.

        Raises ExecutionError, before anything is written, for one that could not be read again.
        """
        encoded = manifest.encode()
        if (largest := max(len(encoded), len(contents))) > READ_LIMIT:
            raise ExecutionError(
                "the snapshot of this change would be too large to be read again, so nothing was changed",
                details=(f"{largest} bytes in one file of it; the most is {READ_LIMIT}",),
            )
        partial = self.snapshots / (manifest.id + _PARTIAL)
        self._root.make_directories(partial, STATE_MODE)
        write_file(self._root, partial / "contents", contents)
        write_file(self._root, partial / _MANIFEST, encoded)
        self._rename(partial.name, manifest.id)
        self._note(manifest)

    def save(self, manifest: Manifest) -> None:
        """Write a snapshot's manifest again, in one durable step."""
        write_file(self._root, self.snapshots / manifest.id / _MANIFEST, manifest.encode())
        self._note(manifest)

    def mark(self, name: str, state: State) -> None:
        """Set the state of a snapshot; nothing where it has it already, or where there is no such snapshot any more.

        Raises ConflictError for one that cannot be read.
        """
        if self._root.stat(self.snapshots / name) is None:
            return
        manifest = self._manifest(name)
        if manifest.state != state:
            self.save(manifest._replace(state=state))

    def write_index(self) -> None:
        """Write the lines of all manifests that this run wrote or that have one; the others are read by who lists.

        Done last, when everything that they tell is on disk: until then the lines of before are seen to be old.
        """
        rows = {**self._rows(), **self._written}
        kept = [row for name, stamp in self._stamps().items() if (row := rows.get(name)) and row[0] == stamp]
        write_file(self._root, self._index, encode_rows(kept))

    def discard(self, *names: str) -> None:
        """Forget snapshots, by their full ids, where they are there. Cut off, they are gone all the same."""
        if not names:
            return
        with self._root.open_directory(self.snapshots, "write") as folder:
            for name in names:
                with suppress(FileNotFoundError):
                    os.rename(name, name + _PARTIAL, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        remove_all(self._root, self.snapshots, (name + _PARTIAL for name in names))

    def keep_aside(self, manifest: Manifest, content: bytes) -> PurePosixPath:
        """Keep content that an undo is about to overwrite next to the snapshot, and give its path."""
        path = self.snapshots / manifest.id / f"displaced-{digest(content)}"
        write_file(self._root, path, content)
        return path

    def prune(self, keep: int = KEPT_SNAPSHOTS) -> None:
        """Forget the oldest snapshots beyond `keep`, never the newest that is applied."""
        if len(self._root.names(self.snapshots)) <= keep:  # to read them all takes time
            return
        snapshots = self.list().snapshots
        applied = next((one.id for one in snapshots if one.state is State.APPLIED), None)
        self.discard(*(one.id for one in snapshots[keep:] if one.id != applied))

    def sweep(self) -> None:
        """Remove what an interrupted run left in the state directory: staging, parts of snapshots, temporary files."""
        if self._root.stat(self.staging) is not None:
            remove_any(self._root, self.staging)
        names = self._root.names(self.snapshots)
        if partial := [name for name in names if name.endswith(_PARTIAL)]:
            remove_all(self._root, self.snapshots, partial)
        folders = (self.directory, *(self.snapshots / name for name in names if _ID.fullmatch(name)))
        remove_files(
            self._root,
            (folder / name for folder in folders for name in self._root.names(folder) if name.startswith(".iommuctl-")),
        )

    def _rename(self, name: str, other: str) -> None:
        with self._root.open_directory(self.snapshots, "write") as folder:
            os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _note(self, manifest: Manifest) -> None:
        """Remember a manifest that was written for the index."""
        if (status := self._root.stat(self.snapshots / manifest.id / _MANIFEST)) is not None:
            self._written[manifest.id] = (Stamp.of(status), manifest.summary)

    def _rows(self) -> Rows:
        """What the index holds; nothing where it is none of ours, which is no loss."""
        content = None
        with suppress(IommuctlError):
            content = self._root.read(self._index)
        return {} if content is None else decode_rows(content)

    def _stamps(self) -> dict[str, Stamp | None]:
        """Return the stamp of every snapshot's manifest by the snapshot's id; None where it has none."""
        found = self._root.look_into(self.snapshots, _MANIFEST)
        return {
            name: None if status is None else Stamp.of(status) for name, status in found.items() if _ID.fullmatch(name)
        }

    def _manifest(self, name: str) -> Manifest:
        from iommuctl.transaction.statefile import read_manifest  # noqa: PLC0415 - pydantic only where one is read

        return read_manifest(self._root, self.snapshots / name / _MANIFEST, name)


def later_than_the_newest(now: datetime, root: Root, store: Store) -> datetime:
    """Return a time after every snapshot's: their order is the order of what was done, also when a clock steps back."""
    newest = max(store.list().snapshots, default=None, key=lambda one: one.created)
    if newest is None or newest.created < now:
        return now
    later = newest.created + timedelta(seconds=1)
    if later >= LATEST:
        folder = root.outside(store.snapshots / newest.id)
        raise ConflictError(
            f"snapshot {newest.id} is dated so late that none can come after it",
            details=(f"created: {time_text(newest.created)}",),
            hint=f"look at it, then move it away: mv {folder} {root.outside(store.directory / newest.id)}",
        )
    return later
