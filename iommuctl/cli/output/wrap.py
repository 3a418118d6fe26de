# SPDX-License-Identifier: Apache-2.0
"""Wrap: lines that are longer than the terminal, parted between words. Pure; what goes into a pipe stays as it is."""

import re
from collections.abc import Iterator

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A line that is to be typed is parted as a shell takes it, so that it can be copied.
_COMMAND = re.compile(r"^\s*(hint: )?(sudo )?iommuctl ")
_LEAST = 20  # columns; what is narrower is no terminal that anybody reads
_DEEPER = 4  # columns that the rest of a line is indented by


def wrapped(text: str, columns: int) -> str:
    """Return a text of lines with every line that is too long parted between words; 0 columns: as it is.

    A word that is longer than a line is left whole.
    """
    if columns < _LEAST or len(text) <= columns:
        return text
    lines = text.split("\n")
    return "\n".join(part for line in lines for part in (_parts(line, columns) if len(line) > columns else (line,)))


def _parts(line: str, columns: int) -> Iterator[str]:
    if _width(line) <= columns:
        yield line
        return
    indent = len(line) - len(line.lstrip(" "))
    deeper = " " * min(indent + _DEEPER, columns // 2)
    end = " \\" if _COMMAND.match(_COLOUR.sub("", line)) else ""
    part, width = line[:indent], indent
    for number, word in enumerate(line[indent:].split(" ")):
        size = _width(word)
        if number and width + 1 + size + len(end) > columns and part.strip():
            yield part.rstrip(" ") + end
            part, width = deeper + word, len(deeper) + size
        else:
            gap = " " if number else ""
            part, width = part + gap + word, width + len(gap) + size
    yield part


def _width(text: str) -> int:
    return len(_COLOUR.sub("", text)) if "\x1b" in text else len(text)
