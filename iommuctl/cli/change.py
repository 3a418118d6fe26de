# SPDX-License-Identifier: Apache-2.0
"""Change: what apply and rollback share: show a plan, ask, carry it out, and end with the right exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.app.host import Host
from iommuctl.cli.approval import Request, check_options, require_approval, write_plan
from iommuctl.cli.options import ChangeOptions
from iommuctl.cli.output.findings import finding_lines
from iommuctl.cli.output.plan import plan_report, plan_text, summary
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.cli.pager import print_long
from iommuctl.cli.question import confirmed
from iommuctl.cli.session import is_interactive, session, wants_colour
from iommuctl.errors import ExecutionError, UsageError
from iommuctl.findings import Rule
from iommuctl.plan import Command

if TYPE_CHECKING:
    from iommuctl.app.change.execute import Executed
    from iommuctl.transaction.snapshot import Origin

_DIFFERENCE = 1


def opened(path: Path, change: ChangeOptions) -> Host:
    """Open a root; before a command that writes, end what an interrupted run left in it."""
    if change.exit_code and not change.dry_run:
        # Who asks whether something would change must not change it by a forgotten word.
        raise typer.BadParameter(
            "it goes with --dry-run, and without that the change is made", param_hint="'--exit-code'"
        )
    check_options(change)
    host = Host.open(path)
    if change.dry_run:
        return host
    from iommuctl.app.change.recover import end_trial, recover_host
    from iommuctl.cli.output.recovered import ended_text, recover_text

    if (recovered := recover_host(host)) is not None:
        typer.echo(recover_text(host, recovered), err=True, nl=False)
    if (over := end_trial(host)) is not None:
        typer.echo(ended_text(over), err=True, nl=False)
    return host


def finish(context: typer.Context, host: Host, plan: Plan, change: ChangeOptions, request: Request) -> None:
    """Show or carry out a plan. Raises typer.Exit with 1 for a dry-run that has changes and is asked to say so,
    UsageError where the change is neither agreed to beforehand nor can be, StalePlanError where another was approved.
    """
    require_approval(host, plan, change, request)
    if change.dry_run:
        told = write_plan(host, plan, change.out, request, overwrite=change.overwrite)
        _show(context, host, plan, executed=None, pages=change.pages)
        typer.echo(told, err=True, nl=False)
        raise typer.Exit(_DIFFERENCE if change.exit_code and plan.steps.is_changed else 0)
    as_text = not session(context).json
    if plan.steps.is_changed:
        is_agreed = change.yes or change.plan is not None
        if as_text:
            print_long(_plan_text(context, plan), pages=change.pages and not is_agreed)
        if not is_agreed:
            _require_consent(context, plan, can_ask=as_text and is_interactive())
    from iommuctl.app.change.execute import carry_out

    executed = carry_out(host, plan, progress=_progress, origin=lambda: _origin(context, plan))
    try:
        if as_text:
            _say_done(host, plan, executed)
        else:
            _show(context, host, plan, executed=executed)
    except ExecutionError as error:
        if executed.snapshot is not None:
            error.add(f"the change itself is made: snapshot {executed.snapshot}")
        raise


def _require_consent(context: typer.Context, plan: Plan, *, can_ask: bool) -> None:
    """Ask whether to write. Raises UsageError where nobody can be asked, typer.Exit where the answer is no."""
    if not can_ask:
        raise UsageError(
            "this would write, and nobody can be asked: nothing was written",
            details=(summary(plan),),
            hint=session(context).typed("--yes"),
        )
    typer.echo(f"\n{summary(plan)}", nl=False)
    if not confirmed("write this?"):
        typer.echo("nothing was written", err=True)
        raise typer.Exit(_DIFFERENCE)


def _origin(context: typer.Context, plan: Plan) -> "Origin":
    from iommuctl.host.caller import login_user
    from iommuctl.transaction.snapshot import Origin

    return Origin(login_user(), session(context).typed(), plan.why or "")


def _plan_text(context: typer.Context, plan: Plan) -> str:
    return plan_text(plan, colour=wants_colour(sys.stdout), verbose=session(context).verbose)


def _show(context: typer.Context, host: Host, plan: Plan, executed: "Executed | None", *, pages: bool = False) -> None:
    if session(context).json:
        from iommuctl.documents.base import to_json

        typer.echo(to_json(plan_report(plan, str(host.path), executed)))
        return
    done = "dry-run: nothing was written" if plan.steps.is_changed else "unchanged"
    print_long(f"{_plan_text(context, plan)}{done}\n", pages=pages)


def _say_done(host: Host, plan: Plan, executed: "Executed") -> None:
    colour = wants_colour(sys.stdout)
    if not plan.steps.is_changed:  # then it was not shown before
        typer.echo("".join(f"{line}\n" for line in finding_lines(plan.steps.findings, colour=colour)), nl=False)
    if executed.snapshot is None:
        typer.echo(_unchanged(plan))
        return
    typer.echo("".join(f"{line}\n" for line in finding_lines(executed.findings, colour=colour)), nl=False)
    if isinstance(plan, ApplyPlan) and _is_without_effect(plan):
        done = "written; the files are as planned, and it has no effect yet"
        typer.echo(styled(done, Style.YELLOW, colour=colour))
    else:
        done = "applied" if isinstance(plan, ApplyPlan) else "rolled back"
        typer.echo(styled(f"{done}; read back and found as planned", Style.GREEN, colour=colour))
    typer.echo(f"snapshot {executed.snapshot}; to go back: {host.root.command('rollback', executed.snapshot)}")
    if plan.needs_reboot:
        typer.echo("a reboot is required for it to take effect")


def _unchanged(plan: Plan) -> str:
    if not isinstance(plan, ApplyPlan):
        return "unchanged"
    if _is_without_effect(plan):
        return f"unchanged: {plan.profile} is written already, and has no effect yet"
    return f"unchanged: {plan.profile} is in place already"


def _is_without_effect(plan: ApplyPlan) -> bool:
    """Whether what boots is made of the files only later: no generator runs, or no entry is there."""
    return any(finding.rule in (Rule.REGENERATE_PENDING, Rule.NO_ENTRY_YET) for finding in plan.steps.findings)


@contextmanager
def _progress(command: Command) -> Iterator[None]:
    """Show on a terminal's stderr that a command is at work."""
    if not wants_colour(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.text import Text

    told = Text(visible(f"{command.argv[0]}: {command.reason}"))
    with Console(file=getattr(sys.stderr, "terminal", sys.stderr)).status(told):
        yield
