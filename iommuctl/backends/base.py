# SPDX-License-Identifier: Apache-2.0
"""What every backend takes and gives: a Tree of files in, boot entries and renderings out."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Protocol

from iommuctl.facts import Facts
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Command, FileEdit, Finding, Rendering
from iommuctl.profile.desired import DesiredArguments


class Tree(Protocol):
    """The files of one root, read only. Paths are absolute as seen inside the root; links resolve inside it."""

    def read(self, path: PurePosixPath) -> bytes | None:
        """Give a regular file's content; None where there is none.

        Raises NotPermittedError where the operating system says no, BootConfigError for anything but a regular file.
        """
        ...

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Give at most `size` bytes of a regular file, fewer where it ends before; None where there is no file.

        For files too large to be read whole. Raises what `read` raises.
        """
        ...

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Give the names in a directory, sorted by code point; empty where there is no such directory."""
        ...

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Give what all names of one directory share, and no other has; None where there is no such directory."""
        ...


@dataclass(frozen=True, slots=True)
class Overlay:
    """A tree as it will be: some files with other content, None for one that will be gone."""

    tree: Tree
    after: Mapping[PurePosixPath, bytes | None]

    def read(self, path: PurePosixPath) -> bytes | None:
        """Give the new content of a file that has one, else what the tree has."""
        return self.after[path] if path in self.after else self.tree.read(path)

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Give a part of the new content of a file that has one, else of what the tree has."""
        if path not in self.after:
            return self.tree.read_part(path, start, size)
        content = self.after[path]
        return None if content is None else content[start : start + size]

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Give the names in a directory as they will be, sorted."""
        here = {path.name: content is not None for path, content in self.after.items() if path.parent == directory}
        kept = {name for name in self.tree.names(directory) if here.get(name, True)}
        return tuple(sorted(kept | {name for name, exists in here.items() if exists}))

    def identity(self, directory: PurePosixPath) -> Hashable:
        """Give what the tree gives: no directory changes its name."""
        return self.tree.identity(directory)


@dataclass(frozen=True, slots=True)
class Entry:
    """One boot entry as the bootloader sees it."""

    id: str
    title: str
    kernel_release: str | None
    path: PurePosixPath
    cmdline: Cmdline
    rescue: bool
    default: bool
    ours: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Future:
    """What a kernel installed later would boot with, and the file that says so."""

    cmdline: Cmdline
    source: PurePosixPath


@dataclass(frozen=True, slots=True)
class BootConfig:
    """A host's boot configuration: what boots now, and what the next kernel would boot with.

    `beside` are the other sources that are kept in step, since something else would make entries of them.
    """

    entries: tuple[Entry, ...]
    future: Future
    findings: tuple[Finding, ...] = ()
    beside: tuple[Future, ...] = ()


class Backend(Protocol):
    """A bootloader whose entries carry kernel command lines. Pure: reads a Tree, returns values."""

    name: ClassVar[str]

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the configuration. Raises BootConfigError, LensError, NotPermittedError."""
        ...

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Give the edits and commands that bring the configuration to `desired`; empty when it is there already."""
        ...

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Give the entries that are files of their own and edited in place; none where something else writes them.

        Raises what `read` raises.
        """
        ...

    def follow(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Give the files to write anew, unchanged, behind such edits, because a reader compares their times."""
        ...

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Give the commands that make generated files follow the sources, whatever those say."""
        ...

    def read_back(
        self, tree: Tree, facts: Facts, desired: DesiredArguments | None, *, generated: bool
    ) -> tuple[str, ...]:
        """Tell, in words, how the configuration falls short of `desired`; nothing where it does not.

        `generated` says whether generated files are in scope. Without `desired` they only have to follow the sources,
        which is what a rollback needs.
        """
        ...
