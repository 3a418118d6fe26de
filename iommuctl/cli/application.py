# SPDX-License-Identifier: Apache-2.0
"""The application: every command gathers, calls its use case, renders and exits."""

# The use cases are imported inside the commands: `--version`, `--help` and completion load none of them.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import Annotated

import typer

import iommuctl
from iommuctl.cli import options
from iommuctl.cli.commands import knowledge, observation
from iommuctl.cli.session import print_result, wants_colour
from iommuctl.plan import Regenerate

application = typer.Typer(
    name="iommuctl",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Set the IOMMU part of the kernel command line, safely, and prove that it took effect.",
    epilog=options.examples("check", "apply passthrough-perf --dry-run", "explain iommu=pt"),
)
profiles = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show and check profiles.",
    epilog=options.examples("profile list", "profile show strict-isolation", "profile check ./storage-node.toml"),
)
history = typer.Typer(
    rich_markup_mode=None,
    help="Show the snapshots that rollback takes.",
    epilog=options.examples("history", "history show 20261122T124500Z-1a2b3c"),
)

_ROOT = Path("/")


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


@application.command(
    epilog=options.examples(
        "apply passthrough-perf --dry-run",
        "apply vfio-bind --set vfio-pci.ids=10de:1b80,10de:10f0",
        "apply strict-isolation --root /mnt/image --platform amd --yes",
    )
)
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
    """Bring the boot configuration to a profile.

    The whole change is shown first, and on a terminal nothing is written before you say yes. The outcome is read back;
    where it is not as planned, everything is put back.
    """
    from iommuctl.app.apply import Choices, plan_apply
    from iommuctl.cli.running import finish, opened

    host = opened(root, dry_run=dry_run, exit_code=exit_code)
    choices = Choices(
        platform=options.parse_platform(platform),
        backend=backend,
        inputs=options.parse_inputs(inputs),
        regenerate=regenerate,
        force=frozenset(force or ()),
    )
    finish(context, host, plan_apply(host, profile, choices), dry_run=dry_run, exit_code=exit_code, yes=yes)


@application.command(epilog=options.examples("rollback --dry-run", "rollback", "rollback 20261122T124500Z-1a2b3c"))
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
    """Undo the newest apply, or go back to before a snapshot.

    A rollback is a snapshot too: to redo what it took back, name its snapshot.
    """
    from iommuctl.app.apply import Choices
    from iommuctl.app.rollback.plan import plan_rollback
    from iommuctl.cli.running import finish, opened

    host = opened(root, dry_run=dry_run, exit_code=exit_code)
    choices = Choices(backend=backend, regenerate=regenerate, force=frozenset(force or ()))
    finish(context, host, plan_rollback(host, snapshot, choices), dry_run=dry_run, exit_code=exit_code, yes=yes)


@application.command(epilog=options.examples("status", "status --json", "status --root /mnt/image"))
def status(
    context: typer.Context,
    root: options.Root = _ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Tell what boots this host and why, what runs, what boots next."""
    from iommuctl.app.host import Host
    from iommuctl.app.status import read_status
    from iommuctl.cli.output.plan import status_text
    from iommuctl.cli.output.reports import status_report

    found = read_status(Host.open(root), platform=options.parse_platform(platform), backend=backend)
    print_result(context, lambda: status_report(found), lambda: status_text(found, colour=wants_colour(sys.stdout)))


knowledge.register(application)
observation.register(application)


@application.command(epilog=options.examples("recover", "recover --root /mnt/image --accept-current"))
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
    """Finish or undo a run that was interrupted.

    Every command that writes does so first, too.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.recover import recover_host
    from iommuctl.cli.output.plan import recover_text
    from iommuctl.cli.output.reports import recover_report

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
    from iommuctl.cli.output.reports import history_report, history_text

    found = snapshots(Host.open(root))
    print_result(context, lambda: history_report(found), lambda: history_text(found))


@history.command("show", epilog=options.examples("history show 20261122T124500Z-1a2b3c"))
def history_show(
    context: typer.Context,
    snapshot: Annotated[str, typer.Argument(metavar="ID", help="A snapshot's id, or the beginning of one.")],
    root: options.Root = _ROOT,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show what one snapshot changed, and how its files differ now."""
    from iommuctl.app.history import snapshot_edits
    from iommuctl.app.host import Host
    from iommuctl.cli.output.reports import history_report, snapshot_text
    from iommuctl.transaction.store import Listing

    manifest, edits = snapshot_edits(Host.open(root), snapshot)
    colour = wants_colour(sys.stdout)
    print_result(
        context,
        lambda: history_report(Listing((manifest.summary,))),
        lambda: snapshot_text(manifest, edits, colour=colour),
    )


application.add_typer(history, name="history")


@profiles.command("list", epilog=options.examples("profile list"))
def profile_list(
    context: typer.Context, root: options.Root = _ROOT, json: options.Json = False, debug: options.Debug = False
) -> None:
    """List the profiles with their summaries."""
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import list_profiles
    from iommuctl.cli.output.reports import profiles_report, profiles_text

    found = list_profiles(Host.open(root))
    print_result(context, lambda: profiles_report(found), lambda: profiles_text(found))


@profiles.command("show", epilog=options.examples("profile show strict-isolation"))
def profile_show(profile: options.Profile, root: options.Root = _ROOT, debug: options.Debug = False) -> None:
    """Show a profile: what it sets and removes on each platform, and why."""
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import describe_profile, find_profile

    typer.echo(describe_profile(find_profile(Host.open(root), profile)), nl=False)


@profiles.command("check", epilog=options.examples("profile check ./storage-node.toml"))
def profile_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A profile in TOML.")], debug: options.Debug = False
) -> None:
    """Check a profile's file.

    Where it is wrong the exit code is 65, and file, line and field are named.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.profiles import find_profile

    profile = find_profile(Host.open(_ROOT), str(file.absolute()))
    typer.echo(f"{file}: profile {profile.name!r} is valid")


application.add_typer(profiles, name="profile")
