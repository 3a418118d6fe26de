# SPDX-License-Identifier: Apache-2.0
"""What a file is on: real files of a real file system, with what sysfs would show of its device."""

import os
from pathlib import Path, PurePosixPath

import pytest

from iommuctl.host.mounts import filesystem_type
from iommuctl.host.root import Root
from iommuctl.host.volumes import volume_of

BLOCK = PurePosixPath("/boot/grub/grubenv")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    target = tmp_path / str(BLOCK).lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_bytes(bytes(1024))
    return tmp_path


def shown(tree: Path, device: str) -> None:
    """Have sysfs lead from the number of the tree's device to a directory."""
    number = tree.stat().st_dev
    links = tree / "sys/dev/block"
    links.mkdir(parents=True)
    (tree / "sys/devices" / device).mkdir(parents=True)
    (links / f"{os.major(number)}:{os.minor(number)}").symlink_to(f"../../devices/{device}")


@pytest.mark.parametrize(
    ("device", "is_mapped"),
    [
        ("virtual/block/dm-3", True),
        ("virtual/block/md127", True),
        ("virtual/block/md127/md127p2", True),
        ("pci0000:00/0000:00:04.0/virtio1/block/vda/vda3", False),
        ("pci0000:00/0000:00:1d.0/0000:04:00.0/nvme/nvme0/nvme0n1/nvme0n1p2", False),
    ],
    ids=["LVM or a disk key", "RAID", "a partition of RAID", "virtio", "NVMe"],
)
def test_lvm_raid_and_encryption_are_told_from_a_plain_partition(tree: Path, device: str, is_mapped: bool) -> None:
    shown(tree, device)
    number = tree.stat().st_dev
    found = volume_of(Root(tree), BLOCK)
    assert (found.path, found.is_mapped, found.device) == (BLOCK, is_mapped, number)
    assert found.filesystem == filesystem_type(number)


def test_a_link_is_followed_to_where_the_file_is(tree: Path) -> None:
    block = tree / str(BLOCK).lstrip("/")
    block.rename(tree / "elsewhere")
    block.symlink_to("/elsewhere")
    assert volume_of(Root(tree), BLOCK).path == PurePosixPath("/elsewhere")


def test_a_file_that_is_to_be_made_is_where_its_directory_is(tree: Path) -> None:
    (tree / str(BLOCK).lstrip("/")).unlink()
    assert volume_of(Root(tree), BLOCK).device == tree.stat().st_dev


def test_of_what_is_not_there_nothing_is_known(tree: Path) -> None:
    found = volume_of(Root(tree), PurePosixPath("/boot/efi/grubenv"))
    assert (found.filesystem, found.device) == (None, None)
