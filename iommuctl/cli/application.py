# SPDX-License-Identifier: Apache-2.0
"""The application: every command gathers, calls its use case, renders and exits."""

# The use cases are imported inside the commands: `--version`, `--help` and completion load none of them.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import Annotated

import typer

import iommuctl
from iommuctl.cli import knowledge, observation, options
from iommuctl.cli.session import print_result, wants_colour
from iommuctl.plan import Regenerate

application = typer.Typer(
    name="iommuctl",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Set the IOMMU part of the kernel command line, safely, and prove that it took effect.",
)
profiles = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and check profiles.")
history = typer.Typer(rich_markup_mode=None, help="Show the snapshots that can be gone back from.")
application.add_typer(profiles, name="profile")
application.add_typer(history, name="history")
knowledge.register(application)
observation.register(application)

_ROOT = Path("/")
_APPLY_EXAMPLES = (
    "Examples:  iommuctl apply passthrough-perf --dry-run"
    "  |  iommuctl apply vfio-bind --set vfio-pci.ids=10de:1b80"
    "  |  iommuctl apply strict-isolation --root /mnt/image --platform amd"
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"iommuctl {iommuctl.__version__}")
        raise typer.Exit


@application.callback()
def iommuctl_callback(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Set the IOMMU part of the kernel command line, safely, and prove that it took effect."""


@application.command(epilog=_APPLY_EXAMPLES)
def apply(
    context: typer.Context,
    profile: options.Profile,
    root: options.Root = _ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    inputs: options.Set = None,
    dry_run: options.DryRun = False,
    exit_code: options.ExitCode = False,
    yes: options.Yes = False,
    regenerate: options.RegenerateOption = Regenerate.AUTO,
    force: options.Force = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Bring the boot configuration to a profile."""
    from iommuctl.app.apply import Choices, plan_apply
    from iommuctl.cli.running import finish, opened

    host = opened(root, dry_run=dry_run)
    choices = Choices(
        platform=options.parse_platform(platform),
        backend=backend,
        inputs=options.parse_inputs(inputs),
        regenerate=regenerate,
        force=frozenset(force or ()),
    )
    finish(context, host, plan_apply(host, profile, choices), dry_run=dry_run, exit_code=exit_code, yes=yes)


@application.command(epilog="Examples:  iommuctl rollback --dry-run  |  iommuctl rollback 20261122T124500Z-1a2b3c")
def rollback(
    context: typer.Context,
    snapshot: options.Snapshot = None,
    root: options.Root = _ROOT,
    backend: options.Backend = None,
    dry_run: options.DryRun = False,
    exit_code: options.ExitCode = False,
    yes: options.Yes = False,
    regenerate: options.RegenerateOption = Regenerate.AUTO,
    force: options.Force = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Undo the newest apply, or go back to before a snapshot."""
    from iommuctl.app.apply import Choices
    from iommuctl.app.rollback import plan_rollback
    from iommuctl.cli.running import finish, opened

    host = opened(root, dry_run=dry_run)
    choices = Choices(backend=backend, regenerate=regenerate, force=frozenset(force or ()))
    finish(context, host, plan_rollback(host, snapshot, choices), dry_run=dry_run, exit_code=exit_code, yes=yes)


@application.command()
def status(
    context: typer.Context,
    root: options.Root = _ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Tell which bootloader boots this host and why, what runs now, and what boots next."""
    from iommuctl.app.host import Host
    from iommuctl.app.status import read_status
    from iommuctl.cli.render import status_text
    from iommuctl.cli.reports import status_report

    found = read_status(Host.open(root), platform=options.parse_platform(platform), backend=backend)
    print_result(context, lambda: status_report(found), lambda: status_text(found, colour=wants_colour(sys.stdout)))


@application.command(epilog="It also runs by itself at the start of every command that writes.")
def recover(
    context: typer.Context,
    root: options.Root = _ROOT,
    accept_current: Annotated[
        bool, typer.Option("--accept-current", help="Keep files that hold neither the old nor the new content.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Put the old content back even where a file holds something else.")
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Finish or undo a run that was interrupted."""
    from iommuctl.app.host import Host
    from iommuctl.app.recover import recover_host
    from iommuctl.cli.render import recover_text
    from iommuctl.cli.reports import recover_report

    host = Host.open(root)
    found = recover_host(host, accept_current=accept_current, restore=restore)
    print_result(context, lambda: recover_report(found), lambda: recover_text(host, found))


@history.callback(invoke_without_command=True)
def history_list(
    context: typer.Context,
    root: options.Root = _ROOT,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Show the snapshots, newest first."""
    if context.invoked_subcommand is not None:
        return
    from iommuctl.app.history import snapshots
    from iommuctl.app.host import Host
    from iommuctl.cli.reports import history_report, history_text

    found = snapshots(Host.open(root))
    print_result(context, lambda: history_report(found), lambda: history_text(found))


@history.command("show")
def history_show(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="ID", help="A snapshot's id, or the beginning of one.")],
    root: options.Root = _ROOT,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show which parameters one snapshot changed, and how its files then differ from those now."""
    from iommuctl.app.history import snapshot_edits
    from iommuctl.app.host import Host
    from iommuctl.cli.reports import history_report, snapshot_text
    from iommuctl.snapshot import Listing

    manifest, edits = snapshot_edits(Host.open(root), snapshot)
    colour = wants_colour(sys.stdout)
    print_result(
        context, lambda: history_report(Listing((manifest,))), lambda: snapshot_text(manifest, edits, colour=colour)
    )


@profiles.command("list")
def profile_list(
    context: typer.Context, root: options.Root = _ROOT, json: options.Json = False, debug: options.Debug = False
) -> None:
    """List the profiles with their summaries."""
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import list_profiles
    from iommuctl.cli.reports import profiles_report, profiles_text

    found = list_profiles(Host.open(root))
    print_result(context, lambda: profiles_report(found), lambda: profiles_text(found))


@profiles.command("show")
def profile_show(profile: options.Profile, root: options.Root = _ROOT, debug: options.Debug = False) -> None:
    """Show a profile: what it sets and removes on each platform, and why."""
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import describe_profile, find_profile

    typer.echo(describe_profile(find_profile(Host.open(root), profile)), nl=False)


@profiles.command("check")
def profile_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A profile in TOML.")], debug: options.Debug = False
) -> None:
    """Check a profile's file; exit 65 with file, line and field where it is wrong."""
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import find_profile

    profile = find_profile(Host.open(_ROOT), str(file.absolute()))
    typer.echo(f"{file}: profile {profile.name!r} is valid")
