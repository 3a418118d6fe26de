# SPDX-License-Identifier: Apache-2.0
"""The cut disk: its files are read as a mount would, and what a checker must find is found."""

import subprocess
from pathlib import Path

import pytest
from boot import cutdisk
from boot.blocklog import cut_out
from boot.cutdisk import ESP, EXT4, Reader
from boot.powercut import Stages

FIRST, SECOND = b"first " * 200, b"second " * 200
_ENTRY_BYTES = 32


def call(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    cutdisk.make(tmp_path / "disk")
    return tmp_path / "disk"


@pytest.fixture
def esp(disk: Path, tmp_path: Path) -> Path:
    image = cut_out(disk, ESP, tmp_path / "esp")
    call("mmd", "-i", str(image), "::loader")
    for name, content in (("FIRST.CNF", FIRST), ("SECOND.CNF", SECOND)):
        (tmp_path / name).write_bytes(content)
        call("mcopy", "-i", str(image), str(tmp_path / name), f"::loader/{name}")
    return image


def entry_of(image: Path, name: bytes) -> int:
    return image.read_bytes().index(name.split(b".")[0].ljust(8) + name.split(b".")[1])


def test_an_esp_is_read_and_nothing_is_wrong_with_it(esp: Path, tmp_path: Path) -> None:
    found = Reader(tmp_path / "scratch").esp(esp)
    assert found.complaints == ()
    assert found.files == {"boot/efi/loader/FIRST.CNF": FIRST, "boot/efi/loader/SECOND.CNF": SECOND}


def test_two_names_of_one_content_are_told(esp: Path, tmp_path: Path) -> None:
    content = bytearray(esp.read_bytes())
    one, other = entry_of(esp, b"FIRST.CNF"), entry_of(esp, b"SECOND.CNF")
    content[other + 26 : other + 28] = content[one + 26 : one + 28]  # the low half of the first cluster's number
    esp.write_bytes(content)
    assert "share clusters." in Reader(tmp_path / "scratch").esp(esp).complaints


def test_a_name_that_leads_to_free_space_is_told(esp: Path, tmp_path: Path) -> None:
    content = bytearray(esp.read_bytes())
    entry = entry_of(esp, b"SECOND.CNF")
    content[entry + 26 : entry + 28] = (50_000).to_bytes(2, "little")
    esp.write_bytes(content)
    assert any("free cluster" in line for line in Reader(tmp_path / "scratch").esp(esp).complaints)


def test_space_that_no_name_leads_to_is_what_every_cut_leaves(esp: Path, tmp_path: Path) -> None:
    content = bytearray(esp.read_bytes())
    entry = entry_of(esp, b"SECOND.CNF")
    content[entry : entry + _ENTRY_BYTES] = b"\xe5" + bytes(_ENTRY_BYTES - 1)  # a name that was removed
    esp.write_bytes(content)
    found = Reader(tmp_path / "scratch").esp(esp)
    assert (found.complaints, list(found.files)) == ((), ["boot/efi/loader/FIRST.CNF"])


@pytest.fixture
def ext4(disk: Path, tmp_path: Path) -> Path:
    image = cut_out(disk, EXT4, tmp_path / "ext4")
    (tmp_path / "grub").write_bytes(FIRST)
    commands = "".join(f"mkdir {name}\n" for name in cutdisk.FOLDERS) + f"write {tmp_path / 'grub'} default/grub\n"
    (tmp_path / "commands").write_text(commands)
    call("debugfs", "-w", "-f", str(tmp_path / "commands"), str(image))
    return image


def test_an_ext4_is_read_and_left_as_it_is(ext4: Path, tmp_path: Path) -> None:
    before = ext4.read_bytes()
    found = Reader(tmp_path / "scratch").ext4(ext4)
    assert (found.files, found.complaints) == ({"etc/default/grub": FIRST}, ())
    assert ext4.read_bytes() == before


def test_damage_that_no_journal_mends_is_told(ext4: Path, tmp_path: Path) -> None:
    call("debugfs", "-w", "-R", "clri default/grub", str(ext4))
    assert Reader(tmp_path / "scratch").ext4(ext4).complaints != ()


def test_a_tree_has_the_folders_of_a_host(tmp_path: Path) -> None:
    cutdisk.write_tree({"etc/default/grub": FIRST}, tmp_path)
    assert (tmp_path / "etc/default/grub").read_bytes() == FIRST
    assert (tmp_path / "var/lib/iommuctl").stat().st_mode & 0o777 == 0o700


ENTRY, GRUB = "boot/efi/loader/entries/a.conf", "etc/default/grub"
STRAY, OURS = "boot/efi/loader/entries/B~1.CON", "boot/efi/loader/entries/.iommuctl-1.tmp"
STAGES = Stages({ENTRY: b"old", GRUB: b"1"}, {ENTRY: b"new", GRUB: b"2"}, {ENTRY: b"old", GRUB: b"1"})


@pytest.mark.parametrize(
    ("files", "broken", "state"),
    [
        ({ENTRY: b"old", GRUB: b"1"}, (), "old"),
        ({ENTRY: b"new", GRUB: b"2"}, (), "new"),
        ({ENTRY: b"new", GRUB: b"1"}, (), f"mixed: {ENTRY} not old"),
        ({ENTRY: b"", GRUB: b"1"}, (f"{ENTRY}: 0 bytes: b''",), f"mixed: {ENTRY} not old"),
        ({GRUB: b"1"}, (f"{ENTRY}: missing",), f"mixed: {ENTRY} not old"),
        ({ENTRY: b"old", GRUB: b"1", STRAY: b"x"}, (f"{STRAY}: nobody's",), "old"),
        ({ENTRY: b"old", GRUB: b"1", OURS: b"x"}, (), "old"),
    ],
)
def test_files_are_old_or_new_or_broken(files: dict[str, bytes], broken: tuple[str, ...], state: str) -> None:
    assert (STAGES.broken(files), STAGES.state(files)) == (broken, state)
