# SPDX-License-Identifier: Apache-2.0
"""Mechanism: the files that have an image bind what its line chooses, whole and ours, for each tool that builds one."""

from pathlib import Path, PurePosixPath

from iommuctl.value import NamedTuple

_SCRIPTS = Path(__file__).with_name("scripts")
_PROGRAM = 0o755  # initramfs-tools passes over scripts that may not be run


class OwnFile(NamedTuple):
    """A file of the mechanism: where it is, and which of the scripts next to this module it is a copy of."""

    path: PurePosixPath
    script: str
    mode: int = _PROGRAM

    @property
    def content(self) -> bytes:
        """What it holds."""
        return script(self.script)


_INITRAMFS_TOOLS = PurePosixPath("/etc/initramfs-tools")
_DRACUT = PurePosixPath("/usr/lib/dracut/modules.d/90iommuctl-vfio")
# initramfs-tools(7): scripts of init-top run in an order made by their names, ours before udev (booted with 0.148);
# dracut.modules(7): pre-udev is before systemd-udevd.
FOR_INITRAMFS_TOOLS = (
    OwnFile(_INITRAMFS_TOOLS / "hooks/iommuctl-vfio", "initramfs-tools-hook.sh"),
    OwnFile(_INITRAMFS_TOOLS / "scripts/init-top/iommuctl-vfio", "bind.sh"),
)
FOR_DRACUT = (
    OwnFile(_DRACUT / "module-setup.sh", "dracut-module-setup.sh"),
    OwnFile(_DRACUT / "iommuctl-vfio.sh", "bind.sh"),
)
PATHS = frozenset(one.path for one in (*FOR_INITRAMFS_TOOLS, *FOR_DRACUT))


def script(name: str) -> bytes:
    """Return the text of a script of the package."""
    return (_SCRIPTS / name).read_bytes()
