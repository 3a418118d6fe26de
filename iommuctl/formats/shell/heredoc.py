# SPDX-License-Identifier: Apache-2.0
"""Here-documents: where their bodies end, and which of them could do more than be read."""

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.words import Source
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_EXPANSION = pattern(r"`|\$[({\[]")


class HereDocument(NamedTuple):
    """One that is announced: its body begins at the next line. `strips_tabs` where it was announced with `<<-`."""

    begun_at: int
    delimiter: str
    quoted: bool
    strips_tabs: bool

    def skip(self, source: Source, at: int) -> int:
        """Return where the line after the body begins. Expansions in it could assign: BootConfigError."""
        text = source.text
        while True:
            if at >= len(text):
                raise self.unended(source)
            end = text.find("\n", at)
            line = text[at : end if end >= 0 else len(text)]
            start, at = at, end + 1 if end >= 0 else len(text)
            if (line.lstrip("\t") if self.strips_tabs else line) == self.delimiter:
                return at
            if not self.quoted and (_EXPANSION.search(line) or line.endswith("\\")):
                raise source.unclear(start, "an expansion in a here-document")

    def unended(self, source: Source) -> BootConfigError:
        """Return the error of a body that never ends."""
        return source.unclear(self.begun_at, f"a here-document without its end {self.delimiter!r}")
