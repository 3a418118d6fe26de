# SPDX-License-Identifier: Apache-2.0
"""Devices: the cards of this host, what hangs on each, and which of them can go to a guest."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.session import print_result, wants_colour

if TYPE_CHECKING:
    from iommuctl.app.look.devices import Devices
    from iommuctl.devices.inventory import Function
    from iommuctl.devices.judgement import JudgedCard
    from iommuctl.documents.devices import CardReport, DevicesReport, FunctionReport
    from iommuctl.running.pci_ids import Names


class DevicesFormat(StrEnum):
    """How `devices` prints where JSON is not asked for."""

    CARDS = "cards"
    TREE = "tree"


@command("devices", "devices --format tree")
def devices(
    context: typer.Context,
    root: options.RunningRoot = options.ROOT,
    form: Annotated[
        DevicesFormat, typer.Option("--format", help="Card by card, or every function as a tree by bridges.")
    ] = DevicesFormat.CARDS,
) -> None:
    """Show the devices for guests, and why the others stay."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.devices import read_host_devices

    found = read_host_devices(Host.open(root), "devices")
    as_text = _tree if form is DevicesFormat.TREE else _text
    print_result(context, lambda: _report(found), lambda: as_text(found))


def _text(found: "Devices") -> str:
    """Return the cards: those that can go to a guest, then the others with the reason."""
    if not found.inventory.functions:
        return "no devices on PCI\n"
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: "Devices") -> Iterator[str]:
    from iommuctl.cli.output.devices import card_lines
    from iommuctl.cli.output.findings import finding_lines
    from iommuctl.cli.output.text import visible

    colour = wants_colour(sys.stdout)
    parts = {
        "can go to a guest": [one for one in found.cards if one.is_usable],
        "stay with the host": [one for one in found.cards if not one.is_usable],
    }
    for title, cards in parts.items():
        if cards:
            yield f"{title}:"
            for one in cards:
                yield from card_lines(one, found.names, colour=colour)
            yield ""
    if found.platform:
        addresses = " ".join(address for card in found.platform for address in card.addresses)
        yield f"parts of the platform, which no guest can have: {addresses}"
    if found.inventory.unresolved:
        points = " and ".join(map(visible, found.inventory.unresolved))
        yield f"not known: the disk of {points}, so no disk controller can go to a guest"
    yield from finding_lines(found.elsewhere, colour=colour)


def _tree(found: "Devices") -> str:
    from iommuctl.cli.output.devices import tree_lines

    return "".join(f"{line}\n" for line in tree_lines(found.inventory, found.names))


def _report(found: "Devices") -> "DevicesReport":
    from iommuctl.documents import devices as documents
    from iommuctl.documents.base import reports

    return documents.DevicesReport(
        devices=tuple(_card(one, found.names) for one in found.cards),
        platform=tuple(address for card in found.platform for address in card.addresses),
        elsewhere=reports(documents.ElsewhereReport, found.elsewhere),
        ways_in=found.inventory.ways_in,
        unresolved=found.inventory.unresolved,
    )


def _card(judged: "JudgedCard", names: "Names") -> "CardReport":
    from iommuctl.devices.cards import card_name
    from iommuctl.documents import devices as documents
    from iommuctl.documents.base import reports

    card = judged.card
    return documents.CardReport(
        name=card_name(card, names),
        slot=card.main.slot,
        addresses=card.addresses,
        usable=judged.is_usable,
        obstacles=reports(documents.ObjectionReport, judged.obstacles),
        notes=reports(documents.ObjectionReport, (one for one in judged.objections if one not in judged.obstacles)),
        mates=tuple(one.address for one in judged.mates),
        twins=tuple(one.address for one in judged.twins),
        functions=tuple(_function(one, names) for one in card.functions),
    )


def _function(function: "Function", names: "Names") -> "FunctionReport":
    from iommuctl.documents import devices as documents
    from iommuctl.documents.base import report, reports

    device = function.device
    return report(
        documents.FunctionReport,
        device,
        class_name=names.device_class(device.device_class),
        vendor_name=names.vendor(device.vendor),
        device_name=names.device(device.vendor, device.device),
        above=function.above,
        carries=reports(documents.UseReport, function.uses),
        reset_methods=device.reset,
        numvfs=device.virtual_functions,
        totalvfs=device.maximal_virtual_functions,
    )
