# SPDX-License-Identifier: Apache-2.0
"""Observation: the commands that look at the running kernel. They change nothing."""

# The use cases are imported inside the commands: `--version`, `--help` and completion load none of them.
# ruff: noqa: PLC0415

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.session import print_result, wants_colour

_ROOT = Path("/")
_FAILED = 1


class GroupFormat(StrEnum):
    """How `groups` prints where JSON is not asked for."""

    TREE = "tree"
    DOT = "dot"


def verify(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE",
            help="Compare with this profile; without it, with the one that was applied last.",
            autocompletion=options.complete_profile,
        ),
    ] = None,
    root: options.RunningRoot = _ROOT,
    platform: options.PlatformOption = "auto",
    inputs: options.Set = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Tell whether the running kernel does what a profile promises.

    It looks at what the kernel shows in /sys, not at strings alone. Exit code 1 where the profile is not active.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.verify import verify_host
    from iommuctl.cli.output.running import verify_report, verify_text

    host, values = Host.open(root), options.parse_inputs(inputs)
    found = verify_host(host, profile, platform=options.parse_platform(platform), inputs=values)
    print_result(context, lambda: verify_report(found), lambda: verify_text(found, colour=wants_colour(sys.stdout)))
    raise typer.Exit(0 if found.is_active else _FAILED)


def groups(
    context: typer.Context,
    root: options.RunningRoot = _ROOT,
    form: Annotated[GroupFormat, typer.Option("--format", help="A tree, or a graph for Graphviz.")] = GroupFormat.TREE,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the IOMMU groups, and what goes to a guest together."""
    from iommuctl.app.groups import read_groups
    from iommuctl.app.host import Host
    from iommuctl.cli.output.running import groups_dot, groups_report, groups_text

    found = read_groups(Host.open(root))
    as_text = groups_dot if form is GroupFormat.DOT else groups_text
    print_result(context, lambda: groups_report(found), lambda: as_text(found))


def check(
    context: typer.Context,
    root: options.RunningRoot = _ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Look whether firmware, kernel, bootloader and space allow it.

    It changes nothing. Exit code 1 where something fails.
    """
    from iommuctl.app.check import check_host
    from iommuctl.app.host import Host
    from iommuctl.cli.output.running import check_report, check_text

    found = check_host(Host.open(root), platform=options.parse_platform(platform), backend=backend)
    print_result(context, lambda: check_report(found), lambda: check_text(found, colour=wants_colour(sys.stdout)))
    raise typer.Exit(0 if found.is_able else _FAILED)


def register(application: typer.Typer) -> None:
    """Add these commands to the application."""
    application.command(epilog=options.examples("verify", "verify strict-isolation --json"))(verify)
    application.command(epilog=options.examples("groups", "groups --format dot | dot -Tsvg -o groups.svg"))(groups)
    application.command(epilog=options.examples("check", "check --json"))(check)
