# SPDX-License-Identifier: Apache-2.0
"""Plan: what an approved plan file says."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from iommuctl.cli.command import examples, with_options
from iommuctl.cli.session import print_result, session, wants_colour

plan = typer.Typer(
    name="plan",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show the plans that --dry-run --out wrote.",
    epilog=examples("plan show plan.json"),
)


@plan.callback()
def plan_callback() -> None:
    """Show the plans that --dry-run --out wrote."""


@plan.command("show", epilog=examples("plan show plan.json"))
@with_options(verbose=True)
def plan_show(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What apply or rollback wrote with --dry-run --out.")],
) -> None:
    """Show a plan file as its dry-run did, and on stderr of which host it is.

    The file is only read: what it says may be anything, and no host is looked at.
    """
    from iommuctl.app.change.planfile import read_plan_file
    from iommuctl.cli.approval import unproven_lines
    from iommuctl.cli.output.plan import document_view, plan_text
    from iommuctl.cli.output.text import visible
    from iommuctl.documents.planfile import plain

    found = read_plan_file(file)
    host = "a host without a name" if found.host.name is None else plain(found.host.name)
    about = f"plan for {host}, made {plain(found.created)} by iommuctl {plain(found.program)}"
    why = () if found.choices.why is None else (visible(f"why: {plain(found.choices.why)}"),)
    for line in (visible(about), *why, *unproven_lines(found)):
        typer.echo(line, err=True)
    text = plan_text(document_view(found.plan), colour=wants_colour(sys.stdout), verbose=session(context).verbose)
    end = "dry-run: nothing was written" if found.plan.changed else "unchanged"
    print_result(context, lambda: found.plan, lambda: f"{text}{end}\n")
