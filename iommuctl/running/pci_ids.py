# SPDX-License-Identifier: Apache-2.0
"""PCI ids: the names of vendors, devices and classes, from the system's own list. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from iommuctl.value import NamedTuple

_ID_DIGITS = 4


class Names(NamedTuple):
    """Names by id: vendors by `8086`, devices by `8086:15b7`, classes by `0200`. Empty where there is no list."""

    vendors: Mapping[str, str] = MappingProxyType({})
    devices: Mapping[str, str] = MappingProxyType({})
    classes: Mapping[str, str] = MappingProxyType({})

    def vendor(self, vendor: str) -> str | None:
        """The name of a vendor."""
        return self.vendors.get(vendor)

    def device(self, vendor: str, device: str) -> str | None:
        """The name of a device."""
        return self.devices.get(f"{vendor}:{device}")

    def device_class(self, device_class: str) -> str | None:
        """The name of a class: that of class and subclass, else that of the class alone."""
        return self.classes.get(device_class[:4]) or self.classes.get(device_class[:2])


def parse_pci_ids(text: str, devices: Iterable[tuple[str, str]]) -> Names:
    """Read a pci.ids file (pci.ids(5)) for the devices that are there, given as vendor and device; classes all."""
    wanted = set(devices)
    wanted_vendors = {vendor for vendor, _ in wanted}
    vendors, found, classes = dict[str, str](), dict[str, str](), dict[str, str]()
    above, is_class = "", False
    for line in text.splitlines():
        if not line or line.startswith(("#", "\t\t")):
            continue
        ident, _, name = line.strip().partition("  ")
        if line.startswith("C "):
            above, is_class = ident[2:], True
            classes[above] = name
        elif not line.startswith("\t"):
            above, is_class = ident, False
            if ident in wanted_vendors:
                vendors[ident] = name
        elif is_class:
            classes[above + ident] = name
        elif (above, ident[:_ID_DIGITS]) in wanted:
            found[f"{above}:{ident}"] = name
    return Names(vendors, found, classes)
