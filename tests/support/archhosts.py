# SPDX-License-Identifier: Apache-2.0
"""A host with systemd-boot, what the backend makes of it, and what an apply leaves."""

import re

from entryhosts import CATALOGUE, ENTRIES, desired, facts
from trees import MemoryTree

from iommuctl.backends.systemd_boot.backend import SystemdBoot
from iommuctl.facts import Facts
from iommuctl.plan import Rendering

BACKEND = SystemdBoot(CATALOGUE)
ADDED = "intel_iommu=on iommu=pt"
ENTRY = f"{ENTRIES}/arch.conf"
CMDLINE = "/etc/kernel/cmdline"
READER = "/usr/lib/kernel/install.d/90-loaderentry.install"
IMAGE = "/efi/EFI/Linux/arch.efi"
PRESET = {"/etc/mkinitcpio.d/linux.preset": 'default_uki="/efi/EFI/Linux/arch.efi"\n'}
NO_ENTRY: dict[str, str | bytes | None] = {ENTRY: None, "/boot/loader/loader.conf": None}
PROXMOX = {"/etc/kernel/proxmox-boot-uuids": "ABCD\n", "/usr/sbin/proxmox-boot-tool": ""}


def rendered(tree: MemoryTree, host: Facts | None = None, profile: str = "passthrough-perf") -> Rendering:
    return BACKEND.render(tree, host or facts(), desired(profile, host))


def applied(tree: MemoryTree, host: Facts | None = None, profile: str = "passthrough-perf") -> MemoryTree:
    """The tree after an apply, which must have been complete: nothing is short, and a second one finds nothing."""
    host = host or facts()
    after = tree.after(rendered(tree, host, profile))
    assert BACKEND.read_back(after, host, desired(profile, host), generated=False) == ()
    assert rendered(after, host, profile).edits == ()
    return after


def options(tree: MemoryTree, path: str = ENTRY) -> list[str]:
    return re.findall(r"^options[ \t]+(.*)$", tree.files[path].decode(), re.MULTILINE)
