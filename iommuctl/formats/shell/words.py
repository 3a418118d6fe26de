# SPDX-License-Identifier: Apache-2.0
"""One word of shell text: its characters and expansions, each with the span of text that spells it. Pure; no I/O.

POSIX.1-2024 Shell Command Language 2.2, 2.3 and 2.6, where dash and bash agree; where they do not, the word is refused.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

METACHARACTERS = " \t\n;&|<>()"
_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = pattern(r":?[-+=?]")
_SPECIAL_PARAMETERS = "@*#?-$!0123456789"
# What a backslash escapes inside double quotes, POSIX 2.2.3; a newline as well, which vanishes with it.
_DOUBLE_QUOTE_ESCAPES = '$`"\\'
_CONTINUATION = "\\\n"
# `${V#w}` and its kin: only bodies on whose end every shell agrees.
_SIMPLE_BODY = pattern(r"[^'\"\\`${}\n]*\}")
_ARITHMETIC = pattern(r"(?:[^'\"\\`$()\n]|\$[A-Za-z_])")
# Arithmetic that can assign nothing; a name might, because bash evaluates the text that it holds.
_HARMLESS_ARITHMETIC = pattern(r"[0-9 \t+*/%()-]*")
# After one of these, a bare tilde is certainly no home directory.
_BEFORE_PLAIN_TILDE = pattern(r"[A-Za-z0-9./_]")
_REFUSED_IN_BRACES = "{<>()&|;\n"
# What a line of settings begins with: inside quotes it shows that a quotation was meant to end before.
_SETTINGS_LINE = re.compile(r"\n[ \t]*(?:#|(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*\+?=)")
_COMMAND = "a command substitution"
OTHER_FORM = "a ${...} of another form than ${V}, :+, +, :-, -"
_NOT_CLOSED = ("is not closed", "the file ends where")


class Shell(StrEnum):
    """What a host has for /bin/sh, where that matters. Other shells are taken for the stricter one of these two."""

    DASH = "dash"
    BASH = "bash"


class Quoting(StrEnum):
    """What surrounds a character; in a `${V:+word}` everything is BRACED."""

    BARE = "bare"
    SINGLE = "single"
    DOUBLE = "double"
    BRACED = "braced"


class Reach(StrEnum):
    """Which assignments a hazard puts in doubt: those before it, those after it, or all."""

    EARLIER = "earlier"
    LATER = "later"
    ALL = "all"


class Char(NamedTuple):
    """One literal character; the span holds the backslash that belongs to it."""

    char: str
    start: int
    end: int
    quoting: Quoting


class Reference(NamedTuple):
    """`$V` or `${V}` (operator empty), or one of `${V:+w}`, `${V+w}`, `${V:-w}`, `${V-w}` with its word."""

    name: str
    operator: str
    word: tuple["Part", ...]
    quoted: bool
    start: int
    end: int


class Opaque(NamedTuple):
    """An expansion whose result only a running shell knows.

    `reach` is None where it changes nothing; else it may touch the variables `names` (None: any).
    """

    what: str
    start: int
    end: int
    reach: Reach | None = None
    names: tuple[str, ...] | None = None

    @property
    def is_command(self) -> bool:
        """Whether it is what a command prints."""
        return self.what == _COMMAND


Part = Char | Reference | Opaque
Word = tuple[Part, ...]


def walk(word: Word) -> Iterator[Part]:
    """Return every part of a word, those inside braces included."""
    for part in word:
        yield part
        if isinstance(part, Reference):
            yield from walk(part.word)


class Source:
    """A file's text with its line numbers, to compose errors from offsets, and the shell that sources it."""

    def __init__(self, path: PurePosixPath, text: str, shell: Shell = Shell.DASH) -> None:
        self.path = path
        self.text = text
        self.shell = shell
        self._newlines = [index for index, char in enumerate(text) if char == "\n"]
        # Where the first quotation begins that has a line of settings in it: in a file that cannot be read, the fault.
        self.runaway: int | None = None

    def line(self, offset: int) -> int:
        """The line, counted from 1, that an offset is on."""
        return bisect_left(self._newlines, offset) + 1

    def error(self, offset: int, message: str) -> BootConfigError:
        """Compose the error for what no shell reads, at an offset."""
        return BootConfigError(self.path, self.line(offset), message)

    def quoted(self, start: int, end: int) -> None:
        """Take note of a quotation, from its opening quote to after its closing one."""
        if self.runaway is None and _SETTINGS_LINE.search(self.text, start, end):
            self.runaway = start

    def unclear(self, offset: int, message: str, *, hint: str | None = None) -> NotRepresentableError:
        """Compose the error for what a shell may read and we do not understand exactly, at an offset."""
        return NotRepresentableError(self.path, self.line(offset), message, hint=hint)


class WordScanner:
    """Reads words. `substitution` is given the offset after `$(` and returns the one after its `)`."""

    def __init__(self, source: Source, substitution: Callable[[int], int]) -> None:
        self._source = source
        self._text = source.text
        self._substitution = substitution

    def scan(self, start: int) -> tuple[Word, int]:
        """Read the word at `start`, which may be empty; give its parts and its end. Raises BootConfigError."""
        parts: list[Part] = []
        at = start
        while at < len(self._text) and self._text[at] not in METACHARACTERS:
            at = self._bare(at, start, parts, Quoting.BARE)
        return tuple(parts), at

    def _bare(self, at: int, start: int, parts: list[Part], quoting: Quoting) -> int:
        text = self._text
        match text[at]:
            case "\\":
                if at + 1 == len(text):
                    raise self._source.unclear(at, "a backslash ends the file")
                if text[at + 1] != "\n":
                    parts.append(Char(text[at + 1], at, at + 2, quoting))
                return at + 2
            case "'":
                end = text.find("'", at + 1)
                if end < 0:
                    raise self._source.error(at, "a single quote is not closed")
                self._source.quoted(at, end)
                inner = Quoting.SINGLE if quoting is Quoting.BARE else quoting
                parts.extend(Char(text[index], index, index + 1, inner) for index in range(at + 1, end))
                return end + 1
            case '"':
                return self._double(at, parts, Quoting.DOUBLE if quoting is Quoting.BARE else quoting)
            case "$":
                return self._dollar(at, parts, quoting, quoted=False)
            case "`":
                return self._backticks(at, parts)
            case "~" if at == start or not _BEFORE_PLAIN_TILDE.match(text[at - 1]):
                parts.append(Opaque("a tilde outside quotes", at, at + 1))
                return at + 1
            case char:
                parts.append(Char(char, at, at + 1, quoting))
                return at + 1

    def _double(self, start: int, parts: list[Part], quoting: Quoting) -> int:
        """Read a double-quoted piece from its opening quote; give the offset after the closing one."""
        text = self._text
        at = start + 1
        while at < len(text):
            match text[at]:
                case '"':
                    self._source.quoted(start, at)
                    return at + 1
                case "\\":
                    at = self._escape(at, parts, quoting, _DOUBLE_QUOTE_ESCAPES)
                case "$" | "`":
                    at = self._expansion_inside(start, at, parts, quoting)
                case char:
                    parts.append(Char(char, at, at + 1, quoting))
                    at += 1
        raise self._source.error(start, "a double quote is not closed")

    def _expansion_inside(self, start: int, at: int, parts: list[Part], quoting: Quoting) -> int:
        """Read an expansion between double quotes. Where it never ends, neither do the quotes, which began first."""
        try:
            if self._text[at] == "`":
                return self._backticks(at, parts)
            return self._dollar(at, parts, quoting, quoted=True)
        except BootConfigError as error:
            if any(text in error.message for text in _NOT_CLOSED):
                raise self._source.error(start, "a double quote is not closed") from error
            raise

    def _escape(self, at: int, parts: list[Part], quoting: Quoting, escapes: str) -> int:
        follower = self._text[at + 1 : at + 2]
        if follower == "\n":
            return at + 2
        if follower and follower in escapes:
            parts.append(Char(follower, at, at + 2, quoting))
            return at + 2
        parts.append(Char("\\", at, at + 1, quoting))
        return at + 1

    def _dollar(self, at: int, parts: list[Part], quoting: Quoting, *, quoted: bool) -> int:
        text = self._text
        follower = text[at + 1 : at + 2]
        if name := _NAME.match(text, at + 1):
            parts.append(Reference(name[0], "", (), quoted, at, name.end()))
            return name.end()
        if text.startswith(_CONTINUATION, at + 1) or follower == "[":
            raise self._source.unclear(at, "shells do not agree on what this '$' begins")
        if follower == "{":
            return self._braces(at, parts, quoted=quoted)
        if text.startswith("((", at + 1):
            return self._arithmetic(at, parts)
        if follower == "(":
            if text.startswith(_CONTINUATION, at + 2):
                raise self._source.unclear(at, "shells do not agree on what this '$' begins")
            end = self._substitution(at + 2)
            parts.append(Opaque(_COMMAND, at, end))
            return end
        if follower and follower in _SPECIAL_PARAMETERS:
            parts.append(Opaque(f"the special parameter ${follower}", at, at + 2))
            return at + 2
        if not quoted and follower in ("'", '"') and follower:
            skipped: list[Part] = []
            end = self._bare(at + 1, at + 1, skipped, Quoting.BARE)
            if follower == "'" and "\\" in text[at:end]:
                raise self._source.unclear(at, "shells do not agree on where $'...' ends")
            parts.append(Opaque(f"a ${follower}...{follower} string", at, end))
            parts.extend(part for part in walk(tuple(skipped)) if isinstance(part, Opaque))
            return end
        parts.append(Char("$", at, at + 1, quoting))
        return at + 1

    def _braces(self, at: int, parts: list[Part], *, quoted: bool) -> int:
        text = self._text
        name = _NAME.match(text, at + 2)
        after = name.end() if name else at + 2
        if name and text.startswith("}", after):
            parts.append(Reference(name[0], "", (), quoted, at, after + 1))
            return after + 1
        operator = _OPERATOR.match(text, after) if name else None
        if name is None or operator is None:
            body = _SIMPLE_BODY.match(text, after)
            if body is None:
                raise self._source.unclear(at, "a ${...} that is not closed or not of a form that is understood")
            # An index or an offset is arithmetic, which can assign.
            reach = Reach.EARLIER if re.match(r"[\[:!]", body[0]) or "@" in body[0] else None
            parts.append(Opaque(OTHER_FORM, at, body.end(), reach))
            return body.end()
        word, end = self._braced_word(operator.end(), at, quoted=quoted)
        match operator[0][-1]:
            case "=":
                parts.append(Opaque("a ${V=...} that assigns", at, end, Reach.EARLIER, (name[0],)))
                parts.extend(word)
            case "?":
                parts.append(Opaque("a ${V?...} that may end the shell", at, end, Reach.LATER))
                parts.extend(word)
            case _:
                parts.append(Reference(name[0], operator[0], word, quoted, at, end))
        return end

    def _braced_word(self, start: int, opening: int, *, quoted: bool) -> tuple[Word, int]:
        text = self._text
        parts: list[Part] = []
        at = start
        while at < len(text):
            char = text[at]
            if char == "}":
                return tuple(parts), at + 1
            if char in _REFUSED_IN_BRACES or (quoted and char == "'"):
                raise self._source.unclear(at, f"{char!r} inside a ${{...}}, on which shells do not agree")
            if not quoted:
                at = self._bare(at, start, parts, Quoting.BRACED)
            elif char == "\\":
                at = self._escape(at, parts, Quoting.BRACED, _DOUBLE_QUOTE_ESCAPES + "}")
            elif char == "$":
                at = self._dollar(at, parts, Quoting.BRACED, quoted=True)
            elif char == "`":
                at = self._backticks(at, parts)
            elif char == '"':
                end = self._double(at, parts, Quoting.BRACED)
                if re.search(r"[\\'{}]", text[at:end]):
                    raise self._source.unclear(at, "quotes inside a quoted ${...}, on which shells do not agree")
                at = end
            else:
                parts.append(Char(char, at, at + 1, Quoting.BRACED))
                at += 1
        raise self._source.error(opening, "a ${ is not closed")

    def _arithmetic(self, start: int, parts: list[Part]) -> int:
        text = self._text
        at, depth = start + 3, 2
        while at < len(text) and depth > 0:
            if text[at] in "()":
                depth += 1 if text[at] == "(" else -1
            elif not _ARITHMETIC.match(text, at):
                break
            at += 1
        if depth > 0 or text[at - 2] != ")":
            raise self._source.unclear(start, "a $((...)) that is not closed or not of a form that is understood")
        reach = None if _HARMLESS_ARITHMETIC.fullmatch(text, start + 3, at - 2) else Reach.EARLIER
        parts.append(Opaque("an arithmetic expansion", start, at, reach))
        return at

    def _backticks(self, start: int, parts: list[Part]) -> int:
        at = start + 1
        while at < len(self._text):
            if self._text[at] == "`":
                parts.append(Opaque(_COMMAND, start, at + 1))
                return at + 1
            at += 2 if self._text[at] == "\\" else 1
        raise self._source.error(start, "a backtick is not closed")
