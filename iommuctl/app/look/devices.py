# SPDX-License-Identifier: Apache-2.0
"""Devices: every card of the running system, what hangs on it, and whether it can go to a guest."""

from iommuctl.app.host import Host
from iommuctl.devices.cards import Card
from iommuctl.devices.conflicts import conflicts
from iommuctl.devices.inventory import Inventory
from iommuctl.devices.judgement import JudgedCard, judge_cards
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.errors import UsageError
from iommuctl.findings import Finding, Rule
from iommuctl.running.pci_ids import Names
from iommuctl.running.sysfs import read_names
from iommuctl.value import NamedTuple


class Devices(NamedTuple):
    """Every card, those that can go to a guest first; `platform` are those that no guest could ever have.

    `elsewhere` is what else on the host binds devices.
    """

    inventory: Inventory
    cards: tuple[JudgedCard, ...]
    platform: tuple[Card, ...]
    names: Names
    elsewhere: tuple[Finding, ...]


def read_host_devices(host: Host, command: str) -> Devices:
    """Read the devices. Raises UsageError for another root, whose devices nobody knows."""
    if not host.is_system:
        raise UsageError(
            f"{command} needs the running system",
            details=(f"the devices of {str(host.path)!r} are not known",),
            hint=f"iommuctl {command}",
        )
    inventory = read_inventory(host.root)
    judged = judge_cards(inventory)
    platform = tuple(one.card for one in judged if _is_platform(one))
    return Devices(
        inventory,
        tuple(one for one in judged if not _is_platform(one)),
        platform,
        read_names(host.root, (one.device for one in inventory.functions)),
        conflicts(host.root, inventory.functions),
    )


def _is_platform(judged: JudgedCard) -> bool:
    return any(one.rule is Rule.DEVICE_IS_PLATFORM for one in judged.obstacles)
