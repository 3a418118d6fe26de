# SPDX-License-Identifier: Apache-2.0
"""Filters: what `$(echo "$V" | sed 's/a/b/')` makes of a value, for the filters that packages use. Pure; runs nothing.

Only forms whose result is known exactly are followed: sed's `s` with plain patterns, replacing one text by another
(`str_replace` of Kicksecure's helper-scripts), and the squeezing of blanks.
"""

import re
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.assignments import ShellAssignment
from iommuctl.formats.shell.hazards import literal
from iommuctl.formats.shell.words import Char, Reference, Source, Word, WordScanner
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# A kernel reads no longer line (COMMAND_LINE_SIZE); it bounds the time that a pattern can take.
_MOST_CHARACTERS = 4096
_PREFIX = pattern(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_SPLIT_OR_GLOBBED = pattern(r"[*?\[\\]")
_PLAIN_IN_PATTERN = pattern(r"[A-Za-z0-9_ =,:/@%\"'#~!<>&;-]")
_BRACKETS = pattern(r"\[\^?[A-Za-z0-9_ =,:/.-]+\]")
_ESCAPES = {"b": r"\b", "<": r"\b(?=\w)", ">": r"\b(?<=\w)", "s": r"\s", "S": r"\S", "w": r"\w", "W": r"\W"}
_SUBSTITUTE_FLAGS = frozenset({"", "g"})


class Filter(NamedTuple):
    """A value that goes through a command: the assignment, the command as written, the value before it."""

    assignment: ShellAssignment
    command: str
    before: str


def carries(command: str, name: str) -> bool:
    """Whether a command substitution refers to a variable."""
    return re.search(rf"\$(?:{name}(?![A-Za-z0-9_])|\{{{name}\}})", command) is not None


def result(each: Filter) -> str | None:
    """Return what a filter makes of the value; None where that is not known exactly."""
    if not each.command.startswith("$(") or len(each.before) > _MOST_CHARACTERS:
        return None
    pipeline = _pipeline(each.assignment.path, each.command[2:-1])
    if not pipeline:
        return None
    value = _printed(pipeline[0], each.assignment.name, each.before)
    for command in pipeline[1:]:
        words = [literal(word) for word in command]
        while words and words[0] is not None and _PREFIX.fullmatch(words[0]):
            words = words[1:]
        texts = [word for word in words if word is not None]
        if value is None or not texts or len(texts) < len(words):
            return None
        value = _filtered(texts[0], texts[1:], value)
    return None if value is None else value.rstrip("\n")


def _pipeline(path: PurePosixPath, text: str) -> list[list[Word]]:
    """The commands that `|` joins, as words; empty for any other form."""

    def refuse(_: int) -> int:
        raise BootConfigError(path, None, "a command inside a command")

    scanner = WordScanner(Source(path, text), refuse)
    commands: list[list[Word]] = [[]]
    at = 0
    try:
        while at < len(text):
            if text.startswith("\\\n", at):
                at += 2
            elif text[at] in " \t" or (text[at] == "\n" and not commands[-1]):
                at += 1
            elif text[at] == "|" and commands[-1]:
                commands.append([])
                at += 1
            else:
                word, end = scanner.scan(at)
                if end == at:
                    return []
                commands[-1].append(word)
                at = end
    except BootConfigError:
        return []
    return commands if all(commands) else []


def _printed(words: list[Word], name: str, value: str) -> str | None:
    """What `echo` or `printf` prints of its words; None where shells do not agree on it, or it is another command."""
    program = literal(words[0])
    texts = [_expanded(word, name, value) for word in words[1:]]
    arguments = [text for text in texts if text is not None]
    if not arguments or len(arguments) < len(texts) or arguments[0].startswith("-"):
        return None
    if program == "echo":
        text = " ".join(arguments)
        return None if "\\" in text else text
    match program, arguments:
        case "printf", ["%s" | "%s\\n" | "%s\n", text]:
            return text
        case _:
            return None


def _expanded(word: Word, name: str, value: str) -> str | None:
    pieces: list[str] = []
    for part in word:
        match part:
            case Char(char):
                pieces.append(char)
            case Reference(found, "", quoted=True) if found == name:
                pieces.append(value)
            case Reference(found, "") if found == name and len(word) == 1 and not _SPLIT_OR_GLOBBED.search(value):
                pieces.append(" ".join(value.split()))
            case _:
                return None
    return "".join(pieces)


def _filtered(program: str, arguments: list[str], value: str) -> str | None:
    match program, arguments:
        case "sed", _:
            return _sed(arguments, value)
        case "str_replace", [old, new] if old:
            return value.replace(old, new)
        case "xargs", [] if not re.search(r"['\"\\]", value):
            return " ".join(value.split())
        case "tr", ["-s", " "]:
            return re.sub(r"  +", " ", value)
        case "cat", []:
            return value
        case _:
            return None


def _sed(arguments: list[str], value: str) -> str | None:
    scripts: list[str] = []
    extended = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("-E", "-r"):
            extended = True
        elif word in ("-e", "--expression") and rest:
            scripts.append(rest.pop(0))
        elif not scripts and not word.startswith("-"):
            scripts.append(word)
        else:
            return None
    text: str | None = value
    for script in scripts:
        text = _substituted(script, text, extended=extended)
    return text if scripts else None


def _substituted(script: str, value: str | None, *, extended: bool) -> str | None:
    """Run `s` commands with `;` between them."""
    at = 0
    while value is not None:
        while script[at : at + 1] in (" ", "\t", ";", "\n") and at < len(script):
            at += 1
        if at == len(script):
            return value
        if script[at] != "s" or len(script) < at + 2:
            return None
        mark = script[at + 1]
        pieces: list[str] = []
        at += 2
        for _ in range(2):
            end = at
            while end < len(script) and script[end] != mark:
                end += 2 if script[end] == "\\" else 1
            if end >= len(script):
                return None
            pieces.append(script[at:end].replace(f"\\{mark}", mark) if mark == "/" else script[at:end])
            at = end + 1
        flags = re.match(r"[A-Za-z0-9]*", script[at:])
        at += len(flags[0]) if flags else 0
        expression = _pattern(pieces[0], extended=extended)
        if expression is None or re.search(r"[\\&]", pieces[1]) or (flags and flags[0] not in _SUBSTITUTE_FLAGS):
            return None
        count = 0 if flags and flags[0] == "g" else 1
        new = pieces[1]
        value = re.sub(expression, lambda _, new=new: new, value, count=count, flags=re.ASCII)  # type: ignore[misc]  # a text
    return None


def _pattern(text: str, *, extended: bool) -> str | None:
    """Return sed's pattern as one of Python's; None for one that could mean another thing, or take long."""
    pieces: list[str] = []
    at = 0
    since = 1  # plain characters since the last repetition: one at least, or the time would grow with every power
    repeats = ("*", "+", "?") if extended else ("*", "\\+", "\\?")
    while at < len(text):
        repeat = next((each for each in repeats if text.startswith(each, at)), None)
        bracket = _BRACKETS.match(text, at)
        if repeat is not None:
            if not pieces or since < 1:
                return None
            pieces.append(repeat[-1])
            at, since = at + len(repeat), -1
            continue
        if bracket:
            pieces.append(bracket[0])
            at = bracket.end()
        elif text[at] == "\\" and at + 1 < len(text):
            follower = text[at + 1]
            if follower not in _ESCAPES and (follower.isalnum() or follower in "(){}|"):
                return None
            pieces.append(_ESCAPES.get(follower) or re.escape(follower))
            at += 2
        elif text[at] == "^" and at == 0:
            pieces.append("^")
            at += 1
        elif text[at] == "$" and at == len(text) - 1:
            pieces.append(r"\Z")
            at += 1
        elif text[at] == ".":
            pieces.append(".")
            at += 1
        elif _PLAIN_IN_PATTERN.match(text, at) or (not extended and text[at] in "(){}|+?"):
            pieces.append(re.escape(text[at]))
            at += 1
        else:
            return None
        since += 1
    return "".join(pieces) if pieces else None
