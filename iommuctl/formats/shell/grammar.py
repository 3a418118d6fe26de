# SPDX-License-Identifier: Apache-2.0
"""The grammar of shell files: lists, compound commands, functions, here-documents. Pure; executes nothing.

POSIX.1-2024 Shell Command Language 2.10, as dash and bash read it; simple commands are the subclass's matter.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from iommuctl.formats.shell import tokens
from iommuctl.formats.shell.hazards import REDEFINED, Effect, literal
from iommuctl.formats.shell.heredoc import HereDocument
from iommuctl.formats.shell.obstacles import AFTER_OPERATOR, IN_BASH_FUNCTION, IN_FUNCTION, INSIDE
from iommuctl.formats.shell.stops import Call, missing_file, tested_file
from iommuctl.formats.shell.words import METACHARACTERS, Opaque, Reach, Shell, Source, Word, WordScanner, walk


class ShellGrammar(ABC):
    """Recursive descent over the text from an offset. Each method leaves `at` after what it read."""

    def __init__(self, source: Source, at: int) -> None:
        self.source = source
        self.text = source.text
        self.at = at
        self.calls: list[Call] = []
        self.functions: set[str] = set()
        # The simple commands of the last list at top level, where && joins all of it: its status is the file's.
        self.last_list: tuple[Call, ...] = ()
        self._is_simple = True
        self._context: list[str] = []
        self._began = at
        self._guards: list[set[str]] = []
        self._loops = 0
        self._here_documents: list[HereDocument] = []
        self._scanner = WordScanner(source, self._substitution)
        self._compounds: dict[str, Callable[[], object]] = {
            "{": lambda: self._until("}"),
            "if": self._if,
            "while": self._loop,
            "until": self._loop,
            "for": self._for,
            "case": self._case,
            "[[": self._test,
        }

    @abstractmethod
    def _simple(self) -> None:
        """Read a simple command, up to what ends it."""

    @abstractmethod
    def _hazard(self, offset: int, effect: Effect) -> None:
        """Take note of an effect of what is at an offset."""

    @abstractmethod
    def _subshell(self) -> AbstractContextManager[None]:
        """Forget afterwards what was noted inside: a subshell changes nothing outside it."""

    def commands(self, closers: frozenset[str]) -> str:
        """Read commands up to one of the closers (up to the end where there are none); give the closer."""
        empty = True
        while True:
            self._newlines()
            if self.at == len(self.text):
                if closers:
                    raise self.source.error(self._began, f"the file ends where {tokens.either(closers)} should come")
                self.require_no_here_document()
                return ""
            if closer := self._closer(closers):
                if empty and closer not in (")", ";;", "esac"):
                    raise self.source.error(self.at, f"no command before {closer!r}")
                self.at += len(closer)
                return closer
            self._and_or()
            empty = False
            self._blanks()
            if self.text.startswith(";;", self.at):
                if ";;" not in closers:
                    raise self.source.error(self.at, "';;' outside a case")
            elif self.text[self.at : self.at + 1] in (";", "&"):
                self.at += 1
            elif self.at < len(self.text) and self.text[self.at] != "\n" and not self._closer(closers):
                raise self.source.error(self.at, f"unexpected {self.text[self.at]!r}")

    def _closer(self, closers: frozenset[str]) -> str:
        for closer in (")", ";;"):
            if closer in closers and self.text.startswith(closer, self.at):
                return closer
        keyword = self._keyword()
        return keyword if keyword in closers else ""

    def _and_or(self) -> None:
        since, start = len(self.calls), self.at
        calls = self._one_pipeline()
        absent = missing_file(calls[0]) if len(calls) == 1 else None
        guards: set[str] = set()
        joined = self.text.startswith("&&", self.at)
        while self.text.startswith(("&&", "||"), self.at):
            # The shell goes on where what is before an operator fails; only the list's last command counts.
            self._uncount(since)
            joined = joined and self.text.startswith("&&", self.at)
            guards |= self._tested(since, start)
            read = guards if joined else {absent} if absent is not None and self.text[self.at] == "|" else set()
            absent = None
            self.at += 2
            since, start = len(self.calls), self.at
            self._newlines()
            with self._inside(AFTER_OPERATOR), self._guarded(read):
                calls += self._one_pipeline()
        if self.text.startswith("&", self.at):
            self._uncount(since)
        if not self._context:
            self.last_list = calls if joined else ()

    def _one_pipeline(self) -> tuple[Call, ...]:
        """Read a pipeline and the blanks after it; give the one simple command that it is, with a name."""
        since, self._is_simple = len(self.calls), True
        self._pipeline()
        self._blanks()
        return tuple(self.calls[since:]) if self._is_simple else ()

    def _uncount(self, since: int) -> None:
        self.calls[since:] = [each._replace(counts=False) for each in self.calls[since:]]

    def _tested(self, since: int, start: int) -> set[str]:
        """The files that the commands since then, and since that offset, test to be there, and do nothing else."""
        tested = [tested_file(each) for each in self.calls[since:]]
        is_plain = not any(mark in self.text[start : self.at] for mark in ("!", "||", "-o"))
        return {path for path in tested if path is not None} if is_plain and None not in tested else set()

    @contextmanager
    def _guarded(self, paths: set[str]) -> Iterator[None]:
        self._guards.append(paths)
        try:
            yield
        finally:
            self._guards.pop()

    def _pipeline(self) -> None:
        if (keyword := self._keyword()) in ("!", "time"):
            self.at += len(keyword)
            self._blanks()
            with self._inside(f"after {keyword}"):
                self._pipeline()
            self._is_simple = False
            return
        since = len(self.calls)
        self._command()
        self._blanks()
        while self.text.startswith("|", self.at) and not self.text.startswith(("||", "|&"), self.at):
            self._uncount(since)
            since = len(self.calls)
            self.at += 1
            self._newlines()
            with self._inside("in a pipeline"):
                self._command()
            self._is_simple = False
            self._blanks()

    def _command(self) -> None:
        keyword = self._keyword()
        if keyword in tokens.OUT_OF_PLACE or keyword in tokens.NOT_POSIX:
            raise self.source.error(self.at, f"unexpected {keyword!r}")
        if function := tokens.FUNCTION.match(self.text, self.at):
            self._function(function[1], function.end(), IN_FUNCTION)
            return
        if keyword == "function":
            function = tokens.FUNCTION_KEYWORD.match(self.text, self.at)
            if function is None:
                raise self.source.unclear(self.at, "a 'function' that is not understood")
            if self.source.shell is Shell.DASH:
                raise self.source.error(self.at, f"'function', which dash does not know: write {function[1]}() instead")
            self._function(function[1], function.end(), IN_BASH_FUNCTION)
            return
        if keyword in self._compounds:
            start = self.at
            self.at += len(keyword)
            with self._inside(f"{INSIDE}{keyword!r} of line {self.source.line(start)}"):
                self._compounds[keyword]()
        elif self.text.startswith("(", self.at):
            if self.text.startswith("((", self.at):
                raise self.source.unclear(self.at, "'((', on which shells do not agree")
            self.at += 1
            self._newlines()
            if self.text.startswith(")", self.at):
                raise self.source.error(self.at, "no command before ')'")
            with self._subshell():
                self.commands(frozenset({")"}))
        else:
            self._simple()
            return
        self._is_simple = keyword == "[["
        self._redirections()

    def _until(self, *closers: str) -> str:
        return self.commands(frozenset(closers))

    def _if(self) -> None:
        while True:
            start, since = self.at, len(self.calls)
            self._until("then")
            with self._guarded(self._tested(since, start)):
                closer = self._until("elif", "else", "fi")
            if closer == "fi":
                return
            if closer == "else":
                self._until("fi")
                return

    def _loop(self) -> None:
        self._until("do")
        self._loop_body()

    def _loop_body(self) -> None:
        self._loops += 1
        self._until("done")
        self._loops -= 1

    def _for(self) -> None:
        self._blanks()
        start = self.at
        name = tokens.NAME.match(self.text, self.at)
        if name is None:
            raise self.source.unclear(start, "a 'for' without a plain variable name")
        self.at = name.end()
        self._hazard(start, Effect(f"for {name[0]}", Reach.EARLIER, (name[0],)))
        self._newlines()
        if self._keyword() == "in":
            self.at += len("in")
            self._blanks()
            while self.at < len(self.text) and self.text[self.at] not in ";\n":
                self._word()
                self._blanks()
        if self.text.startswith(";", self.at):
            self.at += 1
        self._newlines()
        if self._keyword() != "do":
            raise self.source.error(self.at, "a 'for' without 'do'")
        self.at += len("do")
        self._loop_body()

    def _case(self) -> None:
        self._blanks()
        self._word()
        self._newlines()
        if self._keyword() != "in":
            raise self.source.error(self.at, "a 'case' without 'in'")
        self.at += len("in")
        while True:
            self._newlines()
            if self._keyword() == "esac":
                self.at += len("esac")
                return
            self._case_patterns()
            if self._until(";;", "esac") == "esac":
                return
            if self.text.startswith("&", self.at):
                raise self.source.unclear(self.at, "';;&', which is not followed")

    def _case_patterns(self) -> None:
        self.at += self.text.startswith("(", self.at)
        while True:
            self._blanks()
            self._word()
            self._blanks()
            if not self.text.startswith("|", self.at):
                break
            self.at += 1
        if not self.text.startswith(")", self.at):
            raise self.source.error(self.at, "a 'case' pattern without ')'")
        self.at += 1

    def _test(self) -> None:
        start = self.at
        words: list[str | None] = []
        while True:
            self._blanks()
            if tokens.TEST_END.match(self.text, self.at):
                self.at += len("]]")
                runs = self._context[:-1] == []
                self.calls.append(Call(self.source.line(start), ("[[", *words, "]]"), runs, counts=runs))
                return
            if self.at == len(self.text) or self.text[self.at] in "\n;":
                raise self.source.unclear(start, "a '[[' whose ']]' is not on the same line")
            if self.text[self.at] in METACHARACTERS:
                self.at += 1
                continue
            words.append(literal(self._word()))
            text = words[-1] or ""
            if text in REDEFINED and self.source.shell is Shell.DASH:
                raise self.source.unclear(start, f"{text!r} inside '[[', which dash may run")
            if tokens.ARITHMETIC_TEST.match(text):
                self._hazard(start, Effect("arithmetic in '[['", Reach.EARLIER))

    def _function(self, name: str, body: int, reason: str) -> None:
        if name in REDEFINED or name in self._compounds or name in tokens.OUT_OF_PLACE:
            raise self.source.unclear(self.at, f"a function named {name!r}, like a command of the shell")
        self.functions.add(name)
        self.at = body
        self._newlines()
        if self._keyword() not in self._compounds and not self.text.startswith("(", self.at):
            raise self.source.unclear(self.at, f"a body of the function {name!r} that is not understood")
        with self._inside(reason):
            self._command()

    def _word(self, *, may_be_empty: bool = False) -> Word:
        start = self.at
        if tokens.FILE_DESCRIPTOR_VARIABLE.match(self.text, start):
            raise self.source.unclear(start, "a variable for a file descriptor, which is not followed")
        word, self.at = self._scanner.scan(start)
        if self.at == start and not may_be_empty:
            found = self.text[start : start + 1]
            message = f"unexpected {found!r}" if found else "the file ends where a word should come"
            raise self.source.error(start, message)
        if self._here_documents and "\n" in self.text[start : self.at]:
            raise self.source.unclear(start, "a line's end inside a word while a here-document waits")
        for part in walk(word):
            if isinstance(part, Opaque) and part.reach is not None:
                self._hazard(part.start, Effect(part.what, part.reach, part.names))
        return word

    def _redirections(self) -> None:
        while self._redirection():
            pass

    def _redirection(self) -> bool:
        """Read one redirection, if there is one here."""
        self._blanks()
        match = tokens.REDIRECTION.match(self.text, self.at)
        if match is None:
            if self.text.startswith(("<", ">"), self.at):
                raise self.source.unclear(self.at, "a redirection that not every shell knows")
            return False
        operator_at = self.at
        self.at = match.end()
        self._blanks()
        start = self.at
        word = self._word()
        if match[1].startswith("<<"):
            raw = self.text[start : self.at]
            delimiter = literal(word)
            if delimiter is None or "\n" in raw:
                raise self.source.unclear(operator_at, "a here-document whose end is not plain text")
            quoted = any(char in raw for char in "'\"\\")
            self._here_documents.append(HereDocument(operator_at, delimiter, quoted, match[1] == "<<-"))
        return True

    def _read_here_documents(self) -> None:
        """Skip the bodies that begin on this line. Expansions in them could assign: those are refused."""
        waiting, self._here_documents = self._here_documents, []
        for one in waiting:
            self.at = one.skip(self.source, self.at)

    def require_no_here_document(self) -> None:
        """Raise BootConfigError where a here-document is announced and its body never came."""
        for one in self._here_documents:
            raise one.unended(self.source)

    @abstractmethod
    def _substitution(self, at: int) -> int:
        """Read a command substitution from after its `$(`; give the offset after its `)`."""

    def _blanks(self) -> None:
        """Skip blanks, joined lines and a comment, up to the line's end."""
        while True:
            if self.text[self.at : self.at + 1] in (" ", "\t"):
                self.at += 1
            elif self.text.startswith("\\\n", self.at):
                self.at += 2
            else:
                break
        if self.text.startswith("#", self.at):
            end = self.text.find("\n", self.at)
            self.at = end if end >= 0 else len(self.text)

    def _newlines(self) -> None:
        self._blanks()
        while self.text.startswith("\n", self.at):
            self.at += 1
            self._read_here_documents()
            self._blanks()

    def _keyword(self) -> str:
        match = tokens.KEYWORD.match(self.text, self.at)
        return match[0] if match else ""

    def _ends_command(self) -> bool:
        self._blanks()
        return self.at == len(self.text) or self.text[self.at] in "\n;&|()"

    @contextmanager
    def _inside(self, reason: str) -> Iterator[None]:
        began, self._began = self._began, self.at
        self._context.append(reason)
        try:
            yield
        finally:
            self._context.pop()
            self._began = began
