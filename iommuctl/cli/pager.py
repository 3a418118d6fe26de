# SPDX-License-Identifier: Apache-2.0
"""Pager: a text that is longer than the terminal goes through the program that its user pages with."""

import os
import shlex
import sys

import typer

from iommuctl.cli.output.terminal import columns_of, terminal_lines
from iommuctl.cli.session import is_interactive

_DEFAULT = "less"
# As git has it: end where all fits, keep colours, leave the text on the screen.
_OF_LESS = "FRX"


def print_long(text: str, *, pages: bool) -> None:
    """Print a text; on a terminal that it does not fit, through $PAGER or less, where there is one and `pages`."""
    if not (pages and is_interactive() and _is_long(text) and _paged(text)):
        typer.echo(text, nl=False)


def _is_long(text: str) -> bool:
    # A terminal that does not say how long it is, is one that nobody sits at.
    return 0 < terminal_lines() <= text.count("\n")


def _paged(text: str) -> bool:
    """Have the pager show the text; False where there is none."""
    try:
        command = shlex.split(os.environ.get("PAGER", _DEFAULT))
    except ValueError:
        return False
    if not command or command[0] == "cat" or os.environ.get("TERM") == "dumb":
        return False
    from iommuctl.cli.output.text import printable
    from iommuctl.cli.output.wrap import wrapped
    from iommuctl.host.commands import show_through

    sys.stdout.flush()
    # No shell out of a pager that root runs, and no file written by it.
    options = {"LESS": os.environ.get("LESS", _OF_LESS), "LESSSECURE": "1"}
    shown = wrapped(printable(text), columns_of())
    return show_through(tuple(command), shown, {**os.environ, **options})
