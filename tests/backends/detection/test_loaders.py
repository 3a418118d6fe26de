# SPDX-License-Identifier: Apache-2.0
"""Every row of the table of loaders, on trees of real files: alone and next to the leftovers of another.

The running system's word is in EFI variables as efivarfs shows them, read by the reader of hosts.
"""

from pathlib import Path
from typing import NamedTuple

import pytest
from efivars import write_variables
from privateroot import on_each
from project import PROJECT

from iommuctl.backends.detection.detect import detect
from iommuctl.backends.detection.loaders import LOADERS
from iommuctl.backends.detection.owners import OWNERS
from iommuctl.errors import UnavailableError
from iommuctl.facts import Platform
from iommuctl.host.probe import read_facts
from iommuctl.host.root import Root

Files = dict[str, str]
LINE = "root=UUID=1 ro"
GRUB: Files = {
    "boot/grub/grub.cfg": "menuentry 'Debian' {\n linux /vmlinuz root=UUID=1\n}\n",
    "etc/default/grub": "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n",
}
GRUB_SETTINGS: Files = {"etc/default/grub": "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n"}
SYSTEMD_BOOT: Files = {
    "boot/efi/EFI/systemd/systemd-bootx64.efi": "MZ",
    "boot/efi/loader/loader.conf": "timeout 3\n",
    "boot/efi/loader/entries/debian.conf": "linux /vmlinuz\noptions root=UUID=1\n",
}
BIOS = None


class Row(NamedTuple):
    """A loader: its files, and what a system that it started shows. `proves`: that names it, whatever files."""

    name: str
    files: Files
    efi: dict[str, str] | None
    cmdline: str = LINE
    proves: bool = True
    platform: Platform = Platform.INTEL
    model: str = ""


ROWS = (
    Row("GRUB", GRUB, {"boot": "\\EFI\\debian\\shimx64.efi", "LoaderInfo": "GRUB 2.12"}, f"BOOT_IMAGE=/v {LINE}"),
    Row("systemd-boot", SYSTEMD_BOOT, {"LoaderInfo": "systemd-boot 257.9"}, f"initrd=\\i.img {LINE}"),
    Row(
        "rEFInd",
        {"boot/efi/EFI/refind/refind_x64.efi": "MZ", "boot/refind_linux.conf": f'"Linux" "{LINE}"\n'},
        {"boot": "\\EFI\\refind\\refind_x64.efi", "LoaderInfo": "rEFInd 0.14.2"},
        f"{LINE} initrd=\\i.img",
    ),
    Row("rEFInd", {"boot/efi/EFI/BOOT/refind.conf": "timeout 3\n"}, {"LoaderInfo": "rEFInd 0.13.2"}, LINE),
    Row("rEFInd", {"boot/refind_linux.conf": f'"x" "{LINE}"\n'}, {"boot": "\\EFI\\Refind\\shimx64.efi"}, LINE),
    Row(
        "Limine",
        {"boot/efi/EFI/Limine/limine_x64.efi": "MZ", "boot/efi/limine.conf": f"/Linux\n cmdline: {LINE}\n"},
        {"boot": "\\EFI\\BOOT\\BOOTX64.EFI", "LoaderInfo": "Limine 9.3.0"},
    ),
    Row("Limine", {"boot/limine/limine.conf": f"/x\n cmdline: {LINE}\n"}, {"boot": "\\EFI\\arch-limine\\BOOTX64.EFI"}),
    Row("Limine", {"boot/limine.cfg": f":x\nCMDLINE={LINE}\n"}, BIOS, proves=False),
    Row("SYSLINUX", {"boot/extlinux/extlinux.conf": f"APPEND {LINE}\n"}, BIOS, f"BOOT_IMAGE=../v {LINE}", proves=False),
    Row(
        "SYSLINUX",
        {"boot/efi/EFI/syslinux/syslinux.cfg": f"APPEND {LINE}\n"},
        {"boot": "\\EFI\\syslinux\\syslinux.efi"},
    ),
    Row("ZFSBootMenu", {"boot/efi/EFI/ZBM/VMLINUZ.EFI": "MZ"}, {"boot": "\\EFI\\ZBM\\VMLINUZ.EFI"}, "root=zfs:z/ROOT"),
    Row(
        "ZFSBootMenu",
        {"etc/zfsbootmenu/config.yaml": "Global:\n"},
        {"boot": "\\EFI\\zfsbootmenu\\zfsbootmenu.efi", "StubInfo": "systemd-stub 257"},
        "root=ZFS=rpool/ROOT/pve",
    ),
    Row(
        "the Raspberry Pi's firmware",
        {"boot/firmware/cmdline.txt": f"{LINE}\n", "boot/firmware/config.txt": "arm_64bit=1\n"},
        BIOS,
        proves=False,
        platform=Platform.ARM64,
        model="Raspberry Pi 5 Model B Rev 1.0\0",
    ),
    Row("U-Boot", {"boot/armbianEnv.txt": "verbosity=1\n"}, BIOS, proves=False, platform=Platform.ARM64),
    Row("U-Boot", {"boot/extlinux/extlinux.conf": f"append {LINE}\n"}, BIOS, proves=False, platform=Platform.ARM64),
    Row("U-Boot", {"boot/boot.scr": "x", "boot/extlinux/extlinux.conf": f"append {LINE}\n"}, BIOS, proves=False),
    Row(
        "the firmware itself",
        {"etc/default/efibootmgr-kernel-hook": f'OPTIONS="{LINE}"\n'},
        {"boot": "\\EFI\\debian\\vmlinuz"},
        f"{LINE} initrd=\\EFI\\debian\\initrd.img",
    ),
    Row("Clover", {"boot/efi/EFI/CLOVER/CLOVERX64.efi": "MZ"}, {"boot": "\\EFI\\CLOVER\\CLOVERX64.efi"}),
    Row("OpenCore", {"boot/efi/EFI/OC/OpenCore.efi": "MZ"}, {"boot": "\\EFI\\OC\\OpenCore.efi"}),
    Row("petitboot", {"etc/kboot.conf": f"linux='/vmlinux {LINE}'\n"}, BIOS, proves=False),
    Row("petitboot", {"boot/petitboot.conf": f"name x\nimage /vmlinux\nargs {LINE}\n"}, BIOS, proves=False),
    Row(
        "depthcharge",
        {
            "etc/depthcharge-tools/config": f"[depthchargectl]\nkernel-cmdline = {LINE}\n",
            "usr/bin/depthchargectl": "#!/bin/sh\n",
        },
        BIOS,
        f"cros_secure {LINE}",
        proves=False,
        platform=Platform.ARM64,
    ),
    Row("LILO", {"etc/lilo.conf": 'append="quiet"\n'}, BIOS, f"BOOT_IMAGE=Linux {LINE}", proves=False),
    Row("ELILO", {"boot/efi/EFI/Slackware/elilo.conf": 'append="quiet"\n'}, {"boot": "\\EFI\\Slackware\\elilo.efi"}),
    Row("GRUB Legacy", {"boot/grub/menu.lst": f"title x\nkernel /vmlinuz {LINE}\n"}, BIOS, proves=False),
    Row("Xen", {"boot/efi/EFI/xen/xen.cfg": "options=iommu=on\n"}, {"boot": "\\EFI\\xen\\xen.efi"}),
)
FOREIGN = tuple(row for row in ROWS if row.name not in ("GRUB", "systemd-boot"))
# What decides nothing next to another loader's files.
SETTINGS_ONLY = frozenset({"the firmware itself", "GRUB Legacy"})
EVERY = pytest.mark.parametrize("row", FOREIGN, ids=[f"{row.name}-{number}" for number, row in enumerate(FOREIGN)])


def test_every_row_of_the_table_is_tried() -> None:
    assert {row.name for row in ROWS} == {loader.name for loader in LOADERS}


def test_the_documents_name_every_loader_and_owner() -> None:
    text = (PROJECT / "docs/faq.md").read_text()
    assert [loader.name for loader in LOADERS if loader.name not in text] == []
    assert [owner.name for owner in OWNERS if owner.name not in text] == []


def concluded(root: Path, row: Row, files: Files, *, running: bool) -> str:
    """The backend of a tree of files, or the error's first words, with the loaders in it."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "proc").mkdir()
    if running:
        (root / "proc/cmdline").write_text(f"{row.cmdline}\n")
        if row.efi is not None:
            write_variables(root, **row.efi)
        if row.model:
            (root / "proc/device-tree").mkdir()
            (root / "proc/device-tree/model").write_text(row.model)
    tree = Root(root)
    facts = read_facts(tree, is_system=running, platform=row.platform)
    try:
        return detect(tree, facts, facts.runtime, wanted=None, known=("grub2", "bls", "systemd-boot")).backend
    except UnavailableError as error:
        return error.brief if error.hint and error.details else "an error without evidence and hint"


def boots(row: Row) -> tuple[str, ...]:
    """The beginnings of the error for a loader that is proven."""
    return (f"{row.name} boots this host", "'\\\\EFI\\\\debian\\\\vmlinuz' is started by the firmware itself")


@EVERY
def test_offline_the_files_name_it(row: Row, tmp_path: Path) -> None:
    brief = concluded(tmp_path, row, row.files, running=False)
    assert brief == f"{row.name} boots this root, by its files, and no backend edits what it reads"


@EVERY
def test_offline_mere_settings_of_grub_change_nothing(row: Row, tmp_path: Path) -> None:
    brief = concluded(tmp_path, row, GRUB_SETTINGS | row.files, running=False)
    assert brief.startswith(f"{row.name} boots this root")


@EVERY
@pytest.mark.parametrize(("other", "name"), [(GRUB, "GRUB"), (SYSTEMD_BOOT, "systemd-boot")], ids=["grub", "sd"])
def test_offline_next_to_another_loader_nothing_is_decided(row: Row, other: Files, name: str, tmp_path: Path) -> None:
    found = concluded(tmp_path, row, other | row.files, running=False)
    if row.name in SETTINGS_ONLY:
        assert found == {"GRUB": "grub2"}.get(name, name)
    else:
        both = " and ".join(sorted((row.name, name)))
        assert found == f"{both} may boot this host, and nothing proves which does"


@EVERY
@pytest.mark.parametrize("with_files", [True, False], ids=["files", "bare"])
def test_running_it_names_itself(row: Row, with_files: bool, tmp_path: Path) -> None:
    found = concluded(tmp_path, row, row.files if with_files else {}, running=True)
    if row.proves or with_files:
        assert found.startswith((*boots(row), f"{row.name} boots this root"))
    elif row.model:
        assert found.startswith(f"{row.name} boots this root")
    else:
        assert found == "no supported bootloader found"


@EVERY
@pytest.mark.parametrize("leftovers", [GRUB, GRUB_SETTINGS, SYSTEMD_BOOT], ids=["grub", "settings", "sd"])
def test_running_what_another_loader_left_never_wins(row: Row, leftovers: Files, tmp_path: Path) -> None:
    found = concluded(tmp_path, row, leftovers | row.files, running=True)
    if row.proves:
        assert found.startswith(boots(row))
    elif row.platform is Platform.ARM64:  # without EFI no GRUB starts there
        assert found.startswith(f"{row.name} boots this root")
    elif row.name in SETTINGS_ONLY and leftovers is GRUB:
        assert found == "grub2"
    elif leftovers is GRUB:
        assert found == f"{' and '.join(sorted((row.name, 'GRUB')))} may boot this host, and nothing proves which does"
    else:  # systemd-boot cannot have booted a host without EFI, and settings say nothing
        assert found.startswith((*boots(row), f"{row.name} boots this root"))


@EVERY
@pytest.mark.parametrize("supported", ROWS[:2], ids=[row.name for row in ROWS[:2]])
def test_what_it_left_never_wins_over_a_loader_that_names_itself(row: Row, supported: Row, tmp_path: Path) -> None:
    found = concluded(tmp_path, supported, row.files | supported.files, running=True)
    assert found == {"GRUB": "grub2"}.get(supported.name, supported.name)


@pytest.mark.parametrize(
    ("supported", "name"), [(ROWS[0], "GRUB"), (ROWS[1], "systemd-boot")], ids=["grub", "systemd-boot"]
)
def test_a_loader_that_may_have_started_another_by_kexec_is_in_doubt(supported: Row, name: str, tmp_path: Path) -> None:
    menu = {"boot/efi/EFI/zbm/vmlinuz.efi": "MZ"}
    found = concluded(tmp_path, supported._replace(cmdline="root=zfs:z/ROOT ro"), menu | supported.files, running=True)
    assert found == f"{' and '.join(sorted(('ZFSBootMenu', name)))} may boot this host, and nothing proves which does"


def test_the_program_says_the_same_of_the_system_that_it_runs_on(tmp_path: Path) -> None:
    rows = [row for row in ROWS if row.efi is not BIOS]
    found: dict[Path, str] = {}
    for number, row in enumerate(rows):
        for name, leftovers in (("alone", {}), ("grub", GRUB), ("sd", SYSTEMD_BOOT)):
            tree = tmp_path / f"{number}-{name}"
            tree.mkdir()
            found[tree] = concluded(tree, row, leftovers | row.files, running=True)
    (tmp_path / "root").mkdir()
    said = on_each([*found], tmp_path / "root", "status")
    assert len(said) == 3 * len(rows) > 40
    for (tree, expected), (code, text) in zip(found.items(), said, strict=True):
        assert text.startswith(f"iommuctl: error: {expected}\n" if code else f"backend {expected}, "), (tree.name, text)
