# SPDX-License-Identifier: Apache-2.0
"""Block log: what a guest did to a disk, write by write, as QEMU's blklogwrites filter kept it; and any moment's disk.

The format is that of the kernel's dm-log-writes (drivers/md/dm-log-writes.c): sector 0 holds the header, then each
entry has a sector of its own, followed by the sectors that it wrote; numbers are little-endian. A flush has no sectors,
and what a discard names is not in the log. The filter writes the header at each flush, and never a mark.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x6A736677736872
VERSION = 1
FLUSH, FUA, DISCARD = 1, 2, 4

_HEADER = struct.Struct("<QQQL")  # magic, version, number of entries, bytes of a sector
_ENTRY = struct.Struct("<QQQQ")  # first sector, number of sectors, flags, bytes of a mark


class BlockLogError(Exception):
    """A log that is not what the filter writes."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that the guest wrote."""

    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Discard:
    """Bytes that the guest gave up; what they read as afterwards is up to the disk."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Flush:
    """What was written before this is on the disk for good."""


Record = Write | Discard | Flush


def read_log(path: Path) -> tuple[Record, ...]:
    """Return every record of a log, in the order in which they were completed. Raises BlockLogError."""
    return parse_log(path.read_bytes())


def parse_log(log: bytes) -> tuple[Record, ...]:
    """Return every record of a log's bytes. Raises BlockLogError for one that was cut short, or that goes on unsaid."""
    if len(log) < _HEADER.size:
        raise BlockLogError(f"no header in {len(log)} bytes")
    magic, version, count, sector_size = _HEADER.unpack_from(log)
    if (magic, version) != (MAGIC, VERSION):
        raise BlockLogError(f"magic {magic:#x} and version {version}, not {MAGIC:#x} and {VERSION}")
    if sector_size < _ENTRY.size:
        raise BlockLogError(f"sectors of {sector_size} bytes")
    records: list[Record] = []
    position = sector_size
    for number in range(count):
        if len(log) < position + _ENTRY.size:
            raise BlockLogError(f"entry {number} of {count} is missing")
        sector, sectors, flags, _ = _ENTRY.unpack_from(log, position)
        position += sector_size
        if flags & ~(FLUSH | FUA | DISCARD):
            raise BlockLogError(f"entry {number} has flags {flags:#x}")
        offset, size = sector * sector_size, sectors * sector_size
        if flags & DISCARD:
            records.append(Discard(offset, size))
            continue
        if size:
            content = log[position : position + size]
            if len(content) < size:
                raise BlockLogError(f"entry {number} wrote {size} bytes, of which the log has {len(content)}")
            records.append(Write(offset, content))
            position += size
        if flags & (FLUSH | FUA):
            records.append(Flush())
    if log[position:].strip(b"\0"):
        raise BlockLogError(f"the log goes on behind its {count} entries: the guest did not flush at its end")
    return tuple(records)


@dataclass(frozen=True, slots=True)
class Area:
    """A part of a disk, in bytes."""

    offset: int
    size: int


def patch(image: Path, area: Area, record: Record) -> bool:
    """Do to the image of a part what the guest did to the disk. Whether that touched it; a discard changes nothing."""
    if not isinstance(record, Write):
        return False
    start = max(record.offset, area.offset)
    end = min(record.offset + len(record.content), area.offset + area.size)
    if start >= end:
        return False
    with image.open("r+b") as file:
        file.seek(start - area.offset)
        file.write(record.content[start - record.offset : end - record.offset])
    return True


def cut_out(disk: Path, area: Area, image: Path) -> Path:
    """Copy a part of a disk into a file of its own."""
    with disk.open("rb") as source, image.open("wb") as target:
        source.seek(area.offset)
        target.write(source.read(area.size))
    return image


def windows(records: Iterable[Record]) -> tuple[tuple[Record, ...], ...]:
    """Return the records between one flush and the next: within a window, a disk may keep some and lose the others."""
    found: list[tuple[Record, ...]] = []
    window: list[Record] = []
    for record in records:
        if isinstance(record, Flush):
            found.append(tuple(window))
            window = []
        else:
            window.append(record)
    return (*found, tuple(window))
