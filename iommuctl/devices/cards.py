# SPDX-License-Identifier: Apache-2.0
"""Cards: functions that are one piece to a person, and how a card is named and found by name or address. Pure."""

from collections.abc import Iterable, Iterator

from iommuctl.devices.inventory import Function, Inventory
from iommuctl.kernel.choice import ChosenDevice
from iommuctl.pattern import pattern
from iommuctl.running.pci_ids import Names
from iommuctl.running.state import Device
from iommuctl.value import NamedTuple

_ADDRESS = pattern(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-7]))?")
_FIRST_DOMAIN = "0000"
# What a graphics card has next to its screen, all of one vendor: sound, USB and the controller of USB-C
# (include/linux/pci_ids.h: PCI_CLASS_MULTIMEDIA_HD_AUDIO, PCI_CLASS_SERIAL_USB; UCSI is class 0c80).
_COMPANIONS = ("0403", "0c03", "0c80")


class Card(NamedTuple):
    """What a person takes for one device: the functions of a graphics card, or those of a slot that share a group."""

    functions: tuple[Function, ...]

    @property
    def main(self) -> Function:
        """The function that the card is named after: that with the screen, else the first."""
        return next((one for one in self.functions if one.device.is_display), self.functions[0])

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of its functions."""
        return tuple(one.address for one in self.functions)


def cards(inventory: Inventory) -> tuple[Card, ...]:
    """Return every card by address; bridges are none."""
    found: list[Card] = []
    seen: set[str] = set()
    for function in inventory.functions:
        if function.address in seen or function.device.is_bridge:
            continue
        card = Card((function, *(one for one in companions(inventory, function) if one.address not in seen)))
        seen.update(card.addresses)
        found.append(Card(tuple(sorted(card.functions, key=lambda one: one.address))))
    return tuple(found)


def companions(inventory: Inventory, function: Function) -> tuple[Function, ...]:
    """Return the other functions of a function's card.

    Of a slot with a screen those of its vendor that belong to one: in a processor with graphics the others are parts of
    the chipset. Of any other slot those of one vendor that share a group; the ports of a network card that have groups
    of their own are cards of their own. Virtual functions and parts of the root bus are each alone, but for a screen's.
    """
    if function.device.physical_function is not None:
        return ()
    slot = [
        one
        for one in inventory.places[function.place]
        if one.device.vendor == function.device.vendor and not one.device.is_bridge
    ]
    others = tuple(one for one in slot if one.address != function.address and one.device.physical_function is None)
    screen = next((one for one in slot if one.device.is_display), None)
    if screen is not None:
        if function is not screen and not _is_companion(function):
            return ()
        return tuple(one for one in others if one is screen or _is_companion(one))
    if function.device.is_on_root_bus or function.device.group is None:
        return ()
    return tuple(one for one in others if one.device.group == function.device.group)


def matching(found: tuple[Card, ...], wanted: str, names: Names) -> tuple[Card, ...]:
    """Return the cards that an address or a part of a name means: one, several, none.

    An address may lack its domain, which is 0000 then, and its function: the card is meant, with all of them.
    """
    text = wanted.strip().lower()
    if address := _ADDRESS.fullmatch(text):
        place = f"{address[1] or _FIRST_DOMAIN}:{address[2]}:{address[3]}"
        whole = None if address[4] is None else f"{place}.{address[4]}"
        return tuple(
            card
            for card in found
            if (whole in card.addresses if whole else any(one.place == place for one in card.functions))
        )
    if not text:
        return ()
    return tuple(card for card in found if any(text in name.lower() for name in _names_of(card, names)))


def card_name(card: Card, names: Names) -> str:
    """Return what a card is called: vendor and device by the system's list, else its class and ids."""
    return function_name(card.main, names)


def function_name(function: Function, names: Names) -> str:
    """Return vendor and device of a function by the system's list, else its ids."""
    return device_name(function.device, names)


def device_name(device: Device, names: Names) -> str:
    """Return vendor and device by the system's list, else the ids."""
    vendor, name = names.vendor(device.vendor), names.device(device.vendor, device.device)
    if vendor is None and name is None:
        return f"{device.vendor}:{device.device}"
    return f"{vendor or device.vendor} {name or device.device}"


def twins(card: Card, inventory: Inventory) -> tuple[Function, ...]:
    """Return the functions outside a card that have the ids of one in it, which vfio-pci.ids cannot tell apart."""
    ids = sorted({(one.device.vendor, one.device.device) for one in card.functions})
    every = (one for ident in ids for one in inventory.ids[ident])
    return tuple(one for one in every if one.address not in card.addresses and not one.device.is_bridge)


def choice_of(functions: Iterable[Function]) -> tuple[ChosenDevice, ...]:
    """Return functions as a line chooses them: by address, each with its ids."""
    return tuple(ChosenDevice(one.address, one.device.vendor, one.device.device) for one in functions)


def ids_of(functions: tuple[Function, ...], inventory: Inventory) -> str:
    """Return the value of vfio-pci.ids that means these functions, each id once.

    Where another device has vendor and device of one, and is of another card, the ids of the card tell them apart.
    """
    chosen = {one.address for one in functions}
    found: dict[str, None] = {}
    for one in functions:
        device = one.device
        ident = f"{device.vendor}:{device.device}"
        others = [other for other in inventory.ids[device.vendor, device.device] if other.address not in chosen]
        if others and all(device.subsystem) and all(other.device.subsystem != device.subsystem for other in others):
            ident = ":".join((ident, *device.subsystem))
        found[ident] = None
    return ",".join(found)


def _names_of(card: Card, names: Names) -> Iterator[str]:
    for one in card.functions:
        yield function_name(one, names)
        yield f"{one.device.vendor}:{one.device.device}"


def _is_companion(function: Function) -> bool:
    return function.device.device_class.startswith(_COMPANIONS)
