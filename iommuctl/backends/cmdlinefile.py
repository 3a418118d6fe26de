# SPDX-License-Identifier: Apache-2.0
"""The edits of /etc/kernel/cmdline, which the next kernel boots with, and the making of it where it is missing."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from iommuctl.arguments import DesiredArguments, TokenChange, apply_changes
from iommuctl.backends.base import Future, Tree
from iommuctl.backends.lines import LineError, conform_lines, op_of, stretches
from iommuctl.cmdline import Cmdline
from iommuctl.errors import BootConfigError
from iommuctl.kernelcmdline import PATH, KernelCmdline, new_kernel_cmdline, parse_kernel_cmdline
from iommuctl.lens import Lens, Span
from iommuctl.parameters import Catalogue
from iommuctl.plan import Change, FileClass, FileEdit, Finding, Op

_LENS = "Kcmdline.lns"
# What kernel-install and its plugins read where PATH is missing, before they fall back to /proc/cmdline.
VENDOR = PurePosixPath("/usr/lib/kernel/cmdline")
_PLUGINS = (PurePosixPath("/usr/lib/kernel/install.d"), PurePosixPath("/etc/kernel/install.d"))
# The plugins that would fall back to /proc/cmdline: Fedora's and RHEL's, systemd's, ukify's.
_READERS = frozenset({"20-grub.install", "90-loaderentry.install", "60-ukify.install"})


@dataclass(frozen=True, slots=True)
class CmdlineEdit:
    """What becomes of the file: at most one edit, and the command line that it gives."""

    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_file(tree: Tree, path: PurePosixPath = PATH) -> KernelCmdline | None:
    """Read the file; None where there is none."""
    content = tree.read(path)
    return None if content is None else parse_kernel_cmdline(path, content.decode("utf-8", "surrogateescape"))


def future(tree: Tree, default: Cmdline, source: PurePosixPath) -> Future:
    """What a kernel installed later boots with: the file, the vendor's, else what the default entry at `source` has."""
    for path in (PATH, VENDOR):
        file = read_file(tree, path)
        if file is not None:
            return Future(file.cmdline, path)
    return Future(new_kernel_cmdline(default), source)


def has_reader(tree: Tree) -> bool:
    """Whether a program is installed that would take /proc/cmdline for a new kernel if the file were missing."""
    return any(_READERS.intersection(tree.names(folder)) for folder in _PLUGINS)


def conform_file(
    tree: Tree,
    desired: DesiredArguments,
    catalogue: Catalogue,
    *,
    default: Cmdline | None,
    first_line_only: bool = False,
) -> CmdlineEdit:
    """Give the edit that brings the file to `desired`; it is made, one line, where a reader needs it.

    `default` is the default entry's command line, of which a new file is made; None: never make one.
    `first_line_only`: its reader knows only the first line of the file (proxmox-boot-tool).
    Raises BootConfigError, with the line, where that cannot be done exactly.
    """
    content = tree.read(PATH)
    file = read_file(tree)
    if content is None or file is None:
        return _made(tree, desired, catalogue, default)
    if first_line_only and (not file.lines or file.lines[0].number > 1):
        raise BootConfigError(PATH, 1, "holds no parameter, and proxmox-boot-tool reads no other line")
    if not file.lines:
        lines = _conform(PATH, (1,), ("",), desired, catalogue)
        texts = [change.after for change in lines[0] if change.after]
        closed = file.text if file.text.endswith("\n") or not file.text else f"{file.text}\n"
        after = f"{closed}{' '.join(texts)}\n" if texts else file.text
    else:
        numbers = tuple(line.number for line in file.lines)
        lines = _conform(
            PATH, numbers, tuple(line.value for line in file.lines), desired, catalogue, joined=not first_line_only
        )
        values = {
            Span(line.start, line.end): str(apply_changes(Cmdline.parse(line.value), changes))
            for line, changes in zip(file.lines, lines, strict=True)
            if changes
        }
        after = Lens(_LENS).rewrite(PATH, file.text, values) if values else file.text
    changes = tuple(
        Change(op_of(change), change.before, change.after, PATH, str(PATH), change.reason)
        for line in lines
        for change in line
    )
    if not changes:
        return CmdlineEdit(findings=file.findings)
    reason = f"profile {desired.profile} on {desired.platform}: what the next kernel boots with"
    edit = FileEdit(PATH, FileClass.SOURCE, content, after.encode("utf-8", "surrogateescape"), reason)
    return CmdlineEdit(changes, (edit,), file.findings)


def _conform(
    path: PurePosixPath,
    numbers: tuple[int, ...],
    texts: tuple[str, ...],
    desired: DesiredArguments,
    catalogue: Catalogue,
    *,
    joined: bool = True,
) -> tuple[tuple[TokenChange, ...], ...]:
    """Give the changes of a file's lines. Raises BootConfigError with the line of what is in the way."""
    try:
        return conform_lines([stretches(text, None) for text in texts], desired, catalogue, joined=joined)
    except LineError as error:
        raise BootConfigError(path, numbers[error.line], error.message) from error


def _made(tree: Tree, desired: DesiredArguments, catalogue: Catalogue, default: Cmdline | None) -> CmdlineEdit:
    """A file of one line, of the vendor's file or the default entry, where the next kernel would miss the profile."""
    vendor = read_file(tree, VENDOR)
    start = vendor.cmdline if vendor is not None else None if default is None else new_kernel_cmdline(default)
    if start is None or not has_reader(tree):
        return CmdlineEdit()
    line = Cmdline.parse(" ".join(token.text for token in start.tokens))
    changes = _conform(PATH, (1,), (str(line),), desired, catalogue)[0]
    if vendor is not None and not changes:
        return CmdlineEdit()
    after = apply_changes(line, changes)
    source = "the default entry" if vendor is None else str(VENDOR)
    reason = f"made of {source}: without it a new kernel would boot with whatever runs when it is installed"
    edit = FileEdit(PATH, FileClass.SOURCE, None, f"{after}\n".encode("utf-8", "surrogateescape"), reason)
    made = tuple(Change(Op.ADD, None, token.text, PATH, str(PATH), reason) for token in after.tokens)
    return CmdlineEdit(made, (edit,))
