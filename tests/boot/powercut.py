# SPDX-License-Identifier: Apache-2.0
"""Power cut: hosts on a cut disk, what they do there, and whether what is left of it is the old or the new.

The contract: `prepare(host, wheel, folder)` installs iommuctl and the host's own configuration once;
`Prepared.machine(...)` then gives machines on a disk to be cut. `Stages` are the configuration files as they were
before, between and after.
"""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from boot import cutdisk, images, machine, recipes
from boot.guest import Job
from boot.machine import Boot, Firmware, Iommu, Machine
from boot.recipes import Loader, Suite

from iommuctl.host.root import Root
from iommuctl.transaction import recovery as iommuctl_recovery
from iommuctl.transaction.store import Store

PROFILE = "passthrough-perf"
TIMEOUT_SECONDS = 120
# Ours, in the long form or in the short one, which is all that is left of a name that a cut tore.
_TEMPORARY = re.compile(r"\.iommuctl-.*|IO\w+~\d\.(TMP|RES)")
JOURNAL = f"{cutdisk.FOLDERS['state']}/journal.json"
_DRIVER = Path(__file__).with_name("powercut_driver.py")
_DRIVER_PATH = "/opt/iommuctl/driver.py"
_INIT_PATH = "/sbin/cut-init"

_FIND = """set -e
for disk in /sys/block/vd*; do
    [ "$(cat "$disk/serial")" != cut ] || cut=/dev/${disk##*/}
done
mkdir -p /run/cut /run/esp /etc/kernel /var/lib/iommuctl
mount -t ext4 "${cut}2" /run/cut
"""
# What the bootloader's configuration is made of and made to; a kernel's name is enough here.
_PREPARE = f"""{_FIND}
cp driver {_DRIVER_PATH}
install -m 0755 init {_INIT_PATH}
{recipes.install_wheel("iommuctl-*.whl")}
python3 -m compileall -q /opt/iommuctl/lib
mount -t vfat "${{cut}}1" /run/esp
cp -a /etc/default /etc/kernel /run/cut
mkdir -m 0700 /run/cut/state
mkdir -p /run/cut/boot/efi /run/esp/loader
cd /boot
find . \\( -path ./efi -o -path './grub/*' -type d \\) -prune -o -type f -size -500k -print >/run/small
tar -c -T /run/small | tar -x -C /run/cut/boot
for kernel in vmlinuz-* initrd.img-*; do
    echo "$kernel" >"/run/cut/boot/$kernel"
done
[ ! -d efi/loader ] || cp -r efi/loader /run/esp
umount /run/esp /run/cut
"""
_MOUNT = f"""{_FIND}
umount /boot/efi 2>/dev/null || true
for pair in {" ".join(f"{name}:/{place}" for name, place in cutdisk.FOLDERS.items())}; do
    mount --bind "/run/cut/${{pair%%:*}}" "${{pair#*:}}"
done
mount -t vfat -o umask=0077 "${{cut}}1" /{cutdisk.ESP_MOUNT}
"""
# PID 1 of a machine that is to be cut again and again: nothing but the disk and the driver.
_INIT = """#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/console 2>&1
echo "@@UP"
%s
%s
echo "@@END"
sleep 60
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A host whose power is cut: how it boots, and where its configuration is."""

    loader: Loader
    suite: Suite
    backend: str
    patterns: tuple[str, ...]


GRUB = Host(Loader.GRUB_BIOS, Suite.TRIXIE, "grub2", ("/etc/default/grub", "/boot/grub/grub.cfg"))
SYSTEMD_BOOT = Host(
    Loader.SD_BOOT, Suite.SID, "systemd-boot", ("/etc/kernel/cmdline", "/boot/efi/loader/entries/*.conf")
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A host that is ready: `system` and `cut` are disks that nobody writes any more."""

    host: Host
    system: Machine
    cut: Path

    def machine(self, folder: Path, job: Job | None = None, log: Path | None = None) -> Machine:
        """Return a machine with disks of its own in `folder`, past the bootloader.

        Without a job it does nothing but run the driver `forever`, on a system that it never writes.
        """
        folder.mkdir(parents=True)
        cut = Path(shutil.copy(self.cut, folder / "cut.raw"))
        system = Path(shutil.copy(self.system.disk, folder / "system.qcow2"))
        kernel = self.system.kernel
        if job is None and kernel is not None:
            kernel = replace(kernel, cmdline=f"{kernel.cmdline} init={_INIT_PATH}")
        return replace(self.system, disk=system, cut=cut, kernel=kernel, job=job, log=log)


@dataclass(frozen=True, slots=True)
class Stages:
    """The configuration files by path: as they were, as an apply leaves them, as a rollback leaves them."""

    old: Mapping[str, bytes]
    new: Mapping[str, bytes]
    back: Mapping[str, bytes]

    def broken(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Return which of the files that there are is neither old nor new; temporary files do not count."""
        found = [f"{path}: {_shown(files.get(path))}" for path in self.old if not self._knows(path, files.get(path))]
        folders = {path.rpartition("/")[0] for path in self.old if path.startswith(cutdisk.ESP_MOUNT)}
        for path in sorted(files.keys() - self.old.keys()):
            folder, _, name = path.rpartition("/")
            if folder in folders and not _TEMPORARY.fullmatch(name):
                found.append(f"{path}: nobody's")
        return tuple(found)

    def state(self, files: Mapping[str, bytes]) -> str:
        """Return `old` or `new` where every file is that, else what they are."""
        for name, stage in (("old", self.old), ("new", self.new)):
            if all(files.get(path) == content for path, content in stage.items()):
                return name
        return f"mixed: {', '.join(path for path in self.old if files.get(path) != self.old[path])} not old"

    def _knows(self, path: str, content: bytes | None) -> bool:
        return content in (self.old[path], self.new[path])


def prepare(host: Host, built: Path, folder: Path) -> Prepared:
    """Boot a host's image once, to install a wheel and to put its configuration on a disk to be cut.

    Done once for a directory, whichever process comes first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = images.image(recipes.recipe_for(host.loader, host.suite))
    # QEMU starts the kernel: how the bootloaders do it, other tests show. What the kernel says must not part our lines.
    kernel = image.kernel(host.suite)
    quiet = replace(kernel, cmdline=f"{kernel.cmdline} loglevel=1")
    cut = folder / "cut.raw"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        system = Machine(folder / "system.qcow2", Firmware.BIOS, Iommu.NONE, "GenuineIntel", kernel=quiet, cut=cut)
        if not (folder / "ready").exists():
            cutdisk.make(cut)
            machine.overlay(image.disk, system.disk)
            files = {
                built.name: built.read_bytes(),
                "driver": _DRIVER.read_bytes(),
                "init": (_INIT % (_MOUNT, _drive(host, "forever"))).encode(),
            }
            job = Job(_PREPARE, files)
            booted = machine.run(replace(system, job=job), folder / "boot")
            assert booted.ended, booted.told()
            (folder / "ready").touch()
    return Prepared(host, system, cut)


def driver_job(host: Host) -> Job:
    """Return the job that runs the driver `once` on the mounted disk."""
    return Job(f"{_MOUNT}exec {_drive(host, 'once')}\n", {})


def recipe_job(program: str) -> Job:
    """Return a job that runs a program of our own on the mounted disk."""
    return Job(f"{_MOUNT}exec /opt/iommuctl/bin/python3 ./program\n", {"program": program.encode()})


def read_stages(booted: Boot) -> Stages:
    """Return the stages that the driver left."""
    content = json.loads(booted.result["stages"])
    return Stages(*({path: base64.b64decode(text) for path, text in stage.items()} for stage in content))


def recover(files: Mapping[str, bytes], root: Path, stages: Stages) -> str:
    """Have the real iommuctl recover a tree of these files; give the state that this ends in.

    Raises AssertionError where it does not end, leaves something of its own, or a second run finds more to do.
    """
    cutdisk.write_tree(dict(files), root)
    done = subprocess.run(
        (sys.executable, "-m", "iommuctl", "recover", "--root", str(root)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, f"recover: {done.returncode} {done.stderr}"
    again = Root(root)
    assert iommuctl_recovery.recover(again, Store(again)) is None, "a second recover found more to do"
    left = [str(path.relative_to(root)) for path in root.rglob("*") if _TEMPORARY.fullmatch(path.name)]
    assert not left, f"left: {left}"
    assert not (root / JOURNAL).exists()
    found = {path: (root / path).read_bytes() for path in stages.old if (root / path).is_file()}
    return stages.state(found)


def _drive(host: Host, mode: str) -> str:
    patterns = " ".join(f"'{pattern}'" for pattern in host.patterns)
    return f"/opt/iommuctl/bin/python3 {_DRIVER_PATH} {mode} {PROFILE} {host.backend} {patterns}"


def _shown(content: bytes | None) -> str:
    return "missing" if content is None else f"{len(content)} bytes: {content[:60]!r}"
