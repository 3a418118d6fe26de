# SPDX-License-Identifier: Apache-2.0
"""Completion: what a shell offers for a word, in the form in which each shell takes the end of it.

Bash parts a word at `=` and `:` and replaces what comes after the last of them; zsh and fish replace the whole word.
"""

import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import typer

_VARIABLE = "_IOMMUCTL_COMPLETE"
# What bash takes apart or for something else; the other shells quote what they put in by themselves.
_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
_LINE = re.compile(r"(?m)^(_arguments '\*: :\(\()?(\"?)(?=\S)")


def answer(run: Callable[[], object]) -> int:
    """Have `run` print what a word can become; print that as the shell takes it, and return the exit code."""
    shell = os.environ[_VARIABLE].removeprefix("complete_")
    kept, last = _whole_words() if shell == "bash" else ("", _last_word())
    option = _option_of(last)
    printed, code = io.StringIO(), 0
    with redirect_stdout(printed):
        try:
            run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    text = printed.getvalue()
    if shell == "bash":
        rows = (f"{option}{line}".removeprefix(kept) for line in text.splitlines() if line)
        text = "".join(f"{_SPECIAL.sub(_escaped, row)}\n" for row in rows)
    elif option:
        text = _LINE.sub(lambda found: f"{found[0]}{option}", text)
    sys.stdout.write(text)
    return code


def _whole_words() -> tuple[str, str]:
    """Put bash's words together again, and return what bash keeps of the last one, and that."""
    line, count = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "0")
    try:
        number = int(count)
    except ValueError:
        return "", ""
    before = _words(line)[: number + 1]
    before += [""] * (number + 1 - len(before))
    words: list[str] = []
    glued = False
    for word in before:
        is_break = word in ("=", ":")
        if words and (glued or is_break):
            words[-1] += word
        else:
            words.append(word)
        glued = is_break
    os.environ["COMP_WORDS"] = " ".join(map(_typed, words))
    os.environ["COMP_CWORD"] = str(len(words) - 1)
    return words[-1] if glued else words[-1].removesuffix(before[-1]), words[-1]


def _last_word() -> str:
    line = _typed_line()
    return "" if line.endswith(" ") else _words(line)[-1]


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is still open
        return line.split(" ")


def _typed(word: str) -> str:
    return shlex.quote(word) if word else ""


def _option_of(word: str) -> str:
    """Return the `--option=` that a word begins with, which Typer leaves out of what it offers."""
    option, equals, _ = word.partition("=")
    return f"{option}=" if equals and option.startswith("--") else ""


def root_of(context: typer.Context) -> Path:
    """Return the root that is typed on the line, before the word or after it; the running system where none is."""
    typed = context.params.get("root")
    if isinstance(typed, Path) and typed != Path("/"):
        return _expanded(str(typed))
    words = _typed_words()
    for at, word in enumerate(words):
        if word.startswith("--root="):
            return _expanded(word.removeprefix("--root="))
        if word == "--root" and at + 1 < len(words):
            return _expanded(words[at + 1])
    return Path("/")


def profile_of(context: typer.Context) -> str | None:
    """Return the first word of a command that is neither an option nor the value of one."""
    given = context.params.get("profile")
    if isinstance(given, str):
        return given
    # An option that still lacks its value ends Typer's own reading of the line.
    takes = {name for one in context.command.params if not getattr(one, "is_flag", False) for name in one.opts}
    words = iter(_typed_words()[len(context.command_path.split()) :])
    for word in words:
        if word in takes:
            next(words, None)
        elif word and not word.startswith("-"):
            return word
    return None


def _typed_words() -> list[str]:
    return _words(_typed_line())


def _typed_line() -> str:
    return os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")


def _expanded(text: str) -> Path:
    return Path(text).expanduser().absolute()
