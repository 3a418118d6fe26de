# SPDX-License-Identifier: Apache-2.0
"""Plan: what would change and why, as text and as JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iommuctl.cli.output.changes import diff_lines
from iommuctl.cli.output.findings import evidence_lines, finding_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible

if TYPE_CHECKING:
    from iommuctl.app.execute import Executed
    from iommuctl.app.plan import Plan
    from iommuctl.documents.models import PlanReport


def plan_text(plan: "Plan", *, colour: bool, verbose: bool) -> str:
    """The whole plan: diffs, commands with their reason, findings, fingerprint."""
    return "".join(f"{line}\n" for line in _plan_lines(plan, colour=colour, verbose=verbose))


def _plan_lines(plan: "Plan", *, colour: bool, verbose: bool) -> Iterator[str]:
    subject = f"apply {plan.profile}" if plan.of is None else f"rollback to before {plan.of}"
    yield styled(
        f"{subject}  (platform {plan.survey.facts.platform}, backend {plan.survey.backend.name})",
        Style.BOLD,
        colour=colour,
    )
    if verbose:
        yield from evidence_lines(plan.survey.evidence)
        yield from (
            visible(f"  {change.target}: {_change_text(change.before, change.after)}: {change.reason}")
            for change in plan.changes
        )
    for edit in plan.edits:
        yield ""
        yield from diff_lines(edit, colour=colour) if edit.diff else (visible(f"{edit.path}: {edit.reason}"),)
    if plan.commands:
        yield ""
        yield "commands:" if plan.runs else "commands, left out:"
        for command in plan.commands:
            yield f"  {' '.join(command.argv)}"
            yield f"      {command.reason}"
            if command.output:
                yield f"      then {command.output.staging.name} is read back and renamed to {command.output.target}"
    yield from finding_lines(plan.findings, colour=colour)
    yield ""
    yield f"fingerprint: {plan.fingerprint}"


def _change_text(before: str | None, after: str | None) -> str:
    if before is None:
        return f"add {after}"
    return f"remove {before}" if after is None else f"{before} becomes {after}"


def plan_report(plan: "Plan", root: str, executed: "Executed | None") -> "PlanReport":
    """Return the plan as JSON; `executed` is None for a dry-run."""
    from iommuctl.documents import models
    from iommuctl.tree import digest

    return models.PlanReport(
        command="apply" if plan.of is None else "rollback",
        dry_run=executed is None,
        profile=plan.profile,
        platform=plan.survey.facts.platform.value,
        root=root,
        backend=plan.survey.backend.name,
        evidence=models.reports(models.EvidenceReport, plan.survey.evidence),
        changed=plan.is_changed,
        changes=models.reports(models.ChangeReport, plan.changes),
        files=tuple(
            models.FileReport(
                path=str(edit.path),
                file_class=edit.file_class,
                diff=edit.diff,
                before_sha256=digest(edit.before),
                after_sha256=digest(edit.after),
            )
            for edit in plan.edits
        ),
        commands=tuple(
            models.CommandReport(argv=command.argv, reason=command.reason, ran=executed is not None and plan.runs)
            for command in plan.commands
        ),
        findings=models.reports(models.FindingReport, (*plan.findings, *(executed.findings if executed else ()))),
        fingerprint=plan.fingerprint,
        snapshot=executed.snapshot if executed else None,
        reboot_required=plan.needs_reboot,
    )
