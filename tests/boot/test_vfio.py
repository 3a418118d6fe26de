# SPDX-License-Identifier: Apache-2.0
"""Devices for guests by a real initramfs: exactly the chosen card is bound.

iommuctl applies `vfio-bind` to a tree, has initramfs-tools build the image and looks into it; then that image boots:
1. Two cards of one model are chosen, and a twin of them is not. In the place of one is another model by now. The other
   one is with vfio-pci, the twin with its driver, and what has other ids is left alone, as the kernel's log says.
2. Their driver has all cards before the script runs: it lets go of the chosen one. (`--full`)
3. Without the parameter the script does nothing. (`--full`)
After a rollback, the next image has nothing of it. The tool that is killed while an image is built leaves the old one.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from boot import machine
from boot.guest import Job
from boot.images import confined, image, tree
from boot.machine import Boot, Iommu, Kernel, Machine
from boot.recipes import WITH_UDEV, Loader, Suite, recipe_for

FULL = os.environ.get("IOMMUCTL_BOOT_FULL") == "1"
CHOSEN, MOVED, TWIN = "0000:00:10.0", "0000:00:11.0", "0000:00:12.0"
CARDS = ("e1000e,addr=0x10", "e1000,addr=0x11", "e1000e,addr=0x12")
ID, OTHER_ID = "8086:10d3", "8086:100e"
CHOICE = f"{CHOSEN}@{ID},{MOVED}@{ID}"
APPLY = ("apply", "vfio-bind", "--set", f"devices={CHOICE}", "--platform", "intel", "--backend", "bls", "--yes")
TRUSTED = ("--regenerate", "always")
SHOW = f"""
for address in {CHOSEN} {TWIN}; do
    driver=$(readlink "/sys/bus/pci/devices/$address/driver") || driver=none
    echo "$address ${{driver##*/}}"
done >/run/result/drivers
dmesg | grep -o 'iommuctl: .*' >/run/result/said
exit 0
"""
# What a driver that is built in looks like to the script: all cards are bound when it runs.
EARLY = "lab.early"
EARLY_SCRIPT = f"""#!/bin/sh
[ "$1" = prereqs ] && exit 0
read -r line </proc/cmdline
case " $line " in *" {EARLY} "*) modprobe e1000e ;; esac
"""
HOLDS = "scripts/init-top/iommuctl-vfio"


class Tree:
    """A host in a directory, and what its image does when it boots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "tree"
        self.release = tree(WITH_UDEV, self.path)
        self.image = self.path / f"boot/initrd.img-{self.release}"
        early = self.path / "etc/initramfs-tools/scripts/init-top/a-lab"
        early.write_text(EARLY_SCRIPT)
        early.chmod(0o755)
        self.boots = 0

    def run(self, *words: str) -> str:
        argv = (sys.executable, "-m", "iommuctl", *words, "--root", str(self.path))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def line(self) -> str:
        (entry,) = self.path.glob("boot/loader/entries/*.conf")
        return entry.read_text().rpartition("options ")[2].strip()

    def listed(self) -> str:
        return confined(self.path, "lsinitramfs", f"/boot/{self.image.name}")

    def boot(self, own: Machine, line: str) -> Boot:
        """Boot the image as it is now, with the disk of another host of the same kernel."""
        self.boots += 1
        kernel = Kernel(self.path / f"boot/vmlinuz-{self.release}", self.image, line)
        booted = replace(own, kernel=kernel, job=Job(SHOW, {}), devices=CARDS)
        return machine.run(booted, self.folder / str(self.boots))


def kill_while_it_builds(host: Tree) -> None:
    """Kill iommuctl once its builder has begun, and end what that left."""
    argv = (sys.executable, "-m", "iommuctl", *APPLY, *TRUSTED, "--root", str(host.path))
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        began = time.monotonic()
        while not (children := _below(process.pid)):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() - began < 300
            time.sleep(0.01)
        process.kill()
        for child in children:
            os.kill(child, signal.SIGKILL)


def _below(parent: int) -> list[int]:
    """Return what confines the builder, whose end ends all that it started."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(one) for one in path.read_text().split()] if path.exists() else []
    return [one for one in found if b"update-initramfs" in _words(one)]


def _words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_exactly_the_chosen_card_is_bound(tmp_path: Path) -> None:
    host = Tree(tmp_path)
    before, old = host.line(), host.image.read_bytes()
    kill_while_it_builds(host)
    assert (host.line(), host.image.read_bytes()) == (before, old)
    host.run("recover")
    host.run(*APPLY, *TRUSTED)
    assert f"iommuctl.vfio={CHOICE}" in host.line().split()
    assert HOLDS in host.listed()
    assert "unchanged" in host.run(*APPLY, *TRUSTED)

    disk = image(recipe_for(Loader.GRUB_BIOS, Suite.TRIXIE)).copy(tmp_path, Iommu.INTEL, "GenuineIntel")
    chosen = host.boot(disk, host.line())
    assert chosen.ended, chosen.told()
    assert chosen.text("drivers").splitlines() == [f"{CHOSEN} vfio-pci", f"{TWIN} e1000e"], chosen.told()
    assert chosen.text("said").splitlines() == [
        f"iommuctl: {MOVED} is {OTHER_ID}, not {ID}: left alone",
        f"iommuctl: {CHOSEN} is with vfio-pci",
    ]
    if FULL:
        bound = host.boot(disk, f"{host.line()} {EARLY}")
        assert bound.ended, bound.told()
        assert bound.text("drivers") == chosen.text("drivers"), bound.told()
        inert = host.boot(disk, before)
        assert inert.ended, inert.told()
        assert (inert.text("drivers").count("e1000e"), inert.text("said")) == (2, ""), inert.told()

    told = host.run("rollback", "--yes", *TRUSTED)
    assert "image-keeps-mechanism" in told
    assert host.line() == before
    confined(host.path, "update-initramfs", "-u", "-k", host.release)
    assert HOLDS not in host.listed()
