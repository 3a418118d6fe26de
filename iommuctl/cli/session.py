# SPDX-License-Identifier: Apache-2.0
"""Session: how this run speaks, remembered for errors that come before a command has its own say."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel


class Session:
    """The words that were typed, and the options that every command shares. `root` is None for the running system."""

    def __init__(self, arguments: "Sequence[str]" = (), *, json: bool = False, debug: bool = False) -> None:
        self.arguments = tuple(arguments)
        self.json = json
        self.verbose = False
        self.debug = debug
        self.root: Path | None = None

    def typed(self, *more: str) -> str:
        """Return the command line as it was typed, with words more."""
        from shlex import join

        return join(("iommuctl", *self.arguments, *more))


def session(context: typer.Context) -> Session:
    """Give this run's session."""
    found = context.find_object(Session)
    return found if found is not None else Session()


def remember_root(context: typer.Context, value: Path) -> Path:
    """Note --root, so that errors say which tree the paths in them are of."""
    if value != Path("/"):
        session(context).root = value
    return value


def remember_json(context: typer.Context, value: bool) -> bool:
    """Note --json before the command runs, so that its errors are JSON too."""
    session(context).json |= value
    return value


def remember_verbose(context: typer.Context, value: bool) -> bool:
    """Note --verbose."""
    session(context).verbose |= value
    return value


def remember_debug(context: typer.Context, value: bool) -> bool:
    """Note --debug."""
    session(context).debug |= value
    return value


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR says no (no-color.org: any value but an empty one)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_interactive() -> bool:
    """Whether somebody can be asked."""
    # Python has no standard input where it was closed at the start.
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout.isatty())


def print_result(context: typer.Context, report: "Callable[[], BaseModel]", text: Callable[[], str]) -> None:
    """Print a result as this run is asked to: one JSON object, or text."""
    if session(context).json:
        from iommuctl.documents.base import to_json

        typer.echo(to_json(report()))
        return
    typer.echo(text(), nl=False)
