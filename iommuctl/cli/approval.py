# SPDX-License-Identifier: Apache-2.0
"""Approval: plans that somebody looked at before, as files or by their fingerprints, and that alone are carried out."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.cli.options import REASON, ChangeOptions, is_reason
from iommuctl.cli.output.text import visible
from iommuctl.errors import DocumentError, UsageError
from iommuctl.plan import Regenerate
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.documents.planfile import PlanFile

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Request(NamedTuple):
    """What is asked for: a profile or a snapshot by its name, what was chosen next to it, and the plan approved.

    `words` call the command that does so, where it is another one than that of the plan.
    """

    name: str | None
    choices: Choices
    approved: "PlanFile | None" = None
    words: tuple[str, ...] = ()


def check_options(change: ChangeOptions) -> None:
    """Raise a usage error (exit code 2) for options of plans that do not go together, or name no plan."""
    if change.out is not None and not change.dry_run:
        raise typer.BadParameter("it goes with --dry-run, and without that the change is made", param_hint="'--out'")
    if change.overwrite and change.out is None:
        raise typer.BadParameter("it goes with --out", param_hint="'--overwrite'")
    require_fingerprint(change.expect)
    if change.out is not None:
        from iommuctl.transaction.outfile import require_free

        require_free(change.out, overwrite=change.overwrite)


def require_fingerprint(text: str | None) -> None:
    """Raise a usage error (exit code 2) for a value of --expect that is no fingerprint."""
    if text is not None and not _FINGERPRINT.fullmatch(text):
        raise typer.BadParameter("a fingerprint has 64 digits of 0-9a-f, as a plan shows it", param_hint="'--expect'")


def requested(command: str, host: Host, typed: Request, change: ChangeOptions) -> Request:
    """Return what to plan: what was typed or, with --plan, what the file says was asked for.

    What lifts a protection is never taken from a file: who carries it out says it again. Raises UsageError,
    StalePlanError for the plan of another host, and what reading the file raises.
    """
    if change.plan is None:
        return typed
    from iommuctl.app.change.planfile import read_plan_file, require_devices, require_host
    from iommuctl.documents.planfile import ANEW, plain
    from iommuctl.profile.beside import asked_for

    found = read_plan_file(change.plan)
    asked = None if found.asked is None else plain(found.asked)
    is_file = asked is not None and ("/" in asked or asked.endswith(".toml"))
    named = (asked,) if asked is not None and is_file else ()

    def again(*more: str, of: tuple[str, ...] = typed.words or (command,)) -> str:
        return host.root.command(*of, *named, "--plan", str(change.plan), *more)

    if found.plan.command != command:
        raise UsageError(f"{change.plan} is the plan of {found.plan.command}", hint=again(of=(found.plan.command,)))
    chosen = typed.choices
    said: dict[str, object] = {
        "--platform": chosen.platform,
        "--backend": chosen.backend,
        "--set": chosen.inputs,
        "--why": chosen.why,
    }
    said |= {"--add": chosen.beside.added, "--remove": chosen.beside.removed}
    for name, value in said.items():
        if value:
            raise UsageError(f"{name} does not go with --plan, which says it", hint=again())
    if typed.name not in (None, asked):
        raise UsageError(f"{change.plan} is the plan of {asked!r}, not of {typed.name!r}", hint=again())
    if typed.name is None and is_file:
        raise UsageError(f"the plan is of the file {asked!r}, which has to be named", hint=again())
    regenerate = found.choices.regenerate
    lifted = [word for rule in found.choices.force for word in ("--force", plain(rule))]
    missing = {*found.choices.force} - chosen.force
    if regenerate is Regenerate.ALWAYS and not host.is_system:
        lifted += ("--regenerate", "always")
        missing |= {"always"} - {chosen.regenerate.value}
    if missing:
        raise UsageError(f"the plan was made with {' '.join(lifted)}, which has to be said", hint=again(*lifted))
    if extra := sorted(chosen.force - {*found.choices.force}):
        raise UsageError(f"the plan was made without --force {extra[0]}", hint=again(*lifted))
    if chosen.regenerate not in (Regenerate.AUTO, regenerate):
        raise UsageError(f"the plan was made with --regenerate {regenerate}", hint=again(*lifted))
    require_host(host, found)
    require_devices(host, found)
    why = None if found.choices.why is None else plain(found.choices.why)
    if why is not None and not is_reason(why):
        raise DocumentError(f"{change.plan}: choices.why is not {REASON}", hint=ANEW)
    choices = Choices(
        platform=found.choices.platform,
        backend=None if found.choices.backend is None else plain(found.choices.backend),
        inputs={plain(name): plain(value) for name, value in found.choices.inputs.items()},
        regenerate=regenerate,
        force=chosen.force,
        beside=asked_for(map(plain, found.choices.added), map(plain, found.choices.removed)),
        why=why,
        agreed=chosen.agreed,
        devices=tuple(map(plain, found.choices.devices)),
    )
    return Request(asked, choices, found, typed.words)


def require_approval(host: Host, plan: Plan, change: ChangeOptions, request: Request) -> None:
    """Raise StalePlanError for a plan that is not the one that was approved; nothing where none was."""
    if change.expect is None and request.approved is None:
        return
    from iommuctl.app.change import planfile

    again = _again(host, plan, request)
    if request.approved is not None:
        planfile.require_approved(plan, request.approved, _document(host, plan, request), again=again)
    if change.expect is not None:
        planfile.require_expected(plan, change.expect, again=again)


def write_plan(host: Host, plan: Plan, path: Path | None, request: Request, *, overwrite: bool) -> str:
    """Write a plan as a file to approve, where one is asked for; return what is to be said of it on stderr.

    Done before the plan is shown: where the file cannot be written, nothing is printed.
    """
    if path is None:
        return ""
    from iommuctl.documents.base import to_json
    from iommuctl.transaction.outfile import write_outfile

    found = _document(host, plan, request)
    write_outfile(path, f"{to_json(found)}\n".encode(), overwrite=overwrite)
    return "".join(f"{line}\n" for line in (visible(f"plan written to {path}"), *unproven_lines(found)))


def unproven_lines(found: "PlanFile") -> list[str]:
    """Return what a plan claims that who made it had no right to know."""
    if not found.needs_root:
        return []
    claims = [visible(f"  {claim}") for claim in found.needs_root]
    return ["it was made without the rights of root, who alone knows:", *claims]


def _document(host: Host, plan: Plan, request: Request) -> "PlanFile":
    from iommuctl.app.change.planfile import make_plan_file
    from iommuctl.cli.output.plan import plan_report

    return make_plan_file(host, plan, plan_report(plan, str(host.path), None), request.name, request.choices)


def _again(host: Host, plan: Plan, request: Request) -> str:
    """The command that shows the plan as it would be now."""
    called = request.words or ("apply" if isinstance(plan, ApplyPlan) else "rollback",)
    words = [*called, *((request.name,) if request.name else ())]
    regenerate = request.choices.regenerate
    words += request.choices.options
    words += () if regenerate is Regenerate.AUTO else ("--regenerate", regenerate.value)
    return host.root.command(*words, "--dry-run")
