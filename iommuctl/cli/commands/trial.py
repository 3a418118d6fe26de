# SPDX-License-Identifier: Apache-2.0
"""Trial: boot once with the parameters of a profile, and come back by itself."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import examples, with_options
from iommuctl.cli.session import is_interactive, print_result, session, wants_colour
from iommuctl.errors import UsageError
from iommuctl.findings import Rule
from iommuctl.plan import Regenerate
from iommuctl.transaction.trial.record import ConfirmBy, OnFailure

if TYPE_CHECKING:
    from iommuctl.app.host import Host
    from iommuctl.app.trial.start import TrialPlan
    from iommuctl.transaction.trial.record import TrialRecord

_DECLINED = 1
_START = ("trial", "start")

trial = typer.Typer(
    name="trial",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Boot once with a profile, and come back by itself.",
    epilog=examples("trial start passthrough-perf --reboot", "trial status", "trial confirm"),
)


@trial.command(
    "start",
    epilog=examples(
        "trial start passthrough-perf --dry-run",
        "trial start iommu-off --reboot",
        "trial start vfio-bind --device 0000:01:00.0",
        "trial start --plan plan.json --confirm auto --reboot",
    ),
)
@with_options()
def trial_start(
    context: typer.Context,
    *,
    profile: options.ProfileOrPlan = None,
    root: options.RunningRoot = options.ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    inputs: options.Set = None,
    device: options.Device = None,
    with_group: options.WithGroup = False,
    add: options.Add = None,
    remove: options.Remove = None,
    why: options.Why = None,
    confirm: Annotated[
        ConfirmBy, typer.Option("--confirm", help="Who makes it permanent: somebody, or the checks of confirm.d.")
    ] = ConfirmBy.MANUAL,
    timeout: Annotated[
        int, typer.Option("--timeout", metavar="SECONDS", help="End it so long after the start of its kernel.")
    ] = 900,
    on_failure: Annotated[
        OnFailure, typer.Option("--on-failure", help="What a failing check, or the end of the time, does.")
    ] = OnFailure.REBOOT,
    attended: Annotated[
        bool, typer.Option("--attended", help="Somebody types the passphrase that each boot waits for.")
    ] = False,
    reboot: Annotated[bool, typer.Option("--reboot", help="Reboot at once when it is armed.")] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    force: options.Force = None,
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    plan: options.PlanOption = None,
    expect: options.Expect = None,
) -> None:
    """Arm one boot with the parameters of a profile.

    The default entry and every permanent source stay as they are. It is refused where it is not certain that the host
    comes back by itself. --plan tries what `apply --dry-run --out` wrote, or this command; a confirmation then makes
    exactly that permanent.
    """
    from iommuctl.app.change.planning import Choices
    from iommuctl.app.trial.ending import end_what_is_over
    from iommuctl.app.trial.start import Wishes, plan_trial, require_promise, start_trial
    from iommuctl.app.trial.state import state_of
    from iommuctl.cli.approval import Request, check_options, requested, require_approval, write_plan
    from iommuctl.cli.choice import chosen_devices
    from iommuctl.cli.output.trial import plan_text, state_text, trial_report
    from iommuctl.profile.beside import asked_for

    if profile is None and plan is None:
        raise UsageError("iommuctl trial start: PROFILE is missing", hint="iommuctl profile list")
    change = options.ChangeOptions(dry_run=dry_run, yes=yes, out=out, overwrite=overwrite, plan=plan, expect=expect)
    check_options(change)
    host = _opened(root)
    asked = profile if plan is None else None
    given, words = options.parse_inputs(inputs), " ".join(_START)
    chosen = chosen_devices(context, host, asked, given, device, with_group=with_group, command=words, backend=backend)
    # Who approves a plan says nothing of loaders that no trial was booted with: who starts the trial does.
    unproven = frozenset(force or ()) & {Rule.TRIAL_UNPROVEN.value}
    choices = Choices(
        platform=options.parse_platform(platform),
        backend=backend,
        inputs=chosen.inputs,
        force=frozenset(force or ()) - unproven,
        beside=asked_for(add or (), remove or ()),
        why=options.parse_why(why),
        agreed=yes,
        devices=chosen.addresses,
    )
    request = requested("apply", host, Request(profile, choices, words=_START), change)
    choices = request.choices._replace(force=request.choices.force | unproven)
    if choices.regenerate is Regenerate.NEVER:
        raise UsageError(
            "the plan leaves generated files as they are, so a confirmation would make nothing permanent that boots",
            hint=f"iommuctl apply --plan {plan}",
        )
    wishes = Wishes(confirm, timeout, on_failure, attended, choices.inputs)
    if not dry_run:
        end_what_is_over(host)
    made = plan_trial(host, request.name or "", choices, wishes, _program())
    require_approval(host, made.permanent, change._replace(expect=None), request)
    again = host.root.command(*_START, request.name or "", *choices.options, "--dry-run")
    require_promise(made, expect, again=again)
    colour = wants_colour(sys.stdout)
    if made.entry is None or dry_run:
        changed = made.entry is not None
        told = write_plan(host, made.permanent, out, request, overwrite=overwrite)
        print_result(
            context,
            lambda: trial_report(host, None, made, dry_run=dry_run, changed=changed),
            lambda: plan_text(made, colour=colour) + ("dry-run: nothing was written\n" if changed else "unchanged\n"),
        )
        typer.echo(told, err=True, nl=False)
        return
    if not session(context).json:
        typer.echo(plan_text(made, colour=colour), nl=False)
    _ask(context, made, choices.force, yes=yes or plan is not None)
    record = start_trial(host, made, choices)
    state = state_of(host.root, record)
    print_result(
        context, lambda: trial_report(host, state, made, changed=True), lambda: state_text(state, colour=colour)
    )
    if reboot:
        host.runner.run(("systemctl", "reboot"))


@trial.command("status", epilog=examples("trial status --json"))
@with_options()
def trial_status(context: typer.Context, root: options.RunningRoot = options.ROOT) -> None:
    """Tell how far the last trial has come, and what was seen of its boot."""
    from iommuctl.app.trial.state import read_state
    from iommuctl.cli.output.trial import state_text, trial_report

    host = _opened(root)
    state = read_state(host)
    print_result(
        context,
        lambda: trial_report(host, state, changed=False),
        lambda: state_text(state, colour=wants_colour(sys.stdout)),
    )


@trial.command("confirm", epilog=examples("trial confirm"))
@with_options()
def trial_confirm(context: typer.Context, root: options.RunningRoot = options.ROOT) -> None:
    """Make permanent what runs on trial."""
    from iommuctl.app.trial.ending import confirm_trial

    host = _opened(root)
    _tell(context, host, confirm_trial(host))


@trial.command("cancel", epilog=examples("trial cancel"))
@with_options()
def trial_cancel(context: typer.Context, root: options.RunningRoot = options.ROOT) -> None:
    """Take a trial away: the next boot is the default's."""
    from iommuctl.app.trial.ending import cancel_trial

    host = _opened(root)
    _tell(context, host, cancel_trial(host))


@trial.command("settle", epilog=examples("trial settle"))
@with_options()
def trial_settle(context: typer.Context, root: options.RunningRoot = options.ROOT) -> None:
    """Do the next step of a trial; systemd runs this during its boot and in the boot after it."""
    from iommuctl.app.trial.settle import settle_trial

    host = _opened(root)
    _tell(context, host, settle_trial(host))


def _opened(root: Path) -> "Host":
    from iommuctl.app.host import Host
    from iommuctl.app.trial.state import require_running

    host = Host.open(root)
    require_running(host, "trial")
    return host


def _tell(context: typer.Context, host: "Host", record: "TrialRecord | None") -> None:
    from iommuctl.app.trial.state import state_of
    from iommuctl.cli.output.trial import state_text, trial_report

    state = None if record is None else state_of(host.root, record)
    print_result(
        context,
        lambda: trial_report(host, state, changed=record is not None),
        lambda: state_text(state, colour=wants_colour(sys.stdout)) if state else "no trial is under way\n",
    )


def _ask(context: typer.Context, plan: "TrialPlan", force: frozenset[str], *, yes: bool) -> None:
    """Ask whether to arm it. Raises UsageError where nobody can be asked, typer.Exit where the answer is no."""
    from iommuctl.cli.question import confirmed

    unproven = any(one.rule is Rule.TRIAL_UNPROVEN for one in plan.findings)
    if yes and (not unproven or Rule.TRIAL_UNPROVEN in force):
        return
    if yes:
        raise UsageError(
            "with this loader no trial was booted in the lab of iommuctl",
            hint=session(context).typed("--force", Rule.TRIAL_UNPROVEN),
        )
    if not is_interactive() or session(context).json:
        raise UsageError("nobody can be asked, so nothing was written", hint=session(context).typed("--yes"))
    if not confirmed("arm this?"):
        typer.echo("nothing was written", err=True)
        raise typer.Exit(_DECLINED)


def _program() -> tuple[str, ...]:
    """How systemd calls this program: as it was called now, where that is a file, else by the interpreter."""
    called = Path(sys.argv[0]).absolute()
    if called.name == "iommuctl" and called.is_file():
        return (str(called),)
    return (sys.executable, "-m", "iommuctl")
