# SPDX-License-Identifier: Apache-2.0
"""Profile: list, show and check profiles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import examples, with_options
from iommuctl.cli.output.style import table
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iommuctl.app.look.profiles import ProfileListing
    from iommuctl.documents.models import ProfilesReport

profile = typer.Typer(
    name="profile",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="List, show and check profiles.",
    epilog=examples("profile list", "profile show strict-isolation", "profile check ./storage-node.toml"),
)


@profile.command("list", epilog=examples("profile list"))
@with_options()
def profile_list(context: typer.Context, root: options.Root = options.ROOT) -> None:
    """List the profiles with their summaries."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.profiles import list_profiles

    found = list_profiles(Host.open(root))
    print_result(context, lambda: _report(found), lambda: _text(found))


@profile.command("show", epilog=examples("profile show strict-isolation"))
@with_options(json=False)
def profile_show(profile: options.Profile, root: options.Root = options.ROOT) -> None:
    """Show a profile: what it sets and removes on each platform, and why."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.profiles import describe_profile, find_profile

    typer.echo(describe_profile(find_profile(Host.open(root), profile)), nl=False)


@profile.command("check", epilog=examples("profile check ./storage-node.toml"))
@with_options(json=False)
def profile_check(file: Annotated[Path, typer.Argument(metavar="FILE", help="A profile in TOML.")]) -> None:
    """Check a profile's file.

    Where it is wrong the exit code is 65, and file, line and field are named.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.look.profiles import find_profile

    found = find_profile(Host.open(options.ROOT), str(file.absolute()))
    typer.echo(visible(f"{file}: profile {found.name!r} is valid"))


def _text(profiles: "Iterable[ProfileListing]") -> str:
    """The profiles, a row each."""
    rows = [(one.name, visible(one.summary), visible(str(one.source))) for one in profiles]
    return "".join(f"{line}\n" for line in table(("profile", "summary", "source"), rows))


def _report(profiles: "Iterable[ProfileListing]") -> "ProfilesReport":
    from iommuctl.documents import base, models

    return models.ProfilesReport(profiles=base.reports(models.ProfileSummary, profiles))
