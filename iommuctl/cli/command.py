# SPDX-License-Identifier: Apache-2.0
"""Command: how a command is declared, and how its module is loaded when it is asked for and not before."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import update_wrapper
from importlib import import_module
from typing import Any, ClassVar, get_type_hints

import typer
from typer.core import TyperGroup
from typer.main import get_command

from iommuctl.cli import options

Body = Callable[..., None]
_COMMANDS = "iommuctl.cli.commands"
_JSON = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=options.Json)
_VERBOSE = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=options.Verbose)
_DEBUG = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=options.Debug)


def examples(*commands: str) -> str:
    """Return the end of a command's help: examples, one a line."""
    # \b keeps the lines of a paragraph as they are.
    return "\n".join(("\b", "Examples:", *(f"  iommuctl {command}" for command in commands)))


def command(*shown: str, json: bool = True, verbose: bool = False) -> Callable[[Body], typer.Typer]:
    """Make a command of a function: its docstring is the help, which `shown` examples end, its parameters the options.

    What `with_options` adds comes on top. A module of commands/ has one command of its own name.
    """

    def declare(body: Body) -> typer.Typer:
        found = typer.Typer(rich_markup_mode=None, add_completion=False)
        found.command(epilog=examples(*shown))(with_options(json=json, verbose=verbose)(body))
        return found

    return declare


def with_options(*, json: bool = True, verbose: bool = False) -> Callable[[Body], Body]:
    """Give a function the options that commands have in common, which the session notes before the body runs.

    A parameter whose type is a NamedTuple of options, such as those of every change, becomes its options.
    """

    def expand(body: Body) -> Body:
        common = [*([_JSON] if json else ()), *([_VERBOSE] if verbose else ()), _DEBUG]
        signature = inspect.signature(body)
        bundles = {one.name: one.annotation for one in signature.parameters.values() if _is_bundle(one.annotation)}

        def run(**arguments: Any) -> None:  # noqa: ANN401 - whatever the options of a command are
            for option in common:
                del arguments[option.name]
            for name, bundle in bundles.items():
                arguments[name] = bundle(**{field: arguments.pop(field) for field in bundle._fields})
            body(**arguments)

        update_wrapper(run, body)
        parameters = [part for one in signature.parameters.values() for part in _parts(one)]
        parameters += [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in common]
        vars(run)["__signature__"] = signature.replace(parameters=parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return expand


def _is_bundle(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, tuple)


def _parts(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    if not _is_bundle(parameter.annotation):
        yield parameter
        return
    hints = get_type_hints(parameter.annotation, include_extras=True)
    for name, default in parameter.annotation._field_defaults.items():
        yield inspect.Parameter(name, parameter.kind, default=default, annotation=hints[name])


class Commands(Mapping[str, Any]):
    """Commands by name, each of the module of that name, which is loaded with the first look at its command."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._loaded: dict[str, object] = {}

    def __getitem__(self, name: str) -> object:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = get_command(getattr(import_module(f"{_COMMANDS}.{name}"), name))
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name alone until one of them is asked for."""

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - what Typer's own class takes
        super().__init__(**attributes)
        self.commands = Commands(self.names)  # type: ignore[assignment]  # nothing is added to it

    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - as the class has it
        """Return the names in their order, without a look at the commands."""
        return list(self.names)
