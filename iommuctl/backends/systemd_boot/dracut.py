# SPDX-License-Identifier: Apache-2.0
"""dracut's settings: the command line of the images that it builds, where it is one literal value."""

import re
from pathlib import PurePosixPath

from iommuctl.backends.entries.cmdlinefile import CmdlineEdit
from iommuctl.backends.entries.lines import LineError, conform_lines, op_of, stretches
from iommuctl.backends.systemd_boot.builder import NOT_ATOMIC, Builder, Setting
from iommuctl.errors import BootConfigError
from iommuctl.plan import Change, Command, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import apply_changes
from iommuctl.tree import Tree

_MAIN = PurePosixPath("/etc/dracut.conf")
_FOLDERS = (PurePosixPath("/etc/dracut.conf.d"), PurePosixPath("/usr/lib/dracut/dracut.conf.d"))
_VENDOR_FILES = PurePosixPath("/usr")
_IMAGE = re.compile(rb"""^[ \t]*uefi=["']?yes\b""", re.MULTILINE)
_NAME = re.compile(rb"^[^#\n]*\bkernel_cmdline\b", re.MULTILINE)
# One assignment on a line of its own, of a value in which the shell sees nothing: the files are sourced by bash.
_LITERAL = re.compile(rb"""[ \t]*kernel_cmdline\+?=(["'])([^"'`$\\\n]*)\1[ \t]*(?:[;#].*)?""")
_QUOTES = re.compile(rb"""^[ \t]*#.*$|\\.|"[^"\\]*(?:\\.[^"\\]*)*"|'[^']*'""", re.MULTILINE | re.DOTALL)
_FORBIDDEN = re.compile(r"""["'`$\\]""")
_BY_HAND = (
    "set kernel_cmdline= in {path} by hand, then run dracut --regenerate-all --force; or have kernel-install build the "
    "images of /etc/kernel/cmdline (layout=uki in /etc/kernel/install.conf), then run the same command again"
)


def builder(tree: Tree) -> Builder | None:
    """Return dracut as the builder of images; None where no setting has it build any.

    Raises BootConfigError where its command line is not the one literal value of one assignment.
    """
    files = [_MAIN, *(folder / name for folder in _FOLDERS for name in tree.names(folder))]
    contents = {path: tree.read(path) or b"" for path in files if path.suffix == ".conf"}
    building = next((path for path, content in contents.items() if _IMAGE.search(content)), None)
    if building is None:
        return None
    named = [(path, match.start()) for path, content in contents.items() for match in _NAME.finditer(content)]
    if not named:
        line = _line(contents[building], _place(_IMAGE, contents[building]))
        message = "has dracut build unified kernel images, and no kernel_cmdline= says with which parameters"
        raise BootConfigError(building, line, message, hint=_BY_HAND.format(path=building))
    path, start = named[-1]
    content = contents[path]
    literal = _LITERAL.fullmatch(content, start, _end(content, start))
    # What is quoted before it must have ended: it could be inside a value of several lines.
    quoted = _QUOTES.sub(b"", content[:start])
    if len(named) > 1 or literal is None or b'"' in quoted or b"'" in quoted:
        message = "sets what dracut puts into unified kernel images, and is a shell's language"
        raise BootConfigError(path, _line(content, start), message, hint=_BY_HAND.format(path=path))
    command = Command(("dracut", "--regenerate-all", "--force"), f"the images hold the command line; {NOT_ATOMIC}")
    return Builder("dracut", (command,), (), (), Setting(path, content, *literal.span(2)))


def conform_setting(setting: Setting, conformer: Conformer) -> CmdlineEdit:
    """Return the edit of the literal value. Raises BootConfigError where the result would not be one."""
    path, content = setting.path, setting.content
    line = _line(content, setting.start)
    try:
        changes = conform_lines([stretches(str(setting.cmdline), None)], conformer, joined=True)[0]
    except LineError as error:
        raise BootConfigError(path, line, error.message) from error
    if not changes:
        return CmdlineEdit()
    after = str(apply_changes(setting.cmdline, changes))
    if path.is_relative_to(_VENDOR_FILES) or _FORBIDDEN.search(after):
        message = "belongs to a package" if path.is_relative_to(_VENDOR_FILES) else "would need quotes inside quotes"
        raise BootConfigError(path, line, message, hint=_BY_HAND.format(path=path))
    written = after.encode("utf-8", "surrogateescape")
    edit = FileEdit(
        path,
        FileClass.SOURCE,
        content,
        content[: setting.start] + written + content[setting.end :],
        f"profile {conformer.desired.profile} on {conformer.desired.platform}: what dracut builds images with",
    )
    records = tuple(Change(op_of(one), one.before, one.after, path, "kernel_cmdline", one.reason) for one in changes)
    return CmdlineEdit(records, (edit,))


def _place(pattern: re.Pattern[bytes], content: bytes) -> int:
    match = pattern.search(content)
    return 0 if match is None else match.start()


def _end(content: bytes, start: int) -> int:
    end = content.find(b"\n", start)
    return len(content) if end < 0 else end


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1
