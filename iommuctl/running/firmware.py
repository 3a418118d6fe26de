# SPDX-License-Identifier: Apache-2.0
"""Firmware: the ACPI tables by which it tells of an IOMMU. Bytes in, values out."""

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from iommuctl.facts import Platform

IORT = "IORT"
# Each platform's own table (VT-d specification, chapter 8; AMD I/O virtualization, IVRS; Arm DEN 0049).
TABLES: Mapping[Platform, str] = MappingProxyType({Platform.INTEL: "DMAR", Platform.AMD: "IVRS", Platform.ARM64: IORT})
GUEST_TABLE = "VIOT"  # ACPI 6.4, 5.2.34: an IOMMU that is made for a guest, on whatever platform
# Arm DEN 0049: after the header of 36 bytes the number of nodes and where the first is; type and length begin a node.
_IORT_NODES = struct.Struct("<36xII")
_IORT_NODE = struct.Struct("<BH")
_SMMUS = frozenset({3, 4})  # SMMUv1 and v2, SMMUv3


def tables_of(platforms: Iterable[Platform]) -> tuple[str, ...]:
    """Return the tables that tell of an IOMMU on these platforms."""
    return (*(TABLES[platform] for platform in platforms), GUEST_TABLE)


def present(names: Iterable[str], iort: bytes | None) -> frozenset[str]:
    """Return the tables of a firmware without an IORT that tells of no SMMU: it also describes how interrupts are
    routed.

    `iort` is that table, None or empty where only root may read it; then it is taken for one that tells of an SMMU.
    """
    found = frozenset(names)
    return found - {IORT} if iort and not _has_smmu(iort) else found


def _has_smmu(table: bytes) -> bool:
    if len(table) < _IORT_NODES.size:
        return False
    count, at = _IORT_NODES.unpack_from(table)
    for _ in range(count):
        if at + _IORT_NODE.size > len(table):
            return False
        kind, length = _IORT_NODE.unpack_from(table, at)
        if kind in _SMMUS:
            return True
        if length < _IORT_NODE.size:
            return False
        at += length
    return False
