# SPDX-License-Identifier: Apache-2.0
"""Root: every file access inside one directory tree. Links resolve inside it, nothing leaves it, races included."""

import errno
import os
import shlex
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Self

from iommuctl.errors import (
    BootConfigError,
    NotFoundError,
)
from iommuctl.host.descriptors import (
    _DIRECTORY,
    _LISTING,
    READ_LIMIT,
    Place,
    close_each,
    enter,
    failure,
    lstat,
    make_directory,
    open_device,
    open_regular,
    read_all,
    read_at,
    readlink,
    set_mode,
)

LINK_LIMIT = 40  # include/linux/namei.h: MAXSYMLINKS
HELD_LIMIT = 64  # directories; a boot configuration has a dozen, and 1024 descriptors are all that a process may have


class Root:
    """The files below one directory, which may be `/`. Paths are absolute as seen inside it.

    Absolute links start at the root, `..` cannot leave it. Each step is relative to an open directory, so a
    directory that is swapped for a link during the walk leads nowhere else. Raises NotFoundError where there is no such
    directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(
                f"no such root: {str(path)!r}", hint="name the directory that holds the tree"
            ) from error
        except OSError as error:
            raise failure(error, PurePosixPath(path), "open") from error
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def is_running_system(self) -> bool:
        """Whether this is the root that this process itself runs in."""
        return os.path.samestat(os.fstat(self._descriptor), Path("/").stat())

    def command(self, *words: str) -> str:
        """Return the command line of ours, for a hint, that means this root."""
        root = () if self.is_running_system else ("--root", str(self.path))
        return shlex.join(("iommuctl", *words, *root))

    def outside(self, path: PurePosixPath) -> str:
        """Return a path inside as other commands take it, quoted for a shell."""
        return shlex.quote(str(path if self.is_running_system else self.path / path.relative_to("/")))

    def held(self) -> "HeldRoot":
        """Return a view of this root that walks to each directory once, for work on many files of a few directories."""
        return HeldRoot(self, self._descriptor)

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return a regular file's content; None where there is none.

        Raises NotPermittedError, BootConfigError for anything but a regular file of at most READ_LIMIT bytes, BusyError
        where the file was swapped during the read.
        """
        with self.locate(path) as place:
            if place.status is None:
                return None
            with open_regular(place) as descriptor:
                return read_all(descriptor, path)

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        """Return at most `size` bytes of a regular file, fewer where it ends before; None where there is no file.

        The file may be of any size, the part of at most READ_LIMIT bytes. Raises as `read` does.
        """
        if size > READ_LIMIT:
            raise BootConfigError(path, None, f"a part of it is larger than {READ_LIMIT} bytes")
        with self.locate(path) as place:
            if place.status is None:
                return None
            with open_regular(place) as descriptor:
                return read_at(descriptor, start, size)

    def read_device(self, path: PurePosixPath, size: int) -> bytes | None:
        """Return the first `size` bytes of a block device; None where there is none of that name.

        For the running system's own root alone: what another root has in its /dev is nobody's device. Raises as `read`
        does, and BootConfigError for what is no block device.
        """
        with self.locate(path) as place:
            if place.status is None:
                return None
            with open_device(place) as descriptor:
                return read_at(descriptor, 0, size)

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory, sorted by code point; empty where there is no such directory."""
        with self.locate(directory) as place:
            if place.status is None or not stat.S_ISDIR(place.status.st_mode):
                return ()
            descriptor = os.open(place.name, _LISTING, dir_fd=place.directory)
            try:
                with os.scandir(descriptor) as entries:
                    return tuple(sorted(entry.name for entry in entries))
            finally:
                os.close(descriptor)

    def look_into(self, directory: PurePosixPath, name: str) -> dict[str, os.stat_result | None]:
        """Return the status of `name` in each directory below one, by that directory's name, sorted; no link followed.

        None where there is none. Empty where there is no such directory.
        """
        found: dict[str, os.stat_result | None] = {}
        names = self.names(directory)
        if not names:
            return found
        with self.open_directory(directory) as above:
            for below in names:
                opened: list[int] = []
                try:
                    found[below] = lstat(name, opened[0]) if enter(below, above, opened) else None
                finally:
                    close_each(opened)
        return found

    def identity(self, directory: PurePosixPath) -> tuple[int, int] | None:
        """Return device and inode of a directory, which links and mounts of it share; None where there is none."""
        status = self.stat(directory)
        return (status.st_dev, status.st_ino) if status is not None and stat.S_ISDIR(status.st_mode) else None

    def stat(self, path: PurePosixPath) -> os.stat_result | None:
        """Return the status of what a path ends at after every link; None where there is nothing."""
        with self.locate(path) as place:
            return place.status

    def resolve(self, path: PurePosixPath) -> PurePosixPath:
        """Return the final path inside the root after every link; what is missing at its end is appended as it is."""
        with self.locate(path) as place:
            return place.path

    @contextmanager
    def locate(self, path: PurePosixPath, doing: str = "read") -> Iterator[Place]:
        """Walk to a path and keep its directory open. An OSError of the block becomes an error that says `doing`."""
        opened: list[int] = []
        try:
            yield self._walk(path, opened)
        except OSError as error:
            raise failure(error, path, doing) from error
        finally:
            close_each(opened)

    @contextmanager
    def open_directory(self, path: PurePosixPath, doing: str = "read") -> Iterator[int]:
        """Open a directory for listing, fsync and access relative to it. Raises ExecutionError where there is none."""
        with self.locate(path, doing) as place:
            if place.missing:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            descriptor = os.open(place.name, _LISTING, dir_fd=place.directory)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def make_directories(self, path: PurePosixPath, mode: int) -> tuple[PurePosixPath, ...]:
        """Make a directory and those above it that are missing, durably, whatever the umask.

        Gives the final paths of those made. Raises ExecutionError where something else is in the way.
        """
        made: list[PurePosixPath] = []
        with self.locate(path, "make the directory") as place:
            if place.status is not None:
                if not stat.S_ISDIR(place.status.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return ()
            names = (*place.missing, place.name)
            above = place.path.parents[len(names) - 1]
        for name in names:
            with self.open_directory(above, "make a directory in") as descriptor:
                with suppress(FileExistsError):  # a rival was faster; what is no directory is refused by the next step
                    make_directory(name, mode, descriptor)
                    made.append(above / name)
                set_mode(name, mode, descriptor)
                os.fsync(descriptor)
            above /= name
        return tuple(made)

    def _walk(self, path: PurePosixPath, opened: list[int]) -> Place:
        pending = _components(path, str(path))
        names: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                if names:
                    names.pop()
                    os.close(opened.pop())
                continue
            above = opened[-1] if opened else self._descriptor
            if pending and enter(name, above, opened):
                names.append(name)
                continue
            status = lstat(name, above)
            if status is None or not stat.S_ISLNK(status.st_mode):
                if pending:
                    return _missing(path, names, above, [*pending, name])
                return Place(_path(path, *names, name), above, name, (), status)
            links += 1
            if links > LINK_LIMIT:
                raise BootConfigError(path, None, "too many levels of symbolic links")
            target = readlink(name, above)
            if target.startswith("/"):
                while opened:
                    os.close(opened.pop())
                names.clear()
            pending.extend(_components(path, target))
        here = opened[-1] if opened else self._descriptor
        return Place(_path(path, *names), here, ".", (), os.fstat(here))


class HeldRoot(Root):
    """A root in which each directory, once walked to, is kept open: the next file in it takes one step, not many.

    While it is held a directory is the one that was found first, wherever it is moved. Nothing else is remembered:
    names in it are looked at each time, and a link leads by a walk from the root. Leave its block, or drop it, to close
    what it holds. Not for making and removing directories.
    """

    def __init__(self, whole: Root, descriptor: int) -> None:
        self.path = whole.path
        self._whole = whole  # which closes the descriptor
        self._descriptor = descriptor
        self._directories: dict[str, tuple[PurePosixPath, int]] = {}
        self._close = weakref.finalize(self, _close_all, self._directories)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._close()

    @contextmanager
    def locate(self, path: PurePosixPath, doing: str = "read") -> Iterator[Place]:
        """Find a path in a directory that is held, or walk to it. An OSError becomes an error that says `doing`."""
        try:
            place = self._step(path)
        except OSError as error:
            raise failure(error, path, doing) from error
        if place is None:
            with super().locate(path, doing) as walked:
                self._keep(path, walked)
                yield walked
            return
        try:
            yield place
        except OSError as error:
            raise failure(error, path, doing) from error

    def _step(self, path: PurePosixPath) -> Place | None:
        """Return a place in a directory that is held; None for a link and for what no held directory has."""
        above, _, name = str(path).rpartition("/")
        held = self._directories.get(above)
        if held is None or name in ("", "..") or "\0" in name:
            return None
        folder, descriptor = held
        status = lstat(name, descriptor)
        if status is not None and stat.S_ISLNK(status.st_mode):
            return None
        return Place(path if str(folder) == above else folder / name, descriptor, name, (), status)

    def _keep(self, path: PurePosixPath, place: Place) -> None:
        """Keep the directory of a path open to which a walk led, where it is there and not held; up to HELD_LIMIT."""
        above, _, name = str(path).rpartition("/")
        known = above in self._directories or len(self._directories) >= HELD_LIMIT
        if known or place.missing or name in ("", ".."):
            return
        if place.path == path:  # no link on the way, so this is the directory
            self._directories[above] = (path.parent, os.dup(place.directory))
            return
        opened: list[int] = []
        try:
            place = self._walk(PurePosixPath(above or "/"), opened)
            if place.status is not None and stat.S_ISDIR(place.status.st_mode):
                descriptor = os.open(place.name, _DIRECTORY, dir_fd=place.directory)
                self._directories[above] = (place.path, descriptor)
        finally:
            close_each(opened)


def _path(asked: PurePosixPath, *names: str) -> PurePosixPath:
    """Return the path of these names: usually the one that was asked for, since making one is slow."""
    parts = ("/", *names)
    return asked if asked.parts == parts else PurePosixPath(*parts)


def _components(path: PurePosixPath, text: str) -> list[str]:
    """Split into components, the first one last."""
    if "\0" in text:
        raise BootConfigError(path, None, "the path holds a NUL byte")
    return [part for part in reversed(text.split("/")) if part not in ("", ".")]


def _close_all(directories: dict[str, tuple[PurePosixPath, int]]) -> None:
    close_each(descriptor for _, descriptor in directories.values())
    directories.clear()


def _missing(path: PurePosixPath, names: list[str], directory: int, pending: list[str]) -> Place:
    rest = pending[::-1]
    if ".." in rest:
        raise BootConfigError(path, None, "the path goes up from a folder that is not there")
    return Place(_path(path, *names, *rest), directory, rest[-1], tuple(rest[:-1]), None)
