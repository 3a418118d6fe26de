# SPDX-License-Identifier: Apache-2.0
"""What every backend takes and gives: a Tree of files in, boot entries and renderings out."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Protocol

from iommuctl.arguments import DesiredArguments
from iommuctl.cmdline import Cmdline
from iommuctl.facts import Facts
from iommuctl.plan import Finding, Rendering


class Tree(Protocol):
    """The files of one root, read only. Paths are absolute as seen inside the root; links resolve inside it."""

    def read(self, path: PurePosixPath) -> bytes | None:
        """Give a regular file's content; None where there is none.

        Raises NotPermittedError where the operating system says no, BootConfigError for anything but a regular file.
        """
        ...

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Give the names in a directory, sorted by code point; empty where there is no such directory."""
        ...


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
    """A host's boot configuration: what boots now, and what the next kernel would boot with."""

    entries: tuple[Entry, ...]
    future: Future
    findings: tuple[Finding, ...] = ()


class Backend(Protocol):
    """A bootloader whose entries carry kernel command lines. Pure: reads a Tree, returns values."""

    name: ClassVar[str]

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the configuration. Raises BootConfigError, LensError, NotPermittedError."""
        ...

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Give the edits and commands that bring the configuration to `desired`; empty when it is there already."""
        ...
