# SPDX-License-Identifier: Apache-2.0
"""Ungrouped: devices that are in no group although their IOMMU runs, and so reach all memory. Pure."""

from collections.abc import Iterator

from iommuctl.facts import KernelVersion
from iommuctl.kernel.lines import Line
from iommuctl.kernel.predict import DomainType
from iommuctl.running.effect.exemption import Situation, maps_no_graphics
from iommuctl.running.state import Device, Observed
from iommuctl.running.verdict import Check, failure, success, untold

_OWN_FUNCTION = "0806"  # include/linux/pci_ids.h: PCI_CLASS_SYSTEM_IOMMU
_VIRTIO_IOMMU = ("1af4", "1057")  # virtio specification 1.2, 5.13: it translates for others, not for itself
_HOST_BRIDGE = "0600"
# Memory controllers, bridges but those to PCI, peripherals of the chipset, processors, SMBus, signal processing: they
# start transfers only where a driver has them do so (I/OAT, class 0880, is the example).
_CHIPSET = ("05", "06", "08", "0b", "0c05", "11")
_SHOWN = 8
_UBUNTU_SPARES = KernelVersion(6, 8)
# drivers/iommu/intel/iommu.c: quirk_ioat_snb_local_iommu, PCI_DEVICE_ID_INTEL_IOAT_SNB
_IOAT_SNB = ("8086", "402f")


def ungrouped(observed: Observed) -> tuple[Device, ...]:
    """Return the PCI functions that no IOMMU covers while one is active, and that can start transfers."""
    if not observed.units:
        return ()
    covered = {device.address for group in observed.groups for device in group.devices}
    return tuple(
        device
        for device in observed.devices
        if device.group is None and device.address not in covered and device.vendor and not _is_passive(device)
    )


def judge_ungrouped(situation: Situation, promised: frozenset[DomainType], *, is_default: bool) -> Iterator[Check]:
    """Name the devices in no group: a fault where translation is promised, else what a guest can never have."""
    name, found = "ungrouped-devices", ungrouped(situation.observed)
    if not situation.observed.units:
        return
    if not found:
        yield success(name, "every device that can start a transfer is in a group")
        return
    some = ", ".join(_described(device, situation) for device in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    detail = f"in no group, so the IOMMU does not hold it from any memory: {some}{more}"
    if is_default or DomainType.IDENTITY in promised or not promised:
        yield untold(name, detail)
    else:
        yield failure(name, detail)


def _described(device: Device, situation: Situation) -> str:
    why = None
    if device.is_display:
        why = maps_no_graphics(situation) or _by_ubuntu(device, situation)
    elif (device.vendor, device.device) == _IOAT_SNB:
        why = "the firmware names a wrong unit for it (quirk_ioat_snb_local_iommu)"
    driver = device.driver or "no driver"
    return f"{device.address} ({driver}{f', {why}' if why else ''})"


def _by_ubuntu(device: Device, situation: Situation) -> str | None:
    """proxmox/pve-kernel at 6.8 to 7.0 takes back what Ubuntu's kernels do to units of Skylake to Comet Lake's GPUs."""
    kernel = situation.kernel
    if (
        kernel is None
        or kernel.line is not Line.UBUNTU
        or kernel.base < _UBUNTU_SPARES
        or not device.is_integrated_display
    ):
        return None
    return "Ubuntu's kernels leave the units of some integrated GPUs out"


def _is_passive(device: Device) -> bool:
    if device.device_class.startswith((_OWN_FUNCTION, _HOST_BRIDGE)):
        return True
    if (device.vendor, device.device) == _VIRTIO_IOMMU:
        return True
    chipset = device.device_class.startswith(_CHIPSET) and not device.is_bridge
    return chipset and device.driver is None and device.is_master is not True
