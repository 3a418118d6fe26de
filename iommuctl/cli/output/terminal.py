# SPDX-License-Identifier: Apache-2.0
"""Terminal: how large the one is that a stream leads to."""

import os
import sys
from typing import TextIO


def columns_of(stream: TextIO | None = None) -> int:
    """Return how many columns the terminal of a stream has; 0 where it is none or does not say."""
    found = stream or sys.stdout
    return _size(found, "COLUMNS", 0) if found.isatty() else 0


def terminal_lines() -> int:
    """Return how many lines the terminal of the output shows; 0 where it is none or does not say."""
    return _size(sys.stdout, "LINES", 1) if sys.stdout.isatty() else 0


def _size(stream: TextIO, name: str, which: int) -> int:
    """What the environment says of the terminal (environ(7)), else what it says itself."""
    said = os.environ.get(name, "")
    if said.isdecimal():
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno())[which]
    except (OSError, ValueError):
        return 0
