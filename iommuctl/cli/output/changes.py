# SPDX-License-Identifier: Apache-2.0
"""Changes: what would change or has changed, line by line and parameter by parameter, as text."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible, visible_lines

if TYPE_CHECKING:
    from iommuctl.plan import Change


def diff_lines(diff: str, *, colour: bool) -> Iterator[str]:
    """One file's unified diff; control characters made visible."""
    yield from (_diff_line(line, colour=colour) for line in visible_lines(diff).splitlines())


def _diff_line(line: str, *, colour: bool) -> str:
    if line.startswith(("+++", "---")):
        return styled(line, Style.BOLD, colour=colour)
    if line.startswith("@@"):
        return styled(line, Style.CYAN, colour=colour)
    if line.startswith("+"):
        return styled(line, Style.GREEN, colour=colour)
    return styled(line, Style.RED, colour=colour) if line.startswith("-") else line


def change_lines(changes: "Iterable[Change]") -> Iterator[str]:
    """Return the parameters of a snapshot's changes, a row each."""
    for change in changes:
        yield visible(f"  {change.target}: {change.op} {change.after or change.before}: {change.reason}")
