# SPDX-License-Identifier: Apache-2.0
"""Grubcfg: read the menu entries of a generated grub.cfg and the kernel command lines in them. Pure; never edits."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.errors import BootConfigError
from iommuctl.formats.grubmenu import GrubCfg, LinuxLine, MenuEntry, Place, Setting
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern

# grub-core/script/yylex.l: WORD and its parts. `$"…"` is a translated string, which reads like a double-quoted one.
_VARIABLE = r"\$(?:[A-Za-z_]\w*|\d+|[?#*@]|\{(?:[A-Za-z_]\w*|\d+|[?#*@])\})"
_SINGLE = r"'[^']*'"
_DOUBLE = r'\$?"[^\\"]*(?:\\[\s\S][^\\"]*)*"'
_WORD = rf"(?:[^{{}}|&$;<> \t\n'\"\\]+|{_SINGLE}|{_DOUBLE}|\\[\s\S]|{_VARIABLE})+"
_PART = pattern(rf"({_SINGLE})|({_DOUBLE})|(\\[\s\S])|({_VARIABLE})|[^$'\"\\]+", re.ASCII)
_MARK = pattern(r"['\"\\$]")
_INSIDE_DOUBLE = pattern(rf'\\([$"\\\n])|({_VARIABLE})|(\$)', re.ASCII)

# One token and the blanks before it. Some kind fits at every place and nothing follows it, so that a match never fails
# and what was read is never read again. `#` begins a comment where a word would begin, and is part of a word elsewhere.
_TOKEN = re.compile(
    rf"[ \t]*(?:(?P<end>#[^\n]*|[\n;][ \t\n;]*|\Z)|(?P<word>{_WORD})|(?P<open>{{)|(?P<close>}})|(?P<stray>[^ \t]))",
    re.ASCII,
)

# grub-core/script/parser.y: after these another command follows at once. `!` is a command that inverts the next one.
_PREFIXES = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!"})
_LINUX = re.compile(r"linux(?:16|efi|\$\w+|\$\{\w+\})?|\$linux\w*|\$\{linux\w*\}", re.ASCII)
_DEPTH_LIMIT = 100  # a menu is three deep; a hostile file that is deeper would cost time by the square of its depth
_ENTRY_COMMANDS = frozenset({"menuentry", "hiddenentry"})
# grub-core/commands/menuentry.c: its options that take a value, given as `--name value` or `--name=value`.
_VALUE_OPTIONS = frozenset({"--class", "--users", "--hotkey", "--source", "--id"})
_ID_VARIABLE = pattern(r"\$(?:menuentry_id_option|\{menuentry_id_option\})")

_SECTION = pattern(r"### (BEGIN|END) (?:.*/)?([^/]+) ###\s*$")
_OPENS = frozenset({"if", "while", "until"})
_CLOSES = frozenset({"fi", "done"})
_ASSIGNMENT = pattern(r"[A-Za-z_]\w*=", re.ASCII)
_HEADER = "00_header"


def parse_menu(path: PurePosixPath, text: str) -> GrubCfg:
    """Read a grub.cfg as GRUB's own lexer does. Raises BootConfigError with the line where GRUB could not read on."""
    return _Reader(path, _Script.of(text)).read()


class _Script(NamedTuple):
    """The text that GRUB's lexer sees, and where it came from: `starts[i]` is the offset of line `lines[i]`."""

    text: str
    starts: tuple[int, ...]
    lines: tuple[int, ...]
    markers: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, text: str) -> "_Script":
        # GRUB drops every carriage return (grub-core/kern/file.c, grub_file_getline) and each line that begins with
        # `#`, be it inside a quotation (grub-core/normal/main.c, read_config_file_getline).
        every = text.replace("\r", "").split("\n")
        lines = tuple(number for number, line in enumerate(every, 1) if line[:1] != "#")
        kept = [every[number - 1] for number in lines]
        starts = tuple(accumulate((len(line) + 1 for line in kept), initial=0))
        markers = tuple(
            (number, match[2] if match[1] == "BEGIN" else "")
            for number, line in enumerate(every, 1)
            if line[:1] == "#" and (match := _SECTION.match(line))
        )
        return cls("\n".join(kept), starts, lines, markers)

    def line(self, offset: int) -> int:
        return self.lines[bisect_right(self.starts, offset) - 1]

    def section(self, line: int) -> str:
        index = bisect_right(self.markers, line, key=lambda marker: marker[0]) - 1
        return self.markers[index][1] if index >= 0 else ""


class _Word(NamedTuple):
    """One word after unquoting, with the names of the variables in it; `quoted` words are words even when empty."""

    text: str
    variables: tuple[str, ...]
    quoted: bool


class _Block(NamedTuple):
    """An open brace. `title` is None but for a submenu; `entry` is its place among the entries, None for no entry."""

    line: int
    title: str | None = None
    entry: int | None = None
    place: int | None = None


class _Reader:
    def __init__(self, path: PurePosixPath, script: _Script) -> None:
        self.path = path
        self.script = script
        self.blocks: list[_Block] = []
        self.heads: list[MenuEntry] = []
        self.bodies: list[list[LinuxLine]] = []
        self.defaults: dict[str, set[str]] = {}
        self.settings: list[Setting] = []
        self.places: list[Place] = []
        self.conditions = 0
        self.cmdlines: dict[str, Cmdline] = {}
        self.has_blscfg = False

    def read(self) -> GrubCfg:
        for line, raw_words, opens in self._commands():
            self._command(line, raw_words, opens=opens)
        if self.blocks:
            raise self._error(self.blocks[-1].line, "a '{' is never closed")
        entries = tuple(
            MenuEntry(head.id, head.title, head.line, head.section, head.submenus, tuple(body))
            for head, body in zip(self.heads, self.bodies, strict=True)
        )
        sections = tuple(dict.fromkeys(name for _, name in self.script.markers if name))
        defaults = self.defaults.get(_HEADER) or {text for each in self.defaults.values() for text in each}
        default = next(iter(defaults)) if len(defaults) == 1 else None
        return GrubCfg(entries, sections, self.has_blscfg, default, tuple(self.settings), tuple(self.places))

    def _commands(self) -> Iterator[tuple[int, list[str], bool]]:
        """Return every command: its line, its words as written, and whether a `{` follows them. Closes at each `}`."""
        words: list[str] = []
        start = 0
        for token in _TOKEN.finditer(self.script.text):
            kind = token.lastgroup
            if kind == "word":
                word = token["word"]
                if words:
                    words.append(word)
                elif word not in _PREFIXES:
                    words, start = [word], token.start("word")
                elif word in _OPENS:
                    self.conditions += 1
                continue
            if kind == "stray" or (kind == "open" and not words):
                raise self._error(self.script.line(token.start(kind)), _complaint(token[kind]))
            if words:
                yield self.script.line(start), words, kind == "open"
                words = []
            if kind == "close":
                self._close(self.script.line(token.start("close")))

    def _command(self, line: int, raw_words: list[str], *, opens: bool) -> None:
        name = raw_words[0]
        if _LINUX.fullmatch(name):
            if opens:
                raise self._error(line, "a '{' in a kernel's command line, which GRUB takes for a block")
            self._linux(line, raw_words[1:])
        elif name == "blscfg":
            self.has_blscfg = True
        elif name in _CLOSES:
            self.conditions -= self.conditions > 0
        elif name == "set" and len(raw_words) > 1:
            self._setting(line, raw_words[1])
        elif len(raw_words) == 1 and _ASSIGNMENT.match(name):
            self._setting(line, name)
        if not opens:
            return
        if len(self.blocks) == _DEPTH_LIMIT:
            raise self._error(line, f"more than {_DEPTH_LIMIT} blocks inside each other")
        if name in _ENTRY_COMMANDS or name == "submenu":
            identity, title = self._heading(line, raw_words[1:])
            parent = next((block.place for block in reversed(self.blocks) if block.place is not None), None)
            is_entry = name != "submenu"
            self.places.append(Place(parent, identity, title, len(self.heads) if is_entry else None))
            if not is_entry:
                self.blocks.append(_Block(line, title=title, place=len(self.places) - 1))
                return
            submenus = tuple(block.title for block in self.blocks if block.title is not None)
            self.blocks.append(_Block(line, entry=len(self.heads)))
            self.heads.append(MenuEntry(identity, title, line, self.script.section(line), submenus, ()))
            self.bodies.append([])
        else:
            self.blocks.append(_Block(line))

    def _close(self, line: int) -> None:
        if not self.blocks:
            raise self._error(line, "a '}' closes nothing")
        self.blocks.pop()

    def _linux(self, line: int, raw_words: list[str]) -> None:
        entry = next((block.entry for block in reversed(self.blocks) if block.entry is not None), None)
        words = self._words(line, raw_words)
        if entry is None or not words:
            return
        text = " ".join(_loader_word(word.text) for word in words[1:])
        if (cmdline := self.cmdlines.get(text)) is None:
            cmdline = self.cmdlines[text] = Cmdline.parse(text)
        variables = tuple(dict.fromkeys(name for word in words for name in word.variables))
        self.bodies[entry].append(LinuxLine(line, words[0].text, cmdline, variables))

    def _setting(self, line: int, raw_word: str) -> None:
        word = self._word(line, raw_word)
        name, equals, value = word.text.partition("=")
        if not equals:
            return
        section = self.script.section(line)
        self.settings.append(
            Setting(line, name, value, word.variables, section, bool(self.blocks) or self.conditions > 0)
        )
        if name == "default" and value not in ("$next_entry", "${next_entry}"):
            self.defaults.setdefault(section, set()).add(value)

    def _heading(self, line: int, raw_words: list[str]) -> tuple[str, str]:
        """Return the id and the title of a menu entry or submenu, whose options may stand anywhere."""
        words = iter(self._words(line, raw_words))
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

    def _words(self, line: int, raw_words: list[str]) -> list[_Word]:
        words = [self._word(line, raw) for raw in raw_words]
        return [word for word in words if word.text or word.quoted]

    def _word(self, line: int, raw: str) -> _Word:
        if _MARK.search(raw) is None:
            return _Word(raw, (), quoted=False)
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
