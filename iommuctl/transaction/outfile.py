# SPDX-License-Identifier: Apache-2.0
"""Outfile: a file that a user asks for, such as a plan, written whole or not at all."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from iommuctl.errors import ExecutionError, NotPermittedError, UsageError
from iommuctl.transaction.durable import temporary_name

PRIVATE = 0o600  # a plan has lines of boot files in it
PUBLIC = 0o644  # others are meant to read it
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError for a name that may not be written: it is taken, or by something that is no regular file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failure(error, path) from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{str(path)!r} is no regular file, so it is not replaced", hint="name another file")
    if not overwrite:
        raise _taken(path)


def write_outfile(path: Path, content: bytes, *, overwrite: bool, mode: int = PRIVATE) -> None:
    """Write a file durably, whatever the umask; what was there is replaced where that is asked for.

    Raises UsageError for a name that is taken, NotPermittedError, ExecutionError; then nothing is left of it.
    """
    require_free(path, overwrite=overwrite)
    temporary = temporary_name()
    try:
        directory = os.open(path.parent, _DIRECTORY)
        try:
            try:
                _write(temporary, content, directory, mode)
                if overwrite:
                    os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
                else:
                    _name_anew(temporary, path.name, directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError as error:  # by somebody who was faster
        raise _taken(path) from error
    except OSError as error:
        raise _failure(error, path) from error


def _write(name: str, content: bytes, directory: int, mode: int) -> None:
    descriptor = os.open(name, _CREATE, PRIVATE, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_anew(temporary: str, name: str, directory: int) -> None:
    """Give a file a name that nothing has. Raises FileExistsError where something has it."""
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # vfat and some network file systems know no second name
        os.close(os.open(name, _CREATE, PRIVATE, dir_fd=directory))
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        return
    os.unlink(temporary, dir_fd=directory)


def _taken(path: Path) -> UsageError:
    return UsageError(f"{str(path)!r} is there already", hint="name another file, or replace it with --overwrite")


def _failure(error: OSError, path: Path) -> NotPermittedError | ExecutionError:
    if isinstance(error, PermissionError):
        return NotPermittedError(path, "write")
    return ExecutionError(f"{str(path)!r} cannot be written: {error.strerror}")
