# SPDX-License-Identifier: Apache-2.0
"""Style: colours and columns. Plain strings; colour only where the stream wants it."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from iommuctl.cli.output.terminal import columns_of


class Style(StrEnum):
    """ANSI SGR codes (ECMA-48)."""

    BOLD = "1"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


_GAP = "  "
_NARROWEST = 24  # columns; a last column that would have fewer is read more easily as a line of its own
RESET = "\x1b[0m"
# Every sequence that we ever write to a terminal.
SEQUENCES = (RESET, *(f"\x1b[{style}m" for style in Style))


def styled(text: str, style: Style, *, colour: bool) -> str:
    """Put a style around a text, or leave it."""
    return f"\x1b[{style}m{text}{RESET}" if colour else text


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Return rows in columns that are as wide as they must be, below a head; see `table_rows`."""
    first, others = table_rows(head, tuple(rows))
    yield from first
    yield from (line for lines in others for line in lines)


def table_rows(head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> tuple[list[str], list[list[str]]]:
    """Return the lines of the head and those of each row.

    On a terminal that is too narrow the last column takes more lines; where that is not enough there is no head, and
    each row is its first cell and below it the others with their names.
    """
    limit = columns_of()
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    before = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    if not limit or before + widths[-1] <= limit:
        return [_joined(head, widths)], [[_joined(row, widths)] for row in rows]
    if limit - before < _NARROWEST:
        return [], [_block(head, row) for row in rows]
    return [_joined(head, widths)], [_folded(row, widths, before, limit - before) for row in rows]


def _block(head: tuple[str, ...], row: tuple[str, ...]) -> list[str]:
    named = zip(head[1:], row[1:], strict=True)
    return [row[0], *(f"  {name}: {cell}" for name, cell in named if cell)]


def _folded(row: tuple[str, ...], widths: list[int], before: int, width: int) -> list[str]:
    first, *others = _filled(row[-1], width)
    return [_joined((*row[:-1], first), widths), *(" " * before + other for other in others)]


def _joined(row: tuple[str, ...], widths: list[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _filled(text: str, width: int) -> list[str]:
    """Part a text between words into lines of so many columns; a longer word is left whole."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines
