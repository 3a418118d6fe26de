# SPDX-License-Identifier: Apache-2.0
"""PE images of a few hundred bytes, shaped as ukify shapes them: enough for whoever reads sections."""

import struct
from collections.abc import Iterable

ALIGNMENT = 512  # of sections in the file
OPTIONAL_HEADER = 112 + 16 * 8  # PE32+ with sixteen data directories
Sections = Iterable[tuple[str, bytes]]


def pe_image(sections: Sections, *, certificate: bytes = b"") -> bytes:
    """An image with these sections, filled up in the file and not in memory; a certificate is after them."""
    listed = list(sections)
    start = 0x80
    table = start + 24 + OPTIONAL_HEADER
    offset = -(-(table + 40 * len(listed)) // ALIGNMENT) * ALIGNMENT
    headers, contents = b"", b""
    for name, content in listed:
        size = -(-len(content) // ALIGNMENT) * ALIGNMENT
        place = offset + len(contents)
        headers += struct.pack("<8sIIIIIIHHI", name.encode(), len(content), place, size, place, 0, 0, 0, 0, 0x40000040)
        contents += content.ljust(size, b"\0")
    dos = struct.pack("<2s58xI", b"MZ", start).ljust(start, b"\0")
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(listed), 0, 0, 0, OPTIONAL_HEADER, 0x22E)
    optional = bytearray(OPTIONAL_HEADER)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<H", optional, 68, 10)  # a program of the firmware
    struct.pack_into("<I", optional, 108, 16)  # data directories
    if certificate:
        struct.pack_into("<II", optional, 112 + 4 * 8, offset + len(contents), len(certificate))
    head = dos + coff + optional + headers
    return head.ljust(offset, b"\0") + contents + certificate


def unified_image(
    cmdline: str | None, *, more: Sections = (), release: str = "6.12.9-arch1-1", certificate: bytes = b""
) -> bytes:
    """A unified kernel image; without a command line inside where that is None."""
    own = () if cmdline is None else ((".cmdline", cmdline.encode()),)
    head = ((".osrel", b"ID=arch\n"), *own, (".uname", release.encode()))
    sections = (*head, *more, (".linux", b"no real kernel"), (".initrd", b"no real initrd"))
    return pe_image(sections, certificate=certificate)


def addon(cmdline: str, *, release: str = "") -> bytes:
    """An addon that lends a command line to every image, or to those of one kernel."""
    return pe_image(((".cmdline", cmdline.encode()), (".uname", release.encode())))
