# SPDX-License-Identifier: Apache-2.0
"""Devices for guests by a real initramfs: exactly the chosen card is bound.

iommuctl applies `vfio-bind` to a tree, has the tree's own tool build the image and looks into it; then that boots:
1. Two cards of one model are chosen, and a twin of them is not. In the place of one is another model by now. The other
   one is with vfio-pci, the twin with its driver, and what has other ids is left alone, as the kernel's log says.
2. Their driver has all cards before the script runs: it lets go of the chosen one.
3. Without the parameter the script does nothing.
4. A kernel that dpkg installs afterwards has the choice on its line and the script in its image, and does the same.
After a rollback, the next image has nothing of it. The tool that is killed while an image is built leaves the old one.
The usual run has the first three with initramfs-tools, and the first with dracut, both of Debian 13.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from boot import machine
from boot.archive import Archive
from boot.guest import Job
from boot.images import confined, image, tree
from boot.machine import Boot, Iommu, Kernel, Machine
from boot.recipes import WITH_DRACUT, WITH_UDEV, WITH_UDEV_BEFORE, Loader, Recipe, Suite, recipe_for
from boot.traces import DRIVERS

FULL = os.environ.get("IOMMUCTL_BOOT_FULL") == "1"
CHOSEN, MOVED, TWIN = "0000:00:10.0", "0000:00:11.0", "0000:00:12.0"
CARDS = ("e1000e,addr=0x10,romfile=", "e1000,addr=0x11,romfile=", "e1000e,addr=0x12,romfile=")
ID, OTHER_ID = "8086:10d3", "8086:100e"
CHOICE = f"{CHOSEN}@{ID},{MOVED}@{ID}"
APPLY = ("apply", "vfio-bind", "--set", f"devices={CHOICE}", "--platform", "intel", "--backend", "bls", "--yes")
TRUSTED = ("--regenerate", "always")
SHOW = f"""{DRIVERS}
drivers {CHOSEN} {TWIN} >/run/result/drivers
dmesg | grep -o 'iommuctl: .*' >/run/result/said
exit 0
"""
BOUND = f"{CHOSEN} vfio-pci\n{TWIN} e1000e\n"
SAID = f"iommuctl: {MOVED} is {OTHER_ID}, not {ID}: left alone\niommuctl: {CHOSEN} is with vfio-pci\n"
INSTALL_KERNEL = "dpkg --install /root/later/linux-base_*.deb; dpkg --install /root/later/linux-*.deb"
# What a driver that is built in looks like to the script: all cards are bound when it runs.
EARLY = "lab.early"
EARLY_SCRIPT = f"""#!/bin/sh
[ "$1" = prereqs ] && exit 0
read -r line </proc/cmdline
case " $line " in *" {EARLY} "*) modprobe e1000e ;; esac
"""
EARLY_MODULE = """#!/bin/bash
check() { return 0; }
depends() { return 0; }
installkernel() { hostonly='' instmods e1000e; }
install() { inst_hook pre-udev 10 "$moddir/early.sh"; }
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A host by what builds its images: the program, what lists an image, and what that shows of ours."""

    name: str
    recipe: Recipe
    program: str
    lists: str
    holds: str
    early: dict[str, str]

    def again(self, release: str) -> tuple[str, ...]:
        """Return the command by which an administrator builds an image anew."""
        if self.program == "dracut":
            return ("dracut", "--force", f"/boot/initrd.img-{release}", release)
        return ("update-initramfs", "-u", "-k", release)


INITRAMFS_TOOLS = Host(
    "Debian 13, initramfs-tools",
    WITH_UDEV,
    "update-initramfs",
    "lsinitramfs",
    "scripts/init-top/iommuctl-vfio",
    {"etc/initramfs-tools/scripts/init-top/a-lab": EARLY_SCRIPT},
)
DRACUT = Host(
    "Debian 13, dracut",
    WITH_DRACUT,
    "dracut",
    "lsinitrd",
    "hooks/pre-udev/30-iommuctl-vfio.sh",
    {
        "usr/lib/dracut/modules.d/89lab/module-setup.sh": EARLY_MODULE,
        "usr/lib/dracut/modules.d/89lab/early.sh": EARLY_SCRIPT,
    },
)
OLDER = replace(INITRAMFS_TOOLS, name="Debian 12, initramfs-tools", recipe=WITH_UDEV_BEFORE)
HOSTS = (INITRAMFS_TOOLS, DRACUT, *((OLDER,) if FULL else ()))


class Tree:
    """A host in a directory, and what its image does when it boots."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.path = folder / "tree"
        self.release = tree(host.recipe, self.path)
        for path, text in host.early.items():
            early = self.path / path
            early.parent.mkdir(parents=True, exist_ok=True)
            early.write_text(text)
            early.chmod(0o755)
        self.told: list[str] = []

    def run(self, *words: str) -> str:
        argv = (sys.executable, "-m", "iommuctl", *words, "--root", str(self.path))
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def image(self, release: str) -> Path:
        return self.path / f"boot/initrd.img-{release}"

    def line(self, release: str) -> str:
        (entry,) = self.path.glob(f"boot/loader/entries/*-{release}.conf")
        return entry.read_text().rpartition("options ")[2].strip()

    def holds(self, release: str) -> bool:
        return self.host.holds in confined(self.path, self.host.lists, f"/boot/initrd.img-{release}")

    def boot(self, own: Machine, release: str, line: str, what: str) -> Boot:
        """Boot an image as it is now, with the disk of another host, which is read when the cards are bound."""
        kernel = Kernel(self.path / f"boot/vmlinuz-{release}", self.image(release), line)
        booted = replace(own, kernel=kernel, job=Job(SHOW, {}), devices=CARDS)
        found = machine.run(booted, self.folder / str(len(self.told)))
        assert found.ended, found.told()
        self.told.append(f"{what} ({found.seconds:.0f} s)")
        return found

    def install_kernel(self, suite: Suite) -> str:
        """Have dpkg install the kernel of another suite, whose hooks build its image and write its entry."""
        added = Archive(suite).kernel("linux-image-amd64")
        folder = self.path / "root/later"
        folder.mkdir()
        for file in (*Archive(suite).slim(added), Archive(suite).download("linux-base")):
            shutil.copy(file, folder)
        confined(self.path, "sh", "-ec", INSTALL_KERNEL)
        return added.release


def kill_while_it_builds(host: Tree) -> None:
    """Kill iommuctl once its builder has begun, and end what that left."""
    argv = (sys.executable, "-m", "iommuctl", *APPLY, *TRUSTED, "--root", str(host.path))
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        began = time.monotonic()
        while not (children := _below(process.pid, host.host.program)):
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() - began < 300
            time.sleep(0.01)
        process.kill()
        for child in children:
            os.kill(child, signal.SIGKILL)


def _below(parent: int, program: str) -> list[int]:
    """Return what confines the builder, whose end ends all that it started."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(one) for one in path.read_text().split()] if path.exists() else []
    return [one for one in found if program.encode() in _words(one)]


def _words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("of", HOSTS, ids=lambda host: f"{host.program}-{host.recipe.suite}")
def test_exactly_the_chosen_card_is_bound(of: Host, results: Path, tmp_path: Path) -> None:
    host = Tree(of, tmp_path)
    own = host.release
    before, old = host.line(own), host.image(own).read_bytes()
    kill_while_it_builds(host)
    assert (host.line(own), host.image(own).read_bytes()) == (before, old)
    host.run("recover")
    host.run(*APPLY, *TRUSTED)
    assert f"iommuctl.vfio={CHOICE}" in host.line(own).split()
    assert host.holds(own)
    assert "unchanged" in host.run(*APPLY, *TRUSTED)

    disk = image(recipe_for(Loader.GRUB_BIOS, Suite.TRIXIE)).copy(tmp_path, Iommu.INTEL, "GenuineIntel")
    chosen = host.boot(disk, own, host.line(own), "the chosen card bound, its twin and one with another id not")
    assert (chosen.text("drivers"), chosen.text("said")) == (BOUND, SAID), chosen.told()
    if FULL or of is INITRAMFS_TOOLS:
        late = host.boot(disk, own, f"{host.line(own)} {EARLY}", "the same where the driver had all of them before")
        assert late.text("drivers") == BOUND, late.told()
        inert = host.boot(disk, own, before, "without the parameter nothing")
        assert (inert.text("drivers"), inert.text("said")) == (BOUND.replace("vfio-pci", "e1000e"), ""), inert.told()
    if FULL and of is not OLDER:
        later = host.install_kernel(Suite.SID)
        assert host.holds(later)
        newest = host.boot(disk, later, host.line(later), f"the same with {later}, which dpkg installed afterwards")
        assert (newest.text("drivers"), newest.text("said")) == (BOUND, SAID), newest.told()

    told = host.run("rollback", "--yes", *TRUSTED)
    assert "image-keeps-mechanism" in told
    assert host.line(own) == before
    confined(host.path, *of.again(own))
    assert not host.holds(own)
    (results / f"vfio-{of.program}-{of.recipe.suite}.txt").write_text(f"{of.name}: {'; '.join(host.told)}\n")
