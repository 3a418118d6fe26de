# SPDX-License-Identifier: Apache-2.0
"""Menus: where GRUB finds its menu. Paths only."""

from pathlib import PurePosixPath

MENUS = (PurePosixPath("/boot/grub2/grub.cfg"), PurePosixPath("/boot/grub/grub.cfg"))
# Where neither is there, as on RHEL 8 with UEFI, whose menu is on the ESP, these links of its packages lead to it.
LINKED_MENUS = (PurePosixPath("/etc/grub2-efi.cfg"), PurePosixPath("/etc/grub2.cfg"))
