# SPDX-License-Identifier: Apache-2.0
"""Usage: what is wrong with a command line, in this program's words, and the line that seems to be meant."""

import re
import shlex
from collections.abc import Iterable, Sequence

from iommuctl.errors import IommuctlError, UsageError
from iommuctl.kernel.spelling import meant

_HELP = ("-h", "--help")
# Options that other commands have, and why one does not.
_ABSENT = {
    "--json": "it prints nothing that a program would read",
    "--verbose": "it says all that it knows without it",
    "--root": "it looks at the running system alone",
    "--yes": "it never asks",
    "--dry-run": "it changes no boot configuration",
}
_WITHOUT_JSON = {
    "iommuctl profile show": "programs read the profile's TOML, and profile list --json tells where it is",
    "iommuctl profile check": "the exit code tells whether the profile is valid",
    "iommuctl report": "what it makes is a page for people, of the JSON that programs read",
}
_LONG = {"-v": "--verbose", "-y": "--yes", "-n": "--dry-run"}


def usage_error(error: Exception) -> UsageError | None:
    """Return what Typer finds wrong with the command line as an error of ours; None for any other exception.

    The classes of these exceptions are private to Typer, and in another place in each of its releases: what they have
    in common are their names and attributes.
    """
    if getattr(error, "format_message", None) is None:
        return None
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "iommuctl")
    help_of = f"{command} --help"
    match type(error).__name__:
        case "NoSuchOption":
            return _no_such_option(str(getattr(error, "option_name", "")), context, help_of)
        case "MissingParameter":
            word = _name(error)
            return UsageError(f"{command}: {word} is missing", hint=help_of)
        case "BadParameter":
            return _bad_value(error, help_of)
        case "BadOptionUsage":
            option = str(getattr(error, "option_name", ""))
            takes = "takes no value" if "not take" in str(error) else "needs a value"
            return UsageError(f"{option} {takes}", hint=help_of)
        case _:
            pass
    if (known := getattr(getattr(context, "command", None), "commands", None)) is not None:
        return _no_such_command(error, command, tuple(known), help_of)
    extra = tuple(getattr(context, "args", ())) or _extra(error)
    return UsageError(f"{command} takes no further word: {' '.join(extra)!r}", hint=help_of)


def corrected(arguments: Sequence[str], wrong: str, right: str) -> str | None:
    """Return the command line with the word that is meant in the place of a wrong one; None where that is not in it."""
    for at, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if argument == wrong:
            new = right
        elif option == wrong and equals:
            new = f"{right}={value}"
        elif equals and option.startswith("--") and value.partition("=")[0] == wrong:
            new = f"{option}={right}{value.removeprefix(wrong)}"
        else:
            continue
        return shlex.join(("iommuctl", *arguments[:at], new, *arguments[at + 1 :]))
    return None


def suggest(error: IommuctlError, arguments: Sequence[str]) -> None:
    """Have an error about a word that seems misspelt say what is meant, and the whole line with it as the hint."""
    if error.correction is None:
        return
    wrong, right = error.correction
    if right is not None:
        error.add(f"did you mean {right!r}?")
        error.hint = corrected(arguments, wrong, right) or error.hint


def _no_such_option(option: str, context: object, help_of: str) -> UsageError:
    command = getattr(context, "command_path", "iommuctl")
    known = tuple(_options(context))
    why = _WITHOUT_JSON.get(command) if option == "--json" else None
    why = why or _ABSENT.get(_LONG.get(option, option))
    if why is not None and hasattr(getattr(context, "command", None), "commands"):
        why = "it goes after the name of the command"
        if option == "--json" and command == "iommuctl":
            help_of = f"{command} status --json"
    if why is not None:
        return UsageError(f"{command} has no {option}: {why}", hint=help_of)
    right = meant(option.lstrip("-"), (one.lstrip("-") for one in known if one.startswith("--")))
    correction = (option, f"--{right}") if right and option.startswith("--") else None
    return UsageError(f"{command} has no option {option}", hint=help_of, correction=correction)


def _options(context: object) -> Iterable[str]:
    for parameter in getattr(getattr(context, "command", None), "params", ()):
        if str(getattr(parameter, "param_type_name", "")) == "option" and not getattr(parameter, "hidden", False):
            yield from getattr(parameter, "opts", ())
    yield from _HELP


def _no_such_command(error: Exception, command: str, known: tuple[str, ...], help_of: str) -> UsageError:
    word = _quoted(str(error)) or ""
    right = meant(word, known)
    details = () if right else (f"commands: {', '.join(known)}",)
    return UsageError(f"{command} has no command {word!r}", details=details, hint=help_of, correction=(word, right))


def _bad_value(error: Exception, help_of: str) -> UsageError:
    parameter = getattr(error, "param", None)
    name = _name(error)
    choices = tuple(map(str, getattr(getattr(parameter, "type", None), "choices", ())))
    text = str(getattr(error, "message", error)).removesuffix(".")
    if choices and (word := _quoted(text)) is not None:
        return choice_error(name, word, choices, hint=help_of)
    return UsageError(f"{name}: {text[:1].lower()}{text[1:]}", hint=help_of)


def choice_error(name: str, word: str, choices: Iterable[str], *, hint: str) -> UsageError:
    """Return the error for a word that is none of those that an option takes."""
    known = tuple(choices)
    return UsageError(
        f"{name}: {word!r} is none of {', '.join(known)}", hint=hint, correction=(word, meant(word, known))
    )


def _name(error: Exception) -> str:
    """The option or the argument that an exception is about, as help calls it."""
    named = getattr(error, "param_hint", None)
    if named is not None:
        return str(named).replace("'", "")
    parameter = getattr(error, "param", None)
    options = [one for one in getattr(parameter, "opts", ()) if str(one).startswith("-")]
    return str(options[0] if options else getattr(parameter, "metavar", None) or getattr(parameter, "name", "a word"))


def _quoted(text: str) -> str | None:
    """Return the first word of a text that has quotes around it."""
    found = re.search(r"(['\"])(.*?)\1", text)
    return found[2] if found else None


def _extra(error: Exception) -> tuple[str, ...]:
    """The words between the brackets of what Typer says of those that it does not expect."""
    text = str(error)
    return tuple(text[text.rfind("(") + 1 : text.rfind(")")].split()) if text.endswith(")") else ()
