# SPDX-License-Identifier: Apache-2.0
"""PE images: what a unified kernel image or an addon says of its command line. Read by its sections, never executed."""

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.value import NamedTuple

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
_KERNEL, _CMDLINE, _RELEASE, _PROFILE, _SYSTEM = b".linux", b".cmdline", b".uname", b".profile", b".osrel"
PROFILES_LIMIT = 256  # src/fundamental/uki.h, UNIFIED_PROFILES_MAX
_PROFILE_ID = re.compile(r"""^[ \t]*ID=["']?([^"'\n]+)""", re.MULTILINE)
_BLANKS = dict.fromkeys(range(1, 32), " ")
_LINES = {number: blank for number, blank in _BLANKS.items() if number != ord("\n")}
TEXT_LIMIT = 64 * 1024  # bytes of one text; the longest command line of x86 and arm64 has 2048


class PeImage(NamedTuple):
    """What an image says. `cmdlines` are those of its profiles, the default one first; None where one has none.

    An addon has no kernel, and lends its command line to the images next to it. `profiles` are the profiles' own ids,
    None where one has none, and `os_release` is the text of os-release(5) that the menu names it by.
    """

    has_kernel: bool
    release: str | None
    cmdlines: tuple[str | None, ...]
    is_signed: bool = False
    profiles: tuple[str | None, ...] = (None,)
    os_release: str = ""


class _Section(NamedTuple):
    name: bytes
    offset: int
    size: int


def parse_image(path: PurePosixPath, read: Part) -> PeImage:
    """Read an image; `path` only names it. Raises BootConfigError for what is no PE image, and for a damaged one."""
    sections, is_signed = _headers(path, read)
    starts = [index for index, section in enumerate(sections) if section.name == _PROFILE]
    if len(starts) > PROFILES_LIMIT:
        raise BootConfigError(path, None, f"{len(starts)} profiles; no more than {PROFILES_LIMIT} are read")
    common = _first_of_each(sections[: starts[0]] if starts else sections)
    ends = [*starts[1:], len(sections)]
    own = [_first_of_each(sections[start:end]) for start, end in zip(starts, ends, strict=True)] if starts else [{}]
    text = _Texts(path, read)
    named = [_PROFILE_ID.search(text.of(each.get(_PROFILE), _LINES) or "") for each in own]
    return PeImage(
        has_kernel=any(section.name == _KERNEL for section in sections),
        release=text.of(common.get(_RELEASE)),
        cmdlines=tuple(text.of(each.get(_CMDLINE, common.get(_CMDLINE))) for each in own),
        is_signed=is_signed,
        profiles=tuple(match and match[1] for match in named),
        os_release=text.of(common.get(_SYSTEM), _LINES) or "",
    )


def _first_of_each(sections: Iterable[_Section]) -> dict[bytes, _Section]:
    found: dict[bytes, _Section] = {}
    for section in sections:
        found.setdefault(section.name, section)
    return found


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


class _Texts:
    """The texts of one image's sections, each read once: several sections may be in the same place of the file."""

    def __init__(self, path: PurePosixPath, read: Part) -> None:
        self._path = path
        self._read = read
        self._known: dict[tuple[_Section, bool], str] = {}

    def of(self, section: _Section | None, blanks: Mapping[int, str] = _BLANKS) -> str | None:
        """The text up to a NUL, control characters as blanks (systemd, stub.c); None without a section."""
        if section is None:
            return None
        if section.size > TEXT_LIMIT:
            raise BootConfigError(self._path, None, f"a section {section.name.decode()} larger than {TEXT_LIMIT} bytes")
        key = (section, blanks is _BLANKS)
        if key not in self._known:
            content = _exactly(self._path, self._read, section.offset, section.size).partition(b"\0")[0]
            self._known[key] = content.decode("utf-8", "surrogateescape").translate(blanks).strip()
        return self._known[key]


def _exactly(path: PurePosixPath, read: Part, offset: int, size: int) -> bytes:
    content = read(offset, size)
    if len(content) < size:
        raise BootConfigError(path, None, "cut short, no whole PE image")
    return content
