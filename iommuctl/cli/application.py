# SPDX-License-Identifier: Apache-2.0
"""The application: the commands by name, and what a call without one has."""

import sys
from typing import Annotated, ClassVar

import typer

import iommuctl
from iommuctl.cli.command import LazyGroup, examples, with_options


class _Commands(LazyGroup):
    # In the order of the job, as the help lists them; each is a module of commands/.
    names: ClassVar[tuple[str, ...]] = (
        "apply",
        "rollback",
        "status",
        "lint",
        "explain",
        "verify",
        "trial",
        "devices",
        "groups",
        "check",
        "recover",
        "history",
        "profile",
        "plan",
        "report",
    )


application = typer.Typer(
    cls=_Commands,
    name="iommuctl",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Set the IOMMU part of the kernel command line, safely, and prove that it took effect.",
    epilog=examples("check", "apply passthrough-perf --dry-run", "explain iommu=pt"),
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"iommuctl {iommuctl.__version__}")
        raise typer.Exit


@application.callback(invoke_without_command=True)
@with_options(json=False, verbose=True)
def iommuctl_callback(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - where it is given, its own callback ends the run
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Set the IOMMU part of the kernel command line, safely, and prove that it took effect.

    Without a command: this host in five lines.
    """
    if context.invoked_subcommand is None:
        from pathlib import Path

        from iommuctl.app.host import Host
        from iommuctl.app.look.overview import read_overview
        from iommuctl.cli.output.overview import overview_text
        from iommuctl.cli.session import wants_colour

        found = read_overview(Host.open(Path("/")))
        typer.echo(overview_text(found, colour=wants_colour(sys.stdout)), nl=False)
