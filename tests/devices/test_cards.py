# SPDX-License-Identifier: Apache-2.0
"""Cards: which functions are one piece, and which card an address or a name means."""

from pathlib import Path

import pytest
from devicetrees import MACHINES, PCI_IDS, Machine

from iommuctl.devices.cards import cards, ids_of, matching
from iommuctl.devices.inventory import Function, Inventory
from iommuctl.devices.judgement import with_mates
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.host.root import Root
from iommuctl.running.pci_ids import parse_pci_ids
from iommuctl.running.state import Device


def machine(name: str, root: Path) -> Inventory:
    MACHINES[name](Machine(root))
    return read_inventory(Root(root))


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("gpu-with-usb-c", "0000:01:00.0", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "0000:01:00.3", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "01:00", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "0000:01:00", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "rtx 2080", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "10de:1ad6", ["0000:01:00.0"]),
        ("gpu-with-usb-c", "0000:09:00.0", []),
        ("gpu-with-usb-c", "", []),
        ("twins", "82574L", ["0000:00:05.0", "0000:00:06.0"]),
        ("twins", "00:06.0", ["0000:00:06.0"]),
        ("vmd", "10000:e1:00.0", ["10000:e1:00.0"]),
        ("bond-on-vlan", "0000:01:00.2", ["0000:01:00.2"]),
        ("apu", "c4:00", ["0000:c4:00.0", "0000:c4:00.2", "0000:c4:00.3"]),
    ],
)
def test_an_address_or_a_part_of_a_name_means_cards(name: str, wanted: str, found: list[str], tmp_path: Path) -> None:
    inventory = machine(name, tmp_path)
    names = parse_pci_ids(PCI_IDS, ((one.device.vendor, one.device.device) for one in inventory.functions))
    assert [one.addresses[0] for one in matching(cards(inventory), wanted, names)] == found


def test_a_graphics_card_is_all_its_functions(tmp_path: Path) -> None:
    whole = next(card for card in cards(machine("gpu-with-usb-c", tmp_path)) if len(card.functions) > 1)
    assert [one[-1] for one in whole.addresses] == ["0", "1", "2", "3"]


def test_a_group_is_what_would_keep_a_card_from_a_guest(tmp_path: Path) -> None:
    inventory = machine("vmd", tmp_path)
    chosen = inventory.addresses["0000:00:0e.0"]
    assert [one.address for one in with_mates(inventory, (chosen,))] == ["0000:00:0e.0", "10000:e1:00.0"]


@pytest.mark.parametrize(
    ("own", "other", "ids"),
    [
        (("1458", "4000"), ("1043", "8769"), "10de:2484:1458:4000"),
        (("1458", "4000"), ("1458", "4000"), "10de:2484"),
        (("", ""), ("1043", "8769"), "10de:2484"),
    ],
)
def test_twins_of_two_makers_are_told_apart_by_the_ids_of_the_card(
    own: tuple[str, str], other: tuple[str, str], ids: str
) -> None:
    first, second = (
        Function(Device(f"0000:0{number}:00.0", "030000", "10de", "2484", subsystem=subsystem))
        for number, subsystem in ((1, own), (2, other))
    )
    assert ids_of((first,), Inventory.of((first, second))) == ids
    assert ids_of((first, second), Inventory.of((first, second))) == "10de:2484"
