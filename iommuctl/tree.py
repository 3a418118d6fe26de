# SPDX-License-Identifier: Apache-2.0
"""Tree: the files of one root, read only, and as they will be. No input or output of its own."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Protocol

from iommuctl import sha256
from iommuctl.errors import IommuctlError, NotPermittedError


class Tree(Protocol):
    """The files of one root, read only. Paths are absolute as seen inside the root; links resolve inside it."""

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return a regular file's content; None where there is none.

        Raises NotPermittedError where the operating system says no, BootConfigError for anything but a regular file.
        """
        ...

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Return at most `size` bytes of a regular file, fewer where it ends before; None where there is no file.

        For files too large to be read whole. Raises what `read` raises.
        """
        ...

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory, sorted by code point; empty where there is no such directory."""
        ...

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Return what all names of one directory share, and no other has; None where there is no such directory."""
        ...


class Overlay:
    """A tree as it will be: some files with other content, None for one that will be gone."""

    def __init__(self, tree: Tree, after: Mapping[PurePosixPath, bytes | None]) -> None:
        self.tree = tree
        self.after = after
        self._here: dict[PurePosixPath, dict[str, bool]] = {}  # of each directory, the names and whether they will be
        for path, content in after.items():
            self._here.setdefault(path.parent, {})[path.name] = content is not None

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return the new content of a file that has one, else what the tree has."""
        return self.after[path] if path in self.after else self.tree.read(path)

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Return a part of the new content of a file that has one, else of what the tree has."""
        if path not in self.after:
            return self.tree.read_part(path, start, size)
        content = self.after[path]
        return None if content is None else content[start : start + size]

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory as they will be, sorted."""
        here = self._here.get(directory)
        if here is None:
            return self.tree.names(directory)
        kept = {name for name in self.tree.names(directory) if here.get(name, True)}
        return tuple(sorted(kept | {name for name, exists in here.items() if exists}))

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Return what the tree gives: no directory changes its name."""
        return self.tree.identity(directory)


def digest(content: bytes | None) -> str | None:
    """The SHA-256 of a file's content in hexadecimal; None for a file that is not there."""
    return None if content is None else sha256.hexadecimal(content)


def known_text(tree: Tree, path: PurePosixPath) -> str:
    """Return a file's text as far as it is one; empty where there is none, or none that may be read."""
    try:
        return (tree.read(path) or b"").decode("utf-8", "replace")
    except IommuctlError:
        return ""


def known_names(tree: Tree, directory: PurePosixPath) -> tuple[str, ...]:
    """Return the names in a directory; none where there is none, or none that may be read."""
    try:
        return tree.names(directory)
    except IommuctlError:
        return ()


class RecordingTree:
    """A tree that remembers what was read through it, so that a plan rests on one view of each file.

    A second read of the same path gives the first answer. `files`, `parts` (a path with start and size) and `listings`
    are everything seen so far, and `unreadable` what the operating system did not let us see.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.files: dict[PurePosixPath, bytes | None] = {}
        self.parts: dict[tuple[PurePosixPath, int, int], bytes | None] = {}
        self.listings: dict[PurePosixPath, tuple[str, ...]] = {}
        self.unreadable: set[PurePosixPath] = set()

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return a regular file's content as first seen; None where there was none. Raises what the tree raises."""
        if path not in self.files:
            with self._noting(path):
                self.files[path] = self._tree.read(path)
        return self.files[path]

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Return a part of a regular file as first seen; None where there was none. Raises what the tree raises."""
        part = (path, start, size)
        if part not in self.parts:
            with self._noting(path):
                self.parts[part] = self._tree.read_part(*part)
        return self.parts[part]

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory as first seen, sorted. Raises what the tree raises."""
        if directory not in self.listings:
            with self._noting(directory):
                self.listings[directory] = self._tree.names(directory)
        return self.listings[directory]

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Return what the tree gives. It is of no account for a plan: what is read by each name is."""
        return self._tree.identity(directory)

    @contextmanager
    def _noting(self, path: PurePosixPath) -> Iterator[None]:
        try:
            yield
        except NotPermittedError:
            self.unreadable.add(path)
            raise

    def recheck(self, tree: Tree) -> tuple[PurePosixPath, ...]:
        """Read everything again from `tree` and give the paths that differ now, sorted."""
        changed = {path for path, content in self.files.items() if tree.read(path) != content}
        changed |= {part[0] for part, content in self.parts.items() if tree.read_part(*part) != content}
        changed |= {path for path, names in self.listings.items() if tree.names(path) != names}
        return tuple(sorted(changed))
