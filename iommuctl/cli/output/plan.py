# SPDX-License-Identifier: Apache-2.0
"""Plan: what would change and why, as text and as JSON."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.backends.detection.evidence import Evidence
from iommuctl.cli.output.changes import diff_lines
from iommuctl.cli.output.findings import evidence_lines, finding_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.findings import DeclaredRule, Finding, Severity
from iommuctl.plan import Change, Command, FileClass, Generated
from iommuctl.profile.beside import Beside
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.app.change.execute import Executed
    from iommuctl.devices.planned import PlannedDevice
    from iommuctl.documents.models import PlanReport


class PlanView(NamedTuple):
    """What is shown of a plan, whether it was just made or is read from a file. `files` are path, diff and reason."""

    subject: str
    platform: str
    backend: str
    evidence: tuple[Evidence, ...]
    changes: tuple[Change, ...]
    files: tuple[tuple[PurePosixPath, str, str], ...]
    commands: tuple[Command, ...]
    runs: bool
    findings: tuple[Finding, ...]
    fingerprint: str
    devices: "tuple[PlannedDevice, ...]" = ()


def plan_view(plan: Plan) -> PlanView:
    """Return what is shown of a plan."""
    steps = plan.steps
    return PlanView(
        subject=_subject(plan.profile, None if isinstance(plan, ApplyPlan) else plan.of, plan.beside),
        platform=steps.survey.facts.platform,
        backend=steps.survey.backend.name,
        evidence=steps.survey.evidence,
        changes=steps.changes,
        files=tuple((edit.path, edit.diff, edit.reason) for edit in steps.edits),
        commands=steps.commands,
        runs=steps.runs,
        findings=steps.findings,
        fingerprint=steps.fingerprint,
        devices=plan.devices if isinstance(plan, ApplyPlan) else (),
    )


def document_view(plan: "PlanReport") -> PlanView:
    """Return what is shown of a plan that is read as JSON: values of the same text, good to be shown and no more."""
    from iommuctl.devices.planned import PlannedDevice
    from iommuctl.documents.planfile import plain

    def text(found: str | None) -> str | None:
        return None if found is None else plain(found)

    def path(found: str) -> PurePosixPath:
        return PurePosixPath(plain(found))

    changes = (
        Change(one.op, text(one.before), text(one.after), path(one.path), plain(one.target), plain(one.reason))
        for one in plan.changes
    )
    commands = (
        Command(
            tuple(map(plain, one.argv)),
            plain(one.reason),
            None if one.output is None else Generated(path(one.output.staging), path(one.output.target)),
        )
        for one in plan.commands
    )
    findings = (
        Finding(
            DeclaredRule(plain(one.rule)),
            one.severity,
            plain(one.message),
            text(one.parameter),
            text(one.hint),
            text(one.address),
        )
        for one in plan.findings
    )
    beside = Beside(tuple(map(plain, plan.added)), tuple(map(plain, plan.removed)))
    return PlanView(
        subject=visible(_subject(plain(plan.profile or ""), text(plan.of), beside)),
        platform=visible(plain(plan.platform or "")),
        backend=visible(plain(plan.backend)),
        evidence=tuple(Evidence(plain(one.probe), plain(one.found), plain(one.says)) for one in plan.evidence),
        changes=tuple(changes),
        files=tuple((path(one.path), plain(one.diff), plain(one.reason)) for one in plan.files),
        commands=tuple(commands),
        runs=not any(one.left_out for one in plan.commands),
        findings=tuple(findings),
        fingerprint=plan.fingerprint,
        devices=tuple(
            PlannedDevice(
                plain(one.address),
                plain(one.id),
                plain(one.name),
                one.group,
                text(one.driver_before),
                tuple(map(plain, one.twins)),
                tuple(map(plain, one.mates)),
                tuple(map(plain, one.functions)),
            )
            for one in plan.devices
        ),
    )


def _subject(profile: str, of: str | None, beside: Beside) -> str:
    subject = f"apply {profile}" if of is None else f"rollback to before {of}"
    return f"{subject}, beside it {beside}" if beside else subject


def plan_text(plan: Plan | PlanView, *, colour: bool, verbose: bool) -> str:
    """The whole plan: diffs, commands with their reason, findings, fingerprint."""
    view = plan if isinstance(plan, PlanView) else plan_view(plan)
    return "".join(f"{line}\n" for line in _plan_lines(view, colour=colour, verbose=verbose))


def _plan_lines(view: PlanView, *, colour: bool, verbose: bool) -> Iterator[str]:
    yield styled(f"{view.subject}  (platform {view.platform}, backend {view.backend})", Style.BOLD, colour=colour)
    if verbose:
        yield from evidence_lines(view.evidence)
        yield from (
            visible(f"  {change.target}: {_change_text(change.before, change.after)}: {change.reason}")
            for change in view.changes
        )
    for path, diff, reason in view.files:
        yield ""
        yield from diff_lines(diff, colour=colour) if diff else (visible(f"{path}: {reason}"),)
    if view.commands:
        yield ""
        yield "commands:" if view.runs else "commands, left out:"
        for command in view.commands:
            yield visible(f"  {' '.join(command.argv)}")
            yield visible(f"      {command.reason}")
            if command.output:
                then = f"{command.output.staging.name} is read back and renamed to {command.output.target}"
                yield visible(f"      then {then}")
    if view.devices:
        yield ""
        yield "devices for guests:"
        yield from (visible(f"  {_device_text(one)}") for one in view.devices)
    yield from finding_lines(view.findings, colour=colour)
    yield ""
    yield f"fingerprint: {view.fingerprint}"


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


def _device_text(device: "PlannedDevice") -> str:
    name = device.id if device.name == device.id else f"{device.name} ({device.id})"
    facts = [f"now with {device.driver_before or 'no driver'}"]
    facts += [] if device.group is None else [f"group {device.group}"]
    facts += [f"twins: {' '.join(device.twins)}"] if device.twins else []
    return f"{device.address}  {name}  [{', '.join(facts)}]"


def _change_text(before: str | None, after: str | None) -> str:
    if before is None:
        return f"add {after}"
    return f"remove {before}" if after is None else f"{before} becomes {after}"


def plan_report(plan: Plan, root: str, executed: "Executed | None") -> "PlanReport":
    """Return the plan as JSON; `executed` is None for a dry-run."""
    from iommuctl.app.change.shape import shape
    from iommuctl.documents import base, models
    from iommuctl.documents.devices import PlannedDeviceReport
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
        devices=base.reports(PlannedDeviceReport, plan.devices) if isinstance(plan, ApplyPlan) else (),
    )
