# SPDX-License-Identifier: Apache-2.0
"""Durable: replace, make and remove files so that a power cut finds the old content or the new, never part of it.

Paths are final ones inside the root: a link where there was none is refused, never followed.
"""

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from types import MappingProxyType

from iommuctl.errors import StalePlanError
from iommuctl.host.descriptors import Place, open_regular, read_all
from iommuctl.host.mounts import filesystem_type
from iommuctl.host.root import Root
from iommuctl.tree import digest
from iommuctl.value import NamedTuple

NEW_FILE_MODE = 0o644
STATE_FILE_MODE = 0o600

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)


class Metadata(NamedTuple):
    """What a file is next to its content. `xattrs` maps names (ACLs and security labels among them) to hexadecimal."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: Mapping[str, str] = MappingProxyType({})


class Replacement(NamedTuple):
    """One file to bring from a known content to another.

    `path` is a final path, `temporary` a name in the same directory, `expected` the hash that the file has now
    (None: no file), `content` None to remove it. `metadata` None means that of a new file, which has `mode`;
    `keep_time` sets its time as well.
    """

    path: PurePosixPath
    temporary: str
    expected: str | None
    content: bytes | None
    metadata: Metadata | None = None
    keep_time: bool = False
    mode: int = NEW_FILE_MODE


def temporary_name() -> str:
    """Return a name for a temporary file that nobody guesses and no boot loader reads."""
    return f".iommuctl-{os.urandom(8).hex()}.tmp"


def replace_files(root: Root, replacements: Iterable[Replacement]) -> None:
    """Replace files in order: every new content is on disk before the first rename, every rename at the end.

    Links to a file are kept, since paths are final. Raises StalePlanError where a file is not as it was expected to be,
    ExecutionError, NotPermittedError. What was done until then stays, temporary files included: undo knows their names.
    """
    replacements = tuple(replacements)
    volumes = _Volumes()
    with root.held() as held:
        for replacement in replacements:
            if replacement.content is not None:
                with held.locate(replacement.path, "write") as place:
                    _check_final(place, replacement.path)
                    _write_temporary(place, replacement, replacement.content, fragile=volumes.is_fragile(place))
        for replacement in replacements:
            with held.locate(replacement.path, "replace") as place:
                _check_final(place, replacement.path)
                _check_expected(place, replacement)
                if replacement.content is None:
                    os.unlink(place.name, dir_fd=place.directory)
                else:
                    _put_in_place(place, replacement.temporary, fragile=volumes.is_fragile(place))
        for folder in sorted({replacement.path.parent for replacement in replacements}):
            with held.open_directory(folder, "write") as descriptor:
                os.fsync(descriptor)


def write_file(root: Root, path: PurePosixPath, content: bytes) -> None:
    """Replace one file of our own state, readable by its owner alone, durably; leaves no temporary file after."""
    temporary = temporary_name()
    with root.locate(path, "write") as place:
        _check_final(place, path)
        fragile = _Volumes().is_fragile(place)
        try:
            _create(place.directory, temporary, content, None, STATE_FILE_MODE, fragile=fragile)
            _put_in_place(place, temporary, fragile=fragile)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=place.directory)
            raise
        _sync_folder(place.directory)


def remove_file(root: Root, path: PurePosixPath) -> None:
    """Remove a file durably; nothing where there is none."""
    with root.locate(path, "remove") as place:
        if place.status is None:
            return
        _check_final(place, path)
        os.unlink(place.name, dir_fd=place.directory)
        _sync_folder(place.directory)


def remove_files(root: Root, paths: Iterable[PurePosixPath]) -> None:
    """Remove files of ours, each directory synced once; pass over directories and what links lead to."""
    folders: set[PurePosixPath] = set()
    with root.held() as held:
        for path in paths:
            with held.locate(path, "remove") as place:
                if place.status is None or place.path != path:
                    continue
                if _unlink(place.name, place.directory):
                    folders.add(path.parent)
        for folder in sorted(folders):
            with held.open_directory(folder, "write") as descriptor:
                os.fsync(descriptor)


def remove_any(root: Root, path: PurePosixPath) -> None:
    """Remove whatever has a name, durably: a file, a pipe, a link itself, a directory with all it holds.

    A directory of any depth is emptied from its top, into which every directory below is moved first.
    """
    remove_all(root, path.parent, (path.name,))


def remove_all(root: Root, folder: PurePosixPath, names: Iterable[str]) -> None:
    """Do what `remove_any` does for names of one directory, which is synced once."""
    with root.open_directory(folder, "remove from") as above:
        is_changed = False
        for name in names:
            if not _unlink(name, above):
                try:
                    top = os.open(name, _LISTING, dir_fd=above)
                except FileNotFoundError:
                    continue
                try:
                    _empty(top)
                finally:
                    os.close(top)
                os.rmdir(name, dir_fd=above)
            is_changed = True
        if is_changed:
            os.fsync(above)


def remove_empty_directory(root: Root, path: PurePosixPath) -> None:
    """Remove a directory durably if it is there and empty."""
    with root.locate(path, "remove") as place:
        if place.status is None:
            return
        _check_final(place, path)
        try:
            os.rmdir(place.name, dir_fd=place.directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            return
        _sync_folder(place.directory)


def read_metadata(descriptor: int) -> Metadata:
    """Return an open file's mode, owner, time and extended attributes."""
    status = os.fstat(descriptor)
    xattrs = {name: os.getxattr(descriptor, name).hex() for name in _xattr_names(descriptor)}
    return Metadata(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)


def _unlink(name: str, directory: int) -> bool:
    """Remove a name that is no directory; False for one that is, and for nothing."""
    try:
        os.unlink(name, dir_fd=directory)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def _empty(top: int) -> None:
    """Remove all that an open directory holds, never following a link; as many steps as names, two descriptors."""
    names = os.listdir(top)
    while names:
        name = names.pop()
        if _unlink(name, top):
            continue
        below = os.open(name, _LISTING, dir_fd=top)
        try:
            for one in os.listdir(below):  # noqa: PTH208
                if not _unlink(one, below):
                    lifted = temporary_name()
                    os.rename(one, lifted, src_dir_fd=below, dst_dir_fd=top)
                    names.append(lifted)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=top)


def _sync_folder(directory: int) -> None:
    """Make the names in a directory durable; the descriptor may be one opened with O_PATH, which fsync refuses."""
    descriptor = os.open(".", _LISTING, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Volumes:
    """Which file systems are fragile: without a journal, a name, its content and the space of both go to disk apart."""

    def __init__(self) -> None:
        self._fragile: dict[int, bool] = {}

    def is_fragile(self, place: Place) -> bool:
        """Whether a place is on vfat, or on what cannot be told."""
        device = os.fstat(place.directory).st_dev
        if device not in self._fragile:
            self._fragile[device] = filesystem_type(device) in ("vfat", "msdos", None)
        return self._fragile[device]


def _put_in_place(place: Place, temporary: str, *, fragile: bool) -> None:
    """Rename a temporary file to a place's name. The directory is to be synced after it.

    On vfat a directory's fsync writes the names that went, a file's fsync where its name leads, and no order of
    these two alone is safe (measured, every write replayed): the file last, and the name leads to space that is free
    already; the directory last, and two names share one content, so that removing the temporary one destroys the file.
    Hence the old content is held open, which keeps its space taken until the name leads to the new one.
    """
    if not fragile:
        os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        return
    is_file = place.status is not None and stat.S_ISREG(place.status.st_mode)
    old = os.open(place.name, _REOPEN, dir_fd=place.directory) if is_file else None
    try:
        os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        _sync_folder(place.directory)
        new = os.open(place.name, _REOPEN, dir_fd=place.directory)
        try:
            os.fsync(new)
        finally:
            os.close(new)
    finally:
        if old is not None:
            os.close(old)


def _check_final(place: Place, path: PurePosixPath) -> None:
    if place.path != path:
        raise StalePlanError(f"{str(path)!r} leads to {str(place.path)!r} now")


def _write_temporary(place: Place, replacement: Replacement, content: bytes, *, fragile: bool) -> None:
    mode = replacement.metadata.mode if replacement.metadata else replacement.mode
    metadata = replacement.metadata
    if place.missing:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    _create(
        place.directory,
        replacement.temporary,
        content,
        metadata,
        mode,
        fragile=fragile,
        keep_time=replacement.keep_time,
    )


def _create(
    directory: int,
    name: str,
    content: bytes,
    metadata: Metadata | None,
    mode: int,
    *,
    fragile: bool,
    keep_time: bool = False,
) -> None:
    descriptor = os.open(name, _CREATE, STATE_FILE_MODE, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if metadata is not None:
            _set_owner(descriptor, metadata)
            _set_xattrs(descriptor, metadata)
        # The mode comes last: a change of owner clears bits of it, and an ACL sets the group's.
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
            os.fchmod(descriptor, mode)
        if metadata is not None and keep_time:
            os.utime(descriptor, ns=(metadata.mtime_ns, metadata.mtime_ns))
        if fragile:
            # vfat writes where a name leads before it writes that this space is taken; removing a name that leads to
            # free space turns the file system read-only. The directory's fsync writes what is taken, and an empty file.
            _sync_folder(directory)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_owner(descriptor: int, metadata: Metadata) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (metadata.uid, metadata.gid):
        os.fchown(descriptor, metadata.uid, metadata.gid)


def _set_xattrs(descriptor: int, metadata: Metadata) -> None:
    # A new file may have attributes of its own: an ACL from the directory's default, a label from the policy.
    inherited = {name: os.getxattr(descriptor, name).hex() for name in _xattr_names(descriptor)}
    for name in inherited.keys() - metadata.xattrs.keys():
        if not name.startswith("security."):
            os.removexattr(descriptor, name)
    for name, value in metadata.xattrs.items():
        if inherited.get(name) != value:
            _set_xattr(descriptor, name, bytes.fromhex(value))


def _set_xattr(descriptor: int, name: str, value: bytes) -> None:
    try:
        os.setxattr(descriptor, name, value)
    except OSError as error:
        ours_alone = error.errno in (errno.EPERM, errno.EACCES) and name.startswith("security.")
        if error.errno not in _UNSUPPORTED and not ours_alone:
            raise


def _xattr_names(descriptor: int) -> list[str]:
    try:
        return sorted(os.listxattr(descriptor))
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return []
        raise


def _check_expected(place: Place, replacement: Replacement) -> None:
    found: str | None = None
    if place.status is not None:
        with open_regular(place) as descriptor:
            found = digest(read_all(descriptor, place.path))
    if found != replacement.expected:
        raise StalePlanError(f"{str(place.path)!r} changed since the plan")
