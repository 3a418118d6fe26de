# SPDX-License-Identifier: Apache-2.0
"""The edits of /etc/kernel/cmdline, which the next kernel boots with, and the making of it where it is missing."""

from collections.abc import Iterable
from pathlib import PurePosixPath

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
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import Change, FileClass, FileEdit, Op
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.segments import TokenChange, apply_changes
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_LENS = "Kcmdline.lns"
_LABEL = "cmdline"
_VENDOR_FILES = PurePosixPath("/usr")
# What kernel-install and its plugins read where KERNEL_CMDLINE is missing, before they fall back to /proc/cmdline.
VENDOR = PurePosixPath("/usr/lib/kernel/cmdline")
_PLUGINS = (PurePosixPath("/usr/lib/kernel/install.d"), PurePosixPath("/etc/kernel/install.d"))
# The plugins that would fall back to /proc/cmdline: Fedora's and RHEL's, systemd's, ukify's.
_READERS = frozenset({"20-grub.install", "90-loaderentry.install", "60-ukify.install"})


class Reading(NamedTuple):
    """How a host's programs read their command line.

    `path` is the file, `beside` are those whose lines are joined to it; `beside_suffice`: they need no other file.
    `first_line_only`: they know only the first line of the file (proxmox-boot-tool). `is_read`: a program reads it
    besides the plugins of kernel-install, and would take what runs for a new kernel if it were missing.
    """

    path: PurePosixPath = KERNEL_CMDLINE
    beside: tuple[PurePosixPath, ...] = ()
    beside_suffice: bool = False
    first_line_only: bool = False
    is_read: bool = False

    def line(self, file: KernelCmdline) -> Cmdline:
        """What these programs make of the file alone."""
        return Cmdline.parse(file.first_line) if self.first_line_only else file.cmdline


PLUGINS = Reading()  # kernel-install with its plugins, as most hosts have them


class CmdlineEdit(NamedTuple):
    """What becomes of the file: at most one edit, and the command line that it gives."""

    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_file(tree: Tree, path: PurePosixPath = KERNEL_CMDLINE) -> KernelCmdline | None:
    """Read the file; None where there is none."""
    content = tree.read(path)
    return None if content is None else parse_kernel_cmdline(path, content.decode("utf-8", "surrogateescape"))


def future(tree: Tree, default: Cmdline, source: PurePosixPath, reading: Reading = PLUGINS) -> Future:
    """What a kernel installed later boots with: the file, the vendor's, else what the default entry at `source` has."""
    beside = ((path, read_file(tree, path)) for path in reading.beside)
    more = [(path, line.value) for path, file in beside if file is not None for line in file.lines]
    for path in (reading.path, VENDOR):
        file = read_file(tree, path)
        if file is not None:
            return Future(Cmdline.parse(" ".join((str(reading.line(file)), *(text for _, text in more)))), path)
    if more:
        return Future(Cmdline.parse(" ".join(text for _, text in more)), more[0][0])
    return Future(new_kernel_cmdline(default), source)


def holds_any(tree: Tree, paths: Iterable[PurePosixPath]) -> bool:
    """Whether any of these files holds a parameter."""
    return any(file is not None and file.lines for file in (read_file(tree, path) for path in paths))


def has_reader(tree: Tree) -> bool:
    """Whether a program is installed that would take /proc/cmdline for a new kernel if the file were missing."""
    return any(_READERS.intersection(tree.names(folder)) for folder in _PLUGINS)


def conform_file(
    tree: Tree, conformer: Conformer, *, default: Cmdline | None, reading: Reading = PLUGINS
) -> CmdlineEdit:
    """Return the edits that bring the file to what is desired; it is made, one line, where a reader needs it.

    `default` is the default entry's command line, of which a new file is made, and an empty one filled; None: never.
    Additions go to the file that holds parameters of the IOMMU already. Raises BootConfigError, with the line, where
    that cannot be done exactly.
    """
    file = read_file(tree, reading.path)
    others = [one for path in reading.beside if (one := read_file(tree, path)) is not None]
    has_others = any(one.lines for one in others)
    made = None
    if file is None and not (reading.beside_suffice and has_others and read_file(tree, VENDOR) is None):
        made = file = _made(tree, default, reading)
        if file is None:
            return CmdlineEdit()
    elif reading.first_line_only and file is not None:
        _require_first_line(file)
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
        changed = conform_lines(
            cut,
            conformer,
            joined=not reading.first_line_only,
            target=_target(places, reading.path, conformer.catalogue),
        )
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
        if each is made:
            new = _new_file(tree, each, mine)
            edits += new.edits
            changes += new.changes
            continue
        if mine:
            edits.append(_edit(tree, each, mine, start, conformer.desired))
        changes += [
            Change(op_of(change), change.before, change.after, each.path, str(each.path), change.reason)
            for _, done in mine
            for change in done
        ]
    # The main file last: its time must not be older than that of GRUB's settings.
    return CmdlineEdit(tuple(changes), tuple(reversed(edits)), () if file is None else file.findings)


def _require_first_line(file: KernelCmdline) -> None:
    """Raise BootConfigError for a first line that proxmox-boot-tool does not take (zz-proxmox-boot)."""
    if not file.lines or file.lines[0].number > 1:
        raise BootConfigError(file.path, 1, "holds no parameter, and proxmox-boot-tool reads no other line")
    if not Cmdline.parse(file.first_line).named("root"):
        raise BootConfigError(file.path, 1, "has no root=, without which proxmox-boot-tool writes no entry")


def _target(places: list[tuple[KernelCmdline, CmdlineLine | None]], main: PurePosixPath, catalogue: Catalogue) -> int:
    """Which line takes additions: the first of the main file, else of the file that has parameters of the IOMMU.

    Files of packages take none.
    """
    firsts: dict[KernelCmdline, int] = {}
    for number, (file, _) in enumerate(places):
        if not file.path.is_relative_to(_VENDOR_FILES):
            firsts.setdefault(file, number)
    ranked = sorted(
        firsts, key=lambda file: (file.path != main, not any(map(catalogue.known, _names(file))), firsts[file])
    )
    return firsts[ranked[0]] if ranked else 0


def _names(file: KernelCmdline) -> tuple[str, ...]:
    return tuple(token.name for token in file.cmdline.parameters)


def _edit(
    tree: Tree,
    file: KernelCmdline,
    changed: list[tuple[CmdlineLine | None, tuple[TokenChange, ...]]],
    start: Cmdline,
    desired: DesiredArguments,
) -> FileEdit:
    if file.path.is_relative_to(_VENDOR_FILES):
        held = next((change.before for _, done in changed for change in done if change.before), None)
        message = "is the only place for parameters" if held is None else f"holds {held!r}"
        hint = f"write the parameters into {KERNEL_CMDLINE}, which comes before it, then run the same command again"
        raise BootConfigError(file.path, None, f"{message}, and belongs to a package", hint=hint)
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


def _made(tree: Tree, default: Cmdline | None, reading: Reading) -> KernelCmdline | None:
    """A file of one line, of the vendor's file or the default entry; None where no program needs it."""
    if reading.path != KERNEL_CMDLINE:
        raise BootConfigError(reading.path, None, "is missing, and images are built of it")
    vendor = read_file(tree, VENDOR)
    start = vendor.cmdline if vendor is not None else None if default is None else new_kernel_cmdline(default)
    # A vendor's file has a reader, whoever that is: what is in front of it counts.
    if start is None or not (vendor is not None or reading.is_read or has_reader(tree)):
        return None
    text = " ".join(token.text for token in start.tokens)
    return KernelCmdline(KERNEL_CMDLINE, text, (CmdlineLine(1, text, 0, len(text)),))


def _new_file(
    tree: Tree, made: KernelCmdline, changed: list[tuple[CmdlineLine | None, tuple[TokenChange, ...]]]
) -> CmdlineEdit:
    """The making of the file, where the next kernel would miss the profile without it."""
    is_of_vendor = read_file(tree, VENDOR) is not None
    if is_of_vendor and not changed:
        return CmdlineEdit()
    after = apply_changes(made.cmdline, (change for _, done in changed for change in done))
    source = str(VENDOR) if is_of_vendor else "the default entry"
    reason = f"made of {source}: without it a new kernel would boot with whatever runs when it is installed"
    edit = FileEdit(KERNEL_CMDLINE, FileClass.SOURCE, None, f"{after}\n".encode("utf-8", "surrogateescape"), reason)
    records = tuple(
        Change(Op.ADD, None, token.text, KERNEL_CMDLINE, str(KERNEL_CMDLINE), reason) for token in after.tokens
    )
    return CmdlineEdit(records, (edit,))
