# SPDX-License-Identifier: Apache-2.0
"""Entries: the Boot Loader Specification entries of a host, whose each one is, and which one boots by default."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.backends.base import Entry
from iommuctl.backends.entries import cmdlinefile
from iommuctl.backends.entries.versions import version_key
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import BlsEntry, is_entry_name, parse_entry
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.trial import is_trial_entry
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

OURS = "of this system"
RESCUE = "rescue entry: the way back"
INSIDE = "it starts a unified kernel image, with what is inside"
TRIAL = "entry of a trial boot, which goes when that is over"
ENTRIES_LIMIT = 10_000
ENTRY_LIMIT = 64 * 1024  # bytes
_OF_ANOTHER = "it belongs to the machine-id"
_MACHINE_ID_FILE = PurePosixPath("/etc/machine-id")
_ENTRY_TOKEN = PurePosixPath("/etc/kernel/entry-token")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
# What tells one installation from another next to its machine-id.
_ROOT_PARAMETERS = ("root", "rootflags")
_ROOT = "root="


class FoundEntry(NamedTuple):
    """One entry: its file, the line that the bootloader hands to the kernel, and whose it is, with the reason.

    `is_basis`: what a new source is made of, the default entry or what would be it among this system's.
    """

    entry: BlsEntry
    content: bytes
    cmdline: Cmdline
    ours: bool
    default: bool
    reason: str
    is_basis: bool = False

    @property
    def shown(self) -> Entry:
        """The entry as status shows it."""
        return Entry(
            id=self.entry.id,
            title=self.entry.value("title") or self.entry.id,
            kernel_release=self.entry.kernel_release,
            path=self.entry.path,
            cmdline=self.cmdline,
            rescue=self.entry.is_rescue,
            default=self.default,
            ours=self.ours,
            reason=self.reason,
        )


class Reading(NamedTuple):
    """How one bootloader reads entries: the command line that it makes of one, which of several it boots by default.

    `starts_image`: whether an entry starts a unified kernel image, which has a command line of its own inside.
    """

    cmdline: Callable[[BlsEntry], Cmdline]
    default: Callable[[Iterable[BlsEntry]], BlsEntry | None]
    starts_image: Callable[[BlsEntry], bool]


def survey_entries(
    tree: Tree, facts: Facts, folders: Iterable[PurePosixPath], reading: Reading
) -> tuple[FoundEntry, ...]:
    """Read every entry of the directories and tell whose it is.

    Another's is one that names another machine-id, by its key or its name, and one whose root= or rootflags= differ
    from those of the booted entry, or of the default one in a root that is not the running system.
    """
    files = dict(_files(tree, folders))
    entries = tuple(parse_entry(path, content.decode("utf-8", "surrogateescape")) for path, content in files.items())
    machine = _machine(tree)
    images = frozenset(entry.path for entry in entries if reading.starts_image(entry))
    own = [entry for entry in entries if entry.is_linux and not entry.is_rescue and entry.path not in images]
    own = [entry for entry in own if not is_trial_entry(entry.id)]
    default = reading.default(entries)
    own = [entry for entry in own if _is_of(machine, entry)]
    # One without root= is of an image that boots from itself, such as a recovery partition's.
    cmdlines = {entry.path: reading.cmdline(entry) for entry in entries}
    rooted = [entry for entry in own if _ROOT in str(cmdlines[entry.path])] or own
    # The choice among all of them is the choice among fewer that it is one of.
    basis = default if any(entry is default for entry in rooted) else reading.default(rooted)
    if not machine and basis is not None:
        machine = frozenset(basis.owners)
    booted = None
    if facts.runtime is not None:
        booted = Cmdline.parse(facts.runtime.cmdline)
    elif basis is not None:
        booted = _written(basis, cmdlines[basis.path])
    found: list[FoundEntry] = []
    for entry in entries:
        cmdline = cmdlines[entry.path]
        reason = INSIDE if entry.path in images else _left_alone(entry, _written(entry, cmdline), machine, booted)
        reason = TRIAL if is_trial_entry(entry.id) else reason
        found.append(
            FoundEntry(
                entry,
                files[entry.path],
                cmdline,
                ours=reason is None,
                default=entry is default,
                reason=OURS if reason is None else reason,
                is_basis=entry is basis and reason is None,
            )
        )
    return tuple(found)


def _files(tree: Tree, folders: Iterable[PurePosixPath]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Read the entry files. Raises BootConfigError beyond the limits."""
    for folder in folders:
        names = [name for name in tree.names(folder) if is_entry_name(name)]
        if len(names) > ENTRIES_LIMIT:
            raise BootConfigError(folder, None, f"holds more than {ENTRIES_LIMIT} entries")
        for name in names:
            content = tree.read(folder / name)
            if content is not None and len(content) > ENTRY_LIMIT:
                raise BootConfigError(folder / name, None, f"is larger than {ENTRY_LIMIT} bytes")
            if content is not None:
                yield folder / name, content


def require_ours(found: tuple[FoundEntry, ...], where: str) -> tuple[FoundEntry, ...]:
    """Return the entries of this system. Raises UnavailableError, with the others' reasons, where there are none."""
    ours = tuple(each for each in found if each.ours)
    if not ours:
        raise UnavailableError(
            f"no boot entry of this system in {where}",
            details=tuple(f"{each.entry.path}: {each.reason}" for each in found),
            hint=claim(found) or "mount the boot file system, or name the bootloader that boots with --backend",
        )
    return ours


def has_source(tree: Tree) -> bool:
    """Whether there is what the first kernel's entry will be made of."""
    return any(cmdlinefile.read_file(tree, path) is not None for path in (KERNEL_CMDLINE, cmdlinefile.VENDOR))


def claim(found: tuple[FoundEntry, ...]) -> str | None:
    """Return how entries of another machine-id become this system's, as after a new one was made; None without such."""
    left = (each.entry for each in found if each.reason.startswith(_OF_ANOTHER))
    owner = next((entry.owners[-1] for entry in left), None)
    return None if owner is None else f"if {owner} is what this system was, put it into {_ENTRY_TOKEN}"


def findings(found: tuple[FoundEntry, ...]) -> tuple[Finding, ...]:
    """Return which entries are left alone, and where the two bootloaders disagree about one."""
    told = [
        Finding(Rule.ENTRY_LEFT_ALONE, Severity.INFO, f"{each.entry.path} is left alone: {each.reason}")
        for each in found
        if not each.ours
    ]
    for each in found:
        options = each.entry.options
        if each.ours and len(options) > 1:
            message = (
                f"{each.entry.path}:{options[1].number}: systemd-boot joins all options lines, GRUB reads the first"
            )
            hint = "put all parameters on one line"
            told.append(Finding(Rule.BLS_OPTIONS_LINES, Severity.WARNING, message, hint=hint))
        stop = each.entry.grub_stop
        if each.ours and stop is not None and any(line.number > stop for line in options):
            message = f"{each.entry.path}:{stop}: GRUB reads nothing behind a blank line, systemd-boot passes over it"
            told.append(Finding(Rule.BLS_BLANK_LINE, Severity.WARNING, message, hint=f"remove line {stop}"))
    return tuple(told)


def default_not_ours(found: Iterable[FoundEntry], hint: Callable[[str], str]) -> tuple[Finding, ...]:
    """Return where the entry that boots by default gets nothing of a profile; `hint` is given the id of one that does.

    Silent where no entry of this system is there, which is said otherwise.
    """
    listed = tuple(found)
    default = next((each for each in listed if each.default and not each.ours), None)
    instead = next((each for each in listed if each.is_basis), None)
    if default is None or instead is None:
        return ()
    message = f"{default.entry.path} boots by default, and no profile changes it: {default.reason}"
    return (Finding(Rule.DEFAULT_ENTRY_NOT_OURS, Severity.WARNING, message, hint=hint(instead.entry.id)),)


def newest(entries: Iterable[BlsEntry]) -> BlsEntry | None:
    """The entry that GRUB sorts first: by its file's name, newest version first (rpmvercmp)."""
    return max(entries, key=lambda entry: version_key(entry.id), default=None)


def another_system(cmdline: Cmdline, booted: Cmdline | None) -> str | None:
    """Return how a command line's root= or rootflags= differ from those that this system boots with; None if not."""
    if booted is None:
        return None
    for name, here, there in zip(_ROOT_PARAMETERS, _root_of(cmdline), _root_of(booted), strict=True):
        if here != there:
            return f"another system: {_spelled(name, here)}, where this one has {_spelled(name, there)}"
    return None


def _machine(tree: Tree) -> frozenset[str]:
    """The machine-ids by which this system's entries may be named; empty for an image that has none yet."""
    texts = ((tree.read(path) or b"").decode("utf-8", "replace").strip() for path in (_MACHINE_ID_FILE, _ENTRY_TOKEN))
    return frozenset(text.lower() for text in texts if _MACHINE_ID.fullmatch(text.lower()))


def _is_of(machine: frozenset[str], entry: BlsEntry) -> bool:
    return not machine or machine.issuperset(entry.owners)


def _left_alone(entry: BlsEntry, cmdline: Cmdline, machine: frozenset[str], booted: Cmdline | None) -> str | None:
    """Why an entry is not ours to change; None for one that is."""
    if not entry.is_linux:
        return "it starts no Linux kernel"
    if not _is_of(machine, entry):
        other = next(owner for owner in entry.owners if owner not in machine)
        return f"{_OF_ANOTHER} {other}"
    if entry.is_rescue:
        return RESCUE
    return another_system(cmdline, booted)


def _written(entry: BlsEntry, cmdline: Cmdline) -> Cmdline:
    """What tells whose entry it is: its command line, else the options that its bootloader passes over."""
    return cmdline if cmdline.tokens else Cmdline.parse(" ".join(line.value for line in entry.options))


def _root_of(cmdline: Cmdline) -> tuple[str | None, ...]:
    """The values of the parameters that tell one installation from another: the last of each counts."""
    values: dict[str, str | None] = dict.fromkeys(_ROOT_PARAMETERS)
    values.update((one.key, one.value) for one in cmdline.parameters if one.key in values)
    return tuple(values.values())


def _spelled(name: str, value: str | None) -> str:
    return f"no {name}=" if value is None else f"{name}={value}"
