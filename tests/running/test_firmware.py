# SPDX-License-Identifier: Apache-2.0
"""Firmware: an IORT tells of an IOMMU only where a node of it is an SMMU."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.facts import Platform
from iommuctl.running.firmware import present, tables_of

ITS, COMPLEX, SMMU, SMMU3, COUNTERS = 0, 2, 3, 4, 5


def iort(*kinds: int, count: int | None = None, at: int = 48) -> bytes:
    """A table whose nodes have 24 bytes each."""
    nodes = b"".join(struct.pack("<BH", kind, 24).ljust(24, b"\0") for kind in kinds)
    return b"IORT".ljust(36, b"\0") + struct.pack("<III", len(kinds) if count is None else count, at, 0) + nodes


@pytest.mark.parametrize(
    ("table", "tells"),
    [
        (iort(ITS, COMPLEX, SMMU3), True),
        (iort(SMMU), True),
        (iort(ITS, COMPLEX, COUNTERS), False),
        (iort(), False),
        (iort(ITS, SMMU3, count=1), False),
        (iort(ITS, count=0xFFFFFFFF), False),
        (iort(SMMU3, at=0xFFFFFFFF), False),
        (iort(ITS)[:-24] + bytes(24), False),
        (b"IORT", False),
        (b"", True),
        (None, True),
    ],
)
def test_an_iort_tells_of_an_iommu_where_a_node_is_an_smmu_or_it_may_not_be_read(
    table: bytes | None, tells: bool
) -> None:
    assert present(["APIC", "IORT"], table) == frozenset({"APIC", "IORT"} if tells else {"APIC"})


def test_what_is_said_of_arm_says_nothing_of_other_tables() -> None:
    assert present(["DMAR", "FACP"], None) == {"DMAR", "FACP"}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_an_end(table: bytes) -> None:
    assert present(["IORT"], table) <= {"IORT"}


def test_a_table_of_a_guests_iommu_counts_on_every_platform() -> None:
    assert tables_of([Platform.INTEL, Platform.AMD]) == ("DMAR", "IVRS", "VIOT")
    assert tables_of([Platform.ARM64]) == ("IORT", "VIOT")
