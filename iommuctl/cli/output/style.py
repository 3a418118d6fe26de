# SPDX-License-Identifier: Apache-2.0
"""Style: colours and columns. Plain strings; colour only where the stream wants it."""

from collections.abc import Iterable, Iterator
from enum import StrEnum


class Style(StrEnum):
    """ANSI SGR codes (ECMA-48)."""

    BOLD = "1"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


RESET = "\x1b[0m"
# Every sequence that we ever write to a terminal.
SEQUENCES = (RESET, *(f"\x1b[{style}m" for style in Style))


def styled(text: str, style: Style, *, colour: bool) -> str:
    """Put a style around a text, or leave it."""
    return f"\x1b[{style}m{text}{RESET}" if colour else text


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns that are as wide as they must be."""
    all_rows = [head, *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
    for row in all_rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
