# SPDX-License-Identifier: Apache-2.0
"""Names of devices, from a list as the system has it."""

from iommuctl.running.pci_ids import Names, parse_pci_ids

TEXT = """\
# a comment
8086  Intel Corporation
\t1572  Ethernet Controller X710 for 10GbE SFP+
\t\t1028 0000  Ethernet 10G X710 rNDC
\t2030  Sky Lake-E PCI Express Root Port A
10de  NVIDIA Corporation
\t1572  another vendor's

C 02  Network controller
\t00  Ethernet controller
\t\t01  a programming interface
C 06  Bridge
\t04  PCI bridge
"""


def test_only_what_is_there_is_named() -> None:
    assert parse_pci_ids(TEXT, [("8086", "1572")]) == Names(
        vendors={"8086": "Intel Corporation"},
        devices={"8086:1572": "Ethernet Controller X710 for 10GbE SFP+"},
        classes={
            "02": "Network controller",
            "0200": "Ethernet controller",
            "06": "Bridge",
            "0604": "PCI bridge",
        },
    )


def test_a_class_without_its_subclass_has_the_name_of_the_class() -> None:
    names = parse_pci_ids(TEXT, [])
    assert (names.device_class("020000"), names.device_class("028000"), names.device_class("ff0000")) == (
        "Ethernet controller",
        "Network controller",
        None,
    )


def test_a_system_without_a_list_has_no_names() -> None:
    assert Names().vendor("8086") is None
    assert Names().device("8086", "1572") is None
