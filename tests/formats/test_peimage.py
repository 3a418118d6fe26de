# SPDX-License-Identifier: Apache-2.0
"""PE images: the command line is found where systemd-stub finds it, and a damaged image is refused."""

import re
import struct
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peimages import addon, pe_image, unified_image

from iommuctl.errors import BootConfigError
from iommuctl.formats.peimage import PROFILES_LIMIT, TEXT_LIMIT, PeImage, parse_image

PATH = PurePosixPath("/efi/EFI/Linux/arch.efi")
PE_START = 0x80


def parsed(content: bytes) -> PeImage:
    return parse_image(PATH, lambda start, size: content[start : start + size])


@pytest.mark.parametrize(
    ("text", "cmdline"),
    [
        ("root=/dev/sda2 ro quiet", "root=/dev/sda2 ro quiet"),
        (" root=/dev/sda2  ro\n", "root=/dev/sda2  ro"),
        ("root=/dev/sda2\nro\tquiet\r\n", "root=/dev/sda2 ro quiet"),
        ("ro\0nothing behind it", "ro"),
        ('dyndbg="file x +p" é', 'dyndbg="file x +p" é'),
        ("", ""),
        (None, None),
    ],
)
def test_the_command_line_inside_is_read_as_the_stub_reads_it(text: str | None, cmdline: str | None) -> None:
    assert parsed(unified_image(text)) == PeImage(True, "6.12.9-arch1-1", (cmdline,), os_release="ID=arch")


def test_bytes_that_are_no_text_come_back_as_they_were() -> None:
    (cmdline,) = parsed(pe_image([(".cmdline", b"a\xff"), (".linux", b"")])).cmdlines
    assert (cmdline or "").encode("utf-8", "surrogateescape") == b"a\xff"


def test_of_a_section_that_is_filled_up_only_what_is_used_counts() -> None:
    content = bytearray(unified_image("iommu=pt"))
    place = content.index(b"iommu=pt")
    content[place + 8 : place + 12] = b" ro "
    assert parsed(bytes(content)).cmdlines == ("iommu=pt",)


@pytest.mark.parametrize(
    ("profiles", "cmdlines", "ids"),
    [
        ([(".profile", b"ID=main\n")], ("common",), ("main",)),
        (
            [(".profile", b"ID=main\n"), (".cmdline", b"first"), (".profile", b"TITLE=x\nID='debug'\n")],
            ("first", "common"),
            ("main", "debug"),
        ),
        (
            [(".profile", b""), (".profile", b""), (".cmdline", b"second"), (".profile", b""), (".cmdline", b"third")],
            ("common", "second", "third"),
            (None, None, None),
        ),
    ],
)
def test_each_profile_has_its_own_command_line_or_the_common_one(
    profiles: list[tuple[str, bytes]], cmdlines: tuple[str, ...], ids: tuple[str | None, ...]
) -> None:
    image = pe_image([(".cmdline", b"common"), (".uname", b"6.12"), (".linux", b"x"), *profiles])
    assert parsed(image) == PeImage(True, "6.12", cmdlines, profiles=ids)


@pytest.mark.parametrize(("count", "read"), [(PROFILES_LIMIT, True), (PROFILES_LIMIT + 1, False)])
def test_profiles_that_share_a_text_cost_one_reading_of_it(count: int, *, read: bool) -> None:
    image = pe_image([(".cmdline", b"a" * TEXT_LIMIT), (".linux", b"x"), *([(".profile", b"")] * count)])
    asked: list[int] = []

    def part(start: int, size: int) -> bytes:
        asked.append(size)
        return image[start : start + size]

    if read:
        assert len(parse_image(PATH, part).cmdlines) == count
    else:
        with pytest.raises(BootConfigError, match=f"no more than {PROFILES_LIMIT} are read"):
            parse_image(PATH, part)
    assert sum(asked) < 2 * TEXT_LIMIT


def test_a_signature_is_seen() -> None:
    assert not parsed(unified_image("ro")).is_signed
    assert parsed(unified_image("ro", certificate=b"PKCS#7")).is_signed


def test_an_addon_has_no_kernel() -> None:
    assert parsed(addon("iommu=pt")) == PeImage(False, "", ("iommu=pt",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cut short"),
        (b"MZ", "cut short"),
        (b"#!/bin/sh\n".ljust(64, b"\0"), "no PE image"),
        (struct.pack("<2s58xI", b"MZ", 0xFFFFFFFF), "cut short"),
        (struct.pack("<2s58xI", b"MZ", 64) + b"NE\0\0".ljust(24, b"\0"), "no PE image"),
        (unified_image("x")[: PE_START + 24 + 240 + 39], "cut short"),
        (pe_image([(".linux", b""), (".cmdline", b"y" * 600)])[:-500], "cut short"),
        (pe_image([(".cmdline", b"x" * (TEXT_LIMIT + 1))]), "a section .cmdline larger than 65536 bytes"),
    ],
)
def test_what_is_no_whole_image_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BootConfigError, match=re.escape(says)) as caught:
        parsed(content)
    assert caught.value.code == 78
    assert str(PATH) in caught.value.brief


@given(st.data())
def test_any_damage_is_an_image_or_a_refusal_and_never_read_beyond_its_end(data: st.DataObject) -> None:
    content = bytearray(unified_image("root=/dev/sda2 ro"))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, PE_START + 24 + 240 + 5 * 40))] = data.draw(st.integers(0, 255))
    asked: list[int] = []

    def read(start: int, size: int) -> bytes:
        asked.append(size)
        return bytes(content[start : start + size])

    with suppress(BootConfigError):
        parse_image(PATH, read)
    assert max(asked) <= 0xFFFF * 40
