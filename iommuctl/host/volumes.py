# SPDX-License-Identifier: Apache-2.0
"""Volumes: what a file is on, as far as a boot loader that writes to it depends on it. Reading only."""

import os
from pathlib import PurePosixPath

from iommuctl.backends.trial.base import Volume
from iommuctl.host.mounts import filesystem_type
from iommuctl.host.root import Root

_BLOCK_DEVICES = PurePosixPath("/sys/dev/block")
_MAPPED = ("dm-", "md")  # Documentation/admin-guide/devices.txt: device mapper, metadisk (RAID)


def volume_of(root: Root, path: PurePosixPath) -> Volume:
    """Return what a file, or the directory that it would be in, is on."""
    final = root.resolve(path)
    status = root.stat(final) or root.stat(final.parent)
    if status is None:
        return Volume(final, None, is_mapped=False, device=None)
    device = status.st_dev
    shown = root.resolve(_BLOCK_DEVICES / f"{os.major(device)}:{os.minor(device)}")
    is_mapped = any(part.startswith(_MAPPED) for part in shown.parts)
    return Volume(final, filesystem_type(device), is_mapped, device)
