# SPDX-License-Identifier: Apache-2.0
"""Locks: one writer at a time in a root, and none next to a package manager."""

import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from iommuctl.errors import BusyError, ConflictError
from iommuctl.host.root import Root
from iommuctl.transaction.durable import STATE_FILE_MODE
from iommuctl.transaction.store import Store

LOCK_SECONDS = 10.0  # how long to wait for another run
_POLL_SECONDS = 0.1

# dpkg: lib/dpkg/dbmodify.c; rpm: lib/rpmlock.cc, its database in /usr/lib/sysimage since rpm 4.16, /var/lib before.
_PACKAGE_LOCKS = tuple(
    map(
        PurePosixPath,
        (
            "/var/lib/dpkg/lock-frontend",
            "/var/lib/dpkg/lock",
            "/usr/lib/sysimage/rpm/.rpm.lock",
            "/var/lib/rpm/.rpm.lock",
        ),
    )
)
_PACMAN_LOCK = PurePosixPath("/var/lib/pacman/db.lck")  # alpm: there while a transaction runs, never locked
_FLOCK = struct.Struct("hhqqi")  # struct flock of 64-bit Linux: type, whence, start, length, process

_LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_PROBE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def state_lock(root: Root, store: Store) -> Iterator[None]:
    """Be the only writer of a root. Raises BusyError after LOCK_SECONDS of another's work."""
    path = store.directory / "lock"
    with root.locate(path, "lock") as place:
        if place.path != path or (place.status is not None and not stat.S_ISREG(place.status.st_mode)):
            # To open it could act, or wait.
            raise ConflictError(
                f"{str(path)!r} is no file, so nobody can hold it", hint=f"look at it, then: rm -r {root.outside(path)}"
            )
        descriptor = os.open(place.name, _LOCK_FILE, STATE_FILE_MODE, dir_fd=place.directory)
        if place.status is None:
            os.fchmod(descriptor, STATE_FILE_MODE)  # whatever the umask
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise BusyError("another run of iommuctl is at work", hint="run the same command again later")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def package_manager_at_work(root: Root) -> str | None:
    """Say which lock of a package manager is held, and by which process; None where none is.

    Only the running system can have one: in another root, nothing runs.
    """
    for path in _PACKAGE_LOCKS:
        with root.locate(path) as place:
            if place.status is None or not stat.S_ISREG(place.status.st_mode):
                continue
            descriptor = os.open(place.name, _PROBE, dir_fd=place.directory)
            try:
                asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                kind, _, _, _, process = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
            finally:
                os.close(descriptor)
            if kind != fcntl.F_UNLCK:
                return f"{path} is locked by process {process}"
    if root.stat(_PACMAN_LOCK) is not None:
        return f"{_PACMAN_LOCK} is there"
    return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
