# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be shown. Pure."""

import re

from iommuctl.cli.output.style import SEQUENCES
from iommuctl.documents.text import escaped, legible

# What needs a second look: neither a line's end nor ASCII that any terminal just shows.
_UNUSUAL = re.compile(r"[^\n\t -~]")
# The same, but what we colour with ourselves is taken whole.
_UNUSUAL_OR_OURS = re.compile("|".join((*map(re.escape, SEQUENCES), _UNUSUAL.pattern)))


def visible(text: str) -> str:
    """Make control characters visible, ends of lines too: what a file's name says must not look like a line of ours."""
    return visible_lines(text).replace("\n", "\\n")


def visible_lines(text: str) -> str:
    """Make control characters visible in a text of lines, so that a file's content cannot drive the terminal."""
    return _UNUSUAL.sub(_escaped, legible(text))


def printable(text: str) -> str:
    """Make visible what may reach no terminal, of a text that is whole and coloured: every output passes here."""
    return _UNUSUAL_OR_OURS.sub(_escaped, legible(text))


def _escaped(match: re.Match[str]) -> str:
    found = match[0]
    return found if len(found) > 1 or found.isprintable() else escaped(found)
