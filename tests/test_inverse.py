# SPDX-License-Identifier: Apache-2.0
"""Going back in a file that others changed since: our parameters only, and everything else as it is now."""

from pathlib import PurePosixPath

import pytest
from entryhosts import entry, grubenv

from iommuctl.backends.inverse import invert_block, invert_cmdline, invert_entry
from iommuctl.cmdline import Cmdline
from iommuctl.errors import ConflictError

ENTRY = PurePosixPath("/boot/loader/entries/a+2-1.conf")
BLOCK = PurePosixPath("/boot/grub2/grubenv")


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        ("ro quiet", "ro quiet iommu=pt", "ro quiet iommu=pt", "ro quiet"),
        ("ro quiet", "ro quiet iommu=pt", "ro  nosmt quiet iommu=pt debug", "ro  nosmt quiet debug"),
        ("ro iommu=soft q", "ro iommu=pt q intel_iommu=on", "x iommu=pt q intel_iommu=on", "x iommu=soft q"),
        ("ro iommu=soft", "ro", "ro nosmt", "ro nosmt iommu=soft"),
        ("ro iommu=soft", "ro", "ro iommu=off", "ro iommu=off"),
        ("ro", "ro iommu=pt", "ro iommu=off", "ro iommu=off"),
        ("ro", "ro iommu=pt", "iommu=pt ro iommu=pt -- iommu=pt", "iommu=pt ro -- iommu=pt"),
    ],
)
def test_only_our_parameters_are_taken_back(before: str, after: str, now: str, expected: str) -> None:
    assert str(invert_cmdline(*map(Cmdline.parse, (before, after, now)))) == expected


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        (entry("ro"), entry("ro iommu=pt"), entry("ro iommu=pt"), entry("ro")),
        (entry("ro"), entry("ro iommu=pt"), entry("ro iommu=pt x", more="# c\n"), entry("ro x", more="# c\n")),
        (entry("ro"), entry("ro iommu=pt"), entry("root=1 ro iommu=pt z"), entry("root=1 ro z")),
        (entry("ro"), entry("ro iommu=pt"), entry("a", more="options iommu=pt\n"), entry("a")),
        (entry("ro"), entry("ro iommu=pt"), entry("a b"), entry("a b")),
    ],
)
def test_an_entry_goes_back_by_bytes_else_by_parameters(before: str, after: str, now: str, expected: str) -> None:
    assert invert_entry(ENTRY, before.encode(), after.encode(), now.encode()).decode() == expected


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        (grubenv(k="a", s="1"), grubenv(k="a b", s="1"), grubenv(s="2", k="a b", n="x"), grubenv(s="2", k="a", n="x")),
        (grubenv(s="1"), grubenv(s="1", k="b"), grubenv(s="2", k="b", n="x"), grubenv(s="2", n="x")),
    ],
)
def test_a_block_keeps_what_others_wrote(before: bytes, after: bytes, now: bytes, expected: bytes) -> None:
    assert invert_block(BLOCK, before, after, now) == expected


def test_a_variable_of_ours_with_a_third_value_is_a_conflict() -> None:
    with pytest.raises(ConflictError, match="'k' was changed since") as caught:
        invert_block(BLOCK, grubenv(k="a"), grubenv(k="a b"), grubenv(k="c"))
    assert (caught.value.code, caught.value.details) == (78, ("we left 'a b'", "it is 'c'"))
