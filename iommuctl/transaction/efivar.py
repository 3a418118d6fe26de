# SPDX-License-Identifier: Apache-2.0
"""Efivar: the only module that writes EFI variables, through efivarfs: one write each, the immutable flag lifted."""

import fcntl
import os
import stat
import struct
import sys
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.errors import ExecutionError
from iommuctl.host.descriptors import Place
from iommuctl.host.root import Root

# UEFI 2.10, section 8.2: EFI_VARIABLE_NON_VOLATILE, _BOOTSERVICE_ACCESS, _RUNTIME_ACCESS
_ATTRIBUTES = struct.pack("<I", 1 | 2 | 4)
# include/uapi/linux/fs.h: FS_IOC_GETFLAGS _IOR('f', 1, long), FS_IOC_SETFLAGS _IOW('f', 2, long), FS_IMMUTABLE_FL
_LONG = struct.calcsize("l")
_GET_FLAGS = 2 << 30 | _LONG << 16 | ord("f") << 8 | 1
_SET_FLAGS = 1 << 30 | _LONG << 16 | ord("f") << 8 | 2
_IMMUTABLE = 0x10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o644  # what efivarfs has by itself


def read_text(root: Root, path: PurePosixPath) -> str:
    """Return what a variable holds as text; empty where there is none."""
    content = root.read(path)
    return "" if content is None else content[len(_ATTRIBUTES) :].decode("utf-16-le", "replace").rstrip("\0")


def write_text(root: Root, path: PurePosixPath, value: str) -> None:
    """Make a variable that is not there hold a text. Raises ExecutionError, NotPermittedError.

    efivarfs takes the attributes and the value in one write(2), and nothing in part (fs/efivarfs/file.c).
    """
    content = _ATTRIBUTES + f"{value}\0".encode("utf-16-le")
    with root.locate(path, "write the EFI variable") as place:
        _lift_flag(place)
        descriptor = os.open(place.name, _NEW, _MODE, dir_fd=place.directory)
        try:
            if os.write(descriptor, content) != len(content):
                raise ExecutionError(f"the firmware took only a part of {path.name}")
        finally:
            os.close(descriptor)


def remove(root: Root, path: PurePosixPath) -> None:
    """Remove a variable; nothing where there is none. Raises ExecutionError, NotPermittedError."""
    with root.locate(path, "remove the EFI variable") as place:
        if place.status is None:
            return
        _lift_flag(place)
        os.unlink(place.name, dir_fd=place.directory)


def _lift_flag(place: Place) -> None:
    """Make a variable changeable: the kernel shows what firmware may depend on as immutable (efivarfs.rst)."""
    if place.status is None or not stat.S_ISREG(place.status.st_mode):
        return
    descriptor = os.open(place.name, _LOOK, dir_fd=place.directory)
    try:
        with suppress(OSError):  # a file system without flags
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_LONG))[:4], sys.byteorder)
            if flags & _IMMUTABLE:
                fcntl.ioctl(descriptor, _SET_FLAGS, (flags & ~_IMMUTABLE).to_bytes(_LONG, sys.byteorder))
    finally:
        os.close(descriptor)
