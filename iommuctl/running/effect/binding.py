# SPDX-License-Identifier: Apache-2.0
"""Binding: which devices an id list of vfio-pci means, and whether vfio-pci or a variant of it holds one. Pure."""

from iommuctl.running.state import Device
from iommuctl.value import NamedTuple

VFIO_PCI = "vfio-pci"
# drivers/vfio/pci: mlx5_vfio_pci, hisi_acc_vfio_pci, pds_vfio_pci, nvgrace_gpu_vfio_pci, qat_vfio_pci, virtio_vfio_pci.
_VARIANT = "vfio-pci"
# Other drivers under which a member of a group keeps it from no guest (drivers/vfio/vfio_main.c, driver_managed_dma).
HARMLESS_MATES = frozenset({"pci-stub", "pcieport"})
_ANY = 0xFFFFFFFF  # include/linux/mod_devicetable.h: PCI_ANY_ID


class DeviceId(NamedTuple):
    """One id as vfio-pci reads it: `vendor:device[:subvendor:subdevice[:class[:mask]]]`, numbers in hexadecimal
    (drivers/vfio/pci/vfio_pci.c vfio_pci_fill_ids). `text` is it as written.
    """

    text: str
    vendor: int
    device: int
    subvendor: int = _ANY
    subdevice: int = _ANY
    class_code: int = 0
    class_mask: int = 0

    @classmethod
    def parse(cls, text: str) -> "DeviceId | None":
        """Read one id; None for what vfio-pci refuses."""
        try:
            numbers = [int(part, 16) for part in text.strip().split(":")]
        except ValueError:
            return None
        wellformed = len(("vendor", "device")) <= len(numbers) < len(cls._fields)
        return cls(text.strip(), *numbers) if wellformed else None

    def means(self, device: Device) -> bool:
        """Whether a device has this id."""
        pairs = (
            (self.vendor, device.vendor),
            (self.device, device.device),
            (self.subvendor, device.subsystem[0]),
            (self.subdevice, device.subsystem[1]),
        )
        code = _number(device.device_class)
        is_class = not self.class_mask or (code is not None and (code ^ self.class_code) & self.class_mask == 0)
        return is_class and all(wanted == _ANY or _number(found) == wanted for wanted, found in pairs)


def parse_ids(value: str) -> tuple[DeviceId, ...]:
    """Return the ids of a value of vfio-pci.ids; what vfio-pci refuses is left out."""
    return tuple(one for item in value.split(",") if (one := DeviceId.parse(item)) is not None)


def is_held(device: Device) -> bool:
    """Whether a device is with vfio-pci or a variant driver of it."""
    return (device.driver or "").replace("_", "-").endswith(_VARIANT)


def _number(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None
