# SPDX-License-Identifier: Apache-2.0
"""Trial: how far a trial boot has come, and what one would do, as text and as JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iommuctl.cli.output.changes import diff_lines
from iommuctl.cli.output.findings import finding_lines
from iommuctl.cli.output.style import Style, styled, table
from iommuctl.cli.output.text import visible
from iommuctl.transaction.trial.record import ConfirmBy, OnFailure, Phase

if TYPE_CHECKING:
    from iommuctl.app.host import Host
    from iommuctl.app.trial.start import TrialPlan
    from iommuctl.app.trial.state import TrialState
    from iommuctl.documents.models import TrialReport
    from iommuctl.documents.trial import TrialPart, TrialPlanPart

_NEXT = {
    Phase.ARMING: "iommuctl trial cancel",
    Phase.ARMED: "reboot to try it, or: iommuctl trial cancel",
    Phase.RUNNING: "iommuctl trial confirm makes it permanent; iommuctl trial cancel, and a reboot, ends it",
    Phase.KEPT: "iommuctl trial confirm makes it permanent; a reboot ends it",
    Phase.FAILED: "it is about to reboot into the old line",
}
_STYLES = {Phase.CONFIRMED: Style.GREEN, Phase.FAILED: Style.RED, Phase.RETURNED: Style.YELLOW}


def state_lines(state: "TrialState", *, colour: bool = False) -> Iterator[str]:
    """Return how far a trial has come, why, and what was seen of its boot."""
    record = state.record
    why = f": {visible(state.reason)}" if state.reason else ""
    head = f"trial {record.id} of {visible(record.profile)}: {state.phase}{why}"
    yield styled(head, _STYLES.get(state.phase, Style.BOLD), colour=colour)
    rows = [(str(one.result), visible(one.name), visible(one.detail)) for one in record.checks]
    if rows:
        yield from (f"  {line}" for line in table(("result", "check", "last words"), rows))
    if state.phase in (Phase.ARMED, Phase.RUNNING):
        yield f"  {terms_text(state)}"
    if (way := _NEXT.get(state.phase)) is not None:
        yield f"hint: {way}"


def terms_text(state: "TrialState") -> str:
    """Say how a trial ends by itself."""
    terms = state.record.terms
    who = "it confirms itself when every check passes" if terms.confirm is ConfirmBy.AUTO else "somebody confirms it"
    if terms.on_failure is OnFailure.STAY:
        return f"{who}; nothing reboots it"
    return f"{who}, or it reboots into the old line {terms.timeout} s after its kernel started"


def state_text(state: "TrialState | None", *, colour: bool) -> str:
    """Return the state of the last trial as text."""
    if state is None:
        return "no trial boot was made\n"
    return "".join(f"{line}\n" for line in state_lines(state, colour=colour))


def plan_text(plan: "TrialPlan", *, colour: bool) -> str:
    """Return both plans: what is written now, and what a confirmation makes permanent."""
    return "".join(f"{line}\n" for line in _plan_lines(plan, colour=colour))


def _plan_lines(plan: "TrialPlan", *, colour: bool) -> Iterator[str]:
    steps, entry = plan.permanent.steps, plan.entry
    facts = f"(platform {steps.survey.facts.platform}, backend {steps.survey.backend.name})"
    yield styled(f"trial of {visible(plan.permanent.profile)}  {facts}", Style.BOLD, colour=colour)
    if entry is not None:
        yield from (f"  certain: {visible(one.found)} ({visible(one.by)})" for one in plan.conditions)
        yield ""
        yield styled("written now, and gone when the trial is over:", Style.BOLD, colour=colour)
        for edit in plan.edits:
            if edit is entry.edit:
                yield from diff_lines(edit.diff, colour=colour)
            else:
                yield f"  {visible(str(edit.path))}: {edit.reason}"
        yield f"  {visible(str(entry.one_shot.path))}: {visible(entry.one_shot.value)} boots once, chosen last"
    yield ""
    yield styled("made permanent by a confirmation:", Style.BOLD, colour=colour)
    for change in steps.edits:
        yield from diff_lines(change.diff, colour=colour)
    yield from (visible(f"  {' '.join(command.argv)}") for command in steps.commands)
    yield from finding_lines(plan.findings, colour=colour)
    yield ""
    yield f"fingerprint of what becomes permanent: {plan.promise}"


def trial_part(state: "TrialState | None") -> "TrialPart | None":
    """Return the last trial as JSON."""
    if state is None:
        return None
    from iommuctl.documents.base import reports
    from iommuctl.documents.trial import TrialCheckReport, TrialPart
    from iommuctl.transaction.snapshot import time_text

    record = state.record
    return TrialPart(
        id=record.id,
        state=state.phase.value,
        reason=state.reason,
        profile=record.profile,
        backend=record.backend,
        entry=record.entry,
        cmdline=record.line,
        created=time_text(record.created),
        confirm=record.terms.confirm.value,
        timeout=record.terms.timeout,
        on_failure=record.terms.on_failure.value,
        is_armed=state.is_armed,
        is_running=state.is_here,
        is_checked=record.is_checked,
        checks=reports(TrialCheckReport, record.checks),
    )


def trial_report(
    host: "Host", state: "TrialState | None", plan: "TrialPlan | None" = None, *, dry_run: bool = False, changed: bool
) -> "TrialReport":
    """Return what a command of trials prints as JSON."""
    from iommuctl.cli.output.plan import plan_report
    from iommuctl.documents.base import reports
    from iommuctl.documents.models import FindingReport, TrialReport

    armed = state is not None and state.is_armed and not state.is_here
    return TrialReport(
        dry_run=dry_run,
        changed=changed,
        state="none" if state is None else state.phase.value,
        trial=trial_part(state),
        plan=None if plan is None else _plan_part(plan),
        permanent=None if plan is None else plan_report(plan.permanent, str(host.path), None),
        findings=() if plan is None else reports(FindingReport, plan.findings),
        reboot_required=armed,
    )


def _plan_part(plan: "TrialPlan") -> "TrialPlanPart":
    from iommuctl.documents.base import reports
    from iommuctl.documents.trial import ConditionReport, TrialFileReport, TrialPlanPart

    return TrialPlanPart(
        files=tuple(TrialFileReport(path=str(edit.path), diff=edit.diff) for edit in plan.edits),
        conditions=reports(ConditionReport, plan.conditions),
        entry=None if plan.entry is None else plan.entry.id,
        cmdline=None if plan.entry is None else str(plan.entry.cmdline),
        fingerprint=plan.promise,
    )
