# SPDX-License-Identifier: Apache-2.0
"""/etc/kernel/cmdline: what the next kernel boots with, and how differently its readers read it. Pure."""

import re
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import is_word
from iommuctl.kernel.cmdline import OF_ONE_BOOT, Cmdline
from iommuctl.value import NamedTuple

KERNEL_CMDLINE = PurePosixPath("/etc/kernel/cmdline")
LINES_LIMIT = 1000
SIZE_LIMIT = 128 * 1024  # bytes
_NO_CONTENT = re.compile(r"[ \t\r]*(?:#|\Z)")
_SEVERAL_BLANKS = re.compile(r"[ \t]{2}")


class CmdlineLine(NamedTuple):
    """One line with parameters: `text[start:end]` is its value, `number` counts from 1."""

    number: int
    value: str
    start: int
    end: int


class KernelCmdline(NamedTuple):
    """The file. `lines` are those with parameters; the first takes additions.

    Most readers join the lines (kernel-install, mkinitcpio, sdbootutil); grubby and Proxmox know only the first of the
    file. Comments are parameters to systemd 252 and to Fedora's 20-grub.install.
    """

    path: PurePosixPath
    text: str
    lines: tuple[CmdlineLine, ...]

    @property
    def cmdline(self) -> Cmdline:
        """What the readers that join the lines make of it, each blank as it is."""
        return Cmdline.parse(" ".join(line.value for line in self.lines))

    @property
    def first_line(self) -> str:
        """The file's first line, which is all that grubby and Proxmox read."""
        return self.text.split("\n", 1)[0]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its readers disagree about."""
        found: list[Finding] = []
        if len(self.lines) > 1:
            message = f"{self.path} has {len(self.lines)} lines of parameters; grubby and Proxmox read only the first"
            found.append(_finding(Rule.KERNEL_CMDLINE_LINES, message, f"put all parameters on one line of {self.path}"))
        if any(line.lstrip(" \t").startswith("#") for line in self.text.split("\n")):
            message = f"{self.path} has comments, which some versions of kernel-install pass to the kernel"
            found.append(_finding(Rule.KERNEL_CMDLINE_COMMENTS, message, f"remove the comments from {self.path}"))
        elif self.lines and self.lines[0].number > 1:
            message = f"{self.path} begins with a blank line; grubby and Proxmox read only the first line"
            found.append(_finding(Rule.KERNEL_CMDLINE_LINES, message, f"remove the blank lines from {self.path}"))
        if any(_SEVERAL_BLANKS.search(token.text) for token in self.cmdline.tokens):
            message = f"{self.path} has several blanks inside quotes, of which most readers keep one"
            found.append(_finding(Rule.KERNEL_CMDLINE_BLANKS, message, "use single blanks"))
        return tuple(found)


def parse_kernel_cmdline(path: PurePosixPath, text: str) -> KernelCmdline:
    """Read the file; every text is one. Raises BootConfigError for what is beyond the limits."""
    if len(text) > SIZE_LIMIT:
        raise BootConfigError(path, None, f"is larger than {SIZE_LIMIT} bytes")
    if text.count("\n") > LINES_LIMIT:
        raise BootConfigError(path, LINES_LIMIT + 1, f"has more than {LINES_LIMIT} lines")
    lines: list[CmdlineLine] = []
    start = 0
    for number, raw in enumerate(text.split("\n"), 1):
        if not _NO_CONTENT.match(raw):
            lines.append(CmdlineLine(number, raw, start, start + len(raw)))
        start += len(raw) + 1
    return KernelCmdline(path, text, tuple(lines))


def new_kernel_cmdline(cmdline: Cmdline) -> Cmdline:
    """Return the one line for a file that is made of an entry: without `$words` and what belongs to one boot."""
    kept = (token.text for token in cmdline.tokens if not is_word(token.text) and token.name not in OF_ONE_BOOT)
    return Cmdline.parse(" ".join(kept))


def _finding(rule: Rule, message: str, hint: str) -> Finding:
    return Finding(rule, Severity.WARNING, message, hint=hint)
