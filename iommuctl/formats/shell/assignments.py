# SPDX-License-Identifier: Apache-2.0
"""Shell files that grub-mkconfig sources: where variables are assigned, and what could assign unseen. Pure; no I/O."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.formats.shell.grammar import ShellGrammar
from iommuctl.formats.shell.hazards import LOOP_EXITS, RETURN, Effect, effects, literal
from iommuctl.formats.shell.obstacles import IN_FUNCTION, IN_FUNCTIONS
from iommuctl.formats.shell.stops import Call, included_file, is_bad_substitution
from iommuctl.formats.shell.words import OTHER_FORM, Char, Opaque, Quoting, Reach, Reference, Shell, Source, Word, walk
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_MORE_WORDS = "with more words after the value"
_NOT_AT_START = "not at the start of its line"
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_SUBSCRIPT = pattern(r"[A-Za-z_][A-Za-z0-9_]*\[")
_REST_OF_LINE = re.compile(r"[ \t]*;?[ \t]*(?:(?<![^ \t;])#[^\n]*)?(?=\n|\Z)")
# What `export V=word` may expand where `V=word` would not: dash before 0.5.11 splits and globs it.
_EXPORT_EXPANDS = "*?[]{}~"


class ShellAssignment(NamedTuple):
    """`name=value` outside subshells. `start` and `end` span the raw value word, quotes included, in the file's text.

    `append` marks the `+=` form, which only bash knows. `obstacle` says why the assignment may not be taken at its
    word or may not be edited; None for an unconditional one at top level, alone on its line (blanks, `export ` before
    it, `;` and a comment after it may stand there too).
    """

    path: PurePosixPath
    line: int
    name: str
    append: bool
    start: int
    end: int
    raw: str
    word: Word
    obstacle: str | None


class Hazard(NamedTuple):
    """Something that could assign, or cut the file short, unseen. `names` are the variables at risk (None: any).

    `included` is the file that is read here; `guarded`, where a test of that very file finds it.
    """

    path: PurePosixPath
    line: int
    offset: int
    what: str
    names: tuple[str, ...] | None
    reach: Reach
    included: str | None = None
    guarded: bool = False


class ShellFile(NamedTuple):
    """A shell file read: its text, assignments and hazards, each in the order of the text, and the shell that reads it.

    `calls` are its simple commands, `last_list` those of its last list where && joins them, `functions` their names.
    """

    path: PurePosixPath
    text: str
    assignments: tuple[ShellAssignment, ...]
    hazards: tuple[Hazard, ...]
    shell: Shell = Shell.DASH
    calls: tuple[Call, ...] = ()
    last_list: tuple[Call, ...] = ()
    functions: frozenset[str] = frozenset()


@lru_cache(maxsize=8)  # a plan reads the same few files again for each question that it asks of them
def parse_shell_file(path: PurePosixPath, text: str, shell: Shell = Shell.DASH) -> ShellFile:
    """Read a shell file. Raises BootConfigError, with the line, for whatever the shell cannot read.

    Raises NotRepresentableError for what it may read and is not understood exactly here.
    """
    source = Source(path, text, shell)
    for char, name, removal in (
        ("\r", "a carriage return", r"s/\r//g"),
        ("\0", "a NUL byte", r"s/\x00//g"),
        ("\ufeff", "a byte order mark", r"s/\xef\xbb\xbf//g"),
    ):
        if (at := text.find(char)) >= 0:
            hint = f"take it out (LC_ALL=C sed -i '{removal}' on that file), then run the same command again"
            raise source.unclear(at, f"{name}, which the shell takes as part of a word", hint=hint)
    parser = _Reader(source, 0)
    try:
        parser.commands(frozenset())
    except RecursionError:
        raise NotRepresentableError(path, None, "commands are nested too deep") from None
    except BootConfigError as error:
        if source.runaway is None or isinstance(error, NotRepresentableError):
            raise
        raise source.error(
            source.runaway, "a quotation begins here that goes on over the next line of settings"
        ) from error
    return ShellFile(
        path,
        text,
        tuple(sorted(parser.assignments, key=lambda each: each.start)),
        tuple(sorted(parser.hazards, key=lambda hazard: hazard.offset)),
        shell,
        tuple(parser.calls),
        parser.last_list,
        frozenset(parser.functions),
    )


class _Reader(ShellGrammar):
    """Collects assignments and hazards."""

    def __init__(self, source: Source, at: int) -> None:
        super().__init__(source, at)
        self.assignments: list[ShellAssignment] = []
        self.hazards: list[Hazard] = []
        self._substituted: list[Call] = []

    def _simple(self) -> None:
        start = self.at
        first = len(self.assignments)
        words: list[Word] = []
        count = 0
        exported = False
        self._substituted = []
        while not self._ends_command():
            count += 1
            if self._redirection():
                continue
            if (not words or exported) and (match := _ASSIGNMENT.match(self.text, self.at)):
                self._assignment(match, exported=exported)
            else:
                words.append(self._command_word() if not words else self._word())
                exported = len(words) == 1 and literal(words[0]) == "export"
            if self.text.startswith("(", self.at):
                raise self.source.error(self.at, "unexpected '('")
        if count == 0:
            raise self.source.error(self.at, f"unexpected {self.text[self.at : self.at + 1]!r}")
        self._judge(start, first, count - exported)
        if words:
            texts = tuple(map(literal, words))
            runs = not self._context
            is_unset = not exported and any(each.raw == "" for each in self.assignments[first:])
            self.calls.append(Call(self.source.line(start), texts, runs, counts=runs, after_blank=is_unset))
            for effect in effects(words):
                self._hazard(start, effect, included_file(texts))
        elif not self._context:  # what is substituted last in an assignment tells whether that fails
            self.calls += self._substituted

    def _word(self, *, may_be_empty: bool = False) -> Word:
        word = super()._word(may_be_empty=may_be_empty)
        for part in word:
            text = self.text[part.start : part.end]
            if isinstance(part, Opaque) and part.what == OTHER_FORM and is_bad_substitution(text, self.source.shell):
                runs = not self._context
                self.calls.append(Call(self.source.line(part.start), (text,), runs, counts=runs))
        return word

    def _substitution(self, at: int) -> int:
        inner = type(self)(self.source, at)
        inner.commands(frozenset({")"}))
        inner.require_no_here_document()
        self._substituted = [each for each in inner.calls if each.runs and each.counts and each.is_external]
        return inner.at

    def _judge(self, start: int, first: int, count: int) -> None:
        """Return the assignments of one simple command the obstacles that only its surroundings show."""
        line_start = self.text.rfind("\n", 0, start) + 1
        for index in range(first, len(self.assignments)):
            each = self.assignments[index]
            if each.obstacle is None and self.text[line_start:start].strip(" \t"):
                each = each._replace(obstacle=_NOT_AT_START)
            if each.obstacle is None and (count > 1 or not _REST_OF_LINE.match(self.text, self.at)):
                each = each._replace(obstacle=_MORE_WORDS)
            self.assignments[index] = each

    def _assignment(self, match: re.Match[str], *, exported: bool) -> None:
        name, start = match[1], match.end()
        obstacle = next((reason for reason in self._context if reason in IN_FUNCTIONS), None)
        obstacle = obstacle or next(iter(self._context), None)
        line = self.source.line(match.start())
        self.at = start
        word: Word = ()
        if match[2] and self.source.shell is Shell.DASH:
            obstacle = obstacle or "with +=, which dash does not know"
            self.calls.append(Call(line, (f"{name}+=",), not self._context, counts=not self._context))
        if self.text.startswith("(", start):
            if self.source.shell is Shell.DASH:
                raise self.source.error(start, f"{name} is given an array, which dash does not know")
            self._array()
            obstacle = obstacle or "an array"
        else:
            word = self._word(may_be_empty=True)
        if exported and obstacle is None and any(_expands_after_export(part) for part in walk(word)):
            obstacle = "with expansions outside quotes after export"
        raw = self.text[start : self.at]
        path = self.source.path
        self.assignments.append(ShellAssignment(path, line, name, match[2] == "+", start, self.at, raw, word, obstacle))

    def _array(self) -> None:
        self.at += 1
        self._newlines()
        while not self.text.startswith(")", self.at):
            if self.at == len(self.text):
                raise self.source.error(self.at, "an array is not closed")
            self._word()
            self._newlines()
        self.at += 1

    def _command_word(self) -> Word:
        if _SUBSCRIPT.match(self.text, self.at):
            raise self.source.unclear(self.at, "an array element, on which shells do not agree")
        at = self.at
        word = self._word()
        if "\\\n" in self.text[at : self.at]:
            raise self.source.unclear(at, "a command whose name goes on behind a line's end")
        return word

    def _hazard(self, offset: int, effect: Effect, included: str | None = None) -> None:
        in_function = not IN_FUNCTIONS.isdisjoint(self._context)
        if effect.what in LOOP_EXITS and self._loops > 0:
            return
        if effect.what == RETURN and IN_FUNCTION in self._context:
            return
        reach = Reach.ALL if in_function else effect.reach
        line = self.source.line(offset)
        guarded = any(included in guard for guard in self._guards)
        self.hazards.append(Hazard(self.source.path, line, offset, effect.what, effect.names, reach, included, guarded))

    @contextmanager
    def _subshell(self) -> Iterator[None]:
        assignments, hazards, calls = len(self.assignments), len(self.hazards), len(self.calls)
        try:
            yield
        finally:
            del self.assignments[assignments:]
            del self.hazards[hazards:]
            del self.calls[calls:]


def _expands_after_export(part: Char | Reference | Opaque) -> bool:
    match part:
        case Char(char, _, _, quoting):
            return quoting is Quoting.BARE and char in _EXPORT_EXPANDS
        case Reference(quoted=quoted):
            return not quoted
        case Opaque():
            return True
