# SPDX-License-Identifier: Apache-2.0
"""Preflight: what would make a write fail or break something, found before the first one. Writes nothing."""

import fcntl
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.errors import BootConfigError, ExecutionError, IommuctlError, NotPermittedError, StalePlanError
from iommuctl.host.descriptors import READ_LIMIT, Place, open_regular, read_all
from iommuctl.host.root import Root
from iommuctl.plan import FileClass, FileEdit
from iommuctl.transaction.durable import Metadata, read_metadata
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.transaction.store import Store

# include/uapi/linux/fs.h: FS_IOC_GETFLAGS is _IOR('f', 1, long), FS_IMMUTABLE_FL, FS_APPEND_FL
_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1
_FIXED_FLAGS = {0x10: "i", 0x20: "a"}

STATE_RESERVE = 128 * 1024  # bytes next to the saved contents: manifest and journal, each written anew next to the old
FILE_RECORD = 4096  # bytes for one file's part of both, written twice
GENERATED_RESERVE = 64 * 1024  # bytes that a generated file may grow by


class Target(NamedTuple):
    """One file that a transaction may write, as it is now.

    `path` is as the plan named it, `final` where it leads, `missing` the directories to make for it, outermost first.
    `after` of a generated file is its content now, until there is one to publish.
    """

    path: PurePosixPath
    final: PurePosixPath
    file_class: FileClass
    before: bytes | None
    after: bytes | None
    metadata: Metadata | None
    missing: tuple[PurePosixPath, ...]

    @property
    def folder(self) -> PurePosixPath:
        """The nearest directory that is there."""
        return self.missing[0].parent if self.missing else self.final.parent


def examine(root: Root, edits: Iterable[FileEdit], generated: Iterable[PurePosixPath]) -> tuple[Target, ...]:
    """Look at every file of a plan. Gives one target for each, in order; an edit without a change writes a file anew.

    Raises StalePlanError where a file is not what the edit expects, BootConfigError for one with a second name (a hard
    link that a replacement would break) or named twice, ExecutionError for an immutable one.
    """
    targets: list[Target] = []
    with root.held() as held:
        for edit in edits:
            target = _examine(held, edit.path, edit.file_class)
            if target.before != edit.before:
                raise StalePlanError(f"{str(edit.path)!r} changed since the plan")
            targets.append(target._replace(after=edit.after))
        targets += [_examine(held, path, FileClass.GENERATED) for path in generated]
    uses = Counter(target.final for target in targets)
    for target in targets:
        if uses[target.final] > 1:
            raise BootConfigError(target.path, None, f"the plan has two names for {str(target.final)!r}")
    return tuple(targets)


def write_obstacles(root: Root, paths: Iterable[PurePosixPath]) -> Iterator[IommuctlError]:
    """Return what `examine` and `check_space` would raise for these files, room aside; for a plan that is only shown.

    Nothing for what may not be looked at: whoever may write it may.
    """
    folders: set[PurePosixPath] = set()
    for path in paths:
        try:
            folders.add(_folder_of(root, path))
        except NotPermittedError:
            continue
        except IommuctlError as error:
            yield error
    for folder in sorted(folders):
        with suppress(NotPermittedError):
            try:
                _check_folder(root, folder)
            except ExecutionError as error:
                yield error


def check_space(root: Root, store: "Store", targets: tuple[Target, ...]) -> None:
    """Raise ExecutionError where a directory is read-only or immutable, or lacks space for new contents next to the
    old.
    """
    needs: dict[PurePosixPath, list[int]] = {}
    saved = STATE_RESERVE
    for target in targets:
        reserve = GENERATED_RESERVE if target.file_class is FileClass.GENERATED else 0
        needs.setdefault(target.folder, []).append(len(target.after or b"") + reserve)
        if target.before is not None:  # what an undo needs is kept free all the while
            needs[target.folder].append(len(target.before))
        # A generated file also goes through the staging directory.
        saved += len(target.before or b"") + FILE_RECORD + (len(target.after or b"") + reserve if reserve else 0)
    needs.setdefault(store.snapshots, []).append(saved)
    if (total := sum(len(target.before or b"") for target in targets)) > READ_LIMIT:
        raise ExecutionError(f"the files to save have {total} bytes together, more than {READ_LIMIT}")

    free: dict[int, tuple[int, int]] = {}
    for folder, sizes in needs.items():
        device, facts = _check_folder(root, folder)
        space, names = free.get(device, (facts.f_bavail * facts.f_frsize, facts.f_favail))
        space -= sum((-(-size // facts.f_frsize) + 1) * facts.f_frsize for size in sizes)
        names -= len(sizes)
        free[device] = (space, names)
        if space < 0:
            raise ExecutionError(
                f"no space to write in {str(folder)!r}",
                details=(f"{-space} bytes more are needed",),
                hint=f"df {root.outside(folder)}",
            )
        if facts.f_files and names < 0:  # some file systems, vfat and btrfs, do not count files
            raise ExecutionError(f"no inode left to write in {str(folder)!r}", hint=f"df -i {root.outside(folder)}")


def _check_folder(root: Root, folder: PurePosixPath) -> tuple[int, os.statvfs_result]:
    """Raise ExecutionError where nothing can be written in a directory; else give its device and file system."""
    with root.open_directory(folder, "write") as descriptor:
        _check_flags(root, descriptor, folder)
        device = os.fstat(descriptor).st_dev
        facts = os.fstatvfs(descriptor)
    if facts.f_flag & os.ST_RDONLY:
        raise ExecutionError(f"{str(folder)!r} is on a read-only file system", hint="mount it read-write")
    return device, facts


def _examine(root: Root, path: PurePosixPath, file_class: FileClass) -> Target:
    with root.locate(path) as place:
        missing = _missing(place, path)
        if place.status is None:
            return Target(path, place.path, file_class, None, None, None, missing)
        with open_regular(place) as descriptor:
            _require_replaceable(root, place, path, descriptor)
            content = read_all(descriptor, path)
            return Target(path, place.path, file_class, content, content, read_metadata(descriptor), ())


def _folder_of(root: Root, path: PurePosixPath) -> PurePosixPath:
    """Look at a file as `_examine` does, without reading it; give the nearest directory that is there."""
    with root.locate(path) as place:
        missing = _missing(place, path)
        if place.status is not None:
            with open_regular(place) as descriptor:
                _require_replaceable(root, place, path, descriptor)
        return missing[0].parent if missing else place.path.parent


def _missing(place: Place, path: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Return the directories on the way that are not there. Raises BootConfigError for a name that is not UTF-8."""
    # Neither a snapshot nor the journal could name it.
    if not _is_utf8(place.path):
        raise BootConfigError(path, None, "leads to a name that is not UTF-8", hint="rename what it leads to")
    return tuple(place.path.parents[index] for index in reversed(range(len(place.missing))))


def _require_replaceable(root: Root, place: Place, path: PurePosixPath, descriptor: int) -> None:
    if (links := os.fstat(descriptor).st_nlink) > 1:
        old, new = root.outside(place.path), root.outside(place.path.with_name(f"{place.path.name}.new"))
        raise BootConfigError(
            path,
            None,
            f"it has {links} names (hard links), which a replacement would part",
            hint=f"give it a content of its own: cp -a {old} {new} && mv {new} {old}",
        )
    _check_flags(root, descriptor, place.path)


def _is_utf8(path: PurePosixPath) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_flags(root: Root, descriptor: int, path: PurePosixPath) -> None:
    try:
        answer = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l")))
    except OSError:  # a file system without such flags
        return
    flags = int.from_bytes(answer[:4], sys.byteorder)
    for flag, letter in _FIXED_FLAGS.items():
        if flags & flag:
            raise ExecutionError(
                f"{str(path)!r} may not be replaced: attribute +{letter}", hint=f"chattr -{letter} {root.outside(path)}"
            )
