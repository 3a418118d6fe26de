# SPDX-License-Identifier: Apache-2.0
"""One entry file, read as each bootloader reads it."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.formats import blsentry
from iommuctl.formats.blsentry import BlsEntry, expand, is_entry_name, is_word, parse_entry, variables
from iommuctl.formats.lens import Lens, Span

FOLDER = PurePosixPath("/boot/loader/entries")
MACHINE = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def entry(text: str, name: str = "arch.conf") -> BlsEntry:
    return parse_entry(FOLDER / name, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title Arch\nlinux\t/vmlinuz\n", [(1, "title", "Arch"), (2, "linux", "/vmlinuz")]),
        ("  options   a  b \noptions\t c", [(1, "options", "a  b "), (2, "options", "c")]),
        ("# options a\n #b c\n\noptions\noptions \nefi \\a\n", [(6, "efi", "\\a")]),
        ("title A\r\noptions a\r\noptions \r\n", [(1, "title", "A\r"), (2, "options", "a\r")]),
        ("", []),
    ],
)
def test_lines_have_key_and_value_as_written(text: str, expected: list[tuple[int, str, str]]) -> None:
    lines = entry(text).lines
    assert [(line.number, line.key, line.value) for line in lines] == expected
    assert [text[line.start : line.end] for line in lines] == [line.value for line in lines]


@given(st.text(alphabet=" \t\r\naé#$options-x=", max_size=60))
def test_every_text_is_an_entry_and_values_stand_where_they_are_said_to(text: str) -> None:
    for line in entry(text).lines:
        assert text[line.start : line.end] == line.value
        assert text.count("\n", 0, line.start) + 1 == line.number


@pytest.mark.parametrize(
    ("text", "stop", "read"),
    [
        ("linux /k\noptions a\n", None, "a"),
        ("linux /k\noptions a", None, "a"),
        ("linux /k\noptions a\noptions b\n", None, "a"),
        ("linux /k\noptions a\n\ninitrd /i\n", 3, "a"),
        ("linux /k\n\noptions a\n", 2, None),
        ("linux /k\n \t\noptions a\n", 2, None),
        ("linux /k\n\r\noptions a\n", 2, None),
        ("linux /k\ngrub_users\noptions a\n", 2, None),
        ("# c\n#\nlinux /k\noptions a\n", None, "a"),
        # GRUB of Fedora and RHEL splits at the first blank of the line, and takes `options<TAB>a` for the key.
        ("linux /k\noptions\ta b\n", None, None),
        ("linux /k\noptions\t a\n", None, None),
        ("linux /k\noptions \ta b\n", None, "a b"),
        ("linux /k\noptions\ta\n", None, "a"),
        ("linux /k\n", None, None),
    ],
)
def test_grub_reads_the_first_options_before_a_blank_line(text: str, stop: int | None, read: str | None) -> None:
    found = entry(text)
    line = found.grub_options
    assert (found.grub_stop, line and line.value) == (stop, read)


@pytest.mark.parametrize(
    ("name", "identity", "tries"),
    [
        ("arch.conf", "arch", None),
        ("debian-6.12.1-amd64+3.conf", "debian-6.12.1-amd64", (3, 0)),
        ("debian-6.12.1-amd64+3-1.conf", "debian-6.12.1-amd64", (3, 1)),
        ("debian-6.12.1-amd64+0-03.conf", "debian-6.12.1-amd64", (0, 3)),
        ("a-6.1+deb13-amd64.conf", "a-6.1+deb13-amd64", None),
        ("a-6.1+2+3.conf", "a-6.1+2", (3, 0)),
        ("+1.conf", ".conf", (1, 0)),
        ("+1-2.conf", ".conf", (1, 2)),
    ],
)
def test_boot_counter_is_no_part_of_the_identity(name: str, identity: str, tries: tuple[int, int] | None) -> None:
    found = entry("", name)
    assert (found.id, found.tries) == (identity, tries)
    assert blsentry.identity(found.path) == FOLDER / identity


@pytest.mark.parametrize(
    ("name", "text", "owners"),
    [
        ("arch.conf", "", ()),
        (f"{MACHINE}-6.1.conf", "", (MACHINE,)),
        (f"{MACHINE.upper()}-6.1.conf", "", (MACHINE,)),
        (f"{MACHINE}.conf", "", (MACHINE,)),
        (f"{MACHINE}0-6.1.conf", "", ()),
        # Red Hat's images are built with this one, and get their own when they first boot.
        (f"{'f' * 32}-6.1.conf", "", ()),
        (f"{'f' * 32}-6.1.conf", f"machine-id {OTHER}\n", (OTHER,)),
        (f"{MACHINE}-6.1.conf", f"machine-id {OTHER}\n", (OTHER, MACHINE)),
        ("debian-6.1.conf", f"machine-id\t{OTHER.upper()} \n", (OTHER,)),
    ],
)
def test_owners_are_the_machine_ids_that_it_names(name: str, text: str, owners: tuple[str, ...]) -> None:
    assert entry(text, name).owners == owners


@pytest.mark.parametrize(
    ("name", "text", "rescue"),
    [
        (f"{MACHINE}-0-rescue.conf", "", True),
        (f"{MACHINE}-0-rescue-x+3-1.conf", "", True),
        ("any.conf", "version 0-rescue-0123\n", True),
        (f"{MACHINE}-6.1.conf", "version 6.1\n", False),
        ("arch-fallback.conf", "title Arch (fallback)\n", False),
    ],
)
def test_rescue_is_told_by_name_and_version(name: str, text: str, rescue: bool) -> None:
    assert entry(text, name).is_rescue is rescue


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("linux /vmlinuz-6.12.0-55.el10.x86_64\nversion 1\n", "6.12.0-55.el10.x86_64"),
        ("linux /debian/6.12.1+deb13-amd64/linux\n", "6.12.1+deb13-amd64"),
        ("linux /EFI/proxmox/6.8.12-4-pve/vmlinuz-6.8.12-4-pve\n", "6.8.12-4-pve"),
        ("linux /opensuse-tumbleweed/6.17.5-1-default/linux-1\nversion 12@6.17.5\n", "6.17.5-1-default"),
        ("linux /vmlinuz-linux\n", None),
        ("linux /vmlinuz-linux\nversion 6.1-arch1\n", "6.1-arch1"),
        ("title x\n", None),
    ],
)
def test_kernel_release_is_told_by_the_image_else_the_version(text: str, release: str | None) -> None:
    assert entry(text).kernel_release == release


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.conf", True), (".a.conf", False), ("a.conf.bak", False), ("a.conf~", False), ("auto-windows.conf", False)],
)
def test_only_names_that_bootloaders_look_at_are_entries(name: str, is_one: bool) -> None:
    assert is_entry_name(name) is is_one


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$kernelopts $tuned_params", "root=/dev/sda1 ro"),
        ("$kernelopts quiet", "root=/dev/sda1 ro quiet"),
        ("a$tuned_params,b memmap=10M\\$2G", "a,b memmap=10M$2G"),
    ],
)
def test_variables_are_put_in_as_grub_does(value: str, expected: str) -> None:
    given = {"kernelopts": "root=/dev/sda1 ro"}
    assert [token.text for token in expand(value, given.get).tokens] == expected.split()


def test_variables_are_named_in_order() -> None:
    assert variables("$kernelopts a\\$b $tuned_params") == ("kernelopts", "tuned_params")
    assert [is_word(text) for text in ("$kernelopts", "a$b", "quiet")] == [True, False, False]


def test_real_entries_have_the_options_that_a_search_for_them_finds(corpus: Path) -> None:
    files = sorted((corpus / "bls").iterdir())
    assert len(files) > 30
    for file in files:
        text = file.read_bytes().decode()
        expected = [line.split(None, 1)[1] for line in text.split("\n") if line.startswith("options")]
        assert [line.value.rstrip() for line in entry(text).options] == [value.rstrip() for value in expected], file


@given(st.text(alphabet=" \t\r\naé#$:options-x=", max_size=60))
def test_lens_gives_every_text_back_and_finds_the_same_options(text: str) -> None:
    found = entry(text)
    lens = Lens("Bls.lns")
    assert lens.rewrite(found.path, text, {}) == text
    spans = {Span(line.start, line.end) for line in found.options}
    assert spans <= set(lens.values(found.path, text, "options"))


def test_real_entries_take_an_addition_and_nothing_else_changes(corpus: Path) -> None:
    lens = Lens("Bls.lns")
    for file in sorted((corpus / "bls").iterdir()):
        text = file.read_bytes().decode()
        found = entry(text, file.name)
        values = {Span(line.start, line.end): f"{line.value} x=1" for line in found.options}
        edited = lens.rewrite(found.path, text, values)
        assert [(line.key, line.value.removesuffix(" x=1")) for line in entry(edited).lines] == [
            (line.key, line.value) for line in found.lines
        ]
        assert len(edited) == len(text) + len(" x=1") * len(found.options)
