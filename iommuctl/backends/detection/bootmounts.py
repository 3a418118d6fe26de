# SPDX-License-Identifier: Apache-2.0
"""Boot mounts: where the file systems that bootloaders read belong, and which of them are not mounted."""

from pathlib import PurePosixPath

from iommuctl.facts import Runtime
from iommuctl.tree import Tree

# The ESP and the extended boot loader partition: file-hierarchy and UAPI.1 name the first two, older hosts the third.
MOUNT_POINTS = tuple(PurePosixPath(path) for path in ("/efi", "/boot", "/boot/efi"))
_FSTAB = PurePosixPath("/etc/fstab")
_MOUNT_POINT_FIELD = 1  # fstab(5)


def distinct(tree: Tree, folder: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return that directory on each boot file system, each once: one may be a link to another, or mounted twice."""
    seen = {tree.identity(point / folder): point / folder for point in reversed(MOUNT_POINTS)}
    return tuple(path for path in (point / folder for point in MOUNT_POINTS) if path in seen.values())


def unmounted(tree: Tree, runtime: Runtime | None) -> tuple[PurePosixPath, ...]:
    """Return the boot file systems of fstab(5) that are not there: what they hold is unknown, not absent.

    On the running system its mounts tell; in another root an empty directory does.
    """
    text = (tree.read(_FSTAB) or b"").decode("utf-8", "replace")
    fields = [line.split() for line in text.split("\n") if not line.lstrip().startswith("#")]
    named = {each[_MOUNT_POINT_FIELD] for each in fields if len(each) > _MOUNT_POINT_FIELD}
    return tuple(
        point
        for point in MOUNT_POINTS
        if str(point) in named and (not tree.names(point) if runtime is None else str(point) not in runtime.mounts)
    )
