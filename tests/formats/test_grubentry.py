# SPDX-License-Identifier: Apache-2.0
"""An entry of a real menu, written once more: all as it was but for the parameters, the id and who keeps state."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest
from lacking import program
from project import PROJECT

from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubentry import EntrySource, entry_source, with_line, written_entry

MENUS = sorted((PROJECT / "tests/golden/grub2").glob("*/before/boot/grub*/grub.cfg"))
PATH = PurePosixPath("/boot/grub/grub.cfg")


def source_of(text: str, at: int = 0) -> EntrySource | None:
    return entry_source(text, parse_menu(PATH, text).entries[at])


@pytest.mark.parametrize("path", MENUS, ids=lambda path: path.parts[-5])
def test_every_entry_of_a_menu_boots_the_same_once_it_is_written_again(path: Path) -> None:
    text = path.read_text()
    for entry in parse_menu(PATH, text).entries:
        source = entry_source(text, entry)
        assert source is not None
        again = parse_menu(PATH, written_entry("a title", "an-id", source)).entries
        assert [(one.id, one.title) for one in again] == [("an-id", "a title")]
        assert [(one.kernel, one.cmdline, one.variables) for one in again[0].linux] == [
            (one.kernel, one.cmdline, one.variables) for one in entry.linux
        ]


@pytest.mark.programs
@pytest.mark.parametrize("path", MENUS, ids=lambda path: path.parts[-5])
def test_grub_itself_reads_what_is_written(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    for entry in parse_menu(PATH, text).entries[:3]:
        source = entry_source(text, entry)
        assert source is not None
        written = with_line(source, lambda tokens: (*tokens, "iommu=pt", "panic=10"))
        custom = tmp_path / "custom.cfg"
        custom.write_text(written_entry("a title", "an-id", written or source))
        done = subprocess.run([program("grub-script-check"), custom], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


ENTRY = """\
menuentry 'A' --class x --unrestricted --users 'me' $menuentry_id_option 'old' {
\trecordfail
\tsavedefault
\tif [ x = x ]; then insmod y; fi
\tlinux\t/vmlinuz root=/dev/sda1 "a b" c=\\$d $vt_handoff  e='1 2'
\tinitrd\t/one /two $more
}
"""


def test_a_copy_keeps_no_state_and_no_id() -> None:
    source = source_of(ENTRY)
    assert source is not None
    assert source.options == ("--class", "x", "--unrestricted", "--users", "'me'")
    assert (source.is_unrestricted, source.initrds) == (True, ("/one", "/two"))
    assert source.lines[0] == "\tif [ x = x ]; then insmod y; fi"


def test_what_stays_is_written_as_it_was() -> None:
    source = source_of(ENTRY)
    assert source is not None
    changed = with_line(source, lambda tokens: (*tokens[1:], "iommu=pt"))
    assert changed is not None
    assert changed.lines[1] == "\tlinux\t/vmlinuz \"a b\" c=\\$d $vt_handoff e='1 2' iommu=pt"


@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("linux /vmlinuz a; linux /other b", "x"),
        ("linux /vmlinuz a\n\tlinux /other b", "x"),
        ("linux /vmlinuz a", "x y"),
        ("linux /vmlinuz a", "x'y"),
        ("linux /vmlinuz a", "x;y"),
        ("linux /vmlinuz a", "$x"),
        ("initrd /one", "x"),
    ],
)
def test_what_cannot_be_written_exactly_is_not(line: str, added: str) -> None:
    source = source_of(f"menuentry A {{\n\t{line}\n}}\n")
    assert source is not None
    assert with_line(source, lambda tokens: (*tokens, added)) is None
