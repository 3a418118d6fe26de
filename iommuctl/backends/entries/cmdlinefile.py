# SPDX-License-Identifier: Apache-2.0
"""The edits of /etc/kernel/cmdline, which the next kernel boots with, and the making of it where it is missing."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.backends.base import Future
from iommuctl.backends.entries.lines import LineError, conform_lines, op_of, stretches
from iommuctl.errors import BootConfigError
from iommuctl.findings import Finding
from iommuctl.formats.kernelcmdline import (
    KERNEL_CMDLINE,
    CmdlineLine,
    KernelCmdline,
    new_kernel_cmdline,
    parse_kernel_cmdline,
)
from iommuctl.formats.lens import Lens, Span
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit, Op
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.segments import TokenChange, apply_changes
from iommuctl.tree import Tree

_LENS = "Kcmdline.lns"
_LABEL = "cmdline"
_VENDOR_FILES = PurePosixPath("/usr")
# What kernel-install and its plugins read where KERNEL_CMDLINE is missing, before they fall back to /proc/cmdline.
VENDOR = PurePosixPath("/usr/lib/kernel/cmdline")
_PLUGINS = (PurePosixPath("/usr/lib/kernel/install.d"), PurePosixPath("/etc/kernel/install.d"))
# The plugins that would fall back to /proc/cmdline: Fedora's and RHEL's, systemd's, ukify's.
_READERS = frozenset({"20-grub.install", "90-loaderentry.install", "60-ukify.install"})


class CmdlineEdit(NamedTuple):
    """What becomes of the file: at most one edit, and the command line that it gives."""

    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_file(tree: Tree, path: PurePosixPath = KERNEL_CMDLINE) -> KernelCmdline | None:
    """Read the file; None where there is none."""
    content = tree.read(path)
    return None if content is None else parse_kernel_cmdline(path, content.decode("utf-8", "surrogateescape"))


def future(tree: Tree, default: Cmdline, source: PurePosixPath, beside: tuple[PurePosixPath, ...] = ()) -> Future:
    """What a kernel installed later boots with: the file, the vendor's, else what the default entry at `source` has.

    `beside` are files whose lines are joined to it.
    """
    more = [line.value for path in beside if (file := read_file(tree, path)) is not None for line in file.lines]
    for path in (KERNEL_CMDLINE, VENDOR):
        file = read_file(tree, path)
        if file is not None:
            return Future(Cmdline.parse(" ".join((str(file.cmdline), *more))), path)
    if more:
        return Future(Cmdline.parse(" ".join(more)), beside[0])
    return Future(new_kernel_cmdline(default), source)


def holds_any(tree: Tree, paths: Iterable[PurePosixPath]) -> bool:
    """Whether any of these files holds a parameter."""
    return any(file is not None and file.lines for file in (read_file(tree, path) for path in paths))


def has_reader(tree: Tree) -> bool:
    """Whether a program is installed that would take /proc/cmdline for a new kernel if the file were missing."""
    return any(_READERS.intersection(tree.names(folder)) for folder in _PLUGINS)


def conform_file(
    tree: Tree,
    conformer: Conformer,
    *,
    default: Cmdline | None,
    beside: tuple[PurePosixPath, ...] = (),
    beside_suffice: bool = False,
    first_line_only: bool = False,
) -> CmdlineEdit:
    """Return the edits that bring the file to what is desired; it is made, one line, where a reader needs it.

    `default` is the default entry's command line, of which a new file is made, and an empty one filled; None: never.
    `beside` are files whose lines are joined to it, and only lose; `beside_suffice`: their reader needs no other file.
    `first_line_only`: its reader knows only the first line of the file (proxmox-boot-tool). Raises BootConfigError,
    with the line, where that cannot be done exactly.
    """
    file = read_file(tree)
    others = [one for path in beside if (one := read_file(tree, path)) is not None]
    has_others = any(one.lines for one in others)
    if file is None and not (beside_suffice and has_others and read_file(tree, VENDOR) is None):
        return _made(tree, conformer, default)
    if first_line_only and file is not None and (not file.lines or file.lines[0].number > 1):
        raise BootConfigError(KERNEL_CMDLINE, 1, "holds no parameter, and proxmox-boot-tool reads no other line")
    files = others if file is None else [file, *others]
    places: list[tuple[KernelCmdline, CmdlineLine | None]] = [(each, line) for each in files for line in each.lines]
    start = Cmdline.parse("")
    if file is not None and not file.lines:
        places.insert(0, (file, None))
        lacks = any(conform_lines([stretches("", None)], conformer, joined=True))
        # With the parameters of the profile alone the next kernel would not find its root.
        start = new_kernel_cmdline(default) if lacks and default is not None and not has_others else start
    try:
        cut = [stretches(str(start) if line is None else line.value, None) for _, line in places]
        changed = conform_lines(cut, conformer, joined=not first_line_only)
    except LineError as error:
        where, line = places[error.line]
        raise BootConfigError(where.path, None if line is None else line.number, error.message) from error
    edits: list[FileEdit] = []
    changes: list[Change] = []
    for each in files:
        mine = [
            (line, done)
            for (owner, line), done in zip(places, changed, strict=True)
            if owner is each and (done or (line is None and start.tokens))
        ]
        if mine:
            edits.append(_edit(tree, each, mine, start, conformer.desired))
        changes += [
            Change(op_of(change), change.before, change.after, each.path, str(each.path), change.reason)
            for _, done in mine
            for change in done
        ]
    # The main file last: its time must not be older than that of GRUB's settings.
    return CmdlineEdit(tuple(changes), tuple(reversed(edits)), () if file is None else file.findings)


def _edit(
    tree: Tree,
    file: KernelCmdline,
    changed: list[tuple[CmdlineLine | None, tuple[TokenChange, ...]]],
    start: Cmdline,
    desired: DesiredArguments,
) -> FileEdit:
    if file.path.is_relative_to(_VENDOR_FILES):
        before = next(change.before for _, done in changed for change in done)
        raise BootConfigError(file.path, None, f"holds {before!r}, and belongs to a package")
    values: dict[Span, str | None] = {}
    added: list[tuple[str, str]] = []
    for line, done in changed:
        after = str(apply_changes(start if line is None else Cmdline.parse(line.value), done))
        if line is None:
            added.append((_LABEL, after))
        else:
            values[Span(line.start, line.end)] = after if after.strip() else None
    content = Lens(_LENS).rewrite(file.path, file.text, values, added=tuple(added)).encode("utf-8")
    reason = f"profile {desired.profile} on {desired.platform}: what the next kernel boots with"
    if added and start.tokens:
        reason += "; it held no parameter, so it is filled from the default entry"
    return FileEdit(file.path, FileClass.SOURCE, tree.read(file.path), content, reason)


def _made(tree: Tree, conformer: Conformer, default: Cmdline | None) -> CmdlineEdit:
    """A file of one line, of the vendor's file or the default entry, where the next kernel would miss the profile."""
    vendor = read_file(tree, VENDOR)
    start = vendor.cmdline if vendor is not None else None if default is None else new_kernel_cmdline(default)
    if start is None or not has_reader(tree):
        return CmdlineEdit()
    line = Cmdline.parse(" ".join(token.text for token in start.tokens))
    try:
        changes = conform_lines([stretches(str(line), None)], conformer, joined=True)[0]
    except LineError as error:
        raise BootConfigError(KERNEL_CMDLINE, 1, error.message) from error
    if vendor is not None and not changes:
        return CmdlineEdit()
    after = apply_changes(line, changes)
    source = "the default entry" if vendor is None else str(VENDOR)
    reason = f"made of {source}: without it a new kernel would boot with whatever runs when it is installed"
    edit = FileEdit(KERNEL_CMDLINE, FileClass.SOURCE, None, f"{after}\n".encode("utf-8", "surrogateescape"), reason)
    made = tuple(
        Change(Op.ADD, None, token.text, KERNEL_CMDLINE, str(KERNEL_CMDLINE), reason) for token in after.tokens
    )
    return CmdlineEdit(made, (edit,))
