# SPDX-License-Identifier: Apache-2.0
"""Restoration: what the undo of an interrupted transaction will do, decided as a whole before anything is touched.

Reading only, so that a dry-run can plan on the files as they will be.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType

from iommuctl.errors import BootConfigError, ConflictError, NotFoundError
from iommuctl.host.root import Root
from iommuctl.plan import FileClass
from iommuctl.transaction.durable import Replacement
from iommuctl.transaction.journal import Journal, JournalFile, journal_path, read_journal
from iommuctl.transaction.reserve import leftovers
from iommuctl.transaction.snapshot import Manifest, SavedFile, State
from iommuctl.transaction.store import NewerStateError, Store
from iommuctl.tree import digest
from iommuctl.value import NamedTuple

UNREADABLE = "an interrupted transaction cannot be read"


class Resolution(StrEnum):
    """What becomes of a file that holds neither what it held before nor what we meant to leave."""

    REFUSE = "refuse"
    ACCEPT_CURRENT = "accept-current"
    RESTORE = "restore"


class Pending(NamedTuple):
    """An interrupted transaction: its journal, and its snapshot's manifest, which fit together."""

    journal: Journal
    manifest: Manifest

    @property
    def is_committed(self) -> bool:
        """Whether it is only to be closed."""
        return self.manifest.state is State.APPLIED


class Conflict(NamedTuple):
    """A file that does not go back as it is. `obstacle` is why it cannot, None where somebody else only changed it."""

    path: PurePosixPath
    obstacle: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.obstacle is None else f"{self.path}: {self.obstacle}"


class Restoration(NamedTuple):
    """What an undo does. `displaced` are the contents that it overwrites, by path."""

    replacements: tuple[Replacement, ...]
    conflicts: tuple[Conflict, ...] = ()
    displaced: Mapping[PurePosixPath, bytes] = MappingProxyType({})


def read_pending(root: Root, store: Store) -> Pending | None:
    """Return the interrupted transaction; None where there is none.

    Raises NewerStateError for one of a newer iommuctl, ConflictError for one that cannot be read or does not fit
    together: then `recover --accept-current` forgets it.
    """
    try:
        journal = read_journal(root, store)
        if journal is None:
            return None
        manifest = store.load(journal.snapshot)
        _require_fit(root, store, journal, manifest)
    except NewerStateError:
        raise
    except (BootConfigError, ConflictError, NotFoundError) as error:
        raise ConflictError(
            UNREADABLE,
            details=(error.brief, *error.details),
            hint=f"look at the boot configuration, then: {accept_current(root)}",
        ) from error
    return Pending(journal, manifest)


def plan_restoration(root: Root, store: Store, pending: Pending, resolution: Resolution) -> Restoration:
    """Decide of every file of an interrupted transaction. Raises NotPermittedError for one that may not be read."""
    saved = {file.target: file for file in pending.manifest.files}
    replacements: list[Replacement] = []
    conflicts: list[Conflict] = []
    displaced: dict[PurePosixPath, bytes] = {}
    with root.held() as held:
        for file in reversed(pending.journal.files):
            before = saved[file.path]
            try:
                final, now = held.resolve(file.path), held.read(file.path)
            except BootConfigError as error:
                conflicts.append(Conflict(file.path, error.message))
                continue
            if final != file.path:
                conflicts.append(Conflict(file.path, f"it leads to {final} now"))
                continue
            found = digest(now)
            if found == file.before_sha256 and not _is_rewritten(held, file, before):
                continue
            try:
                old = store.content(pending.manifest, before)
            except ConflictError as error:
                conflicts.append(Conflict(file.path, error.brief))
                continue
            if found not in (file.before_sha256, file.after_sha256) and not _is_half_made(file, found):
                if resolution is not Resolution.RESTORE:
                    conflicts.append(Conflict(file.path))
                    continue
                if now is not None:
                    displaced[file.path] = now
            replacements.append(Replacement(file.path, file.temporary, found, old, before.before, keep_time=True))
    return Restoration(tuple(replacements), tuple(conflicts), displaced)


def _require_fit(root: Root, store: Store, journal: Journal, manifest: Manifest) -> None:
    """Raise ConflictError for a journal that is not of this snapshot, or names a file, or a name, twice."""
    saved = {file.target: file for file in manifest.files}
    facts: list[str] = []
    for file in journal.files:
        before = saved.get(file.path)
        if before is None:
            facts.append(f"{file.path}: snapshot {manifest.id} has no such file")
        elif before.before_sha256 != file.before_sha256:
            facts.append(f"{file.path}: snapshot {manifest.id} has another content of it")
    uses = Counter(str(file.path) for file in journal.files) + Counter(file.temporary for file in journal.files)
    facts += [f"{name}: named twice" for name, count in uses.items() if count > 1]
    if len(saved) != len(manifest.files):
        facts.append(f"snapshot {manifest.id} has a file twice")
    if facts:
        path = root.outside(journal_path(store))
        raise ConflictError(f"{path} does not fit its snapshot", details=facts)


def not_undone(root: Root, conflicts: Iterable[Conflict]) -> ConflictError:
    """Return the error for files that an undo leaves as they are."""
    conflicts = tuple(conflicts)
    if any(conflict.obstacle for conflict in conflicts):
        hint = (
            f"clear what is in the way and run {root.command('recover')}, or keep what is there: {accept_current(root)}"
        )
    else:
        hint = f"{root.command('recover', '--restore')} (or --accept-current)"
    return ConflictError(
        "an interrupted transaction is not undone: somebody else changed a file since",
        details=[str(conflict) for conflict in conflicts],
        hint=hint,
    )


def accept_current(root: Root) -> str:
    """Return the command that always leads out."""
    return root.command("recover", "--accept-current")


class RestoredTree:
    """The files of a root as they will be when an interrupted transaction is undone."""

    def __init__(self, root: Root, pending: Pending, restoration: Restoration) -> None:
        self._root = root
        journal = pending.journal
        undone = not pending.is_committed
        self._after = {one.path: one.content for one in restoration.replacements} if undone else {}
        self._debris = frozenset(leftovers(root, journal))
        self._made = frozenset(journal.made_directories if undone else ())
        self._removed = frozenset(one.path for one in journal.removed_directories) if undone else frozenset()

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return what a file will hold; None where there will be none. Raises as the root does."""
        final = self._root.resolve(path)
        return self._after[final] if final in self._after else self._root.read(path)

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Return at most `size` bytes of what a file will hold. Raises as the root does."""
        final = self._root.resolve(path)
        if final not in self._after:
            return self._root.read_part(path, start, size)
        content = self._after[final]
        return None if content is None else content[start : start + size]

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names that a directory will have, sorted."""
        folder = self._root.resolve(directory)
        names = {name for name in self._root.names(directory) if not self._goes(folder / name)}
        names |= {path.name for path, content in self._after.items() if path.parent == folder and content is not None}
        names |= {path.name for path in self._removed if path.parent == folder}
        return tuple(sorted(names))

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Return what the root gives."""
        return self._root.identity(directory)

    def _goes(self, path: PurePosixPath) -> bool:
        if path in self._debris or self._after.get(path, b"") is None:
            return True
        return path in self._made and not self.names(path)


def settled_states(pending: Pending | None) -> Mapping[str, State]:
    """Return the states that snapshots get when a committed transaction is closed, by id."""
    return pending.journal.marks if pending is not None and pending.is_committed else {}


def _is_half_made(file: JournalFile, now: str | None) -> bool:
    """Whether a file that is made or removed is there, but empty: vfat writes a new name before its content."""
    return now == digest(b"") and None in (file.before_sha256, file.after_sha256)


def _is_rewritten(root: Root, file: JournalFile, before: SavedFile) -> bool:
    """Whether a file that was only to get a new time has one."""
    if file.before_sha256 != file.after_sha256 or before.before is None or before.file_class is FileClass.GENERATED:
        return False
    status = root.stat(file.path)
    return status is not None and status.st_mtime_ns != before.before.mtime_ns
