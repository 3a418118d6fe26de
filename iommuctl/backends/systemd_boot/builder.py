# SPDX-License-Identifier: Apache-2.0
"""Builder: what is known of the program that builds the images of a host. A value."""

from pathlib import PurePosixPath

from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Command
from iommuctl.value import NamedTuple

NOT_ATOMIC = "not atomic, for it writes where the firmware reads"


class Setting(NamedTuple):
    """A command line as the one literal value of a setting: `content[start:end]` of the file."""

    path: PurePosixPath
    content: bytes
    start: int
    end: int

    @property
    def cmdline(self) -> Cmdline:
        """What it says."""
        return Cmdline.parse(self.content[self.start : self.end].decode("utf-8", "surrogateescape"))


class Builder(NamedTuple):
    """The program that builds the images of a host, its commands, and what it takes their command lines from.

    That is a `setting` of its own, else `files`, with `drop_ins` joined to the one that is /etc/kernel/cmdline.
    """

    name: str
    commands: tuple[Command, ...]
    drop_ins: tuple[PurePosixPath, ...] = ()
    files: tuple[PurePosixPath, ...] = (KERNEL_CMDLINE,)
    setting: Setting | None = None
