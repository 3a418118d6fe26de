# SPDX-License-Identifier: Apache-2.0
"""Going back in a file that others changed since: our parameters only, and everything else as it is now."""

from pathlib import PurePosixPath

import pytest
from entryhosts import entry, grubenv

from iommuctl.app.rollback.inverse import differences, invert_block, invert_entry, parameters
from iommuctl.errors import BootConfigError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.plan import Change, Op

ENTRY = PurePosixPath("/boot/loader/entries/a+2-1.conf")
BLOCK = PurePosixPath("/boot/grub2/grubenv")


def change(before: str | None, after: str | None) -> Change:
    op = Op.ADD if before is None else Op.REMOVE if after is None else Op.REPLACE
    return Change(op, before, after, ENTRY, "a", "because")


ADDED = change(None, "iommu=pt")
REPLACED = change("iommu=soft", "iommu=pt")
REMOVED = change("iommu=soft", None)


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ((ADDED,), "ro quiet iommu=pt", "ro quiet"),
        ((ADDED,), "ro  nosmt quiet iommu=pt debug", "ro  nosmt quiet debug"),
        ((REPLACED, change(None, "intel_iommu=on")), "x iommu=pt q intel_iommu=on", "x iommu=soft q"),
        ((REMOVED,), "ro nosmt", "ro nosmt iommu=soft"),
        ((REMOVED,), "ro iommu=off", "ro iommu=off"),
        ((REMOVED,), "ro -- init", "ro iommu=soft -- init"),
        ((REMOVED, ADDED), "ro iommu=pt", "ro iommu=soft"),
        ((REMOVED, change("iommu=nopt", None)), "ro", "ro iommu=soft iommu=nopt"),
        ((ADDED,), "ro iommu=off", "ro iommu=off"),
        ((ADDED,), "iommu=pt ro iommu=pt -- iommu=pt", "iommu=pt ro -- iommu=pt"),
        ((ADDED,), "ro\noptions iommu=pt x iommu=pt", "ro\noptions iommu=pt x"),
        ((ADDED,), "ro iommu=pt\noptions iommu=pt", "ro\noptions iommu=pt"),
        ((REPLACED,), "a\noptions iommu=pt", "a\noptions iommu=soft"),
        ((REMOVED,), "a\noptions iommu=off", "a\noptions iommu=off"),
        ((ADDED,), "a\noptions iommu=pt", "a"),
        ((ADDED,), 'ro x="a iommu=pt', 'ro x="a iommu=pt'),
    ],
)
def test_only_our_parameters_are_taken_back(changes: tuple[Change, ...], now: str, expected: str) -> None:
    assert invert_entry(ENTRY, changes, entry(now, more="# c\n").encode()).decode() == entry(expected, more="# c\n")


def test_an_entry_without_options_stays() -> None:
    assert invert_entry(ENTRY, (REMOVED,), b"title x\nlinux /v\n") == b"title x\nlinux /v\n"


def test_what_an_open_quote_would_swallow_does_not_come_back() -> None:
    with pytest.raises(BootConfigError, match="an open quote would swallow 'iommu=soft'") as caught:
        invert_entry(ENTRY, (REMOVED,), entry('ro x="a').encode())
    assert (caught.value.code, caught.value.line) == (78, 5)


def test_the_differences_of_two_contents_are_changes_of_whole_parameters() -> None:
    before, after = entry("a iommu=soft b c").encode(), entry("a iommu=pt b c d").encode()
    assert parameters(ENTRY, after) == ("a", "iommu=pt", "b", "c", "d")
    assert tuple(differences(ENTRY, parameters(ENTRY, before), parameters(ENTRY, after), "because")) == (
        REPLACED,
        change(None, "d"),
    )
    assert tuple(differences(ENTRY, ("a", "b"), ("b",), "because")) == (change("a", None),)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (grubenv(k="a", s="1"), grubenv(s="2", k="a b", n="x"), grubenv(s="2", k="a", n="x")),
        (grubenv(s="1"), grubenv(s="2", k="b", n="x"), grubenv(s="2", n="x")),
        (grubenv(k="a"), grubenv(s="2"), grubenv(s="2", k="a")),
    ],
)
def test_a_block_keeps_what_others_wrote(before: bytes, now: bytes, expected: bytes) -> None:
    old, block = (GrubEnv.parse(BLOCK, content) for content in (before, now))
    assert invert_block(("k",), old, block).block == expected
