# SPDX-License-Identifier: Apache-2.0
"""Boot mounts: where the file systems that bootloaders read belong, and which of them are not mounted."""

from pathlib import PurePosixPath

from iommuctl.facts import Runtime
from iommuctl.tree import Tree

# The ESP and the extended boot loader partition: file-hierarchy and UAPI.1 name the first two, older hosts the third.
MOUNT_POINTS = tuple(PurePosixPath(path) for path in ("/efi", "/boot", "/boot/efi"))
_FSTAB = PurePosixPath("/etc/fstab")
_UUIDS = ("UUID=", "/dev/disk/by-uuid/")


def distinct(tree: Tree, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return that directory on each boot file system, each once: one may be a link to another, or mounted twice."""
    seen = {tree.identity(point / folder): point / folder for point in reversed(MOUNT_POINTS)}
    return tuple(path for path in (point / folder for point in MOUNT_POINTS) if path in seen.values())


def unmounted(tree: Tree, runtime: Runtime | None) -> tuple[PurePosixPath, ...]:
    """Return the boot file systems of fstab(5) that are not there: what they hold is unknown, not absent.

    On the running system its mounts tell; in another root an empty directory does.
    """
    named = {point for _, point in _fstab(tree)}
    return tuple(
        point
        for point in MOUNT_POINTS
        if str(point) in named and (not tree.names(point) if runtime is None else str(point) not in runtime.mounts)
    )


def is_of_another(tree: Tree, uuid: str) -> bool:
    """Whether a file system is none of this root's: fstab(5) names the root by its UUID, and this one nowhere."""
    named = {
        point: device.removeprefix(start).strip('"').lower()
        for device, point in _fstab(tree)
        for start in _UUIDS
        if device.startswith(start)
    }
    return "/" in named and uuid.lower() not in named.values()


def _fstab(tree: Tree) -> tuple[tuple[str, str], ...]:
    """What fstab(5) has mounted, and where."""
    text = (tree.read(_FSTAB) or b"").decode("utf-8", "replace")
    lines = [line.split() for line in text.split("\n") if not line.lstrip().startswith("#")]
    return tuple((device, point) for device, point, *_ in (line for line in lines if len(line) > 1))
