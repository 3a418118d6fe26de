# SPDX-License-Identifier: Apache-2.0
"""Errors: every way to stop, with its exit code. Each class composes its own sentence from facts."""

from collections.abc import Sequence
from pathlib import PurePath


class IommuctlError(Exception):
    """Something that ends the run.

    `brief` is one lower-case line without a final period, `details` are indented facts, `hint` is the exact next
    command. `code` is the exit code, after sysexits.h where one fits; `kind` is a stable word for scripts, finer than
    the code where two ways to stop ask for different answers. `correction` is a word of the command line that is wrong,
    and the one that seems to be meant: who knows the line makes the hint of it.
    """

    code: int = 70
    kind: str = "internal"

    def __init__(
        self,
        brief: str,
        *,
        details: Sequence[str] = (),
        hint: str | None = None,
        correction: tuple[str, str | None] | None = None,
    ) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = tuple(details)
        self.hint = hint
        self.correction = correction

    def add(self, *facts: str) -> None:
        """Say facts more, which only who passes the error on knows."""
        self.details = (*self.details, *facts)


class UsageError(IommuctlError):
    """The request makes no sense as asked: a combination of options, or an option on a root that cannot have it."""

    code = 2
    kind = "usage"


class ProfileError(IommuctlError):
    """A profile is invalid, contradictory, impossible on this platform, or stopped by a finding."""

    code = 65
    kind = "profile"


class DocumentError(IommuctlError):
    """A document that is read, such as a plan file, is not what it should be."""

    code = 65
    kind = "document"


class StoppedError(ProfileError):
    """What was found on the host, or in the profile, is an error that was not forced."""

    kind = "finding"


class NotFoundError(IommuctlError):
    """No such profile, snapshot, parameter or root."""

    code = 66
    kind = "not-found"


class UnavailableError(IommuctlError):
    """No supported bootloader, an ambiguous one, one that something else manages, or a tool is missing."""

    code = 69
    kind = "unavailable"


class InternalError(IommuctlError):
    """A defect of iommuctl itself."""

    code = 70


class ExecutionError(IommuctlError):
    """A write, a command or the read-back failed; the text says whether the undo succeeded."""

    code = 74
    kind = "execution"


class BusyError(IommuctlError):
    """Another run holds the lock, a package manager is at work, or a file was swapped while it was read: try again."""

    code = 75
    kind = "locked"


class StalePlanError(BusyError):
    """What the plan rests on is not as it was: nobody has seen the plan that a new try would carry out."""

    kind = "stale-plan"

    def __init__(
        self,
        brief: str,
        *,
        details: Sequence[str] = (),
        hint: str = "look at the new plan before you try again: --dry-run shows it",
    ) -> None:
        super().__init__(brief, details=details, hint=hint)


class InterruptionError(IommuctlError):
    """A signal ended the run; its exit code is that of a shell, 128 and the signal's number."""

    kind = "interrupted"

    def __init__(self, signal_name: str, code: int, outcome: str) -> None:
        super().__init__(f"interrupted by {signal_name}", details=(outcome,), hint="run the same command again")
        self.code = code


class NotPermittedError(IommuctlError):
    """The operating system said no (EACCES, EPERM). Decided by the attempt, never by the user id."""

    code = 77
    kind = "not-permitted"

    def __init__(self, path: PurePath, doing: str) -> None:
        super().__init__(f"not permitted to {doing} {str(path)!r}", hint="run the same command as root (sudo)")
        self.path = path


class BootConfigError(IommuctlError):
    """A boot configuration file that cannot be represented or changed exactly; nothing was written.

    `line` counts from 1; None where the whole file is meant.
    """

    code = 78
    kind = "boot-configuration"

    def __init__(self, path: PurePath, line: int | None, message: str, *, hint: str | None = None) -> None:
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {message}", hint=hint or f"edit {path} by hand, then run the same command again")
        self.path = path
        self.line = line
        self.message = message


class NotRepresentableError(BootConfigError):
    """A file that may do well as it is, and whose effect or change cannot be told exactly: what only reads goes on."""


class LensError(BootConfigError):
    """A lens could not represent a file, or an edit left the value that it was meant for."""


class ConflictError(IommuctlError):
    """A file is neither what it was before us nor what we left: somebody else's content, which stays."""

    code = 78
    kind = "conflict"
