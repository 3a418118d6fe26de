# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be shown. Pure."""

import re

from iommuctl.documents.text import legible

# What needs a second look: neither a line's end nor ASCII that any terminal just shows.
_UNUSUAL = re.compile(r"[^\n\t -~]")


def visible(text: str) -> str:
    """Make control characters visible, so that a file's content cannot drive the terminal."""
    return _UNUSUAL.sub(_escaped, legible(text))


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    return char if char.isprintable() else f"\\x{ord(char):02x}"
