# SPDX-License-Identifier: Apache-2.0
"""Trail: what the snapshots in range did to each file, and to what the entries are made of that appeared since."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from iommuctl.app.host import Survey
from iommuctl.app.rollback.reversal import Step
from iommuctl.formats.blsentry import identity, is_entry_name
from iommuctl.plan import Change, FileClass
from iommuctl.transaction.snapshot import Manifest
from iommuctl.transaction.store import Store
from iommuctl.value import NamedTuple


class Way(NamedTuple):
    """One file's way back. `path` is where it is now, `steps` are what was done to it, newest first."""

    path: PurePosixPath
    file_class: FileClass
    steps: tuple[Step, ...]


class FileHistory:
    """One file as the newest snapshot names it, and what each did to it, by the snapshot's id, newest first.

    A snapshot can have it twice: an entry with and without a boot counter, say.
    """

    def __init__(self, path: PurePosixPath, file_class: FileClass) -> None:
        self.path = path
        self.file_class = file_class
        self.steps: dict[str, dict[PurePosixPath, Step]] = {}

    def step(self, snapshot: str, path: PurePosixPath) -> Step | None:
        """Return what a snapshot did to the file that is at `path` now; None where it did nothing."""
        steps = self.steps.get(snapshot)
        return None if steps is None else steps.get(path) or next(iter(steps.values()))

    @property
    def way(self) -> Way:
        """The way back of a file that is where it was."""
        steps = (self.step(snapshot, self.path) for snapshot in self.steps)
        return Way(self.path, self.file_class, tuple(step for step in steps if step is not None))


class Entries(NamedTuple):
    """The entries that go back, the paths of those that are gone, and of all that are there."""

    ways: tuple[Way, ...]
    vanished: tuple[PurePosixPath, ...]
    there: tuple[PurePosixPath, ...]


def touched_files(store: Store, manifests: Iterable[Manifest]) -> tuple[FileHistory, ...]:
    """Return every file of the snapshots, newest first, in the order of the oldest that names it.

    Entries are one file whatever their boot counter, and are named as in the newest.
    """
    found: dict[PurePosixPath, FileHistory] = {}
    for manifest in manifests:
        changes = _by_path(manifest.changes)
        for file in manifest.files:
            if file.before_sha256 == file.after_sha256 and file.file_class is not FileClass.GENERATED:
                continue  # it only got a new time
            key = identity(file.path) if file.file_class is FileClass.ENTRY else file.path
            # After those that it stood after before: some readers compare times.
            one = found[key] = found.pop(key, FileHistory(file.path, file.file_class))
            step = Step(
                tuple(changes.get(file.path, ())), store.content(manifest, file), file.after_sha256, file.before
            )
            one.steps.setdefault(manifest.id, {})[file.path] = step
    return tuple(found.values())


def find_entries(found: Survey, manifests: Sequence[Manifest], touched: Iterable[FileHistory]) -> Entries:
    """Find the entries that the snapshots touched, by their id, and the entries of this system that appeared since."""
    mine = [one for one in touched if one.file_class is FileClass.ENTRY]
    there = _by_identity(found, {one.path.parent for one in mine})
    known: dict[PurePosixPath, FileHistory | None] = {
        path: one for one in mine for path in there.get(identity(one.path), ())
    }
    entries = found.backend.entry_files(found.tree, found.facts)
    for entry in entries:
        if entry.ours and not entry.rescue:
            known.setdefault(entry.path, None)
    sources = _sources(found, manifests) if known else {}
    before = {one.id: None if one.entries is None else frozenset(one.entries) for one in manifests}
    ways = (Way(path, FileClass.ENTRY, tuple(_steps(path, one, before, sources))) for path, one in known.items())
    vanished = tuple(one.path for one in mine if identity(one.path) not in there)
    return Entries(tuple(way for way in ways if way.steps), vanished, tuple(entry.path for entry in entries))


def _steps(
    path: PurePosixPath,
    known: FileHistory | None,
    before: Mapping[str, frozenset[PurePosixPath] | None],
    sources: Mapping[str, tuple[Change, ...]],
) -> Iterable[Step]:
    for name, entries in before.items():
        step = None if known is None else known.step(name, path)
        if step is not None:
            yield step
        elif entries is not None and identity(path) not in entries and sources[name]:
            yield Step(sources[name], is_own=False)


def _sources(found: Survey, manifests: Iterable[Manifest]) -> Mapping[str, tuple[Change, ...]]:
    """What each snapshot changed in that of which a new kernel's entry is made: the source, else another entry."""
    source = found.backend.read(found.tree, found.facts).future.source
    sources: dict[str, tuple[Change, ...]] = {}
    for manifest in manifests:
        changes = _by_path(manifest.changes)
        # A file that we made has every parameter from us, root= included.
        candidates = [file for file in manifest.files if file.before_sha256 is not None]
        candidates = [file for file in candidates if file.path == source or file.file_class is FileClass.ENTRY]
        candidates.sort(key=lambda file: file.path == source)
        given = (tuple(changes[file.path]) for file in reversed(candidates) if file.path in changes)
        sources[manifest.id] = next(given, ())
    return sources


def _by_identity(found: Survey, folders: Iterable[PurePosixPath]) -> Mapping[PurePosixPath, list[PurePosixPath]]:
    paths: dict[PurePosixPath, list[PurePosixPath]] = {}
    for folder in sorted(folders):
        for name in found.tree.names(folder):
            if is_entry_name(name) and found.tree.read(folder / name) is not None:
                paths.setdefault(identity(folder / name), []).append(folder / name)
    return paths


def _by_path(changes: Iterable[Change]) -> Mapping[PurePosixPath, list[Change]]:
    paths: dict[PurePosixPath, list[Change]] = {}
    for change in changes:
        paths.setdefault(change.path, []).append(change)
    return paths
