# SPDX-License-Identifier: Apache-2.0
"""A small file system of its own, which a test may fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lacking import lacks


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount one of so many bytes on a directory, which is made where it is missing."""
    if os.geteuid() != 0:
        lacks("only root can mount")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)], check=False)
    if mounted.returncode:
        lacks("no tmpfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
