# SPDX-License-Identifier: Apache-2.0
"""A trial is refused where GRUB could not take its choice back, and would boot it again and again.

One machine mounts its /boot from a disk with btrfs, and from an LVM volume with ext4; each time the refusal names what
GRUB's own environment block is on, and nothing is written. On its plain partition the same trial could be armed.
"""

from dataclasses import replace
from pathlib import Path

from boot import machine
from boot.guest import Job
from boot.images import image
from boot.machine import Iommu
from boot.recipes import Loader, Suite, install_wheel, recipe_for
from boot.traces import TRACES

USUAL = recipe_for(Loader.GRUB_BIOS, Suite.TRIXIE)
RECIPE = replace(USUAL, kernels=(Suite.TRIXIE,), packages=(*USUAL.packages, "btrfs-progs", "e2fsprogs", "lvm2"))
REFUSED = 69
ON = {
    "btrfs": "what /boot/grub/grubenv is on cannot be told, as btrfs cannot",
    "lvm": "/boot/grub/grubenv is on LVM, RAID or an encrypted volume, where GRUB does not write",
}
SCRIPT = """
mkdir -p /run/systemd/system
asked() {
    iommuctl trial start passthrough-perf "$2" --force trial-unproven >"/run/result/$1" 2>&1
    echo "exit code $?" >>"/run/result/$1"
}
on() {
    mount "$2" /mnt && cp -a /boot/. /mnt && umount /mnt && mount "$2" /boot || exit 3
    permanent >/run/result/before
    asked "$1" --yes
    permanent | cmp - /run/result/before || exit 4
    left >>"/run/result/left"
    umount /boot
}
for module in loop btrfs dm-mod; do modprobe "$module" || exit 5; done
truncate --size=400M /root/disk
disk=$(losetup --find --show /root/disk) || exit 6
mkfs.btrfs --quiet "$disk" || exit 10
on btrfs "$disk"
wipefs --all --quiet "$disk"
vgcreate --yes lab "$disk" || exit 7
lvcreate --yes --noudevsync --zero n --wipesignatures n --name boot --extents 100%FREE lab || exit 8
dmsetup mknodes
mkfs.ext4 -q /dev/mapper/lab-boot || { ls -l /dev/mapper; exit 9; }
on lvm /dev/mapper/lab-boot
asked plain --dry-run
exit 0
"""


def test_a_trial_is_refused_where_grub_cannot_take_its_choice_back(
    built_wheel: Path, results: Path, tmp_path: Path
) -> None:
    job = Job(f"{TRACES}\n{install_wheel(built_wheel.name)}\n{SCRIPT}", {built_wheel.name: built_wheel.read_bytes()})
    own = replace(image(RECIPE).copy(tmp_path, Iommu.INTEL, "GenuineIntel"), job=job)
    found = machine.run(own, tmp_path / "1")
    assert found.ended, found.told()
    for name, reason in ON.items():
        said = found.text(name)
        assert reason in said, said
        assert said.endswith(f"exit code {REFUSED}\n"), said
    assert found.text("left") == ""
    plain = found.text("plain")
    assert plain.endswith("exit code 0\n"), plain
    told = "a host with its /boot on btrfs, and on LVM: refused; on a plain partition the trial could be armed"
    (results / "trial-refused.txt").write_text(f"{told}\n", encoding="utf-8")
