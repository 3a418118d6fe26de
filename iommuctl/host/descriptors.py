# SPDX-License-Identifier: Apache-2.0
"""Descriptors: what is reached from an open directory: never through a link, and no file opened but a regular one."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from iommuctl.errors import (
    BootConfigError,
    BusyError,
    ExecutionError,
    IommuctlError,
    NotPermittedError,
)
from iommuctl.value import NamedTuple

READ_LIMIT = 16 * 1024 * 1024  # bytes; a boot configuration is far smaller, and a hostile root may hold anything


_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Place(NamedTuple):
    """Where a path ends after every link: a name in an open directory.

    `path` is the final path inside the root, without links. `directory` is a descriptor opened with O_PATH, valid
    while the place is open. `missing` are the directories on the way that are not there; then `directory` is the
    deepest one that is. `status` is the lstat of the name, None where it is not there.
    """

    path: PurePosixPath
    directory: int
    name: str
    missing: tuple[str, ...]
    status: os.stat_result | None


def failure(error: OSError, path: PurePosixPath, doing: str) -> IommuctlError:
    """Return the error that an operating system's refusal becomes; `doing` is a verb, the path follows it."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermittedError(path, doing)
    if error.errno == errno.ELOOP:  # a name is no longer what it was when the walk looked at it
        return BusyError(f"{str(path)!r} was swapped meanwhile", hint="run the same command again")
    return ExecutionError(f"cannot {doing} {str(path)!r}: {os.strerror(error.errno or 0).lower()}")


@contextmanager
def open_regular(place: Place) -> Iterator[int]:
    """Open a place's file for reading, never waiting for a pipe. Raises BootConfigError for anything but a file."""
    # The status is looked at first, since opening a device can already act; the descriptor's own again, after a swap.
    if place.status is None or not stat.S_ISREG(place.status.st_mode):
        raise BootConfigError(place.path, None, "not a regular file")
    try:
        descriptor = os.open(place.name, _FILE, dir_fd=place.directory)
    except FileNotFoundError as error:
        raise swapped() from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BootConfigError(place.path, None, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_device(place: Place) -> Iterator[int]:
    """Open a place's block device for reading. Raises BootConfigError for anything else."""
    if place.status is None or not stat.S_ISBLK(place.status.st_mode):
        raise BootConfigError(place.path, None, "not a block device")
    descriptor = os.open(place.name, _FILE, dir_fd=place.directory)
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            raise BootConfigError(place.path, None, "not a block device")
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int, path: PurePosixPath) -> bytes:
    """Read an open file to its end. Raises BootConfigError beyond READ_LIMIT bytes; `path` is for the message."""
    size = os.fstat(descriptor).st_size
    if size > READ_LIMIT:
        raise BootConfigError(path, None, f"larger than {READ_LIMIT} bytes")
    parts: list[bytes] = []
    total = 0
    while part := os.read(descriptor, max(size + 1 - total, 4096)):
        parts.append(part)
        total += len(part)
        if total > READ_LIMIT:
            raise BootConfigError(path, None, f"larger than {READ_LIMIT} bytes")
    return b"".join(parts)


def read_at(descriptor: int, start: int, size: int) -> bytes:
    """Read a part of an open file; fewer bytes only where it ends."""
    parts: list[bytes] = []
    while size and (part := os.pread(descriptor, size, start)):
        parts.append(part)
        start += len(part)
        size -= len(part)
    return b"".join(parts)


def lstat(name: str, directory: int) -> os.stat_result | None:
    """Return what a name in a directory is; None where it is not there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def readlink(name: str, directory: int) -> str:
    """Return where a link leads."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        raise swapped() from error


def enter(name: str, directory: int, opened: list[int]) -> bool:
    """Open a directory below `directory`; False for a link, for nothing, and for anything else."""
    try:
        opened.append(os.open(name, _DIRECTORY, dir_fd=directory))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def make_directory(name: str, mode: int, directory: int) -> None:
    """Make a directory of exactly this mode, whatever the umask."""
    previous = os.umask(0)  # one that takes our own rights away would keep us from opening it
    try:
        os.mkdir(name, mode, dir_fd=directory)
    finally:
        os.umask(previous)


def set_mode(name: str, mode: int, directory: int) -> None:
    """Give a directory its mode."""
    descriptor = os.open(name, _LISTING, dir_fd=directory)
    try:
        found = stat.S_IMODE(os.fstat(descriptor).st_mode)
        wanted = mode | found & stat.S_ISGID  # inherited: the group of a directory goes on below it
        if found != wanted:
            os.fchmod(descriptor, wanted)
    finally:
        os.close(descriptor)


def close_each(descriptors: Iterable[int]) -> None:
    """Close them all."""
    for descriptor in descriptors:
        os.close(descriptor)


def swapped() -> OSError:
    """Return the error of a name that became a link while it was looked at."""
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))
