# SPDX-License-Identifier: Apache-2.0
"""Stops: the commands at which a shell that was started with -e ends, before the settings are read. Pure; no I/O.

grub-mkconfig sources its settings with `set -e`, so one command that fails or is not there leaves no menu at all.
Measured with dash 0.5.12 and bash 5.2.
"""

import re
from collections.abc import Callable, Collection, Iterable

from iommuctl.formats.shell.words import Shell
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_IDENTIFIER = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPORTED = pattern(r"(?:-[a-z]+|[A-Za-z_][A-Za-z0-9_]*(?:\+?=.*)?)", re.DOTALL)
# A name as settings have them: no program is called so.
_SETTING = pattern(r"[A-Z][A-Z0-9_]*")
_POSIX_FORM = re.compile(
    r"\$\{(?:#?(?:[A-Za-z_]\w*|\d+|[@*#?$!-])|(?:[A-Za-z_]\w*|\d+|[@*#?$!-])(?:[%#]|:?[-+=?]).*)\}",
    re.ASCII | re.DOTALL,
)
_BASH_FORM = re.compile(r"\$\{[#!]?(?:[A-Za-z_]\w*|\d+|[@*])(?:\[.*|[/^,:@].*|[*@])?\}", re.ASCII | re.DOTALL)
_FILE_TESTS = frozenset({"-e", "-f", "-r", "-s"})
_INCLUDES = frozenset({".", "source"})
# POSIX.1-2024, 2.15 and 1.7 of the utilities, with what both shells have besides.
_BUILTINS = frozenset(
    {".", ":", "[", "alias", "bg", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export"}
    | {"false", "fg", "getopts", "hash", "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set"}
    | {"shift", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait"}
)
_BASH_BUILTINS = frozenset(
    {"[[", "bind", "builtin", "caller", "compgen", "complete", "declare", "dirs", "disown", "enable", "help", "let"}
    | {"logout", "mapfile", "popd", "pushd", "readarray", "shopt", "source", "typeset"}
)


class Call(NamedTuple):
    """One simple command: its words, None for one that is expanded.

    `runs`: nothing decides whether it runs. `counts`: and the shell ends where it fails. `after_blank`: an assignment
    of nothing is before it, as in `GRUB_TIMEOUT= 5`. A `${...}` that the shell does not know is one, too.
    """

    line: int
    words: tuple[str | None, ...]
    runs: bool
    counts: bool
    after_blank: bool = False

    @property
    def name(self) -> str | None:
        """What is run; None where that is computed."""
        return self.words[0]

    @property
    def is_external(self) -> bool:
        """Whether a program of that name is run, and nothing of the shell's own."""
        return self.name is not None and self.name not in _BUILTINS | _BASH_BUILTINS


class Stop(NamedTuple):
    """Where a shell ends that sources the file, and why."""

    line: int
    message: str


def is_bad_substitution(text: str, shell: Shell) -> bool:
    """Whether a shell ends at an expansion of that text, `${...}` (POSIX.1-2024 2.6.2; bash(1), EXPANSION)."""
    return not _POSIX_FORM.fullmatch(text) and not (shell is Shell.BASH and _BASH_FORM.fullmatch(text))


def tested_file(call: Call) -> str | None:
    """Return the file that a command tests to be there, and nothing else; None for any other command."""
    match call.words:
        case ("test", str(operator), str(path)) | ("[" | "[[", str(operator), str(path), "]" | "]]"):
            return path if operator in _FILE_TESTS and path.startswith("/") else None
        case _:
            return None


def missing_file(call: Call) -> str | None:
    """Return the file that a command tests not to be there, and nothing else; None for any other command."""
    match call.words:
        case (("test" | "[" | "[["), "!", *rest):
            return tested_file(call._replace(words=(call.words[0], *rest)))
        case _:
            return None


def included_file(words: Iterable[str | None]) -> str | None:
    """Return the file that a command reads as a part of this one, by its absolute path; None for any other command."""
    match tuple(words):
        case (str(name), str(path)) if name in _INCLUDES and path.startswith("/"):
            return path
        case _:
            return None


def first_stop(
    calls: Iterable[Call],
    last_list: tuple[Call, ...],
    shell: Shell,
    *,
    is_there: Callable[[str], bool],
    is_missing_program: Callable[[str], bool],
    functions: Collection[str] = (),
) -> Stop | None:
    """Return where the shell certainly ends; None where nothing shows that it does.

    `is_there` tells of files by their path, `is_missing_program` whether a name is certainly none that can be run;
    `functions` are names that the files define.
    """
    for call in calls:
        if call.name == "return":
            status = call.words[1] if len(call.words) > 1 else None
            is_failure = call.counts and status is not None and status.isdecimal() and int(status) > 0
            return Stop(call.line, f"return {status} is taken for a failure") if is_failure else None
        is_own = not call.runs or call.name in functions
        message = None if is_own else _why(call, shell, is_there, is_missing_program)
        if message is not None:
            return Stop(call.line, message)
    if last_list:
        path = tested_file(last_list[0])
        if path is not None and not is_there(path):
            return Stop(last_list[0].line, f"the file ends with a test that fails, since {path} is not there")
    return None


def _why(
    call: Call, shell: Shell, is_there: Callable[[str], bool], is_missing_program: Callable[[str], bool]
) -> str | None:
    name = call.name
    path = included_file(call.words)
    if path is not None and (shell is Shell.BASH or name == ".") and not is_there(path):
        return f"{path}, which is read here, is not there"
    if name == "exit":
        return "exit ends grub-mkconfig, too"
    if name is not None and name.startswith("${"):
        return f"{name} is no expansion that {shell} knows"
    if name is None or not call.counts:
        return None
    if name == "local":
        return "local is for functions alone"
    if name == "false":
        return "false is a command that fails"
    if name in ("export", "readonly"):
        wrong = next((word for word in call.words[1:] if word is not None and not _EXPORTED.fullmatch(word)), None)
        return None if wrong is None else f"{wrong!r} is no name of a variable"
    if name in _BUILTINS or (shell is Shell.BASH and name in _BASH_BUILTINS):
        return None
    if name in _BASH_BUILTINS:
        return f"{name!r} is a command that dash does not know"
    if name.endswith("+="):
        variable = name.removesuffix("+=")
        return f'{name} is a command to dash, and there is none of that name; write {variable}="${variable} ..."'
    if "=" in name:
        return f"{name.partition('=')[0]!r} is no name of a variable, so the line is taken for a command"
    if is_missing_program(name) or _SETTING.fullmatch(name) or call.after_blank:
        is_blank = call.after_blank or call.words[1:2] in (("=",), ("+=",))
        hint = ", so blanks around the = do not belong there" if is_blank else ""
        return f"{name!r} is taken for a command, and there is none of that name{hint}"
    return None
