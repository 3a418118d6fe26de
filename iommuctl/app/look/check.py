# SPDX-License-Identifier: Apache-2.0
"""Check: whether this host can do what a profile asks for, and whether iommuctl can ask for it. Changes nothing."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import PurePosixPath

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host, facts_of, survey_host
from iommuctl.app.look.profiles import find_profile
from iommuctl.app.look.running import observe_host
from iommuctl.backends.base import BootConfig
from iommuctl.backends.detection.bootmounts import MOUNT_POINTS
from iommuctl.errors import IommuctlError, NotPermittedError
from iommuctl.facts import COMMAND_LINE_SIZE, Platform
from iommuctl.findings import DeclaredRule, Rule
from iommuctl.host.probe import read_runtime
from iommuctl.host.space import Volume, read_volume
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import parse_kernels
from iommuctl.kernel.parameters import Catalogue
from iommuctl.lint.engine import Subject, lint
from iommuctl.lint.hardware_rules import HARDWARE_RULES
from iommuctl.lint.neighbour_rules import NEIGHBOUR_RULES
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.effect.promise import vendors
from iommuctl.running.environment import read_surroundings
from iommuctl.running.firmware import tables_of
from iommuctl.running.state import Observed
from iommuctl.running.sysfs import Security, read_security
from iommuctl.running.verify import DRIVERS, OVERRIDES
from iommuctl.transaction.preflight import GENERATED_RESERVE, STATE_RESERVE
from iommuctl.value import NamedTuple

# Where a change writes: the sources, the menus and entries, the snapshots.
_WRITTEN = {
    "room-etc": PurePosixPath("/etc"),
    "room-boot": PurePosixPath("/boot"),
    "room-var": PurePosixPath("/var/lib/iommuctl"),
}
# Next to the old contents a change needs room for its records and for a generated file that grew.
SPACE = STATE_RESERVE + GENERATED_RESERVE
_UNIT = 1024
# Between them they ask for each mode of the IOMMU that can hurt a host.
_JUDGED_PROFILES = ("passthrough-perf", "strict-isolation")


class Outcome(StrEnum):
    """How one item came out; `unknown` where nothing decides it."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    UNKNOWN = "unknown"


class CheckItem(NamedTuple):
    """One thing that was looked at, the evidence, and what to do about it where it failed."""

    name: str
    outcome: Outcome
    evidence: str
    remedy: str | None = None


class CheckResult(NamedTuple):
    """Every item, in a fixed order."""

    items: tuple[CheckItem, ...]

    @property
    def is_able(self) -> bool:
        """Whether nothing failed."""
        return all(item.outcome is not Outcome.FAIL for item in self.items)

    @property
    def sentence(self) -> str:
        """Whether this host can do what a profile asks for, and what to do first where it cannot."""
        failed = [item for item in self.items if item.outcome is Outcome.FAIL]
        if failed:
            first = failed[0].remedy or f"look at {failed[0].name}: {failed[0].evidence}"
            rest = f" ({len(failed) - 1} more after that)" if len(failed) > 1 else ""
            return f"this host cannot do it yet; first: {first}{rest}"
        open_questions = [item.name for item in self.items if item.outcome is Outcome.UNKNOWN]
        untold = f"; not known: {', '.join(open_questions)}" if open_questions else ""
        return f"this host can do it{untold}"


def check_host(host: Host, *, platform: Platform | None, backend: str | None) -> CheckResult:
    """Look at everything that a change and its effect depend on.

    Raises UsageError for another root, UnavailableError on a machine that no profile speaks of.
    """
    catalogue = shipped_catalogue()
    observed = observe_host(host, catalogue, "check")
    of_host = facts_of(host, platform).platform
    return CheckResult(
        (
            *machine_items(observed, of_host, catalogue),
            *_boot_items(host, of_host, platform, backend),
            *(_room(host, name, folder) for name, folder in (*_WRITTEN.items(), *_boot_mounts(host))),
            *security_items(read_security(host.root)),
            *_harm_items(host, catalogue, platform, observed),
            *_interrupted_items(host),
        )
    )


def _interrupted_items(host: Host) -> Iterator[CheckItem]:
    """Return what is to be known of an interrupted run; nothing where there is none."""
    for one in interrupted_findings(host):
        outcome = Outcome.FAIL if one.rule is Rule.INTERRUPTED_RUN else Outcome.UNKNOWN
        yield CheckItem(one.rule, outcome, f"{one.message}: {one.hint}")


def machine_items(observed: Observed, platform: Platform, catalogue: Catalogue) -> Iterator[CheckItem]:
    """Judge the machine and its kernel, as far as an IOMMU goes."""
    meant = vendors(observed, platform)
    vendor = observed.cpu_vendor or "no vendor told"
    yield CheckItem(
        "cpu-vendor", Outcome.UNKNOWN if platform is Platform.X86 else Outcome.PASS, f"{vendor}: {platform}"
    )
    yield _tables(observed, meant)
    units = " ".join(unit.name for unit in observed.units)
    yield CheckItem("iommu", Outcome.PASS if units else Outcome.UNKNOWN, f"active now: {units or 'none'}")
    yield from _configuration(observed, meant, catalogue)
    guest = observed.hypervisor
    yield CheckItem(
        "guest", Outcome.UNKNOWN if guest else Outcome.PASS, f"a guest of {guest}" if guest else "bare metal"
    )
    if observed.is_xen_host:
        remedy = "set iommu= and dom0-iommu= on the hypervisor's own line"
        evidence = "Xen owns the IOMMU, and no parameter of Linux reaches it"
        yield CheckItem("xen", Outcome.FAIL, evidence, remedy)
    else:
        yield CheckItem("xen", Outcome.PASS, "no Xen host")


def security_items(security: Security) -> Iterator[CheckItem]:
    """Return what signs and locks there are; neither forbids parameters, except in a signed image."""
    match security.secure_boot:
        case None:
            yield CheckItem("secure-boot", Outcome.UNKNOWN, "no EFI variable SecureBoot (no EFI, or not readable)")
        case False:
            yield CheckItem("secure-boot", Outcome.PASS, "off")
        case True:
            evidence = "on: a command line inside a signed image (UKI) changes only with a new signature"
            yield CheckItem("secure-boot", Outcome.PASS, evidence)
    mode = security.lockdown
    yield CheckItem("lockdown", Outcome.PASS if mode else Outcome.UNKNOWN, mode or "the kernel does not tell")


def _tables(observed: Observed, meant: tuple[Platform, ...]) -> CheckItem:
    expected = tables_of(meant)
    if observed.firmware_tables is None:
        return CheckItem("firmware-tables", Outcome.UNKNOWN, "no ACPI tables to look at")
    found = [name for name in expected if name in observed.firmware_tables]
    if found:
        return CheckItem("firmware-tables", Outcome.PASS, " ".join(found))
    if observed.units:
        return CheckItem(
            "firmware-tables", Outcome.PASS, f"none of {' '.join(expected)}, and units are active all the same"
        )
    why, remedy = (
        "the IOMMU is off in the firmware, or there is none",
        "switch VT-d, AMD-Vi or the SMMU on in the firmware",
    )
    if observed.hypervisor is not None:
        why, remedy = "the host gives this guest none", "give this guest a virtual IOMMU on its host"
    return CheckItem("firmware-tables", Outcome.FAIL, f"none of {' '.join(expected)}: {why}", remedy)


def _configuration(observed: Observed, meant: tuple[Platform, ...], catalogue: Catalogue) -> Iterator[CheckItem]:
    if observed.config is None:
        yield CheckItem("kernel-config", Outcome.UNKNOWN, f"no configuration of kernel {observed.release} can be read")
        return
    drivers = [symbol for vendor in meant for symbol in DRIVERS[vendor]]
    defaults = {
        symbol
        for definition in catalogue.definitions
        if definition.acting & set(meant)
        for symbol in definition.kconfig
    }
    symbols = dict.fromkeys((*drivers, *sorted(defaults)))
    told = [f"{symbol}={observed.config.get(symbol, 'n')}" for symbol in symbols]
    evidence = f"{observed.config_source}: {' '.join(told)}"
    if observed.is_configured(*drivers) or observed.units:
        yield CheckItem("kernel-config", Outcome.PASS, evidence)
    else:
        missing = " nor ".join(drivers)
        remedy = f"boot a kernel with {' or '.join(drivers)} (kernel {observed.release} has none)"
        yield CheckItem("kernel-config", Outcome.FAIL, f"no {missing} in {observed.config_source}", remedy)
    overrides = [symbol for symbol in OVERRIDES if observed.is_configured(symbol)]
    if overrides:
        reads = f"{overrides[0]}=y: the built-in one, and nothing of what the bootloader says"
        yield CheckItem("command-line-read", Outcome.FAIL, reads, f"boot a kernel without {overrides[0]}")
    else:
        reads = "that of the bootloader, which no built-in one replaces"
        yield CheckItem("command-line-read", Outcome.PASS, reads)


def _boot_items(host: Host, of_host: Platform, platform: Platform | None, backend: str | None) -> Iterator[CheckItem]:
    try:
        found = survey_host(host, platform=platform, backend=backend)
    except IommuctlError as error:
        yield _refused("bootloader", error)
        return
    told = "; ".join(f"{one.probe}: {one.found}" for one in found.evidence)
    yield CheckItem("bootloader", Outcome.PASS, f"{found.backend.name} ({told})")
    try:
        config = found.backend.read(found.tree, found.facts)
    except IommuctlError as error:
        yield _refused("boot-configuration", error)
        return
    ours = sum(entry.ours and not entry.rescue for entry in config.entries)
    yield CheckItem("boot-configuration", Outcome.PASS, f"{ours} of {len(config.entries)} entries can be changed")
    yield length_item(config, of_host)


def length_item(config: BootConfig, platform: Platform) -> CheckItem:
    """Compare the longest command line with what the kernel reads; it cuts off the rest without a word."""
    lines = [config.future.cmdline, *(entry.cmdline for entry in config.entries if entry.ours)]
    longest = max((len(str(line).encode("utf-8", "surrogateescape")) for line in lines if line is not None), default=0)
    limit = COMMAND_LINE_SIZE[platform] - 1
    evidence = f"the longest has {longest} of {limit} bytes"
    if longest <= limit:
        return CheckItem("command-line-length", Outcome.PASS, evidence)
    return CheckItem("command-line-length", Outcome.FAIL, evidence, "take parameters away that nothing needs")


def _refused(name: str, error: IommuctlError) -> CheckItem:
    """What could not be read: unknown where root could, else a failure, as an apply would end with it."""
    outcome = Outcome.UNKNOWN if isinstance(error, NotPermittedError) else Outcome.FAIL
    remedy = error.hint if outcome is Outcome.FAIL else None
    return CheckItem(name, outcome, "; ".join((error.brief, *error.details)), remedy)


def _harm_items(host: Host, catalogue: Catalogue, platform: Platform | None, observed: Observed) -> Iterator[CheckItem]:
    """Say what the shipped profiles would do to this host that is not looked at above: nothing forbids them."""
    facts = facts_of(host, platform)
    surroundings = read_surroundings(host.root, facts._replace(runtime=read_runtime(host.root)), host.root.read_device)
    found: dict[tuple[Rule | DeclaredRule, str], list[str]] = {}
    for name in _JUDGED_PROFILES:
        desired = resolve(find_profile(host, name), catalogue, facts, {})
        line = Cmdline.parse(" ".join(map(str, desired.wanted)))
        kernels = parse_kernels((*facts.kernels, observed.release))
        subject = Subject(line, catalogue, facts.platform, kernels, desired, surroundings, observed.devices)
        for one in lint(subject, (*HARDWARE_RULES, *NEIGHBOUR_RULES)):
            found.setdefault((one.rule, one.message), []).append(name)
    for (rule, message), names in found.items():
        yield CheckItem(rule, Outcome.UNKNOWN, f"with {' or '.join(names)}: {message}")


def _boot_mounts(host: Host) -> Iterator[tuple[str, PurePosixPath]]:
    """The other boot file systems that are mounted, which hold entries and images."""
    mounted = read_runtime(host.root).mounts
    for point in MOUNT_POINTS:
        if str(point) in mounted and point not in _WRITTEN.values():
            yield f"room-{'-'.join(point.parts[1:])}", point


def _room(host: Host, name: str, folder: PurePosixPath) -> CheckItem:
    try:
        return room_item(name, read_volume(host.root, folder))
    except IommuctlError as error:
        return _refused(name, error)


def readable(size: int) -> str:
    """Return a size as people read it: in the largest unit of which there is at least one."""
    scaled, *units = float(size), "bytes", "KiB", "MiB", "GiB", "TiB"
    for unit in units[:-1]:
        if scaled < _UNIT:
            return f"{scaled:.0f} {unit}" if unit == units[0] or scaled == int(scaled) else f"{scaled:.1f} {unit}"
        scaled /= _UNIT
    return f"{scaled:.1f} {units[-1]}"


def room_item(name: str, volume: Volume) -> CheckItem:
    """Judge whether a change could be written there."""
    evidence = f"{volume.folder}: {readable(volume.free)} free"
    if volume.is_read_only:
        remedy = f"mount -o remount,rw {volume.folder}"
        return CheckItem(name, Outcome.FAIL, f"{evidence}, mounted read-only", remedy)
    if volume.free < SPACE:
        remedy = f"free {readable(SPACE - volume.free)} in {volume.folder}"
        return CheckItem(name, Outcome.FAIL, f"{evidence}, {readable(SPACE)} needed", remedy)
    if not volume.is_writable:
        evidence = f"{evidence}, not writable by this user: run as root (sudo)"
        return CheckItem(name, Outcome.FAIL, evidence, "sudo iommuctl check")
    return CheckItem(name, Outcome.PASS, f"{evidence}, writable")
