# SPDX-License-Identifier: Apache-2.0
"""Planned: what a plan says of each device that it gives to guests. Values only."""

from collections.abc import Iterable, Mapping

from iommuctl.devices.cards import companions, function_name
from iommuctl.devices.inventory import Function, Inventory
from iommuctl.running.effect.binding import is_held
from iommuctl.running.pci_ids import Names
from iommuctl.value import NamedTuple


class PlannedDevice(NamedTuple):
    """One function that goes to guests. `id` is `vendor:device`; `driver_before` has it when the plan is made.

    `twins` are the addresses of others with this id, outside its card; `mates` of the other members of its group but
    for bridges; `functions` of its whole card, its own among them.
    """

    address: str
    id: str
    name: str
    group: int | None
    driver_before: str | None
    twins: tuple[str, ...]
    mates: tuple[str, ...]
    functions: tuple[str, ...]


def planned(inventory: Inventory, functions: Iterable[Function], names: Names) -> tuple[PlannedDevice, ...]:
    """Return what a plan says of these functions, in their order."""
    return tuple(_planned(inventory, one, names) for one in functions)


def ident(function: Function) -> str:
    """Return vendor and device of a function, as lspci -n writes them."""
    return f"{function.device.vendor}:{function.device.device}"


def bound_drivers(inventory: Inventory) -> Mapping[str, str]:
    """Return the driver of each function that the host has for itself, by `ADDRESS@VENDOR:DEVICE`; of no bridge."""
    return {
        f"{one.address}@{ident(one)}": one.device.driver
        for one in inventory.functions
        if one.device.driver is not None and not one.device.is_bridge and not is_held(one.device)
    }


def _planned(inventory: Inventory, function: Function, names: Names) -> PlannedDevice:
    device = function.device
    card = tuple(sorted((function.address, *(one.address for one in companions(inventory, function)))))
    alike = inventory.ids[device.vendor, device.device]
    return PlannedDevice(
        address=function.address,
        id=ident(function),
        name=function_name(function, names),
        group=device.group,
        driver_before=device.driver,
        twins=tuple(one.address for one in alike if one.address not in card),
        mates=tuple(one.address for one in inventory.mates(function) if not one.device.is_bridge),
        functions=card,
    )
