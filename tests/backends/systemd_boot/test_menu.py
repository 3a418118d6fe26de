# SPDX-License-Identifier: Apache-2.0
"""systemd-boot's menu: its order, and what boots by default."""

from pathlib import PurePosixPath

import pytest
from entryhosts import ENTRIES
from trees import MemoryTree

from iommuctl.backends.systemd_boot.menu import (
    SETTINGS_LIMIT,
    Item,
    Wish,
    chosen,
    entry_item,
    image_item,
    in_order,
    wishes,
)
from iommuctl.errors import BootConfigError
from iommuctl.facts import Runtime
from iommuctl.formats.blsentry import parse_entry

SETTINGS = "/boot/loader/loader.conf"


def listed(entries: dict[str, str]) -> list[str]:
    items = [entry_item(parse_entry(PurePosixPath(ENTRIES) / name, text)) for name, text in entries.items()]
    return [item.id for item in in_order(item for item in items if item is not None)]


def linux(*lines: str) -> str:
    return "\n".join(("linux /v", *lines, ""))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # Without a sort-key on either the file's name alone decides, whatever the version says.
        ({"b.conf": linux("version 3"), "a-10.conf": linux("version 10")}, ["b.conf", "a-10.conf"]),
        ({"a.conf": linux(), "a-1.conf": linux()}, ["a.conf", "a-1.conf"]),
        ({"a-9.conf": linux(), "a-10.conf": linux()}, ["a-10.conf", "a-9.conf"]),
        ({"A-10.conf": linux(), "b.conf": linux()}, ["b.conf", "a-10.conf"]),
        ({"z.conf": linux(), "a.conf": linux("sort-key z")}, ["a.conf", "z.conf"]),
        ({"a.conf": linux("sort-key b"), "b.conf": linux("sort-key a")}, ["b.conf", "a.conf"]),
        (
            {"one.conf": linux("sort-key x", "version 123.1-1"), "two.conf": linux("sort-key x", "version 123-1.1")},
            ["one.conf", "two.conf"],
        ),
        (
            {
                "new.conf": linux("sort-key x", "machine-id b", "version 2"),
                "old.conf": linux("sort-key x", "machine-id a", "version 1"),
                "none.conf": linux("sort-key x", "version 0"),
            },
            ["none.conf", "old.conf", "new.conf"],
        ),
        ({"z+0-3.conf": linux("sort-key a"), "a+1.conf": linux(), "b.conf": linux()}, ["b.conf", "a.conf", "z.conf"]),
        ({"a+1.conf": linux(), "+2-1.conf": linux()}, ["a.conf", ".conf"]),
        ({"a.conf": "title nothing\n", "b.conf": "efi /shell.efi\n"}, ["b.conf"]),
    ],
)
def test_entries_are_sorted_as_the_loader_sorts_them(entries: dict[str, str], expected: list[str]) -> None:
    assert listed(entries) == expected
    assert listed(dict(reversed(entries.items()))) == expected


def test_images_are_sorted_by_what_their_os_release_says() -> None:
    def image(name: str, text: str, profile: int = 0, tries: tuple[int, int] | None = None) -> str:
        item = image_item(PurePosixPath("/efi/EFI/Linux") / name, name, text, tries, profile, None)
        items.append(item)
        return item.id

    items: list[Item] = []
    expected = [
        image("a.efi", 'IMAGE_ID="arch"\nID=z\nIMAGE_VERSION=10\nVERSION_ID=1\n'),
        image("B.efi", "ID=arch\nVERSION_ID=9\n"),
        image("A.efi", "ID=arch\nVERSION_ID=9\n"),
        image("B.efi", "ID=arch\nVERSION_ID=9\n", profile=1),
        image("c.efi", "ID=arch\nBUILD_ID=rolling\n"),
        image("d.efi", ""),
        image("e.efi", "ID=arch\n", tries=(0, 3)),
    ]
    assert [item.id for item in in_order(reversed(items))] == expected
    assert expected[1:4] == ["b.efi", "a.efi", "b.efi@1"]
    assert chosen(in_order(items[3:4]), ()) is None


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("b.conf", "b.conf"),
        ("B.CONF", "b.conf"),
        ("b", None),
        ("?.conf", "c.conf"),
        ("[ab]*", "b.conf"),
        ("[a-b].conf", "b.conf"),
        ("*", "c.conf"),
        (r"\b.conf", "b.conf"),
        (r"\*.conf", None),
        ("[b", None),
        ("b.conf\\", None),
        ("*a*a*a*a*a*a*b", None),
        ("*.*f", "c.conf"),
        ("c.con", None),
        ("[]b]?conf", "b.conf"),
        ("[" * 80_000, None),
        ("*a" * 40_000, None),
    ],
)
def test_a_pattern_is_matched_against_the_whole_id(pattern: str, name: str | None) -> None:
    menu = in_order(entry_item(parse_entry(PurePosixPath(ENTRIES) / f"{one}.conf", linux())) for one in "abc")  # type: ignore[misc]
    found = chosen(menu, [Wish(pattern), Wish("a.conf")])
    assert found is not None
    assert found.id == (name or "a.conf")


def test_a_preferred_entry_without_tries_is_passed_over_and_a_default_is_not() -> None:
    entries = {"a.conf": linux(), "b+0-3.conf": linux()}
    menu = in_order(entry_item(parse_entry(PurePosixPath(ENTRIES) / name, text)) for name, text in entries.items())  # type: ignore[misc]
    assert [chosen(menu, [Wish("b.conf", spares_bad=spares)]) for spares in (True, False)] == list(menu)


@pytest.mark.parametrize(
    ("settings", "runtime", "expected"),
    [
        ("default a*\ndefault b.conf \n", None, [Wish("b.conf")]),
        ("default a\npreferred b\n", None, [Wish("b", True), Wish("a")]),
        ("timeout 3\n#default a\n", None, []),
        ("default @saved\n", None, []),
        ("default @saved\n", Runtime("", entry_selected="a[1]+3-1.conf"), [Wish(r"a\[1].conf")]),
        (
            "default a\npreferred b\n",
            Runtime("", entry_default="c", entry_preferred="d"),
            [Wish("d", True), Wish("b", True), Wish("c"), Wish("a")],
        ),
    ],
)
def test_what_names_the_default(settings: str, runtime: Runtime | None, expected: list[Wish]) -> None:
    assert list(wishes(MemoryTree.of({SETTINGS: settings}), runtime)) == expected


def test_settings_beyond_their_limit_are_refused() -> None:
    tree = MemoryTree.of({SETTINGS: f"default {'a' * SETTINGS_LIMIT}\n"})
    with pytest.raises(BootConfigError, match=f"is larger than {SETTINGS_LIMIT} bytes"):
        list(wishes(tree, None))
