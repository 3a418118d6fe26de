# SPDX-License-Identifier: Apache-2.0
"""Trees that are only values: what a backend reads, written down as paths and contents."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from iommuctl.errors import NotPermittedError
from iommuctl.plan import Rendering
from iommuctl.tree import Tree


@dataclass(frozen=True)
class MemoryTree:
    """A root as a mapping from absolute path to content; `locked` are files that may not be read."""

    files: Mapping[str, bytes]
    locked: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, files: Mapping[str, str | bytes], *, locked: tuple[str, ...] = ()) -> "MemoryTree":
        encoded = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        return cls(encoded, frozenset(locked))

    @classmethod
    def load(cls, folder: Path) -> "MemoryTree":
        """A directory of the host as a tree."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls({f"/{path.relative_to(folder)}": path.read_bytes() for path in paths})

    def read(self, path: PurePosixPath) -> bytes | None:
        if str(path) in self.locked:
            raise NotPermittedError(path, "read")
        return self.files.get(str(path))

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        content = self.read(path)
        return None if content is None else content[start : start + size]

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        start = "/" if str(directory) == "/" else f"{directory}/"
        inside = (path.removeprefix(start) for path in (*self.files, *self.locked) if path.startswith(start))
        return tuple(sorted({path.split("/", 1)[0] for path in inside}))

    def identity(self, directory: PurePosixPath) -> Hashable:
        return directory if self.names(directory) else None

    def after(self, rendering: Rendering) -> "MemoryTree":
        """The tree with the edits of a rendering made."""
        files = dict(self.files)
        for edit in rendering.edits:
            assert files.get(str(edit.path)) == edit.before, edit.path
            if edit.after is None:
                del files[str(edit.path)]
            else:
                files[str(edit.path)] = edit.after
        return MemoryTree(files, self.locked)

    def differing(self, other: "MemoryTree") -> Iterator[str]:
        """The paths whose content differs."""
        yield from (
            path for path in sorted({*self.files, *other.files}) if self.files.get(path) != other.files.get(path)
        )


def as_tree(tree: MemoryTree) -> Tree:
    """The tree as its readers know it; the type checker compares the two here."""
    return tree
