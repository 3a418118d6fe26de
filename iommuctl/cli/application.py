# SPDX-License-Identifier: Apache-2.0
"""The application: the commands by name, and what a call without one has."""

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
        "groups",
        "check",
        "recover",
        "history",
        "profile",
    )


application = typer.Typer(
    cls=_Commands,
    name="iommuctl",
    no_args_is_help=True,
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


@application.callback()
@with_options(json=False, verbose=True)
def iommuctl_callback(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Set the IOMMU part of the kernel command line, safely, and prove that it took effect."""
