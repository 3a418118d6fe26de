# SPDX-License-Identifier: Apache-2.0
"""Block log: the filter's format, and the disk that it describes."""

import struct
from pathlib import Path

import pytest
from boot.blocklog import (
    DISCARD,
    FLUSH,
    MAGIC,
    Area,
    BlockLogError,
    Discard,
    Flush,
    Record,
    Write,
    cut_out,
    parse_log,
    patch,
    read_log,
    windows,
)

SECTOR = 512


def header(count: int, *, magic: int = MAGIC, version: int = 1, sector_size: int = SECTOR) -> bytes:
    return struct.pack("<QQQL", magic, version, count, sector_size).ljust(sector_size, b"\0")


def entry(sector: int, flags: int, content: bytes = b"", sectors: int | None = None) -> bytes:
    length = len(content) // SECTOR if sectors is None else sectors
    return struct.pack("<QQQQ", sector, length, flags, 0).ljust(SECTOR, b"\0") + content


A, B = b"a" * SECTOR, b"b" * 2 * SECTOR


def test_records_are_read_in_their_order() -> None:
    log = header(4) + entry(3, 0, A) + entry(0, FLUSH) + entry(7, DISCARD, sectors=2) + entry(1, 0, B)
    assert parse_log(log) == (Write(3 * SECTOR, A), Flush(), Discard(7 * SECTOR, 2 * SECTOR), Write(SECTOR, B))


def test_a_write_past_the_cache_is_a_write_and_a_flush() -> None:
    assert parse_log(header(1) + entry(3, 2, A)) == (Write(3 * SECTOR, A), Flush())


def test_sectors_may_be_larger() -> None:
    content = b"c" * 4096
    log = header(1, sector_size=4096) + struct.pack("<QQQQ", 2, 1, 0, 0).ljust(4096, b"\0") + content
    assert parse_log(log) == (Write(8192, content),)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (b"", "no header in 0 bytes"),
        (header(0, magic=1), "magic 0x1 and version 1, not 0x6a736677736872 and 1"),
        (header(0, version=2), "version 2"),
        (struct.pack("<QQQL", MAGIC, 1, 0, 16), "sectors of 16 bytes"),
        (header(2) + entry(0, FLUSH), "entry 1 of 2 is missing"),
        (header(1) + entry(0, 8), "entry 0 has flags 0x8"),
        (header(1) + entry(0, 0, A, sectors=3), "wrote 1536 bytes, of which the log has 512"),
        (header(1) + entry(0, FLUSH) + entry(3, 0, A), "goes on behind its 1 entries"),
    ],
)
def test_what_the_filter_does_not_write_is_refused(log: bytes, message: str) -> None:
    with pytest.raises(BlockLogError, match=message):
        parse_log(log)


def test_a_log_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(header(1) + entry(0, FLUSH))
    assert read_log(tmp_path / "log") == (Flush(),)


@pytest.mark.parametrize(
    ("record", "touched", "expected"),
    [
        (Write(0, b"xx"), False, b"3456"),
        (Write(7, b"xx"), False, b"3456"),
        (Write(2, b"xx"), True, b"x456"),
        (Write(6, b"xx"), True, b"345x"),
        (Write(0, b"abcdefghij"), True, b"defg"),
        (Discard(3, 2), False, b"3456"),
        (Flush(), False, b"3456"),
    ],
)
def test_a_record_changes_its_own_part_alone(tmp_path: Path, record: Record, touched: bool, expected: bytes) -> None:
    (tmp_path / "disk").write_bytes(b"0123456789")
    image = cut_out(tmp_path / "disk", Area(3, 4), tmp_path / "image")
    assert patch(image, Area(3, 4), record) is touched
    assert image.read_bytes() == expected
    assert (tmp_path / "disk").read_bytes() == b"0123456789"


def test_windows_lie_between_flushes() -> None:
    one, two, three = Write(0, b"1"), Write(1, b"2"), Write(2, b"3")
    assert windows([one, two, Flush(), Flush(), three]) == ((one, two), (), (three,))
