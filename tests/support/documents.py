# SPDX-License-Identifier: Apache-2.0
"""Documents: what they say that can be checked. Their blocks of code, their links, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import typer
from project import PROJECT
from typer.main import get_command

from iommuctl.cli import options
from iommuctl.cli.application import application
from iommuctl.cli.session import Session

DOCUMENTS = sorted((*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")))
PROGRAM = "iommuctl"

_OPERATORS = frozenset("|&;<>()")
_FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n\n?)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"`(iommuctl [^`]+)`")
_PROMPT = re.compile(r"^[$#>] ")


@dataclass(frozen=True)
class Block:
    """A fenced block; `note` is the comment right above it, which readers do not see."""

    note: str
    language: str
    text: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a document, in order."""
    return [Block(found["note"] or "", found["language"], found["text"]) for found in _FENCE.finditer(text)]


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a block: all of `sh`, of `console` what is after a prompt; continued lines are joined."""
    text = block.text.replace("\\\n", "")
    if block.language == "sh":
        yield from (line for line in text.splitlines() if line.strip())
    elif block.language == "console":
        yield from (_PROMPT.sub("", line) for line in text.splitlines() if _PROMPT.match(line))


def commands(text: str) -> list[str]:
    """Every command line of a document that calls iommuctl."""
    lines = [line for block in blocks(text) for line in shell_lines(block) if PROGRAM in line]
    return [*lines, *_INLINE.findall(_FENCE.sub("", text))]


def invocations(line: str) -> list[list[str]]:
    """The words after each `iommuctl` on a shell's line, up to the next operator."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    open_call = False
    for word in words(lexer):
        if _OPERATORS.issuperset(word):
            open_call = False
        elif open_call:
            found[-1].append(word)
        elif word == PROGRAM or word.endswith(f"/bin/{PROGRAM}"):
            found.append([])
            open_call = True
    return found


def words(lexer: shlex.shlex) -> Iterator[str]:
    """The words of a line; where a quote goes on over the next line, those before it."""
    with suppress(ValueError):
        yield from lexer


def leaves() -> dict[str, object]:
    """Every command that does something by itself, by the words that call it."""

    def walk(words: tuple[str, ...], command: object) -> Iterator[tuple[str, object]]:
        below = getattr(command, "commands", {})
        if words and (not below or getattr(command, "invoke_without_command", False)):
            yield " ".join(words), command
        for name, child in below.items():
            yield from walk((*words, name), child)

    return dict(walk((), get_command(application)))


def complaint(words: list[str]) -> str | None:
    """What the application has against these words; None where it takes them."""
    command, rest = get_command(application), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]  # type: ignore[attr-defined]  # a group: it has subcommands
    if rest and getattr(command, "commands", None) and not rest[0].startswith("-"):
        return f"no command {rest[0]!r}"
    try:
        parameters = command.make_context(PROGRAM, rest, obj=Session()).params
        options.parse_platform(parameters.get("platform") or "auto")
        options.parse_inputs(parameters.get("inputs"))
    except typer.Exit:  # --help and --version
        return None
    except Exception as error:  # noqa: BLE001 - the class of these errors is private to Typer
        say = getattr(error, "format_message", error.__repr__)
        return str(say())
    return None
