# SPDX-License-Identifier: Apache-2.0
"""Hazards: the commands that assign variables, or end a file, without an assignment to be seen. Pure; no I/O.

The special built-ins of POSIX.1-2024 2.15 and the built-ins of dash(1) and bash(1) that touch the shell they run in.
"""

import re
from collections.abc import Sequence

from iommuctl.formats.shell.words import Char, Reach, Word
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_OR_ASSIGNMENT = pattern(r"([A-Za-z_][A-Za-z0-9_]*)(?:\+?=.*)?", re.DOTALL)
# Options of `set` that leave every assignment as it is.
_HARMLESS_SET = pattern(r"[-+][aefhx]+")
_WRAPPERS = frozenset({"command", "builtin"})
_RUN_TEXT = frozenset({".", "source", "eval"})
_LASTING = frozenset({"alias", "bind", "enable", "exec", "exit", "fc", "logout", "shopt", "trap"})
_DECLARE = frozenset({"declare", "local", "readonly", "typeset"})
_ASSIGN_NAMED = {
    "cd": ("PWD", "OLDPWD"),
    "popd": ("PWD", "OLDPWD", "DIRSTACK"),
    "pushd": ("PWD", "OLDPWD", "DIRSTACK"),
    "getopts": ("OPTIND", "OPTARG"),
    "read": ("REPLY",),
    "unset": (),
}
_ASSIGN_ANY = frozenset({"let", "mapfile", "readarray"})
_TESTS = frozenset({"[", "test", "wait"})
LOOP_EXITS = frozenset({"break", "continue"})
RETURN = "return"
# Names that a function may not take, because what is said here of the command would no longer hold.
REDEFINED = frozenset(
    {"set", "export", "printf", ":", RETURN, "unalias"}
    | _WRAPPERS | _RUN_TEXT | _LASTING | _DECLARE | set(_ASSIGN_NAMED) | _ASSIGN_ANY | _TESTS | LOOP_EXITS
)  # fmt: skip


class Effect(NamedTuple):
    """What a command may do unseen: `names` are the variables that it may assign (None: any)."""

    what: str
    reach: Reach
    names: tuple[str, ...] | None = None


def effects(words: Sequence[Word]) -> tuple[Effect, ...]:
    """Return what a simple command of these words may do unseen; nothing for other programs and plain built-ins."""
    name, arguments = literal(words[0]), [literal(word) for word in words[1:]]
    match name:
        case None:
            return (Effect("a command whose name is computed", Reach.EARLIER),)
        case _ if name in _WRAPPERS:
            if not arguments or arguments[0] in ("-v", "-V"):
                return ()
            return effects(words[1:]) if _is_plain(arguments[0]) else (Effect(name, Reach.EARLIER),)
        case _ if name in _RUN_TEXT or name in _ASSIGN_ANY:
            return (Effect(name, Reach.EARLIER),)
        case _ if name in _LASTING:
            return (Effect(name, Reach.ALL),)
        case _ if name in LOOP_EXITS or name == RETURN:
            return (Effect(name, Reach.LATER),)
        case _ if name in _DECLARE:
            return (Effect(name, Reach.ALL, _names(arguments, r"-[a-z]+")),)
        case _ if name in _ASSIGN_NAMED:
            names = _names(arguments, r"-[rvf]") if name not in ("cd", "pushd", "popd") else ()
            return (Effect(name, Reach.EARLIER, None if names is None else (*_ASSIGN_NAMED[name], *names)),)
        case "set":
            return () if _is_harmless_set(arguments) else (Effect(name, Reach.ALL),)
        case "export":
            assigned = [each for each in arguments if each is None or not _NAME.fullmatch(each)]
            return (Effect(name, Reach.EARLIER, _names(assigned, "-p")),) if assigned else ()
        case "printf":
            return _printf(words[1:])
        case _ if name in _TESTS and any(each in ("-v", "-p") for each in arguments):
            return (Effect(name, Reach.EARLIER),)
    return ()


def literal(word: Word) -> str | None:
    """Return the word's text where nothing in it is expanded, else None."""
    chars = [part.char for part in word if isinstance(part, Char)]
    return "".join(chars) if len(chars) == len(word) else None


def _names(arguments: Sequence[str | None], options: str) -> tuple[str, ...] | None:
    """Return the variables that arguments name, `name=value` included; None where one could be any."""
    names: list[str] = []
    for argument in arguments:
        if argument is not None and re.fullmatch(options, argument):
            continue
        match = _NAME_OR_ASSIGNMENT.fullmatch(argument) if argument is not None else None
        if match is None:
            return None
        names.append(match[1])
    return tuple(names)


def _is_plain(argument: str | None) -> bool:
    return argument is None or not argument.startswith("-")


def _is_harmless_set(arguments: Sequence[str | None]) -> bool:
    """Whether `set` changes only positional parameters, and options that leave assignments alone."""
    for argument in arguments:
        if argument == "--":
            return True
        if argument is None:
            return False
        if not argument.startswith(("-", "+")):
            return True
        if not _HARMLESS_SET.fullmatch(argument):
            return False
    return bool(arguments)


def _printf(arguments: Sequence[Word]) -> tuple[Effect, ...]:
    """`printf -v name` assigns in bash; so may a format that is computed."""
    first = arguments[0][0] if arguments and arguments[0] else None
    if isinstance(first, Char) and first.char != "-":
        return ()
    return (Effect("printf", Reach.EARLIER),)
