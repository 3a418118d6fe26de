# SPDX-License-Identifier: Apache-2.0
"""Mounts: what a directory is mounted from, as far as a plan depends on it. Reading only."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from iommuctl.host.root import Root
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple


class BlockDevice(NamedTuple):
    """A block device by its name in /dev and its numbers."""

    name: str
    major: int
    minor: int


# What holds an image, and nothing that the host itself lives on; the disk, and a partition of it.
_IMAGE_DEVICE = pattern(r"((?:loop|nbd)\d+)(?:p\d+)?")


def own_devices(root: Path) -> tuple[BlockDevice, ...]:
    """Return the device that another root is mounted from, and its disk, if that is an image's and nothing else's.

    A generator's `grub-probe` looks for them in /dev. None where the root is a plain directory, or where something on
    that disk is mounted outside the root.
    """
    mounts = _read_mounts()
    mounted = [mount for mount in mounts if mount.point == root.absolute()]
    match = _IMAGE_DEVICE.fullmatch(Path(mounted[-1].source).name) if mounted else None
    if match is None:
        return ()
    others = (Path(mount.source).name for mount in mounts if not mount.point.is_relative_to(root.absolute()))
    if any((other := _IMAGE_DEVICE.fullmatch(name)) and other[1] == match[1] for name in others):
        return ()
    devices = (_block_device(name) for name in dict.fromkeys((match[0], match[1])))
    return tuple(device for device in devices if device is not None)


class _Mount(NamedTuple):
    point: Path
    source: str


def _read_mounts() -> tuple[_Mount, ...]:
    # proc_pid_mountinfo(5): the fifth field is the mount point, the source is the second after the separator " - "
    text = Path("/proc/self/mountinfo").read_bytes()
    pairs = (line.split(b" - ", 1) for line in text.splitlines() if b" - " in line)
    return tuple(
        _Mount(Path(_unescape(before.split(b" ")[4])), _unescape(after.split(b" ")[1])) for before, after in pairs
    )


def _unescape(field: bytes) -> str:
    return os.fsdecode(field.decode("unicode_escape").encode("latin-1"))


def _block_device(name: str) -> BlockDevice | None:
    try:
        status = Path("/dev", name).lstat()
    except OSError:
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return BlockDevice(name, os.major(status.st_rdev), os.minor(status.st_rdev))


def filesystem_type(device: int) -> str | None:
    """Return the type of a mounted file system by its device number; None where it is not known (btrfs subvolumes)."""
    # proc_pid_mountinfo(5): the third field is major:minor, the type follows the separator " - "
    wanted = f" {os.major(device)}:{os.minor(device)} "
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        if wanted in before:
            return after.split(" ", 1)[0]
    return None


def unfreezable(root: Root, state: PurePosixPath, folders: Iterable[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """Return a directory for each XFS that may not be frozen, because it also holds the root or the state directory."""
    needed = {status.st_dev for path in (PurePosixPath("/"), state) if (status := root.stat(path))}
    needed.add(Path("/").stat().st_dev)
    found = ((folder, root.stat(folder)) for folder in one_for_each_xfs(root, folders))
    return tuple(folder for folder, status in found if status is not None and status.st_dev in needed)


def one_for_each_xfs(root: Root, folders: Iterable[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """Return the first of these directories, as they sort, for each XFS that holds one."""
    first: dict[int, PurePosixPath] = {}
    for folder in sorted(set(folders)):
        if (status := root.stat(folder)) is not None:
            first.setdefault(status.st_dev, folder)
    return tuple(folder for device, folder in first.items() if filesystem_type(device) == "xfs")
