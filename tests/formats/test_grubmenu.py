# SPDX-License-Identifier: Apache-2.0
"""Grubmenu: whose an entry is, which one boots by default, and which kernel it starts."""

from pathlib import PurePosixPath

import pytest

from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubmenu import (
    MenuEntry,
    default_entry,
    kernel_release,
    normal_entries,
    xen_entries,
)

PATH = PurePosixPath("/boot/grub/grub.cfg")


@pytest.mark.parametrize(
    ("identity", "title", "recovery"),
    [
        ("gnulinux-6.1-recovery-8e0e", "Wiederherstellung", True),
        ("", "Debian GNU/Linux, with Linux 6.1 (recovery mode)", True),
        ("", "openSUSE, with Linux 6.4 (Recovery Mode)", True),
        ("gnulinux-6.1-advanced-8e0e", "recovery lab host", False),
        ("gnulinux-recovery", "x", False),
    ],
)
def test_tells_a_way_back(identity: str, title: str, recovery: bool) -> None:
    assert MenuEntry(identity, title, 1, "10_linux", (), ()).recovery is recovery


@pytest.mark.parametrize(
    ("section", "normal", "xen"),
    [
        ("10_linux", 1, 0),
        ("10_linux_zfs", 1, 0),
        ("20_linux_xen", 0, 1),
        ("10_linux_xen", 0, 1),
        ("30_os-prober", 0, 0),
        ("40_custom", 0, 0),
        ("41_snapshots-btrfs", 0, 0),
    ],
)
def test_whose_an_entry_is_depends_on_its_section(section: str, normal: int, xen: int) -> None:
    text = f"### BEGIN /etc/grub.d/{section} ###\nmenuentry T {{\nlinux /k\n}}\n### END /etc/grub.d/{section} ###\n"
    cfg = parse_menu(PATH, text)
    assert (len(normal_entries(cfg)), len(xen_entries(cfg))) == (normal, xen)


@pytest.mark.parametrize(
    ("path", "release"),
    [
        ("/boot/vmlinuz-6.1.0-50-amd64", "6.1.0-50-amd64"),
        ("/vmlinuz-6.12.9+deb13-cloud-arm64", "6.12.9+deb13-cloud-arm64"),
        ("/boot/vmlinuz-6.8.0-45-generic.efi.signed", "6.8.0-45-generic"),
        ("/boot/vmlinuz-6.1.0-50-amd64.old", "6.1.0-50-amd64"),
        ("/boot/kernel-genkernel-x86_64-6.6.21-gentoo", "6.6.21-gentoo"),
        ("(hd0,gpt2)/vmlinuz-5.14.0-503.el9.x86_64", "5.14.0-503.el9.x86_64"),
        ("/boot/vmlinuz-6.1.efi", "6.1"),
        ("/boot/vmlinuz-6.1.signed", "6.1.signed"),
        ("/boot/vmlinuz-6.1\nx", None),
        ("/boot/vmlinuz-linux", None),
        ("/vmlinuz-0-rescue-0123456789abcdef0123456789abcdef", None),
        ("/boot-6.1/vmlinuz", None),
        ("", None),
    ],
)
def test_reads_the_release_out_of_a_kernel_name(path: str, release: str | None) -> None:
    assert kernel_release(path) == release


@pytest.mark.parametrize(
    ("default", "title"),
    [
        ("0", "A"),
        ("1", "C"),
        ("submenu-id", "C"),
        ("2", "D"),
        ("3", None),
        ("9", "A"),
        ("id-c", "A"),
        ("1>1", "E"),
        ("B>E", "E"),
        ("B>nothing", "C"),
        ("submenu-id>id-c", "C"),
        ("D", "D"),
        ("${saved_entry}", "A"),
        ("${other}", None),
        ("nothing", "A"),
        ("\u00b2", "A"),
        ("9" * 5000, "A"),
    ],
)
def test_the_default_is_counted_in_the_top_menu_or_named(default: str, title: str | None) -> None:
    text = f"""set default='{default}'
menuentry A --id id-a {{\n linux /a\n}}
submenu B --id submenu-id {{
menuentry C --id id-c {{\n linux /c\n}}
menuentry E --id id-e {{\n linux /e\n}}
}}
menuentry D --id id-d {{\n linux /d\n}}
submenu F {{\n}}
"""
    found = default_entry(parse_menu(PATH, text))
    assert (found.title if found else None) == title
