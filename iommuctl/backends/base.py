# SPDX-License-Identifier: Apache-2.0
"""What every backend takes and gives: a Tree of files in, boot entries and renderings out."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import ClassVar, Protocol

from iommuctl.facts import Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Command, FileEdit, Rendering
from iommuctl.profile.desired import DesiredArguments
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple


class Entry(NamedTuple):
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


class Future(NamedTuple):
    """What a kernel installed later would boot with, None where that cannot be told, and the file that says so."""

    cmdline: Cmdline | None
    source: PurePosixPath


class BootConfig(NamedTuple):
    """A host's boot configuration: what boots now, and what the next kernel would boot with.

    `beside` are the other sources that are kept in step, since something else would make entries of them. `menu` is
    the file that holds the entries, where one file holds all of them and is there.
    """

    entries: tuple[Entry, ...]
    future: Future
    findings: tuple[Finding, ...] = ()
    beside: tuple[Future, ...] = ()
    menu: PurePosixPath | None = None


class Backend(Protocol):
    """A bootloader whose entries carry kernel command lines. Pure: reads a Tree, returns values."""

    name: ClassVar[str]

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the configuration. Raises BootConfigError, LensError, NotPermittedError."""
        ...

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Return the edits and commands that bring the configuration to `desired`; empty when it is there already."""
        ...

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Return the entries that are files of their own and edited in place; none where something else writes them.

        Raises what `read` raises.
        """
        ...

    def refresh_mtimes(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Return the files to write anew, unchanged, after such edits, because a reader compares their times."""
        ...

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Return the commands that make generated files follow the sources, whatever those say."""
        ...

    def read_back(self, tree: Tree, facts: Facts, desired: DesiredArguments, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, how the configuration falls short of `desired`; nothing where it does not.

        `generated` says whether generated files are in scope.
        """
        ...

    def out_of_step(self, tree: Tree, facts: Facts, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, which generated files do not follow their sources, whatever those say; none where all do.

        `generated` as in `read_back`. Raises what `read` raises.
        """
        ...


def no_entry_yet(source: PurePosixPath) -> Finding:
    """Return that nothing boots yet, and what the first entry will be made of."""
    message = f"no boot entry is there yet; what the first kernel boots with is written into {source}"
    return Finding(Rule.NO_ENTRY_YET, Severity.WARNING, message, hint="install a kernel, then run iommuctl status")
