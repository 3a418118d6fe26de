# SPDX-License-Identifier: Apache-2.0
"""EFI variables as efivarfs shows them, as files of a tree."""

import struct
from pathlib import Path

FOLDER = "sys/firmware/efi/efivars"
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ATTRIBUTES = struct.pack("<I", 6)
NUMBER = 11


def text(value: str) -> bytes:
    """A variable that holds a string."""
    return ATTRIBUTES + _utf16(value)


def load_option(path: str) -> bytes:
    """A boot option for a program on a disk, without the attributes of its variable (UEFI 2.10, section 3.1.3)."""
    disk = struct.pack("<BBH", 4, 1, 42) + bytes(38)
    file = struct.pack("<BBH", 4, 4, 4 + len(_utf16(path))) + _utf16(path)
    devices = disk + file + struct.pack("<BBH", 0x7F, 0xFF, 4)
    return struct.pack("<IH", 1, len(devices)) + _utf16("Linux") + devices


def write_variables(root: Path, *, boot: str | None = None, **loader: str) -> None:
    """Write variables of the Boot Loader Interface by name, and the boot option of the program that was started."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    (folder / f"OsIndications-{GLOBAL}").write_bytes(ATTRIBUTES + bytes(8))
    for name, value in loader.items():
        (folder / f"{name}-{LOADER}").write_bytes(text(value))
    if boot is not None:
        (folder / f"BootCurrent-{GLOBAL}").write_bytes(ATTRIBUTES + struct.pack("<H", NUMBER))
        (folder / f"Boot{NUMBER:04X}-{GLOBAL}").write_bytes(ATTRIBUTES + load_option(boot))


def _utf16(value: str) -> bytes:
    return f"{value}\0".encode("utf-16-le")
