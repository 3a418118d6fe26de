# SPDX-License-Identifier: Apache-2.0
"""Volume: how much space a directory has, and whether it may be written in. Reading only."""

import os
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.host.root import Root


class Volume(NamedTuple):
    """The file system below a directory that is there. `free` counts bytes that anybody may still use."""

    folder: PurePosixPath
    free: int
    is_read_only: bool
    is_writable: bool


def read_volume(root: Root, folder: PurePosixPath) -> Volume:
    """Look at a directory, or at the nearest one above it that is there. Raises NotPermittedError."""
    while root.stat(folder) is None:
        folder = folder.parent
    with root.open_directory(folder) as descriptor:
        facts = os.fstatvfs(descriptor)
        # The kernel decides, capabilities and read-only mounts included, not the user id.
        writable = os.access(".", os.W_OK, dir_fd=descriptor, effective_ids=True)
    return Volume(folder, facts.f_bavail * facts.f_frsize, bool(facts.f_flag & os.ST_RDONLY), writable)
