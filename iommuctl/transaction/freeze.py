# SPDX-License-Identifier: Apache-2.0
"""Freeze: bring renamed files out of an XFS log, which a boot loader does not read, into their places on disk."""

import fcntl
import os
import select
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.host.mounts import one_for_each_xfs, unfreezable
from iommuctl.host.root import Root
from iommuctl.host.signals import SIGNALS

# include/uapi/linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int)
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878
WATCHDOG_SECONDS = 10.0  # a freeze takes well under one


def settle(root: Root, state: PurePosixPath, folders: Iterable[PurePosixPath]) -> None:
    """Freeze and thaw each XFS that holds one of these directories; one that also holds the root or `state` is synced.

    What would have to thaw those could itself be waiting for them. Where freezing is not possible or not permitted
    nothing happens, and nothing is lost: the log is replayed by the next mount.
    """
    wanted = frozenset(folders)
    only_synced = unfreezable(root, state, wanted)
    for folder in one_for_each_xfs(root, wanted):
        with root.open_directory(folder, "freeze") as descriptor:
            if folder in only_synced:
                _syncfs(descriptor)
            else:
                freeze_and_thaw(descriptor)


def _syncfs(descriptor: int) -> None:
    """Write a file system's log and data out (syncfs(2)); Python has no function of that name."""
    import ctypes  # noqa: PLC0415 - an XFS that may not be frozen alone needs it

    ctypes.CDLL(None, use_errno=True).syncfs(descriptor)


def freeze_and_thaw(descriptor: int) -> None:
    """Freeze the file system of an open directory for a moment; a child thaws it should this process not get to it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(writing)
            _watch(descriptor, reading)
        finally:
            os._exit(0)
    os.close(reading)
    try:
        with suppress(OSError):  # should the thaw fail, the child is left to try
            if _freeze(descriptor):
                fcntl.ioctl(descriptor, _FITHAW, 0)
            os.write(writing, b".")
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def _watch(descriptor: int, reading: int) -> None:
    """Thaw when the other end of the pipe closes without a word, and whenever it takes too long."""
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while not select.select([reading], [], [], WATCHDOG_SECONDS)[0]:
        _thaw(descriptor)
    if not os.read(reading, 1):
        _thaw(descriptor)


def _freeze(descriptor: int) -> bool:
    try:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
    except OSError:  # not permitted, not supported, or frozen by somebody else, who will thaw it
        return False
    return True


def _thaw(descriptor: int) -> None:
    with suppress(OSError):  # it is not frozen
        fcntl.ioctl(descriptor, _FITHAW, 0)
