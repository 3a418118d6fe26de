# SPDX-License-Identifier: Apache-2.0
"""The programs of a clean Debian 13 judge what iommuctl leaves: kernel-install, bootctl, and the tools of GRUB."""

import json
import shutil
from pathlib import Path

import pytest
from debiantree import DebianTree, debian_host
from grubtree import GRUB_MKRELPATH, GRUB_PROBE
from program import PROFILE, WANTED, iommuctl, live
from project import GOLDEN

__all__ = ["debian_host"]  # the fixture
pytestmark = pytest.mark.programs

MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
OPTIONS = "root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro quiet"
INSTALLED, LATER, AFTER = "6.12.48+deb13-amd64", "6.12.57+deb13-amd64", "6.12.63+deb13-amd64"
MENU = "boot/grub/grub.cfg"


def install_kernel(host: DebianTree, release: str) -> None:
    """Install a kernel as its package does: the image, then the real kernel-install with all of its plugins."""
    image = f"boot/vmlinuz-{release}"
    host.write(image, "MZ no real kernel\n")
    host.run("kernel-install", "--esp-path=/boot/efi", "add", release, f"/{image}")


def listed(host: DebianTree) -> dict[str, str]:
    """What bootctl reads: the options of each entry, by its kernel's release."""
    found = json.loads(host.run("bootctl", "--esp-path=/boot/efi", "list", "--json=short"))
    return {entry["version"]: entry["options"] for entry in found if entry["type"] == "type1"}


def change(host: DebianTree, *arguments: str) -> None:
    run = iommuctl(*arguments, "--root", str(host.path))
    assert (run.code, run.stderr) == (0, ""), run.stdout + run.stderr


@pytest.fixture
def systemd_boot(debian_host: DebianTree) -> DebianTree:
    """A host whose one kernel was installed by kernel-install, with boot counters."""
    efi = debian_host.path / "boot/efi"
    (efi / MACHINE).mkdir()
    debian_host.write("etc/machine-id", f"{MACHINE}\n")
    debian_host.write("etc/kernel/tries", "3\n")
    debian_host.write("etc/kernel/cmdline", f"{OPTIONS}\n")
    debian_host.write("boot/efi/loader/loader.conf", "timeout 3\n")
    debian_host.write("boot/efi/loader/entries.srel", "type1\n")
    (loader,) = (debian_host.path / "usr/lib/systemd/boot/efi").glob("systemd-boot*.efi")
    (efi / "EFI/systemd").mkdir(parents=True)
    shutil.copy(loader, efi / "EFI/systemd")
    install_kernel(debian_host, INSTALLED)
    return debian_host


def test_the_loader_and_every_later_kernel_get_the_profile_until_a_rollback(systemd_boot: DebianTree) -> None:
    name = f"systemd.machine_id={MACHINE}"
    assert listed(systemd_boot) == {INSTALLED: f"{OPTIONS} {name}"}
    change(systemd_boot, "apply", PROFILE)
    assert listed(systemd_boot) == {INSTALLED: f"{OPTIONS} {name} {WANTED}"}

    install_kernel(systemd_boot, LATER)
    assert listed(systemd_boot)[LATER] == f"{OPTIONS} {WANTED} {name}"
    assert "unchanged" in iommuctl("apply", PROFILE, "--root", str(systemd_boot.path)).stdout

    change(systemd_boot, "rollback")
    assert listed(systemd_boot)[INSTALLED] == f"{OPTIONS} {name}"
    install_kernel(systemd_boot, AFTER)
    assert listed(systemd_boot)[AFTER] == f"{OPTIONS} {name}"


def test_a_kernel_installed_anew_keeps_the_profile(systemd_boot: DebianTree) -> None:
    change(systemd_boot, "apply", PROFILE)
    install_kernel(systemd_boot, INSTALLED)
    assert listed(systemd_boot) == {INSTALLED: f"{OPTIONS} {WANTED} systemd.machine_id={MACHINE}"}


def test_without_a_kernel_cmdline_the_next_kernel_gets_what_the_default_entry_has(systemd_boot: DebianTree) -> None:
    (systemd_boot.path / "etc/kernel/cmdline").unlink()
    change(systemd_boot, "apply", PROFILE)
    install_kernel(systemd_boot, LATER)
    assert listed(systemd_boot)[LATER] == f"{OPTIONS} {WANTED} systemd.machine_id={MACHINE}"


def test_a_counted_entry_that_was_blessed_is_still_the_same_entry(systemd_boot: DebianTree) -> None:
    entries = systemd_boot.path / "boot/efi/loader/entries"
    (counted,) = entries.iterdir()
    before = counted.read_bytes()
    change(systemd_boot, "apply", PROFILE)
    blessed = counted.rename(entries / f"{MACHINE}-{INSTALLED}.conf")
    assert listed(systemd_boot)[INSTALLED].endswith(WANTED)
    change(systemd_boot, "rollback")
    assert {path.name: path.read_bytes() for path in entries.iterdir()} == {blessed.name: before}


def test_the_menu_of_grub_is_one_that_its_own_check_accepts(debian_host: DebianTree) -> None:
    for path, text in (("usr/sbin/grub-probe", GRUB_PROBE), ("usr/bin/grub-mkrelpath", GRUB_MKRELPATH)):
        debian_host.write(path, text, 0o755)
    debian_host.write("etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n')
    for release in (INSTALLED, LATER):
        debian_host.write(f"boot/vmlinuz-{release}", "no real kernel\n")
    (debian_host.path / "boot/grub").mkdir()
    debian_host.run("grub-mkconfig", "-o", f"/{MENU}")
    before = live(debian_host.path, times=False)
    change(debian_host, "apply", PROFILE, "--regenerate", "always")
    debian_host.run("grub-script-check", f"/{MENU}")
    lines = [line.split() for line in (debian_host.path / MENU).read_text().splitlines()]
    booted = [words for words in lines if words[:1] == ["linux"]]
    normal = [words for words in booted if "single" not in words and "recovery" not in words]
    assert (len(booted), len(normal)) == (5, 3)
    assert all(words[-2:] == WANTED.split() for words in normal)
    assert not any(set(words) & set(WANTED.split()) for words in booted if words not in normal)
    change(debian_host, "rollback", "--regenerate", "always")
    assert live(debian_host.path, times=False) == before


def test_grub_editenv_reads_our_block_and_writes_on_in_it(debian_host: DebianTree) -> None:
    before = GOLDEN / "bls" / "rhel-8" / "before"
    host = Path(shutil.copytree(before, debian_host.path / "tmp/rhel-8", symlinks=True))
    run = iommuctl("apply", PROFILE, "--root", str(host))
    assert run.code == 0, run.stderr
    block = host / "boot/grub2/grubenv"
    inside = f"/{block.relative_to(debian_host.path)}"
    left = dict(line.split("=", 1) for line in debian_host.run("grub-editenv", inside, "list").splitlines())
    assert left["kernelopts"].split()[-2:] == WANTED.split()
    assert len(block.read_bytes()) == 1024
    debian_host.run("grub-editenv", inside, "set", "next_entry=1")
    assert len(block.read_bytes()) == 1024
    assert debian_host.run("grub-editenv", inside, "list").splitlines()[-1] == "next_entry=1"
