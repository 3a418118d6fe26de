# SPDX-License-Identifier: Apache-2.0
"""Judgement: what the rules say of a choice of functions, of ids, and of every card of a host. Pure."""

from collections.abc import Iterable, Iterator

from iommuctl.devices.cards import Card, cards, twins
from iommuctl.devices.inventory import Function, Inventory
from iommuctl.devices.rules import RULES, Choice, blocking_mates
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.choice import PARAMETER, ChosenDevice
from iommuctl.running.effect.binding import DeviceId, parse_ids
from iommuctl.value import NamedTuple


class Objection(NamedTuple):
    """What speaks against giving a function to a guest. An error stops it, anything else is good to know."""

    rule: Rule
    severity: Severity
    address: str
    message: str
    hint: str | None = None

    def as_finding(self, parameter: str | None) -> Finding:
        """Return it as a finding of a plan; `parameter` is the token that takes the function."""
        return Finding(self.rule, self.severity, f"{self.address}: {self.message}", parameter, self.hint, self.address)


class JudgedCard(NamedTuple):
    """A card with what speaks against it, the members of its groups that have to go along, and its twins."""

    card: Card
    objections: tuple[Objection, ...]
    mates: tuple[Function, ...] = ()
    twins: tuple[Function, ...] = ()

    @property
    def obstacles(self) -> tuple[Objection, ...]:
        """What stops it from going to a guest, its mates with it."""
        return tuple(one for one in self.objections if one.severity is Severity.ERROR)

    @property
    def is_usable(self) -> bool:
        """Whether it can go to a guest, its mates with it."""
        return not self.obstacles


def judge(choice: Choice) -> tuple[Objection, ...]:
    """Return what the rules say of every function that is chosen, worst first, then by address."""
    found = [
        Objection(rule.id, obstacle.severity or rule.severity, function.address, obstacle.message, obstacle.hint)
        for address in sorted(choice.addresses)
        for function in (choice.inventory.addresses[address],)
        for rule in RULES
        for obstacle in rule.check(function, choice)
    ]
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def judge_cards(inventory: Inventory) -> tuple[JudgedCard, ...]:
    """Return every card with what speaks against it, those that can go to a guest first, then by address."""
    judged = [_judged(card, inventory) for card in cards(inventory)]
    return tuple(sorted(judged, key=lambda one: not one.is_usable))


def judge_ids(inventory: Inventory, value: str, meant: frozenset[str]) -> tuple[Finding, ...]:
    """Return what speaks against a value of vfio-pci.ids: an id counts for every device that has it.

    `meant` are the addresses that were asked for by name or address, none of which may bring a twin; empty where ids
    were asked for. What the rules tell as info is left out.
    """
    ids = parse_ids(value)
    taken = {one.address: ident for ident in ids for one in _having(inventory, ident)}
    found = [*_unmatched(inventory, ids), *_shared(inventory, ids, meant)]
    objections = judge(Choice(inventory, frozenset(taken)))
    found += [one.as_finding(_parameter(taken[one.address])) for one in objections if one.severity is not Severity.INFO]
    return tuple(found)


def judge_choice(inventory: Inventory, chosen: tuple[ChosenDevice, ...]) -> tuple[Finding, ...]:
    """Return what speaks against devices that a line chooses by their addresses. What is only good to know is left out.

    One that is not there, or has other ids there, is not bound, and what is there stays with the host.
    """
    found: list[Finding] = []
    there = {one.address for one in chosen_functions(inventory, chosen)}
    for one in chosen:
        if one.address not in there:
            other = inventory.at(one.address)
            what = (
                "no device is there" if other is None else f"{other.device.vendor}:{other.device.device} is there now"
            )
            message = f"{one.address}: {what}, not {one.vendor}:{one.device}, so nothing is bound"
            token = f"{PARAMETER}={one}"
            found.append(Finding(Rule.ADDRESS_MOVED, Severity.ERROR, message, token, "iommuctl devices", one.address))
    tokens = {one.address: f"{PARAMETER}={one}" for one in chosen}
    objections = judge(Choice(inventory, frozenset(there)))
    found += [one.as_finding(tokens[one.address]) for one in objections if one.severity is not Severity.INFO]
    return tuple(found)


def chosen_functions(inventory: Inventory, chosen: Iterable[ChosenDevice]) -> tuple[Function, ...]:
    """Return the functions that are at their addresses and have their ids, in the order of the choice."""
    found = ((one, inventory.at(one.address)) for one in chosen)
    return tuple(
        function
        for one, function in found
        if function is not None and (function.device.vendor, function.device.device) == (one.vendor, one.device)
    )


def taken_by(inventory: Inventory, value: str) -> tuple[Function, ...]:
    """Return the functions that vfio-pci takes by a value of vfio-pci.ids, by address."""
    found = {one.address: one for ident in parse_ids(value) for one in _having(inventory, ident)}
    return tuple(found[address] for address in sorted(found))


def with_mates(inventory: Inventory, functions: Iterable[Function]) -> tuple[Function, ...]:
    """Return functions with the members of their groups that would keep them from a guest, by address."""
    chosen = tuple(functions)
    choice = Choice(inventory, frozenset(one.address for one in chosen))
    every = {one.address: one for function in chosen for one in (function, *blocking_mates(function, choice))}
    return tuple(every[address] for address in sorted(every))


def _judged(card: Card, inventory: Inventory) -> JudgedCard:
    choice = Choice(inventory, frozenset(card.addresses))
    mates = {one.address: one for function in card.functions for one in blocking_mates(function, choice)}
    objections = tuple(one for one in judge(choice) if one.rule is not Rule.GROUP_MATES)
    return JudgedCard(card, objections, tuple(mates.values()), twins(card, inventory))


def _having(inventory: Inventory, ident: DeviceId) -> tuple[Function, ...]:
    """Return the functions that an id means; no bridge, which vfio-pci takes none of."""
    return tuple(one for one in inventory.functions if ident.means(one.device) and not one.device.is_bridge)


def _unmatched(inventory: Inventory, ids: tuple[DeviceId, ...]) -> Iterator[Finding]:
    for ident in ids:
        every = [one for one in inventory.functions if ident.means(one.device)]
        if not every and inventory.functions:
            message = f"no device of this host has the id {ident.text}"
            yield Finding(Rule.ID_MATCHES_NOTHING, Severity.ERROR, message, _parameter(ident), "iommuctl devices")
        elif every and not _having(inventory, ident):
            message = f"{every[0].address}: it is a bridge: vfio-pci takes none, and what is below it would be cut off"
            yield Finding(Rule.DEVICE_IS_BRIDGE, Severity.ERROR, message, _parameter(ident), address=every[0].address)


def _shared(inventory: Inventory, ids: tuple[DeviceId, ...], meant: frozenset[str]) -> Iterator[Finding]:
    for ident in ids:
        every = tuple(one.address for one in _having(inventory, ident))
        others = [address for address in every if address not in meant]
        if meant and others:
            own = next((address for address in every if address in meant), every[0])
            message = (
                f"{own} has the same id as {', '.join(others)}; vfio-pci.ids takes both, and what builds the images of "
                "this host cannot be told to take one and spare the other"
            )
            hint = f"driverctl set-override {own} vfio-pci binds one of them, after the host's driver had it"
            yield Finding(Rule.IDENTICAL_IDS, Severity.ERROR, message, _parameter(ident), hint, own)
        elif not meant and len(every) > 1:
            message = f"{len(every)} devices have this id, and vfio-pci takes each of them: {', '.join(every)}"
            yield Finding(Rule.IDENTICAL_IDS, Severity.WARNING, message, _parameter(ident), "iommuctl devices")


def _parameter(ident: DeviceId) -> str:
    return f"vfio-pci.ids={ident.text}"
