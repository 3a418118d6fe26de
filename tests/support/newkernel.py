# SPDX-License-Identifier: Apache-2.0
"""A kernel that is installed by the real plugin of kernel-install."""

import os
import subprocess
from pathlib import Path

from lacking import lacks

PLUGIN = Path("/usr/lib/kernel/install.d/90-loaderentry.install")


RELEASE = "6.12.57+deb13-amd64"


def install_kernel(root: Path) -> None:
    """Run the plugin for a new kernel, as `kernel-install add` runs it, with every path inside the root."""
    if not PLUGIN.is_file():
        lacks("no kernel-install here")
    machine = (root / "etc/machine-id").read_text().strip()
    boot, image, staging = root / "boot/efi", root / "vmlinuz", root / "staging"
    folder = boot / machine / RELEASE
    folder.mkdir(parents=True)
    staging.mkdir()
    image.write_bytes(b"MZ")
    environment = {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "KERNEL_INSTALL_CONF_ROOT": str(root / "etc/kernel"),
        "KERNEL_INSTALL_LAYOUT": "bls",
        "KERNEL_INSTALL_BOOT_ROOT": str(boot),
        "KERNEL_INSTALL_ENTRY_TOKEN": machine,
        "KERNEL_INSTALL_MACHINE_ID": machine,
        "KERNEL_INSTALL_STAGING_AREA": str(staging),
        "KERNEL_INSTALL_VERBOSE": "0",
    }
    done = subprocess.run(
        [PLUGIN, "add", RELEASE, folder, image], env=environment, capture_output=True, text=True, check=False
    )
    # Debian 12's gives the kernel to root, and only root may; it goes on all the same.
    complaints = [line for line in done.stderr.splitlines() if os.geteuid() == 0 or not line.startswith("chown: ")]
    assert (done.returncode, complaints) == (0, [])
