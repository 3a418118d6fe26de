# SPDX-License-Identifier: Apache-2.0
"""Devices: from named devices to the ids that a profile takes, and what speaks against ids on a line."""

from collections.abc import Iterable

from iommuctl.app.host import Host
from iommuctl.app.look.devices import Devices, read_host_devices
from iommuctl.devices.cards import card_name, cards, ids_of, matching
from iommuctl.devices.conflicts import conflicts
from iommuctl.devices.inventory import Function
from iommuctl.devices.judgement import judge_ids, taken_by, with_mates
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.errors import ProfileError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.value import NamedTuple

PARAMETER = "vfio-pci.ids"


class Chosen(NamedTuple):
    """Devices that were named: the ids that mean them, and their addresses."""

    ids: str
    addresses: tuple[str, ...]


def choose(host: Host, wanted: Iterable[str], *, with_group: bool) -> Chosen:
    """Return what addresses or parts of names mean: whole cards, and with a group all of it that has to go along.

    Raises ProfileError for what means no card, or more than one, with those to choose from.
    """
    found = read_host_devices(host, "apply --device")
    every = cards(found.inventory)
    functions: dict[str, Function] = {}
    for text in wanted:
        fitting = matching(every, text, found.names)
        if len(fitting) != 1:
            listed = fitting or tuple(one.card for one in found.cards if one.is_usable)
            raise ProfileError(
                f"{len(fitting)} devices are meant by {text!r}" if fitting else f"no device is meant by {text!r}",
                details=tuple(f"{' '.join(one.addresses)}  {card_name(one, found.names)}" for one in listed),
                hint="name one by its address: --device ADDRESS",
            )
        functions |= {one.address: one for one in fitting[0].functions}
    return _chosen(found, tuple(functions.values()), with_group=with_group)


def choose_cards(found: Devices, numbers: Iterable[int]) -> Chosen:
    """Return what cards mean that were chosen by their places in the list; their groups go along."""
    functions = tuple(one for number in numbers for one in found.cards[number].card.functions)
    return _chosen(found, functions, with_group=True)


def device_findings(
    host: Host, lines: Iterable[Cmdline], *, is_asked: bool, meant: frozenset[str] = frozenset()
) -> tuple[Finding, ...]:
    """Return what speaks against the ids for vfio-pci on lines: each counts for every device that has it.

    Where the ids are not what is asked for but are there already, nothing of it is an error. `meant` are the addresses
    that were named, where ids were not.
    """
    named = [[one.value or "" for one in line.named(PARAMETER)] for line in lines]
    values = dict.fromkeys(found[-1] for found in named if found)
    if not values:
        return ()
    if not host.is_system:
        message = "the devices of this root are not known, so nothing tells what the host needs of those with these ids"
        hint = "run iommuctl lint on the host itself"
        return (Finding(Rule.DEVICES_UNCHECKED, Severity.WARNING, message, None, hint),) if is_asked else ()
    inventory = read_inventory(host.root)
    found: dict[Finding, None] = {}
    for value in values:
        found.update((one, None) for one in judge_ids(inventory, value, meant))
        found.update((one, None) for one in conflicts(host.root, taken_by(inventory, value)))
    if is_asked:
        return tuple(found)
    return tuple(one._replace(severity=Severity.WARNING) if one.severity is Severity.ERROR else one for one in found)


def _chosen(found: Devices, functions: tuple[Function, ...], *, with_group: bool) -> Chosen:
    whole = with_mates(found.inventory, functions) if with_group else functions
    return Chosen(ids_of(whole, found.inventory), tuple(one.address for one in whole))
