# SPDX-License-Identifier: Apache-2.0
"""Verify: what the running kernel does against what a profile promises. Pure; evidence that lies is not used.

What the groups do decides; command line, version and configuration only say why it is missing. The log is not asked:
`DMAR: IOMMU enabled` and `Default domain type` are printed on machines without any IOMMU.
"""

from collections.abc import Iterator

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Assignment, Catalogue
from iommuctl.kernel.predict import DomainType
from iommuctl.kernel.tables import behaviour
from iommuctl.profile.beside import NONE
from iommuctl.profile.desired import DesiredArguments
from iommuctl.running.effect.beside import BESIDE, judge_beside
from iommuctl.running.effect.devices import UNKNOWN, Around, Named, judge_devices
from iommuctl.running.effect.difference import compare_line, conformed, variables
from iommuctl.running.effect.exemption import Exemption, Situation, exempt
from iommuctl.running.effect.group_types import Promised, judge_groups
from iommuctl.running.effect.modules import judge_modules
from iommuctl.running.effect.promise import promise, shows_lazy, vendors
from iommuctl.running.effect.reading import Reading, named, read_assignment
from iommuctl.running.effect.snp import judge_snp, overruling
from iommuctl.running.effect.ungrouped import judge_ungrouped
from iommuctl.running.firmware import tables_of
from iommuctl.running.state import Observed
from iommuctl.running.verdict import Agent, Check, Verdict, Verification, failure, success, untold

# drivers/iommu/{intel,amd}/Kconfig, drivers/iommu/Kconfig: any of these drives the platform's units.
DRIVERS = {
    Platform.INTEL: ("CONFIG_INTEL_IOMMU",),
    Platform.AMD: ("CONFIG_AMD_IOMMU",),
    Platform.ARM64: ("CONFIG_ARM_SMMU_V3", "CONFIG_ARM_SMMU", "CONFIG_APPLE_DART", "CONFIG_VIRTIO_IOMMU"),
}
# arch/x86/Kconfig, arch/arm64/Kconfig: the built-in line replaces that of the bootloader.
OVERRIDES = ("CONFIG_CMDLINE_OVERRIDE", "CONFIG_CMDLINE_FORCE")
_DOMAIN = frozenset({"iommu.passthrough", "iommu.strict"})
_FIRMWARE_NAMES = {Platform.INTEL: "VT-d", Platform.AMD: "AMD-Vi (IOMMU)", Platform.ARM64: "the SMMU"}


def verify(
    observed: Observed,
    desired: DesiredArguments,
    catalogue: Catalogue,
    beside: DesiredArguments | None = None,
    around: Around = UNKNOWN,
) -> Verification:
    """Compare what was observed with what the arguments promise, and the line with what is kept next to them.

    `around` is what is known of the devices that are not named.
    """
    return _Comparison(observed, desired, catalogue, beside, around).verification()


class _Comparison:
    """One running kernel and one profile."""

    def __init__(
        self,
        observed: Observed,
        desired: DesiredArguments,
        catalogue: Catalogue,
        beside: DesiredArguments | None,
        around: Around,
    ) -> None:
        self.observed = observed
        self.desired = desired
        self.beside = beside
        self.around = around
        self.catalogue = catalogue
        self.vendors = vendors(observed, desired.platform)
        self.kernel = Kernel.parse(observed.release)
        self.cmdline = Cmdline.parse(observed.cmdline)
        self.wanted = Cmdline.parse(" ".join(str(one) for one in desired.wanted))
        asked = variables(self.wanted, self.vendors, catalogue)
        line = conformed(self.cmdline, desired, catalogue)
        is_default = not desired.wanted
        types = promise(line, observed, desired.platform, self.kernel, catalogue, by_line=is_default)
        if types == {DomainType.OFF} and asked.keys() & _DOMAIN:
            # Asking how devices are translated is asking for an IOMMU, also where the profile turns none on.
            types = promise(line, observed, desired.platform, self.kernel, catalogue, is_on=True)
        # A profile that sets nothing promises what the kernel does by itself, no IOMMU included.
        self.wants_units = bool(desired.wanted) and DomainType.OFF not in types
        self.wants_none = bool(desired.wanted) and types == {DomainType.OFF}
        self.promised = Promised(
            types=frozenset(types - {DomainType.OFF}),
            domain=self._reading("iommu.passthrough", types == {DomainType.IDENTITY}),
            strictness=self._reading("iommu.strict", types == {DomainType.DMA}),
            shows_lazy=shows_lazy(observed, self.kernel),
            strict_by_default=Platform.ARM64 in self.vendors,
            is_default=is_default,
        )
        self.difference = compare_line(
            self.cmdline,
            observed,
            self.kernel,
            desired,
            self.vendors,
            catalogue,
            shows_types=self.promised.is_one or self.wants_none,
        )
        self.variables = variables(self.cmdline, self.vendors, catalogue)
        self.situation = Situation(
            observed, self.kernel, self.variables, self.vendors, asked.get("intel_iommu:state") == "on"
        )
        self.promised = self.promised._replace(overruled_by=overruling(self.situation))

    def verification(self) -> Verification:
        """Make every check and draw the conclusion."""
        exemptions = () if self.wants_none else tuple(self._exemptions())
        groups = self.observed.real_groups
        has_units = bool(self.observed.units)
        effects = (
            self._units(),
            *judge_groups(groups, self.promised, exemptions, has_units=has_units),
            *judge_ungrouped(self.situation, self.promised.types, is_default=self.promised.is_default),
            self._interrupts(),
            *judge_snp(self.situation, self.promised.types),
            *judge_modules(self.observed, self.desired, self.catalogue),
            *judge_devices(self.observed, Named.of(self.wanted), self.cmdline, self.around),
        )
        missing = frozenset(check.name for check in effects if check.means is not Verdict.ACTIVE)
        is_there = not missing
        checks = (
            self._cmdline(missing),
            *(() if self.beside is None else (judge_beside(self.cmdline, self.beside, self.catalogue),)),
            self._kernel_version(),
            *self._kernel_config(is_there=is_there),
            self._environment(),
            self._firmware(),
            *effects,
        )
        verdict = next(verdict for verdict in Verdict if any(check.means is verdict for check in checks))
        certain = tuple(one for one in exemptions if one.is_certain)
        by = self._agent() if verdict is Verdict.ACTIVE else None
        return Verification(self.desired.profile, verdict, by, self._sentence(verdict, checks), checks, certain)

    def _reading(self, variable: str, value: bool) -> Reading:  # noqa: FBT001 - the value of the variable
        wanted = Assignment(variable, str(int(value)))
        return read_assignment(wanted, self.cmdline, self.kernel, self.vendors, self.catalogue)

    def _exemptions(self) -> Iterator[Exemption]:
        for group in self.observed.real_groups:
            if not self.promised.allows(group.type) and (found := exempt(group, self.promised.types, self.situation)):
                yield found

    def _sentence(self, verdict: Verdict, checks: tuple[Check, ...]) -> str:
        """Name what decided: of an active profile what the groups do, of any other the first check that means it."""
        if verdict is not Verdict.ACTIVE:
            return next(check.detail for check in checks if check.means is verdict)
        if self.desired.profile == NONE:
            return next(check.detail for check in checks if check.name == BESIDE)
        if self.wants_none:
            return "no IOMMU is active"
        typed = [group for group in self.observed.real_groups if group.type is not None]
        right = [group for group in typed if self.promised.allows(group.type)]
        if not right:
            kinds = " or ".join(sorted({str(group.type) for group in typed}))
            if not typed:
                return "nothing is promised that shows"
            if not self.promised.types:
                return f"nothing is promised of the groups, which are {kinds}"
            return f"{_every(len(typed))} {kinds} by the kernel's own rules, not {self.promised}"
        kinds = " or ".join(sorted({str(group.type) for group in right}))
        if len(right) < len(typed):
            rest = len(typed) - len(right)
            return f"{len(right)} of {len(typed)} groups are {kinds}, {rest} otherwise by the kernel's own rules"
        return f"{_every(len(right))} {kinds}"

    def _agent(self) -> Agent:
        unread = self.promised.domain.is_read is False or (
            self.promised.strictness.is_read is False and DomainType.IDENTITY not in self.promised.types
        )
        asked = bool(self.desired.wanted) and not self.difference.missing and not unread
        return Agent.COMMAND_LINE if asked or self.desired.profile == NONE else Agent.KERNEL_DEFAULT

    def _cmdline(self, missing: frozenset[str]) -> Check:
        """Judge the line by its effect: `missing` are the checks of the effect that did not come out well."""
        name, words = "cmdline", "; ".join(self.difference.words)
        if not words:
            return success(name, "the running kernel was started with the parameters of the profile")
        if self.difference.unjudged or any(checks & missing for checks in self.difference.judged.values()):
            return failure(name, words, Verdict.NOT_APPLIED)
        unasked = self.difference.missing & self.difference.judged.keys()
        return untold(name, f"{words}; {'the kernel does it all the same' if unasked else 'without effect here'}")

    def _kernel_version(self) -> Check:
        name = "kernel-version"
        if self.kernel is None:
            return untold(name, f"no version in the release {self.observed.release!r}")
        readings = [one for one in (self.promised.domain, self.promised.strictness) if one.asked]
        unknown = [str(one) for one in readings if not one.is_read]
        if unknown:
            return untold(name, "; ".join(unknown))
        reads = " reads what its line says of the profile" if readings else ""
        return success(name, f"{named(self.kernel)}{reads}")

    def _kernel_config(self, *, is_there: bool) -> Iterator[Check]:
        name = "kernel-config"
        symbols = tuple(symbol for vendor in self.vendors for symbol in DRIVERS[vendor])
        built, source = self.observed.is_configured(*symbols), self.observed.config_source
        if built is None:
            yield untold(name, "the configuration of the running kernel cannot be read")
            return
        overrides = [symbol for symbol in OVERRIDES if self.observed.is_configured(symbol)]
        if overrides:
            detail = f"{overrides[0]}=y in {source}: the bootloader's command line is not read"
            yield untold(name, detail) if is_there else failure(name, detail)
        elif built or self.observed.units or not self.wants_units:
            yield success(name, f"nothing in {source} speaks against it")
        else:
            yield failure(name, f"built without {' and '.join(symbols)} ({source})")

    def _environment(self) -> Check:
        name = "environment"
        if self.observed.is_xen_host:
            detail = "Xen owns the IOMMU: a Linux host below it never looks for one"
            return failure(name, detail, Verdict.HYPERVISOR) if self.desired.wanted else untold(name, detail)
        if self.observed.hypervisor is not None:
            return untold(name, f"a guest of {self.observed.hypervisor}: what it sees is emulated")
        return success(name, "no hypervisor shows")

    def _firmware(self) -> Check:
        name, tables = "firmware-tables", self.observed.firmware_tables
        expected = tables_of(self.vendors)
        found = sorted(set(expected) & (tables or set()))
        refused = found and self.wants_units and not self.observed.real_groups
        if refused and (why := self._hardware_refuses()) is not None:
            return failure(name, f"{' '.join(found)}: {why}", Verdict.FIRMWARE_OFF)
        if found:
            return success(name, f"the firmware tells of an IOMMU: {' '.join(found)}")
        if tables is None:
            return untold(name, "no ACPI tables to look at")
        detail = f"the firmware tells of no IOMMU: none of {' '.join(expected)}"
        if self.observed.units or not self.wants_units:
            return untold(name, detail)
        switches = " or ".join(_FIRMWARE_NAMES[vendor] for vendor in self.vendors)
        guest = self.observed.hypervisor is not None
        way = "the host gives this guest none" if guest else f"switch {switches} on in its setup"
        return failure(name, f"{detail}; {way}", Verdict.FIRMWARE_OFF)

    def _hardware_refuses(self) -> str | None:
        """Return why hardware or firmware keeps an IOMMU off that its table tells of and that the kernel drives."""
        if "iommu:off" in self.variables:
            return None
        for vendor in self.vendors:
            match vendor:
                case Platform.INTEL:
                    asked = self.variables.get("intel_iommu:state") == "on"
                    if asked and self.situation.does(behaviour.OPT_OUT_BEATS_LINE):
                        return f"the firmware can opt out of DMA remapping in it, and {named(self.kernel)} obeys"
                case Platform.AMD:
                    alive = bool(self.observed.units) or self.observed.interrupts_remapped
                    asked = "amd_iommu:off" not in self.variables
                    if alive and asked and self.situation.does(behaviour.MAY_LACK_HOST_TRANSLATION):
                        return "the unit serves interrupts alone: its host translation is off in hardware (HATDis)"
                case _:
                    pass
        return None

    def _units(self) -> Check:
        name, names = "units", " ".join(unit.name for unit in self.observed.units)
        if self.wants_none:
            detail = f"{names or 'no IOMMU'} active, none wanted"
            return failure(name, detail) if names else success(name, detail)
        if names:
            return success(name, f"{names} active")
        if self.observed.is_hidden and self.wants_units:
            return untold(name, "the units and groups may not be listed by this user", Verdict.UNPROVEN)
        return failure(name, "no IOMMU is active") if self.wants_units else untold(name, "no IOMMU active")

    def _interrupts(self) -> Check:
        name, remapped = "interrupt-remapping", self.observed.interrupts_remapped
        if remapped:
            return success(name, "interrupts go through the IOMMU (IR- in /proc/interrupts)")
        if remapped is None or Platform.ARM64 in self.vendors or not self.wants_units:
            return untold(name, "nothing to tell it by, or nothing promised")
        if not self.observed.units:
            return untold(name, "no IOMMU is active")
        if all(unit.platform is None for unit in self.observed.units):
            return untold(name, "units of this kind remap no interrupts")
        if any(unit.remaps_interrupts is False for unit in self.observed.units):
            return untold(name, "the hardware cannot (ECAP.IR is 0)")
        if self.observed.hypervisor is not None and Platform.AMD in self.vendors:
            return untold(name, "none, which an emulated AMD-Vi has only where its host gives it")
        return failure(name, "no interrupt goes through the IOMMU: a device can forge interrupts")


def _every(count: int) -> str:
    return "the only group is" if count == 1 else f"all {count} groups are"
