# SPDX-License-Identifier: Apache-2.0
"""Verify: what the running kernel does against what a profile promises. Pure; evidence that lies is not used.

The log is not asked: `DMAR: IOMMU enabled` and `Default domain type` are printed on machines without any IOMMU.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue, Grammar, Kind
from iommuctl.kernel.predict import DomainType, effective
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.running.exemption import Exemption, exempt
from iommuctl.running.firmware import tables_of
from iommuctl.running.promise import NEWEST, promise, shown, vendors
from iommuctl.running.state import SHOWS_LAZY, Group, Observed

VFIO_PCI = "vfio-pci"
# drivers/iommu/{intel,amd}/Kconfig, drivers/iommu/Kconfig: any of these drives the platform's units.
DRIVERS = {
    Platform.INTEL: ("CONFIG_INTEL_IOMMU",),
    Platform.AMD: ("CONFIG_AMD_IOMMU",),
    Platform.ARM64: ("CONFIG_ARM_SMMU_V3", "CONFIG_ARM_SMMU", "CONFIG_VIRTIO_IOMMU"),
}
# arch/x86/Kconfig, arch/arm64/Kconfig: the built-in line replaces that of the bootloader.
OVERRIDES = ("CONFIG_CMDLINE_OVERRIDE", "CONFIG_CMDLINE_FORCE")
_FIRMWARE_NAMES = {Platform.INTEL: "VT-d", Platform.AMD: "AMD-Vi (IOMMU)", Platform.ARM64: "the SMMU"}
_SHOWN_GROUPS = 5


class Result(StrEnum):
    """How one check came out; `skip` where nothing is promised or nothing can be told."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"


class Verdict(StrEnum):
    """What is the matter, the deepest cause first."""

    FIRMWARE_OFF = "firmware_off"
    NOT_APPLIED = "not_applied"
    IGNORED_BY_KERNEL = "ignored_by_kernel"
    DRIFT = "drift"
    ACTIVE = "active"


class Check(NamedTuple):
    """One thing that was compared. `means` is the verdict that follows where it failed."""

    name: str
    result: Result
    detail: str
    means: Verdict = Verdict.IGNORED_BY_KERNEL


class Verification(NamedTuple):
    """The verdict, what it rests on, and the groups that the kernel treats otherwise by its own rules."""

    profile: str
    verdict: Verdict
    checks: tuple[Check, ...]
    exemptions: tuple[Exemption, ...]

    @property
    def is_active(self) -> bool:
        """Whether the running kernel does what the profile promises."""
        return self.verdict is Verdict.ACTIVE

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result is Result.FAIL)


def verify(observed: Observed, desired: DesiredArguments, catalogue: Catalogue) -> Verification:
    """Compare what was observed with what the arguments promise."""
    return _Comparison(observed, desired, catalogue).verification()


class _Comparison:
    """One running kernel and one profile."""

    def __init__(self, observed: Observed, desired: DesiredArguments, catalogue: Catalogue) -> None:
        self.observed = observed
        self.desired = desired
        self.catalogue = catalogue
        self.platform = desired.platform
        self.vendors = vendors(observed, desired.platform)
        self.kernel = observed.kernel or NEWEST
        self.wanted = Cmdline.parse(" ".join(str(one) for one in desired.wanted))
        self.meant = promise(self.wanted, observed, desired.platform, NEWEST, catalogue)
        self.promised = promise(self.wanted, observed, desired.platform, self.kernel, catalogue)
        # A profile that sets nothing promises what the kernel does by itself, no IOMMU included.
        self.wants_units = bool(desired.wanted) and DomainType.OFF not in self.promised
        self.wants_none = bool(desired.wanted) and self.promised == {DomainType.OFF}

    def verification(self) -> Verification:
        """Make every check and draw the conclusion."""
        exemptions = tuple(self._exemptions())
        checks = (
            self._cmdline(),
            self._kernel_version(),
            *self._kernel_config(),
            self._environment(),
            self._firmware(),
            self._units(),
            *self._groups(exemptions),
            self._interrupts(),
            *self._modules(),
            *self._bindings(),
        )
        failed = {check.means for check in checks if check.result is Result.FAIL}
        verdict = next((verdict for verdict in Verdict if verdict in failed), Verdict.ACTIVE)
        return Verification(self.desired.profile, verdict, checks, exemptions)

    def _cmdline(self) -> Check:
        problems = Conformer(self.desired, self.catalogue).shortcomings(Cmdline.parse(self.observed.cmdline))
        if problems:
            return Check("cmdline", Result.FAIL, "; ".join(problems), Verdict.NOT_APPLIED)
        return Check("cmdline", Result.PASS, "the running kernel was started with the parameters of the profile")

    def _kernel_version(self) -> Check:
        if self.observed.kernel is None:
            return Check("kernel-version", Result.SKIP, f"no version in the release {self.observed.release!r}")
        if self.promised == self.meant:
            return Check("kernel-version", Result.PASS, f"{self.kernel} reads every parameter of the profile")
        kernel = Kernel.upstream(self.kernel)
        unread = [
            str(one)
            for one in self.desired.wanted
            if not any(self.catalogue.define(one.name).reads(vendor, kernel) for vendor in self.vendors)
        ]
        return Check("kernel-version", Result.FAIL, f"{self.kernel} does not read {' '.join(unread) or self.wanted}")

    def _kernel_config(self) -> Iterator[Check]:
        symbols = tuple(symbol for vendor in self.vendors for symbol in DRIVERS[vendor])
        built, source = self.observed.is_configured(*symbols), self.observed.config_source
        if built is None:
            yield Check("kernel-config", Result.SKIP, "the configuration of the running kernel cannot be read")
            return
        overrides = [symbol for symbol in OVERRIDES if self.observed.is_configured(symbol)]
        if overrides:
            detail = f"{overrides[0]}=y in {source}: the bootloader's command line is not read"
            yield Check("kernel-config", Result.FAIL, detail)
        elif built or not self.wants_units:
            yield Check("kernel-config", Result.PASS, f"nothing in {source} speaks against it")
        else:
            yield Check("kernel-config", Result.FAIL, f"built without {' and '.join(symbols)} ({source})")

    def _environment(self) -> Check:
        if self.observed.is_xen_host:
            return Check("environment", Result.FAIL, "Xen owns the IOMMU: a Linux host below it never looks for one")
        if self.observed.hypervisor is not None:
            return Check("environment", Result.SKIP, f"a guest of {self.observed.hypervisor}: what it sees is emulated")
        return Check("environment", Result.PASS, "no hypervisor shows")

    def _firmware(self) -> Check:
        name, tables = "firmware-tables", self.observed.firmware_tables
        expected = tables_of(self.vendors)
        found = sorted(set(expected) & (tables or set()))
        if found:
            return Check(name, Result.PASS, f"the firmware tells of an IOMMU: {' '.join(found)}")
        if tables is None:
            return Check(name, Result.SKIP, "no ACPI tables to look at")
        detail = f"the firmware tells of no IOMMU: none of {' '.join(expected)}"
        if self.observed.units or not self.wants_units:
            return Check(name, Result.SKIP, detail)
        switches = " or ".join(_FIRMWARE_NAMES[vendor] for vendor in self.vendors)
        guest = self.observed.hypervisor is not None
        way = "the host gives this guest none" if guest else f"switch {switches} on in its setup"
        return Check(name, Result.FAIL, f"{detail}; {way}", Verdict.FIRMWARE_OFF)

    def _units(self) -> Check:
        names = " ".join(unit.name for unit in self.observed.units)
        if self.wants_none:
            result = Result.FAIL if names else Result.PASS
            return Check("units", result, f"{names or 'no IOMMU'} active, none wanted")
        if names or not self.wants_units:
            return Check("units", Result.PASS if names else Result.SKIP, f"{names or 'no IOMMU'} active")
        return Check("units", Result.FAIL, "no IOMMU is active")

    @property
    def _allowed(self) -> frozenset[str]:
        return frozenset(shown(kind, self.kernel) for kind in self.promised if kind is not DomainType.OFF)

    @property
    def _typed(self) -> tuple[Group, ...]:
        return tuple(group for group in self.observed.real_groups if group.type is not None)

    def _exemptions(self) -> Iterator[Exemption]:
        if self.wants_none:
            return
        line = Cmdline.parse(self.observed.cmdline)
        variables = {
            name: value
            for vendor in self.vendors
            for name, value in effective(line, vendor, Kernel.upstream(self.kernel), self.catalogue).items()
        }
        types = self.promised - {DomainType.OFF}
        for group in self._typed:
            if group.type not in self._allowed and (
                found := exempt(group, types, self.observed, variables, self.platform)
            ):
                yield found

    def _groups(self, exemptions: tuple[Exemption, ...]) -> Iterator[Check]:
        name, allowed, groups = "group-types", self._allowed, self._typed
        if not groups or not allowed:
            untyped = "the kernel does not show the type of a group" if self.observed.real_groups else "no groups"
            yield Check(name, Result.SKIP, untyped if allowed else "no type is promised")
            return
        promised = " or ".join(sorted(allowed))
        exempted = {one.group for one in exemptions}
        right = [group for group in groups if group.type in allowed]
        wrong = [group for group in groups if group.type not in allowed and group.id not in exempted]
        counts = ", ".join(
            f"{count} {kind}" for kind, count in sorted(Counter(str(one.type) for one in groups).items())
        )
        if wrong:
            some = ", ".join(map(_named, wrong[:_SHOWN_GROUPS]))
            more = f" and {len(wrong) - _SHOWN_GROUPS} more" if len(wrong) > _SHOWN_GROUPS else ""
            hidden = any(device.capabilities is None for group in wrong for device in group.devices)
            hint = "; root sees more of these devices, and why" if hidden else ""
            means = Verdict.DRIFT if right else Verdict.IGNORED_BY_KERNEL
            yield Check(name, Result.FAIL, f"promised {promised}, found {some}{more}{hint}", means)
        else:
            rest = f"; {len(exempted)} otherwise by the kernel's own rules" if exempted else ""
            yield Check(name, Result.PASS, f"promised {promised}, found {counts}{rest}")
        if self.kernel < SHOWS_LAZY and allowed == {DomainType.DMA}:
            yield Check("strictness", Result.SKIP, "kernels before 5.15 show DMA for strict and for lazy domains")

    def _interrupts(self) -> Check:
        name, remapped = "interrupt-remapping", self.observed.interrupts_remapped
        if remapped:
            return Check(name, Result.PASS, "interrupts go through the IOMMU (IR- in /proc/interrupts)")
        if remapped is None or Platform.ARM64 in self.vendors or not self.wants_units:
            return Check(name, Result.SKIP, "nothing to tell it by, or nothing promised")
        if not self.observed.units:
            return Check(name, Result.SKIP, "no IOMMU is active")
        if any(unit.remaps_interrupts is False for unit in self.observed.units):
            return Check(name, Result.SKIP, "the hardware cannot (ECAP.IR is 0)")
        if self.observed.hypervisor is not None and Platform.AMD in self.vendors:
            return Check(name, Result.SKIP, "none, which an emulated AMD-Vi has only where its host gives it")
        return Check(name, Result.FAIL, "no interrupt goes through the IOMMU: a device can forge interrupts")

    def _modules(self) -> Iterator[Check]:
        problems = tuple(self._module_problems())
        if problems:
            yield Check("module-parameters", Result.FAIL, "; ".join(problems), Verdict.DRIFT)
        elif self.observed.modules:
            yield Check("module-parameters", Result.PASS, "none is against the profile")

    def _module_problems(self) -> Iterable[str]:
        for unwanted in self.desired.unwanted:
            definition = self.catalogue.define(unwanted.name)
            found = self.observed.modules.get(definition.name)
            if definition.kind is Kind.MODULE and definition.grammar is Grammar.BOOL and found is not None:
                value = definition.unsafe if unwanted.value is None else unwanted.value
                if value is not None and definition.matches(found, value):
                    yield f"{definition.name} is {found}: {unwanted.reason}"
        for wanted in self.desired.wanted:
            definition = self.catalogue.define(wanted.name)
            found = self.observed.modules.get(definition.name)
            if definition.kind is Kind.MODULE and found is not None and not definition.serves(found, wanted.value):
                yield f"{definition.name} is {found}, wanted {wanted.value}"

    def _bindings(self) -> Iterator[Check]:
        ids = [one.value or "" for one in self.desired.wanted if self.catalogue.define(one.name).name == "vfio-pci.ids"]
        wanted = {_id(item) for value in ids for item in value.split(",")}
        if not wanted:
            return
        devices = [device for device in self.observed.devices if (device.vendor, device.device) in wanted]
        others = [f"{device.address} has {device.driver}" for device in devices if device.driver != VFIO_PCI]
        if others:
            yield Check("device-binding", Result.FAIL, f"not with {VFIO_PCI}: {', '.join(others)}")
        elif devices:
            names = " ".join(device.address for device in devices)
            yield Check("device-binding", Result.PASS, f"with {VFIO_PCI}: {names}")
        else:
            yield Check("device-binding", Result.SKIP, "no device has one of these ids")


def _id(item: str) -> tuple[str, str]:
    vendor, _, rest = item.lower().partition(":")
    return vendor.rjust(4, "0"), rest.split(":")[0].rjust(4, "0")


def _named(group: Group) -> str:
    devices = " ".join(device.address for device in group.devices)
    return f"group {group.id} ({devices}) {group.type}"
