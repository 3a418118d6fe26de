# SPDX-License-Identifier: Apache-2.0
"""The usual recipe for replacing a file: run on vfat, it shows that a replay of its writes sees what it loses."""

import os
from pathlib import Path

ENTRY = Path("/boot/efi/loader/entries/usual.conf")
GENERATIONS = 4


def content(generation: int) -> bytes:
    """Return the content of one generation."""
    return f"title {generation}\n".encode() * 60


def replace(path: Path, new: bytes) -> None:
    """Write next to, fsync, rename, fsync the directory."""
    temporary = path.with_name("usual.new")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, new)
    os.fsync(file)
    os.close(file)
    temporary.rename(path)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    for number in range(GENERATIONS):
        replace(ENTRY, content(number))
