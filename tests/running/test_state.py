# SPDX-License-Identifier: Apache-2.0
"""The kernel's own files, as texts and bytes."""

import struct

import pytest
from kernelhosts import configuration_space

from iommuctl.running.state import (
    Observed,
    Region,
    Unit,
    parse_capabilities,
    parse_config,
    parse_cpu,
    parse_interrupts,
    parse_regions,
)


def test_configuration_has_the_symbols_that_are_set() -> None:
    text = '# CONFIG_INTEL_IOMMU is not set\nCONFIG_AMD_IOMMU=y\nCONFIG_VFIO=m\nCONFIG_CMDLINE="quiet ro"\n'
    assert parse_config(text) == {"CONFIG_AMD_IOMMU": "y", "CONFIG_VFIO": "m", "CONFIG_CMDLINE": "quiet ro"}


@pytest.mark.parametrize(
    ("line", "remapped"),
    [
        (" 24:  0  0  IR-PCI-MSI 512000-edge  ahci[0000:00:1f.2]", True),
        ("  9:  0  0  IR-IO-APIC    9-fasteoi  acpi", True),
        ("128:  0  0  IR-PCI-MSIX-0000:01:00.0    0-edge  nvme0q0", True),
        (" 24:  0  0  PCI-MSIX-0000:00:01.0   0-edge  virtio0-config", False),
        ("  9:  0  0  IO-APIC    9-fasteoi  FIR-acpi", False),
        ("IWI:          0          1   IRQ work interrupts", False),
    ],
)
def test_interrupt_remapping_shows_in_the_name_of_a_chip(line: str, remapped: bool) -> None:
    assert parse_interrupts(f"            CPU0       CPU1\n{line}\n") is remapped


def test_regions_are_read_with_their_kind() -> None:
    text = "0x00000000bdf6f000 0x00000000bdf7efff direct-relaxable\n0x00000000fee00000 0x00000000feefffff msi\nbroken\n"
    assert parse_regions(text) == (
        Region(0xBDF6F000, 0xBDF7EFFF, "direct-relaxable"),
        Region(0xFEE00000, 0xFEEFFFFF, "msi"),
    )


def test_extended_capabilities_are_read_along_their_chain() -> None:
    assert parse_capabilities(configuration_space((0x01, 0x0F, 0x1B))) == frozenset({0x01, 0x0F, 0x1B})
    assert parse_capabilities(configuration_space(())) == frozenset()
    assert parse_capabilities(bytes(256)) == frozenset()


def test_hidden_capabilities_are_not_taken_for_none() -> None:
    assert parse_capabilities(bytes(64)) is None
    assert parse_capabilities(b"") is None


@pytest.mark.parametrize("following", [0x100, 0x104, 0x004, 0xFFC])
def test_a_broken_chain_of_capabilities_ends(following: int) -> None:
    space = bytearray(4096)
    struct.pack_into("<I", space, 0x100, 0x0F | following << 20)
    assert parse_capabilities(bytes(space)) == frozenset({0x0F})


def test_a_device_that_does_not_answer_has_no_capabilities() -> None:
    assert parse_capabilities(b"\xff" * 4096) == frozenset()


def test_cpu_is_that_of_the_first_processor() -> None:
    assert parse_cpu("vendor_id\t: AuthenticAMD\nflags\t\t: fpu sme\n\nvendor_id : x\n") == (
        "AuthenticAMD",
        frozenset({"fpu", "sme"}),
    )
    assert parse_cpu("CPU implementer : 0x41\n") == ("", frozenset())


@pytest.mark.parametrize(
    ("unit", "emulated", "passes_through", "remaps"),
    [
        (Unit("dmar0", 0x8D2078C106F0466, 0xF020DF), False, True, True),
        (Unit("dmar0", 0x80, 0x0), True, False, False),
        (Unit("dmar0"), False, None, None),
        (Unit("ivhd0", 1 << 26), True, None, None),
        (Unit("ivhd0", 0x640F), False, None, None),
        (Unit("smmu3.0x0000000009050000"), False, None, None),
        (Unit("iommu.platform", 0x80), False, None, None),
    ],
)
def test_registers_tell_what_a_unit_can(
    unit: Unit, emulated: bool, passes_through: bool | None, remaps: bool | None
) -> None:
    assert (unit.is_emulated, unit.passes_through, unit.remaps_interrupts) == (emulated, passes_through, remaps)


@pytest.mark.parametrize(
    ("line", "flags", "encrypted"),
    [
        ("ro mem_encrypt=on", {"sme"}, True),
        ("ro mem_encrypt=on", {"fpu"}, False),
        ("ro", {"sme"}, False),
        ("mem_encrypt=on mem_encrypt=off", {"sme"}, False),
        ("-- mem_encrypt=on", {"sme"}, False),
    ],
)
def test_memory_is_encrypted_where_asked_and_able(line: str, flags: set[str], encrypted: bool) -> None:
    assert Observed(line, "6.12.0", cpu_flags=frozenset(flags)).encrypts_memory is encrypted


def test_an_unreadable_configuration_says_nothing() -> None:
    assert Observed("", "6.12.0").is_configured("CONFIG_AMD_IOMMU") is None
    assert Observed("", "6.12.0", config={}).is_configured("CONFIG_AMD_IOMMU") is False
    assert Observed("", "6.12.0", config={"CONFIG_X": "m"}).is_configured("CONFIG_AMD_IOMMU", "CONFIG_X") is True
