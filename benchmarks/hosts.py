# SPDX-License-Identifier: Apache-2.0
"""Hosts to measure on, made anew in a scratch directory."""

from pathlib import Path, PurePosixPath

MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
ENTRIES = PurePosixPath("boot/loader/entries")
GRUBENV_SIZE = 1024  # bytes, always; grub-core/lib/envblk.c


def fedora(root: Path, count: int) -> Path:
    """Make a Fedora host with that many entries; each has another version and other options."""
    files = {
        "etc/machine-id": f"{MACHINE}\n",
        "etc/os-release": "ID=fedora\nVERSION_ID=42\n",
        "etc/default/grub": 'GRUB_CMDLINE_LINUX="rhgb quiet"\nGRUB_ENABLE_BLSCFG=true\n',
        "etc/kernel/cmdline": "root=UUID=0a3407de ro rhgb quiet\n",
        "boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "boot/grub2/grubenv": "# GRUB Environment Block\n".ljust(GRUBENV_SIZE, "#"),
    }
    for number in range(count):
        version = f"6.14.{number}-300.fc42.x86_64"
        files[f"{ENTRIES}/{MACHINE}-{version}.conf"] = (
            f"title Fedora Linux ({version}) 42\nversion {version}\nlinux /vmlinuz-{version}\n"
            f"initrd /initramfs-{version}.img $tuned_initrd\n"
            f"options root=UUID=0a3407de ro rhgb quiet debug{number} $tuned_params\n"
            "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class fedora\n"
        )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
