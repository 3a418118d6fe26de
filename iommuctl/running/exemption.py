# SPDX-License-Identifier: Apache-2.0
"""Exemption: why a kernel gives a group another default domain type than the command line asks for. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.predict import DomainType
from iommuctl.running.state import Device, ExtendedCapability, Group, Observed

# drivers/iommu/intel/iommu.c: IS_AZALIA, moved to identity where the firmware gave its unit no TLB entries.
_AZALIA = ("8086", "3a3e")
# drivers/iommu/intel/iommu.c: quirk_calpella_no_shadow_gtt, the host bridges of Ironlake.
_IRONLAKE = frozenset({("8086", "0040"), ("8086", "0044"), ("8086", "0062"), ("8086", "006a")})
# Commit 9235cb13d7d1 (5.7): until then a device with an RMRR never got an identity domain.
_RMRR_TRANSLATED_UNTIL = KernelVersion(5, 6)
# drivers/iommu/iommu.c iommu_get_def_domain_type; the kernel shows `removable` for the devices it does not trust.
_UNTRUSTED = "the device is behind an external port and not trusted, so it is translated, and strictly"
_TRANSLATED = frozenset({DomainType.DMA, DomainType.DMA_FQ})


class Exemption(NamedTuple):
    """One group that the kernel treats otherwise by its own rules, and why."""

    group: int
    type: str
    devices: tuple[str, ...]
    reason: str


def exempt(
    group: Group, promised: frozenset[DomainType], observed: Observed, variables: Mapping[str, str], platform: Platform
) -> Exemption | None:
    """Return the reason for which the kernel leaves the promise on one group; None where it has none that is known.

    `variables` are those that the running command line sets (predict.effective).
    """
    if group.type is None:
        return None
    reasons = _reasons(group, promised, observed, variables, platform)
    first = next(reasons, None)
    if first is None:
        return None
    devices, reason = first
    return Exemption(group.id, group.type, tuple(device.address for device in devices), reason)


def _reasons(
    group: Group, promised: frozenset[DomainType], observed: Observed, variables: Mapping[str, str], platform: Platform
) -> Iterator[tuple[tuple[Device, ...], str]]:
    intel, amd = Platform.INTEL in platform.members, Platform.AMD in platform.members
    if group.type == DomainType.IDENTITY and promised <= _TRANSLATED:
        if amd and not _translates_all(observed, variables):
            yield from _some(group, _has_pasid, "AMD leaves devices with PASID untranslated without force_isolation")
        if intel:
            yield from _some(group, _is_azalia, "the firmware gave the unit of this sound device no TLB entries")
    if group.type in _TRANSLATED and promised == {DomainType.IDENTITY}:
        yield from _some(group, _is_untrusted, _UNTRUSTED)
        if intel and _lacks_pass_through(group, observed):
            yield group.devices, "the unit cannot leave devices untranslated (ECAP.PT is 0)"
        if intel and group.is_pinned and (observed.kernel or _RMRR_TRANSLATED_UNTIL) <= _RMRR_TRANSLATED_UNTIL:
            yield group.devices, "the firmware demands a 1:1 mapping (RMRR), and kernels up to 5.6 then translate"
    if group.type == DomainType.DMA and promised == {DomainType.DMA_FQ}:
        yield from _some(group, _is_untrusted, _UNTRUSTED)
        if any(unit.is_emulated for unit in observed.units):
            yield group.devices, "the unit is emulated for a guest (caching mode), and its driver never batches"
        if intel and any((device.vendor, device.device) in _IRONLAKE for device in observed.devices):
            yield group.devices, "batching hangs the graphics of this chipset (Ironlake), so the driver never does"


def _some(group: Group, test: Callable[[Device], bool], reason: str) -> Iterator[tuple[tuple[Device, ...], str]]:
    devices = tuple(device for device in group.devices if test(device))
    if devices:
        yield devices, reason


def _has_pasid(device: Device) -> bool:
    return device.capabilities is not None and ExtendedCapability.PASID in device.capabilities


def _is_azalia(device: Device) -> bool:
    return (device.vendor, device.device) == _AZALIA


def _is_untrusted(device: Device) -> bool:
    return device.is_removable


def _translates_all(observed: Observed, variables: Mapping[str, str]) -> bool:
    """Whether AMD's driver makes no exception for PASID (drivers/iommu/amd/iommu.c amd_iommu_def_domain_type)."""
    return "amd_iommu:force_isolation" in variables or observed.encrypts_memory or observed.has_snp


def _lacks_pass_through(group: Group, observed: Observed) -> bool:
    of_group = {device.unit for device in group.devices}
    return any(unit.passes_through is False for unit in observed.units if unit.name in of_group)
