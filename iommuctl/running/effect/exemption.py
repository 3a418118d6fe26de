# SPDX-License-Identifier: Apache-2.0
"""Exemption: why a kernel gives a group another default domain type than the command line asks for. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from iommuctl.facts import Platform
from iommuctl.kernel.lines import Kernel, Line
from iommuctl.kernel.predict import DomainType, defaults
from iommuctl.kernel.span import Spans
from iommuctl.kernel.tables import behaviour
from iommuctl.running.state import Device, ExtendedCapability, Group, Observed, PortType, Unit
from iommuctl.value import NamedTuple

# drivers/iommu/intel/iommu.c: IS_AZALIA, moved to identity where the firmware gave its unit no TLB entries.
_AZALIA = ("8086", "3a3e")
# drivers/iommu/intel/iommu.c: quirk_calpella_no_shadow_gtt, the host bridges of Ironlake.
_IRONLAKE = frozenset({("8086", "0040"), ("8086", "0044"), ("8086", "0062"), ("8086", "006a")})
# drivers/iommu/intel/iommu.c: quirk_iommu_igfx, host bridges of G4x and GM45 and the graphics of Broadwell.
_GRAPHICS_QUIRK = frozenset(
    ("8086", ident)
    for ident in (
        *("2a40", "2e00", "2e10", "2e20", "2e30", "2e40", "2e90"),
        *("1606", "160b", "160e", "1602", "160a", "160d", "1616", "161b", "161e", "1612", "161a", "161d"),
        *("1626", "162b", "162e", "1622", "162a", "162d", "1636", "163b", "163e", "1632", "163a", "163d"),
    )
)
# drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c: IS_HISI_PTT_DEVICE
_PTT = ("19e5", "a12e")
# Lines that take few changes of the IOMMU over. A rule only names the reason for what was seen, so of their kernels the
# number counts, as of upstream's.
_NEAR_UPSTREAM = frozenset({Line.UBUNTU, Line.PVE, Line.FEDORA, Line.ARCH, Line.AMAZON, Line.AZURE})
_ATS_PRI_PASID = frozenset({ExtendedCapability.ATS, ExtendedCapability.PRI, ExtendedCapability.PASID})
_TRANSLATED = frozenset({DomainType.DMA, DomainType.DMA_FQ})
_UNTRUSTED = "the device is behind an external port and not trusted, so it is translated, and strictly"
_MAYBE_UNTRUSTED = (
    "a device after an external port would be translated whatever is asked, and this kernel does not show which are"
)
# drivers/iommu/iommu.c iommu_group_show_type: what it says of a group that has no default domain.
_NO_DOMAIN = "unknown"
_WITHOUT_DOMAIN = "its driver gave the group no default domain, so nothing shows what these devices reach"
_PASID = "AMD leaves devices with PASID untranslated without force_isolation"
_HIDDEN = "its capabilities, which root alone may read, would tell whether the kernel has to"


class Situation(NamedTuple):
    """What the kernel's own rules depend on next to the groups.

    `variables` are those that the running command line sets (predict.effective). `vendors` are the concrete platforms
    that may be meant. `wants_vtd`: the profile asks for intel_iommu=on, which takes Debian's exception back.
    """

    observed: Observed
    kernel: Kernel | None
    variables: Mapping[str, str]
    vendors: tuple[Platform, ...]
    wants_vtd: bool = False

    def does(self, rule: Spans) -> bool | None:
        """Whether the running kernel has a rule (kernel.tables.behaviour); None where nothing tells."""
        if self.kernel is None:
            return None
        known = rule.cover(self.kernel)
        near = known is None and self.kernel.line in _NEAR_UPSTREAM
        return rule.upstream.covers(self.kernel.base, self.kernel.base) if near else known

    @property
    def spares_gpu(self) -> bool:
        """Whether the kernel was configured to leave the integrated GPU out (Debian)."""
        configured = self.observed.is_configured("CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF")
        if configured is None and self.kernel is not None:
            return defaults(Platform.INTEL, self.kernel).spares_gpu is True
        return configured is True


class Exemption(NamedTuple):
    """One group that the kernel treats otherwise by its own rules, and why.

    `is_certain` False: a rule could be the reason, and what would tell cannot be seen.
    """

    group: int
    type: str
    devices: tuple[str, ...]
    reason: str
    is_certain: bool = True


class _Reason(NamedTuple):
    devices: tuple[Device, ...]
    text: str
    is_certain: bool = True


def exempt(group: Group, promised: frozenset[DomainType], situation: Situation) -> Exemption | None:
    """Return the reason for which the kernel leaves the promise on one group, a certain one first; None where no rule
    that is known can be it.
    """
    if group.type is None:
        return None
    if group.type == _NO_DOMAIN:
        addresses = tuple(device.address for device in group.devices)
        return Exemption(group.id, group.type, addresses, _WITHOUT_DOMAIN, is_certain=False)
    reasons = [one for one in _reasons(group, promised, situation) if one.devices]
    best = next((one for one in reasons if one.is_certain), next(iter(reasons), None))
    if best is None:
        return None
    return Exemption(group.id, group.type, tuple(device.address for device in best.devices), best.text, best.is_certain)


def maps_no_graphics(situation: Situation) -> str | None:
    """Return why units that serve graphics alone are left out: a token of the line, or a quirk of the chipset."""
    if Platform.INTEL not in situation.vendors:
        return None
    if "intel_iommu:igfx_off" in situation.variables:
        return "igfx_off"
    quirk = any((one.vendor, one.device) in _GRAPHICS_QUIRK for one in situation.observed.devices)
    return "a quirk of this chipset (quirk_iommu_igfx)" if quirk else None


def _reasons(group: Group, promised: frozenset[DomainType], situation: Situation) -> Iterator[_Reason]:
    if group.type == DomainType.IDENTITY and promised <= _TRANSLATED:
        yield from _untranslated(group, situation)
    if group.type in _TRANSLATED and promised == {DomainType.IDENTITY}:
        yield from _untrusted(group, situation)
        yield from _translated(group, situation)
    if group.type == DomainType.DMA and promised == {DomainType.DMA_FQ}:
        yield from _untrusted(group, situation)
        yield from _strict(group, situation)


def _untranslated(group: Group, situation: Situation) -> Iterator[_Reason]:
    for vendor in situation.vendors:
        match vendor:
            case Platform.AMD:
                yield from _pasid(group, situation)
            case Platform.INTEL:
                yield _some(group, _is(_AZALIA), "the firmware gave the unit of this sound device no TLB entries")
                yield from _graphics(group, situation)
            case _:
                if (known := situation.does(behaviour.PTT_UNTRANSLATED)) is not False:
                    text = "the kernel leaves this tracing device (HiSilicon PTT) untranslated"
                    yield _some(group, _is(_PTT), text, is_certain=known is True)
                if all(one.vendor == "" for one in group.devices) and _is_of(group, situation.observed, "smmu."):
                    text = "the SMMU's driver has a list of platform devices that stay untranslated (arm-smmu-qcom.c)"
                    yield _Reason(group.devices, text, is_certain=False)
    if _is_of(group, situation.observed, "apple-dart") and situation.does(behaviour.DART_RULES) is not False:
        yield _Reason(group.devices, "the pages of this DART are larger than the processor's, so it cannot translate")


def _pasid(group: Group, situation: Situation) -> Iterator[_Reason]:
    """drivers/iommu/amd/iommu.c amd_iommu_def_domain_type: PASID, in older kernels together with ATS and PRI."""
    observed = situation.observed
    if "amd_iommu:force_isolation" in situation.variables or observed.encrypts_memory or observed.has_snp:
        return
    yield _some(group, lambda one: _has(one, _ATS_PRI_PASID), _PASID)
    alone = situation.does(behaviour.PASID_IS_ENOUGH)
    if alone is not False:
        just_pasid = frozenset({ExtendedCapability.PASID})
        yield _some(group, lambda one: _has(one, just_pasid), _PASID, is_certain=alone is True)
    hidden = f"AMD leaves devices with PASID untranslated; {_HIDDEN}"
    yield _some(group, lambda one: one.capabilities is None and not one.is_bridge, hidden, is_certain=False)


def _graphics(group: Group, situation: Situation) -> Iterator[_Reason]:
    why = maps_no_graphics(situation)
    known = situation.does(behaviour.IGFX_OFF_FREES_DISPLAYS)
    if why is not None and known is not False:
        text = f"{why} leaves every display device of this kernel untranslated"
        yield _some(group, lambda one: one.is_display, text, is_certain=known is True)
    # Debian's own patch: drivers/iommu/intel/iommu.c IDENTMAP_INTGPU, Debian bug 935270.
    leaves_out = situation.spares_gpu and "intel_iommu:state" not in situation.variables and not situation.wants_vtd
    if leaves_out or "intel_iommu:intgpu_off" in situation.variables:
        text = "Debian's kernel leaves the integrated GPU untranslated without intel_iommu=on"
        yield _some(group, lambda one: one.is_integrated_display, text)


def _translated(group: Group, situation: Situation) -> Iterator[_Reason]:
    observed = situation.observed
    if Platform.INTEL in situation.vendors:
        if any(unit.passes_through is False for unit in _units_of(group, observed)):
            yield _Reason(group.devices, "the unit cannot leave devices untranslated (ECAP.PT is 0)")
        known = situation.does(behaviour.RMRR_TRANSLATED)
        if known is not False:
            certain = known is True
            if group.is_pinned:
                text = "the firmware demands a 1:1 mapping (RMRR), and kernels up to 5.6 then translate"
                yield _Reason(group.devices, text, certain)
            text = "kernels up to 5.6 translate conventional PCI devices and bridges to them"
            yield _some(group, _is_conventional, text, is_certain=certain)
            if certain:
                hidden = f"{text}; {_HIDDEN}"
                yield _some(group, lambda one: one.vendor != "" and one.port is None, hidden, is_certain=False)
    if _is_of(group, observed, "apple-dart") and situation.does(behaviour.DART_RULES) is not False:
        yield _Reason(group.devices, "this DART has no bypass, so its devices are translated")


def _untrusted(group: Group, situation: Situation) -> Iterator[_Reason]:
    yield _some(group, lambda one: one.is_removable, _UNTRUSTED)
    is_intel = situation.vendors == (Platform.INTEL,)
    rule = behaviour.INTEL_TRANSLATES_UNTRUSTED if is_intel else behaviour.TRANSLATES_UNTRUSTED
    if situation.does(behaviour.SHOWS_REMOVABLE) is not True and situation.does(rule) is not False:
        after_a_port = _some(group, lambda one: one.vendor != "" and not one.is_on_root_bus, _MAYBE_UNTRUSTED)
        yield after_a_port._replace(is_certain=False)


def _strict(group: Group, situation: Situation) -> Iterator[_Reason]:
    observed = situation.observed
    emulated = [unit.name for unit in observed.units if unit.is_emulated]
    if emulated:
        text = f"{emulated[0]} is emulated for a guest (caching mode), and its driver never batches"
        yield _Reason(group.devices, text)
    if Platform.INTEL in situation.vendors and any(map(_is_one_of(_IRONLAKE), observed.devices)):
        yield _Reason(group.devices, "batching hangs the graphics of this chipset (Ironlake), so the driver never does")
    lazy = situation.does(behaviour.VIRTIO_LAZY)
    if lazy is not True and _is_of(group, observed, "virtio"):
        yield _Reason(group.devices, "virtio-iommu takes no lazy domains before 6.12", lazy is False)


def _some(group: Group, test: Callable[[Device], bool], text: str, *, is_certain: bool = True) -> _Reason:
    return _Reason(tuple(device for device in group.devices if test(device)), text, is_certain)


def _is(ident: tuple[str, str]) -> Callable[[Device], bool]:
    return lambda device: (device.vendor, device.device) == ident


def _is_one_of(idents: frozenset[tuple[str, str]]) -> Callable[[Device], bool]:
    return lambda device: (device.vendor, device.device) in idents


def _has(device: Device, capabilities: Iterable[int]) -> bool:
    return device.capabilities is not None and device.capabilities.issuperset(capabilities)


def _is_conventional(device: Device) -> bool:
    """drivers/iommu/intel-iommu.c iommu_should_identity_map, to 5.6: on a root bus only bridges count."""
    if device.port == PortType.CONVENTIONAL:
        return device.is_bridge or not device.is_on_root_bus
    return device.port == PortType.TO_CONVENTIONAL


def _units_of(group: Group, observed: Observed) -> list[Unit]:
    of_group = {device.unit for device in group.devices}
    return [unit for unit in observed.units if unit.name in of_group]


def _is_of(group: Group, observed: Observed, prefix: str) -> bool:
    """Whether a group is after units of one driver; where its links do not tell, whether there are no others."""
    units = _units_of(group, observed) or observed.units
    return bool(units) and all(unit.name.startswith(prefix) for unit in units)
