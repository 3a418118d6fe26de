# SPDX-License-Identifier: Apache-2.0
"""Mounts: what a directory is mounted from, as far as a plan depends on it. Reading only."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from iommuctl.host.root import Root


class MountFacts(NamedTuple):
    """What tells a mounted system from a bare tree. Each is told without following a link of the tree."""

    is_mount_point: bool
    has_own_proc: bool
    has_own_dev: bool

    @property
    def is_live(self) -> bool:
        """Whether a generator in it sees the disks of the system that it belongs to: grub-probe needs all three."""
        return self.is_mount_point and self.has_own_proc and self.has_own_dev


def is_live_mount(root: Path) -> bool:
    """Whether another root is a mount point with its own populated `/proc` and `/dev`. Asks `stat` alone."""
    return MountFacts(
        is_mount_point=root.is_mount(),
        has_own_proc=_is_mounted_with(root / "proc", "version", stat.S_ISREG),
        has_own_dev=_is_mounted_with(root / "dev", "null", stat.S_ISCHR),
    ).is_live


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


def _is_mounted_with(folder: Path, name: str, is_kind: Callable[[int], bool]) -> bool:
    try:
        status = folder.lstat()
        return (
            stat.S_ISDIR(status.st_mode)
            and status.st_dev != folder.parent.stat().st_dev
            and is_kind((folder / name).lstat().st_mode)
        )
    except OSError:
        return False
