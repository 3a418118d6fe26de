# SPDX-License-Identifier: Apache-2.0
"""Results: what was compared, with its outcome, as text."""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from iommuctl.cli.output.style import Style, styled, table_rows
from iommuctl.cli.output.text import visible

_STYLES = {"pass": Style.GREEN, "fail": Style.RED, "skip": Style.CYAN, "unknown": Style.CYAN}


def result_lines(rows: Iterable[tuple[StrEnum, str, str]], *, colour: bool) -> Iterator[str]:
    """Return result, name and detail in columns; the result in colour, which must not count for the width."""
    found = [(str(result), visible(name), visible(detail)) for result, name, detail in rows]
    head, blocks = table_rows(("result", "what", "found"), tuple(found))
    yield from head
    for (result, _, _), (first, *others) in zip(found, blocks, strict=True):
        yield styled(result, _STYLES[result], colour=colour) + first.removeprefix(result)
        yield from others
