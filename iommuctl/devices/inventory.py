# SPDX-License-Identifier: Apache-2.0
"""Inventory: the functions on PCI with what hangs on each. Values only; reading/ makes them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from iommuctl.running.state import Device
from iommuctl.value import NamedTuple

K = TypeVar("K")


class Role(StrEnum):
    """What a host does with a device."""

    ROOT = "root"  # a file system that the host boots or lives from: /, /usr, /boot, the ESP, our state
    MOUNT = "mount"  # another mounted file system, or swap
    HELD = "held"  # a block device that something holds, or that is a member of something
    DISK = "disk"  # a block device that nothing uses
    UPLINK = "uplink"  # an interface by which the host is reached
    LINK = "link"  # an interface that is up with an address, or part of another one
    INTERFACE = "interface"  # an interface that is not in use
    DISPLAY = "display"  # the screen that the firmware started with
    KEYBOARD = "keyboard"
    GUEST = "guest"  # open in a guest that runs


class Use(NamedTuple):
    """One thing that hangs on a device: a mount point, an interface, a block device. `why` tells how it is known."""

    role: Role
    name: str
    why: str | None = None

    @property
    def text(self) -> str:
        """The name, and how it is known in parentheses."""
        return self.name if self.why is None else f"{self.name} ({self.why})"


class Function(NamedTuple):
    """One function on PCI. `above` are the addresses of what it is below, from the root port down; `slot` is the
    firmware's name of the slot; `is_pinned`: the firmware demands a 1:1 mapping of its group (RMRR); `rebar`: the size
    of a memory window can be chosen; `has_rom`: it has a video BIOS.
    """

    device: Device
    above: tuple[str, ...] = ()
    slot: str | None = None
    uses: tuple[Use, ...] = ()
    is_boot_display: bool = False
    is_pinned: bool = False
    rebar: bool = False
    has_rom: bool = False

    @property
    def address(self) -> str:
        """Where it is: domain, bus, device and function."""
        return self.device.address

    @property
    def place(self) -> str:
        """Its address without the function, which the functions of one card share."""
        return self.device.address.rpartition(".")[0]

    @property
    def bus(self) -> str:
        """Domain and bus."""
        return self.device.address.rpartition(":")[0]

    def used(self, *roles: Role) -> tuple[Use, ...]:
        """Return what hangs on it in one of these roles."""
        return tuple(use for use in self.uses if use.role in roles)


class Inventory(NamedTuple):
    """Every function by address, and in `groups`, `places`, `buses` and `ids` those that have something in common.

    `unresolved` are mount points that the host needs and whose disk was not found. `ways_in` are the ways to the host
    next to a screen: a serial console, ssh. `keyboards` counts those that are on no PCI device. `of` makes one.
    """

    functions: tuple[Function, ...]
    unresolved: tuple[str, ...]
    ways_in: tuple[str, ...]
    keyboards: int
    addresses: Mapping[str, Function]
    groups: Mapping[int, tuple[Function, ...]]
    places: Mapping[str, tuple[Function, ...]]
    buses: Mapping[str, tuple[Function, ...]]
    ids: Mapping[tuple[str, str], tuple[Function, ...]]

    @classmethod
    def of(
        cls,
        functions: Iterable[Function],
        *,
        unresolved: tuple[str, ...] = (),
        ways_in: tuple[str, ...] = (),
        keyboards: int = 0,
    ) -> "Inventory":
        """Return the inventory of these functions, in the order of their addresses."""
        known = tuple(sorted(functions, key=lambda one: one.address))
        grouped = ((one.device.group, one) for one in known)
        return cls(
            known,
            unresolved,
            ways_in,
            keyboards,
            {one.address: one for one in known},
            _gathered((group, one) for group, one in grouped if group is not None),
            _gathered((one.place, one) for one in known),
            _gathered((one.bus, one) for one in known),
            _gathered(((one.device.vendor, one.device.device), one) for one in known),
        )

    def at(self, address: str) -> Function | None:
        """Return the function of an address; None where there is none."""
        return self.addresses.get(address)

    def mates(self, function: Function) -> tuple[Function, ...]:
        """Return the other functions of its group, bridges included; none where it is in no group."""
        group = function.device.group
        found = () if group is None else self.groups.get(group, ())
        return tuple(one for one in found if one.address != function.address)


def _gathered(pairs: Iterable[tuple[K, Function]]) -> dict[K, tuple[Function, ...]]:
    found: dict[K, list[Function]] = {}
    for key, function in pairs:
        found.setdefault(key, []).append(function)
    return {key: tuple(functions) for key, functions in found.items()}
