# SPDX-License-Identifier: Apache-2.0
"""PE images: what a unified kernel image or an addon says of its command line. Read by its sections, never executed."""

import struct
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.errors import BootConfigError

# Gives the bytes of a file from an offset on, at most so many; fewer where it ends.
Part = Callable[[int, int], bytes]

# Microsoft's PE format: DOS header, signature with the COFF file header, optional header, table of sections.
_DOS_HEADER = struct.Struct("<2s58xI")  # magic; offset of the signature
_FILE_HEADER = struct.Struct("<4s2xH12xH2x")  # signature; number of sections; size of the optional header
_SECTION_HEADER = struct.Struct("<8sI4xII16x")  # name; size in memory; size and offset in the file
# Where the directory of the certificates is, the fifth of all, by the magic of the optional header: PE32, PE32+.
_CERTIFICATES = {0x10B: 96 + 4 * 8, 0x20B: 112 + 4 * 8}
_DIRECTORY = struct.Struct("<II")  # place and size
_DOS_MAGIC, _PE_SIGNATURE = b"MZ", b"PE\0\0"
# What systemd-stub(7) reads; each `.profile` begins a variant, which has the sections before the first one too.
_KERNEL, _CMDLINE, _RELEASE, _PROFILE = b".linux", b".cmdline", b".uname", b".profile"
_BLANKS = dict.fromkeys(range(1, 32), " ")
TEXT_LIMIT = 64 * 1024  # bytes of one text; the longest command line of x86 and arm64 has 2048


class PeImage(NamedTuple):
    """What an image says. `cmdlines` are those of its profiles, the default one first; None where one has none.

    An addon has no kernel, and lends its command line to the images next to it.
    """

    has_kernel: bool
    release: str | None
    cmdlines: tuple[str | None, ...]
    is_signed: bool = False


class _Section(NamedTuple):
    name: bytes
    offset: int
    size: int


def parse_image(path: PurePosixPath, read: Part) -> PeImage:
    """Read an image; `path` only names it. Raises BootConfigError for what is no PE image, and for a damaged one."""
    sections, is_signed = _headers(path, read)
    starts = [index for index, section in enumerate(sections) if section.name == _PROFILE]
    common = sections[: starts[0]] if starts else sections
    ends = [*starts[1:], len(sections)]
    profiles = [sections[start:end] for start, end in zip(starts, ends, strict=True)] if starts else [()]
    return PeImage(
        has_kernel=any(section.name == _KERNEL for section in sections),
        release=_text(path, read, _RELEASE, common),
        cmdlines=tuple(_text(path, read, _CMDLINE, (*each, *common)) for each in profiles),
        is_signed=is_signed,
    )


def _headers(path: PurePosixPath, read: Part) -> tuple[tuple[_Section, ...], bool]:
    """Return the sections, and whether there is a signature."""
    magic, start = _DOS_HEADER.unpack(_exactly(path, read, 0, _DOS_HEADER.size))
    if magic != _DOS_MAGIC:
        raise BootConfigError(path, None, "no PE image")
    signature, count, optional = _FILE_HEADER.unpack(_exactly(path, read, start, _FILE_HEADER.size))
    if signature != _PE_SIGNATURE:
        raise BootConfigError(path, None, "no PE image")
    start += _FILE_HEADER.size
    is_signed = _has_certificate(_exactly(path, read, start, optional))
    headers = _exactly(path, read, start + optional, count * _SECTION_HEADER.size)
    # A linker fills a section up in the file; what is used of it is its size in memory.
    sections = tuple(
        _Section(name.rstrip(b"\0"), offset, min(in_memory, in_file) if in_memory else in_file)
        for name, in_memory, in_file, offset in _SECTION_HEADER.iter_unpack(headers)
    )
    return sections, is_signed


def _has_certificate(optional_header: bytes) -> bool:
    (magic,) = struct.unpack_from("<H", optional_header.ljust(2, b"\0"))
    at = _CERTIFICATES.get(magic)
    if at is None or len(optional_header) < at + _DIRECTORY.size:
        return False
    place, size = _DIRECTORY.unpack_from(optional_header, at)
    return bool(place and size)


def _text(path: PurePosixPath, read: Part, name: bytes, sections: Sequence[_Section]) -> str | None:
    """The text of the first section of that name: up to a NUL, control characters as blanks (systemd, stub.c)."""
    section = next((each for each in sections if each.name == name), None)
    if section is None:
        return None
    if section.size > TEXT_LIMIT:
        raise BootConfigError(path, None, f"a section {name.decode()} larger than {TEXT_LIMIT} bytes")
    text = _exactly(path, read, section.offset, section.size).partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return text.translate(_BLANKS).strip()


def _exactly(path: PurePosixPath, read: Part, offset: int, size: int) -> bytes:
    content = read(offset, size)
    if len(content) < size:
        raise BootConfigError(path, None, "cut short, no whole PE image")
    return content
