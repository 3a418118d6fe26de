# SPDX-License-Identifier: Apache-2.0
"""Grubcfg: read the menu entries of a generated grub.cfg and the kernel command lines in them. Pure; never edits."""

import re
from collections.abc import Generator, Iterator
from pathlib import PurePosixPath
from typing import cast

from iommuctl.errors import BootConfigError
from iommuctl.formats.grubmenu import GrubCfg, LinuxLine, MenuEntry, Place, Setting
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# grub-core/kern/file.c, grub_file_getline, drops every carriage return, and grub-core/normal/main.c,
# read_config_file_getline, each line that begins with `#`, be it inside a quotation.
# Nothing below can be read in two ways, so that a match that fails has tried no more than its length. Possessive groups
# would say so, but Python 3.11.2 of Debian 12 matches those wrongly.
_LINE_END = r"\n(?:#[^\n]*(?:\n|\Z))*(?!#)"
_DROPPED = pattern(r"\n#[^\n]*")
# grub-core/script/yylex.l: WORD and its parts. `$"…"` is a translated string, which reads like a double-quoted one.
_VARIABLE = r"\$(?:[A-Za-z_]\w*\b|\d+(?!\d)|[?#*@]|\{(?:[A-Za-z_]\w*|\d+|[?#*@])\})"
_ESCAPE = rf"\\(?:[^\n]|{_LINE_END})"
_SINGLE = rf"'[^'\n]*(?:{_LINE_END}[^'\n]*)*'"
_DOUBLE = rf'\$?"[^\\"\n]*(?:(?:{_ESCAPE}|{_LINE_END})[^\\"\n]*)*"'
_BARE = r"[^{}|&$;<> \t\n'\"\\]"
_OTHER = rf"(?:{_SINGLE}|{_DOUBLE}|{_ESCAPE}|{_VARIABLE})"
_WORD = rf"(?:{_BARE}|{_OTHER}){_BARE}*(?:{_OTHER}{_BARE}*)*(?!{_BARE})"
_WORDS = pattern(_WORD, re.ASCII)
_PART = pattern(rf"({_SINGLE})|({_DOUBLE})|(\\[\s\S])|({_VARIABLE})|[^$'\"\\]+", re.ASCII)
_BLANKS = pattern(r"[ \t]+")
_MARK = pattern(r"['\"\\$]")
_INSIDE_DOUBLE = pattern(rf'\\([$"\\\n])|({_VARIABLE})|(\$)', re.ASCII)

# One token and the blanks before it. Some kind fits at every place and nothing follows it, so that a match never fails
# and what was read is never read again. `#` begins a comment where a word would begin, and is part of a word elsewhere.
_TOKEN = pattern(
    rf"[ \t]*(?:(?P<end>#[^\n]*|[\n;][ \t\n;]*|\Z)|(?P<word>{_WORD})|(?P<open>{{)|(?P<close>}})|(?P<stray>[^ \t]))",
    re.ASCII,
)
# A whole command, where no word before it announces it: its name, its arguments, and whether a block follows.
_ARGUMENTS = rf"(?:[ \t]+(?!#){_WORD})*"
_ENDS = r"(?=[\n;}#]|\Z)"
_COMMAND = pattern(rf"[ \t]*(?!#)({_WORD})({_ARGUMENTS})[ \t]*(?:(\{{)|{_ENDS})", re.ASCII)
# What most commands of a menu are made of, read in runs and not word by word: a third of the time. Everything else on
# the line (`#`, `"$x"`, `\\`, another line) leaves it to the expressions above, which read the same there.
_RUN = r"[^{}|&$;<>\n'\"\\#]*"
_SIMPLE = rf"""{_RUN}(?:(?:'[^'\n]*'|"[^"\\$\n]*"|\$[A-Za-z_]\w*\b){_RUN})*"""
_SIMPLE_COMMAND = pattern(rf"[ \t]*([A-Za-z_][\w.-]*)(?=[ \t\n;{{}}])({_SIMPLE})(?:(\{{)|(?=[\n;}}]))", re.ASCII)

# grub-core/script/parser.y: after these another command follows at once. `!` is a command that inverts the next one.
_PREFIXES = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!"})
_LINUX = pattern(r"linux(?:16|efi|\$\w+|\$\{\w+\})?|\$linux\w*|\$\{linux\w*\}", re.ASCII)
# A menu consists of commands that say nothing of entries, kernels and variables: those of a plain name and without a
# block are passed by, many in one go. What opens and closes a condition counts outside of blocks alone.
_PLAIN_NAME = r"(?!linux|menuentry|hiddenentry|submenu|blscfg|set|\w+=)[\w.\[-]+(?=[ \t\n;}])"
_PLAIN = rf"{_PLAIN_NAME}(?:{_SIMPLE}(?=[\n;}}])|{_ARGUMENTS}[ \t]*{_ENDS})"
_BETWEEN = r"[ \t\n;]*"
_CONDITION = r"(?:if|then|else|elif|while|until|do|fi|done)(?=[ \t\n;])"
_PASS_OUTSIDE = pattern(rf"(?:{_BETWEEN}(?:#[^\n]*|(?!{_CONDITION}){_PLAIN})){{0,200}}{_BETWEEN}", re.ASCII)
_PASS_INSIDE = pattern(rf"(?:{_BETWEEN}(?:#[^\n]*|{_CONDITION}|{_PLAIN})){{0,200}}{_BETWEEN}", re.ASCII)

_DEPTH_LIMIT = 100  # a menu is three deep; a hostile file that is deeper would cost time by the square of its depth
_STEP_LIMIT = 200_000  # commands that are looked at; 16 MiB of what grub-mkconfig writes has 110,000
_COMMAND_LIMIT = 64 * 1024  # characters of one that is taken apart in one go
_WORDS_LIMIT = 10_000  # of one command; the longest command line of x86 and arm64 has 2048 characters
_ENTRY_COMMANDS = frozenset({"menuentry", "hiddenentry"})
# grub-core/commands/menuentry.c: its options that take a value, given as `--name value` or `--name=value`.
_VALUE_OPTIONS = frozenset({"--class", "--users", "--hotkey", "--source", "--id"})
# A class with its name, of which an entry has several: nobody asks for it.
_UNREAD = pattern(r"(?<=[ \t])--class[ \t]+[\w.+-]+(?=[ \t]|\Z)", re.ASCII)
# A heading as 10_linux writes it, with nothing in it that GRUB would put in.
_HEADING = pattern(
    r"[ \t]*'([^'\n]*)'(?:[ \t]+--class[ \t]+[\w.+-]+)*[ \t]+\$menuentry_id_option[ \t]+'([^'\n]*)'[ \t]*", re.ASCII
)
_ID_VARIABLE = pattern(r"\$(?:menuentry_id_option|\{menuentry_id_option\})")

_SECTION = pattern(r"^### (BEGIN|END) (?:.*/)?([^/\n]+) ###[ \t]*$", re.MULTILINE)
_OPENS = frozenset({"if", "while", "until"})
_CLOSES = frozenset({"fi", "done"})
_ASSIGNMENT = pattern(r"[A-Za-z_]\w*=", re.ASCII)
_HEADER = "00_header"


def parse_menu(path: PurePosixPath, text: str) -> GrubCfg:
    """Read a grub.cfg as GRUB's own lexer does. Raises BootConfigError with the line where GRUB could not read on."""
    if (end := text.find("\0")) >= 0:
        # grub-core/normal/main.c, grub_file_getline: the line is text of C, the rest of it is passed over.
        raise BootConfigError(path, text.count("\n", 0, end) + 1, "has a NUL byte, where GRUB's line ends")
    return _Reader(path, text.replace("\r", "")).read()


class _Position:
    """Where in the text a reader is, as the line and the section there; it only goes forward."""

    def __init__(self, text: str) -> None:
        self.sections: list[tuple[int, str]] = []
        for match in _SECTION.finditer(text):
            name = match[2] if match[1] == "BEGIN" else ""
            if not self.sections or self.sections[-1][1] != name:
                self.sections.append((match.start(), name))
        self._text = text
        self._offset = 0
        self._line = 1
        self._next = 0

    def line(self, offset: int) -> int:
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset
        return self._line

    @property
    def section(self) -> str:
        while self._next < len(self.sections) and self.sections[self._next][0] <= self._offset:
            self._next += 1
        return self.sections[self._next - 1][1] if self._next else ""


class _Word(NamedTuple):
    """One word after unquoting, with the names of the variables in it; `quoted` words are words even when empty."""

    text: str
    variables: tuple[str, ...]
    quoted: bool

    @property
    def is_one(self) -> bool:
        return bool(self.text or self.quoted)


class _Command(NamedTuple):
    """A command that counts: its name and arguments as they are written, and whether a block follows."""

    line: int
    name: str
    arguments: str
    opens: bool


class _Block(NamedTuple):
    """An open brace. `title` is None but for a submenu; `entry` is its place among the entries, None for no entry."""

    line: int
    title: str | None = None
    entry: int | None = None
    place: int | None = None


class _Reader:
    def __init__(self, path: PurePosixPath, text: str) -> None:
        self.path = path
        self.text = text
        self.position = _Position(text)
        self.blocks: list[_Block] = []
        self.heads: list[MenuEntry] = []
        self.bodies: list[list[LinuxLine]] = []
        self.defaults: dict[str, set[str]] = {}
        self.settings: list[Setting] = []
        self.places: list[Place] = []
        self.conditions = 0
        self.words: dict[str, _Word] = {}  # of settings, which entries share
        self.cmdlines: dict[str, tuple[Cmdline, tuple[str, ...]]] = {}
        self.has_blscfg = False

    def read(self) -> GrubCfg:
        for command in self._commands():
            self._run(command)
        if self.blocks:
            raise self._error(self.blocks[-1].line, "a '{' is never closed")
        entries = tuple(
            MenuEntry(head.id, head.title, head.line, head.section, head.submenus, tuple(body))
            for head, body in zip(self.heads, self.bodies, strict=True)
        )
        sections = tuple(dict.fromkeys(name for _, name in self.position.sections if name))
        defaults = self.defaults.get(_HEADER) or {text for each in self.defaults.values() for text in each}
        default = next(iter(defaults)) if len(defaults) == 1 else None
        return GrubCfg(entries, sections, self.has_blscfg, default, tuple(self.settings), tuple(self.places))

    def _commands(self) -> Iterator[_Command]:
        """Return the commands that count. Closes at each `}`."""
        text, at = self.text, 0
        for _ in range(_STEP_LIMIT):
            passed = cast("re.Match[str]", (_PASS_INSIDE if self.blocks else _PASS_OUTSIDE).match(text, at))
            at = passed.end()
            if at == len(text):
                return
            if text[at] == "}":
                self._close(at)
                at += 1
                continue
            command = _SIMPLE_COMMAND.match(text, at) or _COMMAND.match(text, at)
            if command is None or command[1] in _PREFIXES or command.end() - at > _COMMAND_LIMIT:
                at = yield from self._by_tokens(at)
                continue
            yield _Command(self.position.line(command.start(1)), command[1], command[2], opens=bool(command[3]))
            at = command.end()
        raise self._error(self.position.line(at), f"more than {_STEP_LIMIT} commands")

    def _by_tokens(self, at: int) -> Generator[_Command, None, int]:
        """Return the next command, read word by word, and where it ends."""
        words: list[str] = []
        start = 0
        while True:
            token = cast("re.Match[str]", _TOKEN.match(self.text, at))
            at = token.end()
            kind = token.lastgroup
            if kind == "word":
                word = token["word"]
                if words:
                    words.append(word)
                elif word not in _PREFIXES:
                    words, start = [word], token.start("word")
                elif word in _OPENS:
                    self.conditions += 1
                if len(words) > _WORDS_LIMIT:
                    raise self._error(self.position.line(start), f"a command of more than {_WORDS_LIMIT} words")
                continue
            if kind == "stray" or (kind == "open" and not words):
                raise self._error(self.position.line(token.start(kind)), _complaint(token[kind]))
            if words:
                yield _Command(self.position.line(start), words[0], " ".join(words[1:]), opens=kind == "open")
            if kind == "close":
                self._close(token.start("close"))
            return at

    def _run(self, command: _Command) -> None:
        line, name = command.line, command.name
        if "linux" in name and _LINUX.fullmatch(name):
            if command.opens:
                raise self._error(line, "a '{' in a kernel's command line, which GRUB takes for a block")
            self._linux(line, command.arguments)
        elif name == "blscfg":
            self.has_blscfg = True
        elif name in _CLOSES:
            self.conditions -= self.conditions > 0
        elif name == "set" and (first := _WORDS.search(command.arguments)):
            self._setting(line, first[0])
        elif not command.arguments and _ASSIGNMENT.match(name):
            self._setting(line, name)
        if command.opens:
            self._open(command)

    def _open(self, command: _Command) -> None:
        line, name = command.line, command.name
        if len(self.blocks) == _DEPTH_LIMIT:
            raise self._error(line, f"more than {_DEPTH_LIMIT} blocks inside each other")
        if name not in _ENTRY_COMMANDS and name != "submenu":
            self.blocks.append(_Block(line))
            return
        identity, title = self._heading(line, command.arguments)
        parent = next((block.place for block in reversed(self.blocks) if block.place is not None), None)
        is_entry = name != "submenu"
        self.places.append(Place(parent, identity, title, len(self.heads) if is_entry else None))
        if not is_entry:
            self.blocks.append(_Block(line, title=title, place=len(self.places) - 1))
            return
        submenus = tuple(block.title for block in self.blocks if block.title is not None)
        self.blocks.append(_Block(line, entry=len(self.heads)))
        self.heads.append(MenuEntry(identity, title, line, self.position.section, submenus, ()))
        self.bodies.append([])

    def _close(self, at: int) -> None:
        if not self.blocks:
            raise self._error(self.position.line(at), "a '}' closes nothing")
        self.blocks.pop()

    def _linux(self, line: int, arguments: str) -> None:
        entry = next((block.entry for block in reversed(self.blocks) if block.entry is not None), None)
        if entry is None:
            return
        if _MARK.search(arguments) is None:
            path, *rest = arguments.lstrip(" \t").replace("\t", " ").split(" ", 1)
            if path:
                self.bodies[entry].append(LinuxLine(line, path, *self._parameters(line, "".join(rest))))
            return
        words = _WORDS.finditer(arguments)
        kernel = next((word for match in words if (word := self._word(line, match[0])).is_one), None)
        if kernel is None:
            return
        after = next(words, None)
        cmdline, variables = self._parameters(line, "" if after is None else arguments[after.start() :])
        names = tuple(dict.fromkeys((*kernel.variables, *variables)))
        self.bodies[entry].append(LinuxLine(line, kernel.text, cmdline, names))

    def _parameters(self, line: int, arguments: str) -> tuple[Cmdline, tuple[str, ...]]:
        """Return what follows the kernel's path, and the variables in it. Entries share most of it, so it is kept."""
        if (known := self.cmdlines.get(arguments)) is None:
            if _MARK.search(arguments) is None:
                known = Cmdline.parse(_BLANKS.sub(" ", arguments).strip(" ")), ()
            else:
                words = self._words(line, arguments)
                variables = tuple(dict.fromkeys(name for word in words for name in word.variables))
                known = Cmdline.parse(" ".join(_loader_word(word.text) for word in words)), variables
            self.cmdlines[arguments] = known
        return known

    def _setting(self, line: int, raw_word: str) -> None:
        word = self.words.get(raw_word) or self._word(line, raw_word)
        self.words[raw_word] = word
        name, equals, value = word.text.partition("=")
        if not equals:
            return
        section = self.position.section
        self.settings.append(
            Setting(line, name, value, word.variables, section, bool(self.blocks) or self.conditions > 0)
        )
        if name == "default" and value not in ("$next_entry", "${next_entry}"):
            self.defaults.setdefault(section, set()).add(value)

    def _heading(self, line: int, arguments: str) -> tuple[str, str]:
        """Return the id and the title of a menu entry or submenu, whose options may stand anywhere."""
        if (usual := _HEADING.fullmatch(arguments)) is not None:
            return usual[2], usual[1]
        words = iter(self._words(line, _UNREAD.sub("", arguments)))
        identity, title = "", None
        for word in words:
            option, equals, value = word.text.partition("=")
            if _ID_VARIABLE.fullmatch(word.text):
                option = "--id"
            if option in _VALUE_OPTIONS:
                if not equals:
                    value = next(words, _Word("", (), quoted=False)).text
                identity = value if option == "--id" else identity
            elif title is None and not word.text.startswith("--"):
                title = word.text
        return identity, title or ""

    def _words(self, line: int, arguments: str) -> list[_Word]:
        return [word for raw in _WORDS.findall(arguments) if (word := self._word(line, raw)).is_one]

    def _word(self, line: int, raw: str) -> _Word:
        if _MARK.search(raw) is None:
            return _Word(raw, (), quoted=False)
        raw = _DROPPED.sub("", raw)
        if raw[0] == "'" and raw.find("'", 1) == len(raw) - 1:
            return _Word(raw[1:-1], (), quoted=True)
        pieces: list[str] = []
        variables: list[str] = []
        quoted = False
        for part in _PART.finditer(raw):
            single, double, escape, variable = part.groups()
            if single is not None:
                pieces.append(single[1:-1])
                quoted = True
            elif double is not None:
                pieces.append(self._inside_double(line, double, variables))
                quoted = True
            elif escape is not None:
                pieces.append(escape[1:].removeprefix("\n"))
            else:
                pieces.append(part[0])
                variables.extend([variable.strip("${}")] if variable else [])
        return _Word("".join(pieces), tuple(variables), quoted)

    def _inside_double(self, line: int, quotation: str, variables: list[str]) -> str:
        def replace(match: re.Match[str]) -> str:
            escaped, variable, stray = match.groups()
            if stray is not None:
                raise self._error(line, "a '$' inside double quotes that names no variable")
            if variable is not None:
                variables.append(variable.strip("${}"))
                return str(variable)
            return str(escaped).removeprefix("\n")

        return _INSIDE_DOUBLE.sub(replace, quotation.removeprefix("$")[1:-1])

    def _error(self, line: int, message: str) -> BootConfigError:
        return BootConfigError(self.path, line, message)


def _loader_word(word: str) -> str:
    # grub-core/lib/cmdline.c, grub_create_loader_cmdline(): quotes around blanks, a backslash before the marks.
    word = word.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
    return f'"{word}"' if " " in word else word


def _complaint(character: str) -> str:
    match character:
        case "'" | '"':
            return f"a quotation that begins with {character} is never closed"
        case "$":
            return "a '$' that names no variable"
        case "\\":
            return "a backslash at the end of the file"
        case _:
            return f"{character!r} where GRUB's grammar has no place for it"
