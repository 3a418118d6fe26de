# SPDX-License-Identifier: Apache-2.0
"""Choice: which devices a line has the initramfs give to vfio-pci, each by its address and only with its ids. Pure."""

from collections.abc import Iterable

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# The kernel takes a name with a dot for a module's parameter: it neither complains of it nor hands it to init
# (kernel/params.c, init/main.c unknown_bootoption). The scripts in initramfs/ read it.
PARAMETER = "iommuctl.vfio"
# As sysfs names a function, and its ids after 0x (drivers/pci/probe.c pci_setup_device: %04x:%02x:%02x.%d): lower case,
# since the script compares text; 32 slots of 8 functions on a bus.
_DEVICE = pattern(
    r"((?:[0-9a-f]{4}|[1-9a-f][0-9a-f]{4,7}):[0-9a-f]{2}:[01][0-9a-f]\.[0-7])@([0-9a-f]{4}):([0-9a-f]{4})"
)


class ChosenDevice(NamedTuple):
    """One function that is chosen: where it is, and the ids that it has there. What has others there is not meant."""

    address: str
    vendor: str
    device: str

    def __str__(self) -> str:
        return f"{self.address}@{self.vendor}:{self.device}"


def parse_choice(value: str) -> tuple[ChosenDevice, ...]:
    """Return the devices of a value, in its order. Raises ValueError for what the initramfs would not read so."""
    found: dict[str, ChosenDevice] = {}
    for item in value.split(","):
        match = _DEVICE.fullmatch(item)
        if match is None:
            raise ValueError(f"{item!r} is no device such as '0000:01:00.0@10de:2484'")
        one = ChosenDevice(*match.groups())
        if one.address in found:
            raise ValueError(f"{one.address!r} is named twice")
        found[one.address] = one
    return tuple(found.values())


def render_choice(devices: Iterable[ChosenDevice]) -> str:
    """Return the value that means these devices, by address: what `parse_choice` reads."""
    return ",".join(str(one) for one in sorted(devices))


def choice_on(cmdline: Cmdline) -> tuple[ChosenDevice, ...]:
    """Return the devices that a line chooses: of its last choice, as the initramfs reads it; none without one.

    Raises ValueError where that cannot be read, so that nothing is bound.
    """
    values = [one.value for one in cmdline.named(PARAMETER)]
    return parse_choice(values[-1]) if values and values[-1] else ()
