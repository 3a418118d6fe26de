# SPDX-License-Identifier: Apache-2.0
"""Plan: what would change, and why. Values only; no I/O."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.errors import BootConfigError
    from iommuctl.findings import Finding


class Op(StrEnum):
    """What happens to one parameter."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


class FileClass(StrEnum):
    """How a file goes back (architecture, promise 8)."""

    SOURCE = "source"
    GENERATED = "generated"
    SHARED = "shared"
    ENTRY = "entry"


class Regenerate(StrEnum):
    """Whether generated files belong to what is brought to a profile."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Change(NamedTuple):
    """One whole parameter as written, before and after, in one target (a variable, an entry) of one file."""

    op: Op
    before: str | None
    after: str | None
    path: PurePosixPath
    target: str
    reason: str


class FileEdit(NamedTuple):
    """One file's bytes before and after. `before` is None for a file to create, `after` for one to remove.

    `mode` is what a file to create gets, where that is not what files have.
    """

    path: PurePosixPath
    file_class: FileClass
    before: bytes | None
    after: bytes | None
    reason: str
    mode: int | None = None

    @property
    def diff(self) -> str:
        """The unified diff, empty where nothing differs. Bytes that are not UTF-8 show as escapes."""
        import difflib  # noqa: PLC0415 - an unchanged host has nothing to show

        old = "/dev/null" if self.before is None else f"a{_in_one_line(self.path)}"
        new = "/dev/null" if self.after is None else f"b{_in_one_line(self.path)}"
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), old, new)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


# In the state directory, which only its owner may enter: a fixed name is no risk, and dry-run and apply show the same.
STAGING = PurePosixPath("/var/lib/iommuctl/staging")


class Generated(NamedTuple):
    """A generator's output: it wrote `staging`, whose content is read back and then published as `target`."""

    staging: PurePosixPath
    target: PurePosixPath


class Command(NamedTuple):
    """A program to run inside the root. When it succeeded its `output`, if it has one, is checked and published.

    `undo` takes back what it did by itself; None where running it again does, or nothing has to. It failed where what
    it prints lacks one of the parts of `shows`.
    """

    argv: tuple[str, ...]
    reason: str
    output: Generated | None = None
    undo: tuple[str, ...] | None = None
    shows: tuple[str, ...] = ()


class Ahead(NamedTuple):
    """What a plan does before everything else: the first of its edits, then the first of its commands.

    `room` is how many bytes they take in /boot.
    """

    edits: tuple[FileEdit, ...] = ()
    commands: tuple[Command, ...] = ()
    room: int = 0


class Rendering(NamedTuple):
    """What a backend makes of the desired arguments: never written by the backend itself.

    `rebuilt` are the files that something else writes of the sources, so what they hold now does not count. `entries`
    are the entries that are files of their own, whoever's they are, edited in place. `unproven` is why the edits may be
    made only where the commands run, whose output shows what they come to.
    """

    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    commands: tuple[Command, ...] = ()
    findings: "tuple[Finding, ...]" = ()
    rebuilt: tuple[PurePosixPath, ...] = ()
    entries: tuple[PurePosixPath, ...] = ()
    unproven: "BootConfigError | None" = None


def _in_one_line(path: PurePosixPath) -> str:
    return str(path).replace("\n", "\\n")  # a line of its own could pass for a change


def _lines(content: bytes | None) -> list[str]:
    # Split on newlines only: str.splitlines() would also split on form feeds and separators inside a line.
    text = (content or b"").decode("utf-8", "backslashreplace")
    parts = text.split("\n")
    lines = [f"{part}\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines
