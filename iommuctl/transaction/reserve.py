# SPDX-License-Identifier: Apache-2.0
"""Reserve: the space that an undo needs, taken before the first live byte changes and given back for the undo.

One file for each file system: in the state directory for that one's, else next to the first file there that changes,
with the name of its temporary file in the journal and another suffix. So recovery finds it without a word of its own.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.host.root import Root
from iommuctl.pattern import pattern
from iommuctl.transaction.durable import STATE_FILE_MODE, remove_files, temporary_name
from iommuctl.transaction.journal import Journal
from iommuctl.transaction.preflight import Target
from iommuctl.transaction.store import Store

SUFFIX = ".reserve"

# The name that vfat has for a file of ours whose long name a power cut tore: its parts may lie in two sectors. Seven
# names begin like the file's, further ones have four hexadecimal digits (Linux, fs/fat/namei_vfat.c).
_TORN = pattern(r"IO(MMUC~[1-9]|[0-9A-F]{4}~[0-9])\.(TMP|RES)", re.IGNORECASE)

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def reserves(journal: Journal) -> Iterator[PurePosixPath]:
    """Return where a reserve of a transaction may be, by file, other than in the state directory, which is swept."""
    removed = {directory.path for directory in journal.removed_directories}
    for file in journal.files:
        folder = file.path.parent
        while folder in removed:  # it could not be removed with the reserve in it
            folder = folder.parent
        yield folder / file.temporary.replace(".tmp", SUFFIX)


def leftovers(root: Root, journal: Journal) -> Iterator[PurePosixPath]:
    """Return where a transaction that was cut off may have left files of its own next to those that it changes."""
    yield from (file.path.parent / file.temporary for file in journal.files)
    yield from reserves(journal)
    for folder in sorted({path.parent for path in reserves(journal)}):
        yield from (folder / name for name in root.names(folder) if _TORN.fullmatch(name))


def reserve(root: Root, store: Store, journal: Journal, targets: Iterable[Target]) -> tuple[PurePosixPath, ...]:
    """Take what putting every file back will need of each file system. Gives the files made, to be removed again.

    Raises ExecutionError where there is not so much.
    """
    sizes: dict[int, int] = {}
    places: dict[int, PurePosixPath] = {}
    with root.held() as held:
        with held.open_directory(store.directory) as descriptor:
            places[os.fstat(descriptor).st_dev] = store.directory / temporary_name().replace(".tmp", SUFFIX)
        for target, path in zip(targets, reserves(journal), strict=True):
            if target.before is None:
                continue
            with held.locate(path, "reserve space at") as place:
                facts = os.fstatvfs(place.directory)
                device = os.fstat(place.directory).st_dev
            places.setdefault(device, path)
            blocks = -(-len(target.before) // facts.f_frsize) + 1
            sizes[device] = sizes.get(device, 0) + blocks * facts.f_frsize
    made: list[PurePosixPath] = []
    try:
        for device, size in sizes.items():
            path = places[device]
            made.append(path)
            _allocate(root, path, size)
    except BaseException:
        with suppress(IommuctlError):  # the undo removes them as well
            remove_files(root, made)
        raise
    return tuple(made)


def _allocate(root: Root, path: PurePosixPath, size: int) -> None:
    with root.locate(path, "reserve space at") as place:
        descriptor = os.open(place.name, _CREATE, STATE_FILE_MODE, dir_fd=place.directory)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
