# SPDX-License-Identifier: Apache-2.0
"""Devices: from named devices to the ids that a profile takes, and what speaks against ids on a line."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from iommuctl.app.host import Host, survey_host
from iommuctl.app.initramfs.groundwork import carries_choice
from iommuctl.app.look.devices import Devices, read_host_devices
from iommuctl.devices.cards import card_name, cards, choice_of, ids_of, matching
from iommuctl.devices.conflicts import conflicts
from iommuctl.devices.inventory import Function
from iommuctl.devices.judgement import chosen_functions, judge_choice, judge_ids, taken_by, with_mates
from iommuctl.devices.planned import PlannedDevice, bound_drivers, planned
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.errors import IommuctlError, ProfileError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.choice import ChosenDevice, choice_on, render_choice
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.running.sysfs import read_names
from iommuctl.value import NamedTuple

PARAMETER = "vfio-pci.ids"


class Chosen(NamedTuple):
    """Devices that were named: the ids that mean them, each by address and ids, and their addresses.

    `by_address` tells whether an image of this host can hold what binds them so.
    """

    ids: str
    choice: str
    addresses: tuple[str, ...]
    by_address: bool


class Taken(NamedTuple):
    """What vfio-pci takes by the lines of a plan: what speaks against it, each device, and who has what else.

    `drivers` are those of every device of the host then, by `ADDRESS@VENDOR:DEVICE`. Both are empty where no devices
    are asked for.
    """

    findings: tuple[Finding, ...] = ()
    devices: tuple[PlannedDevice, ...] = ()
    drivers: Mapping[str, str] = MappingProxyType({})


def choose(host: Host, wanted: Iterable[str], *, with_group: bool, backend: str | None = None) -> Chosen:
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
    return _chosen(host, found, tuple(functions.values()), with_group=with_group, backend=backend)


def choose_cards(host: Host, found: Devices, numbers: Iterable[int], backend: str | None = None) -> Chosen:
    """Return what cards mean that were chosen by their places in the list; their groups go along."""
    functions = tuple(one for number in numbers for one in found.cards[number].card.functions)
    return _chosen(host, found, functions, with_group=True, backend=backend)


def taken_devices(
    host: Host, lines: Iterable[Cmdline], *, is_asked: bool, meant: frozenset[str] = frozenset()
) -> Taken:
    """Return what the ids for vfio-pci on lines take, which count for every device of them, and the addresses there.

    With it comes what speaks against it. Where they are not what is asked for but are there already, nothing of it is
    an error. `meant` are the addresses that were named, where ids were not.
    """
    lines = tuple(lines)
    named = [[one.value or "" for one in line.named(PARAMETER)] for line in lines]
    values = dict.fromkeys(found[-1] for found in named if found)
    choices = dict.fromkeys(one for one in _choices(lines) if one)
    if not values and not choices:
        return Taken()
    if not host.is_system:
        message = "the devices of this root are not known, so nothing tells what the host needs of those with these ids"
        hint = "run iommuctl lint on the host itself"
        unchecked = Finding(Rule.DEVICES_UNCHECKED, Severity.WARNING, message, None, hint)
        return Taken((unchecked,)) if is_asked else Taken()
    inventory = read_inventory(host.root)
    found: dict[Finding, None] = {}
    for value in values:
        found.update((one, None) for one in judge_ids(inventory, value, meant))
        found.update((one, None) for one in conflicts(host.root, taken_by(inventory, value)))
    for choice in choices:
        found.update((one, None) for one in judge_choice(inventory, choice))
        found.update((one, None) for one in conflicts(host.root, chosen_functions(inventory, choice)))
    if not is_asked:
        mild = (one._replace(severity=Severity.WARNING) if one.severity is Severity.ERROR else one for one in found)
        return Taken(tuple(mild))
    taken = {one.address: one for value in values for one in taken_by(inventory, value)}
    taken |= {one.address: one for choice in choices for one in chosen_functions(inventory, choice)}
    names = read_names(host.root, (one.device for one in taken.values()))
    devices = planned(inventory, (taken[address] for address in sorted(taken)), names)
    return Taken(tuple(found), devices, bound_drivers(inventory))


def _chosen(
    host: Host, found: Devices, functions: tuple[Function, ...], *, with_group: bool, backend: str | None
) -> Chosen:
    whole = with_mates(found.inventory, functions) if with_group else functions
    return Chosen(
        ids_of(whole, found.inventory),
        render_choice(choice_of(whole)),
        tuple(one.address for one in whole),
        _is_by_address(host, backend),
    )


def _is_by_address(host: Host, backend: str | None) -> bool:
    """Whether an image of this host can hold the script; where its bootloader cannot be told, the plan says so."""
    try:
        found = survey_host(host, platform=None, backend=backend)
    except IommuctlError:
        return False
    return carries_choice(found.tree, found.backend.name)


def _choices(lines: Iterable[Cmdline]) -> Iterable[tuple[ChosenDevice, ...]]:
    """Return what lines choose by address; of one that cannot be read, lint tells."""
    for line in lines:
        with suppress(ValueError):
            yield choice_on(line)
