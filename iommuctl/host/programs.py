# SPDX-License-Identifier: Apache-2.0
"""Programs: where a program is inside a root, and the package that has it. Starts nothing."""

import stat
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from iommuctl.errors import UnavailableError
from iommuctl.host.root import Root

SEARCH_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")

# Where the package of a program has another name than the program; the first of a row is Debian's.
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "blkid": "util-linux",
        "bootctl": "systemd-boot, on other distributions systemd",
        "grub-editenv": "grub-common, on other distributions grub",
        "grub-mkconfig": "grub-common, on other distributions grub",
        "grub-script-check": "grub-common, on other distributions grub",
        "grub2-editenv": "grub2-tools-minimal, on SUSE grub2",
        "grub2-mkconfig": "grub2-tools, on SUSE grub2",
        "grub2-script-check": "grub2-tools, on SUSE grub2",
        "kernel-install": "systemd, on Fedora systemd-udev",
        "proxmox-boot-tool": "proxmox-kernel-helper",
        "update-grub": "grub2-common",
        "zipl": "s390-tools, on Fedora s390utils-core",
    }
)


def find_program(root: Root, name: str) -> PurePosixPath:
    """Return where a program is inside a root. Raises UnavailableError that names the package where it is missing."""
    places = (PurePosixPath(name),) if "/" in name else tuple(PurePosixPath(folder, name) for folder in SEARCH_PATH)
    for place in places:
        status = root.stat(place)
        if status is not None and stat.S_ISREG(status.st_mode) and status.st_mode & 0o111:
            return place
    raise UnavailableError(
        f"no program {name!r}",
        details=(f"root: {root.path}", f"looked for: {', '.join(map(str, places))}"),
        hint=f"install the package {_PACKAGES.get(PurePosixPath(name).name, PurePosixPath(name).name)}",
    )
