# SPDX-License-Identifier: Apache-2.0
"""Guest: the init of a machine of the lab, and the job that it runs. Made here, run there.

The contract: `/sbin/lab-init` is the guest's PID 1. It mounts what a host has mounted (the ESP included), writes what
sysfs shows to `/run/result`, unpacks the disk with the serial `job`, which is a tar, to `/run/job`, runs `sh ./run`
there with its output in `/run/result/log`, packs `/run/result` into the disk with the serial `result`, and powers off.
On the console, lines with `@@` mark the way: `@@UP`, `@@RC n`, `@@END`. Without a job disk it only shows itself.
"""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INIT_PATH = "sbin/lab-init"
UP = "@@UP"
RC = "@@RC "
END = "@@END"
RESULT_BYTES = 16 << 20
_BLOCK = 512

INIT = r"""#!/bin/sh
# PID 1 of a machine of the boot lab: show the kernel's IOMMU, run the job, hand over what it left, power off.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
HOME=/root
SYSTEMD_LOG_LEVEL=notice
export PATH LC_ALL HOME SYSTEMD_LOG_LEVEL

# Under emulation each program costs a tenth of a second, so the shell does by itself what it can.
[ -d /proc/self ] || mount -t proc proc /proc
[ -d /sys/class ] || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/console 2>&1
read -r uptime _ </proc/uptime
read -r release </proc/sys/kernel/osrelease
echo "@@UP $uptime $release"

# Without udev: the names by which GRUB's tools and the command line call a file system.
mkdir -p /run/job /run/result /dev/disk/by-uuid /dev/disk/by-partuuid
job= result=
for disk in /sys/block/vd*; do
    serial=
    [ ! -e "$disk/serial" ] || read -r serial <"$disk/serial" || true # it ends without a newline
    case $serial in
    job) job=/dev/${disk##*/} ;;
    result) result=/dev/${disk##*/} ;;
    sys)
        for part in "$disk"/vd*; do
            device=/dev/${part##*/}
            blkid -p -o export "$device" | while IFS== read -r key value; do
                case $key in
                UUID) ln -sf "$device" "/dev/disk/by-uuid/$value" ;;
                PART_ENTRY_UUID) ln -sf "$device" "/dev/disk/by-partuuid/$value" ;;
                esac
            done
        done
        ;;
    esac
done

mount -o remount,rw /
mount -a || echo "@@WARN mount -a failed"
[ ! -d /sys/firmware/efi/efivars ] || mount -t efivarfs efivarfs /sys/firmware/efi/efivars
cat /proc/cmdline >/run/result/cmdline
echo "$release" >/run/result/release
for group in /sys/kernel/iommu_groups/*; do
    [ ! -d "$group" ] || { read -r type <"$group/type" && echo "${group##*/} $type"; }
done >/run/result/groups
ls /sys/class/iommu >/run/result/units 2>/dev/null

if [ -n "$job" ]; then
    tar -xf "$job" -C /run/job
    cd /run/job || exit
    sh ./run >/run/result/log 2>&1
    echo "@@RC $?"
    cd /
fi
[ -z "$result" ] || tar -cf "$result" -C /run/result .
# Whatever is still mounted: a machine that is switched off in order leaves clean file systems.
umount -a -t vfat
sync
mount -o remount,ro /
echo "@@END"
echo o >/proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What a guest is to do: a script for its `sh`, and the files that the script finds next to it."""

    script: str
    files: Mapping[str, bytes]

    def write(self, path: Path) -> None:
        """Make the disk that carries the job: a tar, padded to whole blocks."""
        with tarfile.open(path, "w") as archive:
            for name, content in sorted({**self.files, "run": self.script.encode()}.items()):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        _pad(path)


def read_result(path: Path) -> dict[str, bytes]:
    """Return the files that a guest left in `/run/result`; none where it never got that far."""
    with path.open("rb") as disk:
        if not disk.read(_BLOCK).strip(b"\0"):
            return {}
    with tarfile.open(path, "r:") as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name.removeprefix("./"): archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]  # a file has content


def _pad(path: Path) -> None:
    size = path.stat().st_size
    with path.open("ab") as disk:
        disk.truncate(-(-size // _BLOCK) * _BLOCK)
