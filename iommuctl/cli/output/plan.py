# SPDX-License-Identifier: Apache-2.0
"""Plan: what would change and why, as text and as JSON."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.cli.output.changes import diff_lines
from iommuctl.cli.output.findings import evidence_lines, finding_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.findings import Severity
from iommuctl.plan import FileClass

if TYPE_CHECKING:
    from iommuctl.app.change.execute import Executed
    from iommuctl.documents.models import PlanReport


def plan_text(plan: Plan, *, colour: bool, verbose: bool) -> str:
    """The whole plan: diffs, commands with their reason, findings, fingerprint."""
    return "".join(f"{line}\n" for line in _plan_lines(plan, colour=colour, verbose=verbose))


def _plan_lines(plan: Plan, *, colour: bool, verbose: bool) -> Iterator[str]:
    subject = f"apply {plan.profile}" if isinstance(plan, ApplyPlan) else f"rollback to before {plan.of}"
    if plan.beside:
        subject += f", beside it {plan.beside}"
    yield styled(
        f"{subject}  (platform {plan.steps.survey.facts.platform}, backend {plan.steps.survey.backend.name})",
        Style.BOLD,
        colour=colour,
    )
    if verbose:
        yield from evidence_lines(plan.steps.survey.evidence)
        yield from (
            visible(f"  {change.target}: {_change_text(change.before, change.after)}: {change.reason}")
            for change in plan.steps.changes
        )
    for edit in plan.steps.edits:
        yield ""
        yield from diff_lines(edit, colour=colour) if edit.diff else (visible(f"{edit.path}: {edit.reason}"),)
    if plan.steps.commands:
        yield ""
        yield "commands:" if plan.steps.runs else "commands, left out:"
        for command in plan.steps.commands:
            yield visible(f"  {' '.join(command.argv)}")
            yield visible(f"      {command.reason}")
            if command.output:
                then = f"{command.output.staging.name} is read back and renamed to {command.output.target}"
                yield visible(f"      then {then}")
    yield from finding_lines(plan.steps.findings, colour=colour)
    yield ""
    yield f"fingerprint: {plan.steps.fingerprint}"


def summary(plan: Plan) -> str:
    """Return what a plan comes to in one line: how many files, entries and commands, and findings by severity."""
    entries = sum(edit.file_class is FileClass.ENTRY for edit in plan.steps.edits)
    counts = (
        (len(plan.steps.edits) - entries, "file", "files"),
        (entries, "entry", "entries"),
        (len(plan.steps.commands) if plan.steps.runs else 0, "command", "commands"),
    )
    severities = [finding.severity for finding in plan.steps.findings]
    findings = ((severities.count(one), str(one), f"{one}s") for one in Severity)
    parts = (_counted(counts), _counted(one for one in findings if one[1] != Severity.INFO))
    return "; ".join(part for part in parts if part)


def _counted(counts: Iterable[tuple[int, str, str]]) -> str:
    return ", ".join(f"{count} {one if count == 1 else several}" for count, one, several in counts if count)


def _change_text(before: str | None, after: str | None) -> str:
    if before is None:
        return f"add {after}"
    return f"remove {before}" if after is None else f"{before} becomes {after}"


def plan_report(plan: Plan, root: str, executed: "Executed | None") -> "PlanReport":
    """Return the plan as JSON; `executed` is None for a dry-run."""
    from iommuctl.app.change.shape import shape
    from iommuctl.documents import base, models
    from iommuctl.tree import digest

    return models.PlanReport(
        command="apply" if isinstance(plan, ApplyPlan) else "rollback",
        dry_run=executed is None,
        profile=plan.profile,
        of=None if isinstance(plan, ApplyPlan) else plan.of,
        platform=plan.steps.survey.facts.platform.value,
        root=root,
        backend=plan.steps.survey.backend.name,
        evidence=base.reports(models.EvidenceReport, plan.steps.survey.evidence),
        changed=plan.steps.is_changed,
        changes=base.reports(models.ChangeReport, plan.steps.changes),
        files=tuple(
            models.FileReport(
                path=str(edit.path),
                file_class=edit.file_class,
                diff=edit.diff,
                reason=edit.reason,
                before_sha256=digest(edit.before),
                after_sha256=digest(edit.after),
            )
            for edit in plan.steps.edits
        ),
        commands=tuple(
            base.report(
                models.CommandReport,
                command,
                left_out=not plan.steps.runs,
                ran=executed is not None and plan.steps.runs,
            )
            for command in plan.steps.commands
        ),
        findings=base.reports(models.FindingReport, (*plan.steps.findings, *(executed.findings if executed else ()))),
        fingerprint=plan.steps.fingerprint,
        shape=shape(plan),
        snapshot=executed.snapshot if executed else None,
        reboot_required=plan.needs_reboot,
        added=plan.beside.added,
        removed=plan.beside.removed,
        why=plan.why,
    )
