# SPDX-License-Identifier: Apache-2.0
"""Volume: how much space a directory has, whether it may be written in, and how much of it a program may take."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from iommuctl.host.root import Root
from iommuctl.value import NamedTuple

KEPT_FREE = 64 * 1024 * 1024  # bytes that the other programs of a system get on with until this one is stopped


@contextmanager
def files_limited(size: int) -> Iterator[None]:
    """Let no program that is started in the block write a file beyond `size` bytes; nor us, who write none in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    allowed = [limit for limit in (size, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(allowed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Room(NamedTuple):
    """A file system on which a running program has to leave `kept` bytes free; `where` is its directory, for a shell.

    What is free is what anybody may use: a system whose disk is full to others is in need, whatever root has left.
    """

    descriptor: int
    where: str
    kept: int

    def is_short(self) -> bool:
        """Whether less than that is free now."""
        return _free(self.descriptor) < self.kept


@contextmanager
def room_kept(root: Root, folder: PurePosixPath) -> Iterator[Room]:
    """Return what a program in the block has to leave free of a directory's file system: half, of much `KEPT_FREE`.

    Raises ExecutionError where there is no such directory.
    """
    with root.open_directory(folder) as descriptor:
        yield Room(descriptor, root.outside(folder), min(KEPT_FREE, _free(descriptor) // 2))


def _free(descriptor: int) -> int:
    facts = os.fstatvfs(descriptor)
    return facts.f_bavail * facts.f_frsize


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
