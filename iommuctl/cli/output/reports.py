# SPDX-License-Identifier: Apache-2.0
"""Reports: results of the use cases as the JSON models of report.py, and the shorter texts for people."""

from collections.abc import Iterable

from iommuctl.app.execute import Executed
from iommuctl.app.plan import Plan
from iommuctl.app.profiles import ProfileListing
from iommuctl.app.status import Effective, Status
from iommuctl.backends.detection.detect import Evidence
from iommuctl.cli.output.plan import diff_lines, finding_lines, table
from iommuctl.cli.output.text import legible, visible
from iommuctl.documents.models import (
    ChangeReport,
    CommandReport,
    DriftReport,
    EffectiveReport,
    EntryReport,
    EvidenceReport,
    FileReport,
    FindingReport,
    FutureReport,
    HistoryReport,
    PlanReport,
    ProfilesReport,
    ProfileSummary,
    RecoverReport,
    SnapshotReport,
    StatusReport,
)
from iommuctl.findings import Finding
from iommuctl.plan import FileEdit
from iommuctl.transaction.recovery import Recovered
from iommuctl.transaction.snapshot import Manifest, Summary
from iommuctl.transaction.store import Listing
from iommuctl.tree import digest


def plan_report(plan: Plan, root: str, executed: Executed | None) -> PlanReport:
    """The plan as JSON; `executed` is None for a dry-run."""
    return PlanReport(
        command="apply" if plan.of is None else "rollback",
        dry_run=executed is None,
        profile=plan.profile,
        platform=plan.survey.facts.platform.value,
        root=root,
        backend=plan.survey.backend.name,
        evidence=_evidence(plan.survey.evidence),
        changed=plan.is_changed,
        changes=tuple(
            ChangeReport(
                op=change.op,
                before=change.before,
                after=change.after,
                path=str(change.path),
                target=change.target,
                reason=change.reason,
            )
            for change in plan.changes
        ),
        files=tuple(
            FileReport(
                path=str(edit.path),
                file_class=edit.file_class,
                diff=edit.diff,
                before_sha256=digest(edit.before),
                after_sha256=digest(edit.after),
            )
            for edit in plan.edits
        ),
        commands=tuple(
            CommandReport(argv=command.argv, reason=command.reason, ran=executed is not None and plan.runs)
            for command in plan.commands
        ),
        findings=_findings((*plan.findings, *(executed.findings if executed else ()))),
        fingerprint=plan.fingerprint,
        snapshot=executed.snapshot if executed else None,
        reboot_required=plan.needs_reboot,
    )


def status_report(status: Status) -> StatusReport:
    """The status as JSON."""
    return StatusReport(
        root=status.root,
        platform=status.platform.value,
        backend=status.backend,
        evidence=_evidence(status.evidence),
        running_cmdline=None if status.running_cmdline is None else legible(status.running_cmdline),
        entries=tuple(
            EntryReport(
                id=entry.id,
                title=entry.title,
                kernel_release=entry.kernel_release,
                path=str(entry.path),
                cmdline=legible(str(entry.cmdline)),
                rescue=entry.rescue,
                default=entry.default,
                ours=entry.ours,
                reason=entry.reason,
            )
            for entry in status.config.entries
        ),
        future_kernels=FutureReport(
            cmdline=legible(str(status.config.future.cmdline)), source=str(status.config.future.source)
        ),
        profile=status.profile,
        drift=tuple(
            DriftReport(where=one.where, expected=one.expected, found=legible(one.found)) for one in status.drift
        ),
        effective=None if status.effective is None else _effective(status.effective),
        findings=_findings(status.findings),
        reboot_required=status.reboot_required,
    )


def _effective(effective: Effective) -> EffectiveReport:
    found = effective.verification
    return EffectiveReport(
        units=tuple(unit.name for unit in effective.observed.units),
        group_types=effective.group_types,
        interrupts_remapped=effective.observed.interrupts_remapped,
        verdict=None if found is None else found.verdict.value,
        by=None if found is None or found.by is None else found.by.value,
        failed=() if found is None else tuple(check.name for check in found.failed),
    )


def history_report(listing: Listing) -> HistoryReport:
    """The snapshots as JSON, newest first."""
    return HistoryReport(
        snapshots=tuple(
            SnapshotReport(
                id=one.id,
                created=_time(one),
                action=one.action.value,
                of=one.of,
                profile=one.profile,
                state=one.state.value,
                files=tuple(map(str, one.files)),
            )
            for one in listing.snapshots
        ),
        findings=_findings(listing.findings),
    )


def history_text(listing: Listing) -> str:
    """The snapshots, newest first, a row each; then those that cannot be read."""
    head = ("snapshot", "created", "action", "profile", "state", "files")
    rows = [(one.id, _time(one), one.action, one.profile, one.state, str(len(one.files))) for one in listing.snapshots]
    lines = table(head, rows) if rows else ("no snapshots",)
    return "".join(f"{line}\n" for line in (*lines, *finding_lines(listing.findings, colour=False)))


def snapshot_text(manifest: Manifest, edits: Iterable[FileEdit], *, colour: bool) -> str:
    """One snapshot: its row, the parameters it changed, and how each file differs now from what it was before."""
    lines = [history_text(Listing((manifest.summary,))), "changed:\n"]
    texts = (f"  {one.target}: {one.op} {one.after or one.before}: {one.reason}" for one in manifest.changes)
    lines += [f"{visible(text)}\n" for text in texts]
    lines += [f"{line}\n" for edit in edits for line in ("", *diff_lines(edit, colour=colour))]
    return "".join(lines)


def recover_report(recovered: Recovered | None) -> RecoverReport:
    """What became of an interrupted run, as JSON."""
    if recovered is None:
        return RecoverReport(recovered=None, completed=False, files=(), run_again=())
    return RecoverReport(
        recovered=recovered.snapshot.id,
        completed=recovered.completed,
        files=tuple(str(path) for path in recovered.restored),
        run_again=recovered.started,
    )


def profiles_report(profiles: Iterable[ProfileListing]) -> ProfilesReport:
    """The profiles as JSON."""
    return ProfilesReport(
        profiles=tuple(ProfileSummary(name=one.name, summary=one.summary, source=one.source) for one in profiles)
    )


def profiles_text(profiles: Iterable[ProfileListing]) -> str:
    """The profiles, a row each."""
    rows = [(one.name, one.summary, one.source) for one in profiles]
    return "".join(f"{line}\n" for line in table(("profile", "summary", "source"), rows))


def _evidence(evidence: Iterable[Evidence]) -> tuple[EvidenceReport, ...]:
    return tuple(EvidenceReport(probe=item.probe, found=item.found, says=item.says) for item in evidence)


def _findings(findings: Iterable[Finding]) -> tuple[FindingReport, ...]:
    return tuple(
        FindingReport(
            rule=item.rule, severity=item.severity, parameter=item.parameter, message=item.message, hint=item.hint
        )
        for item in findings
    )


def _time(one: Summary) -> str:
    return one.created.strftime("%Y-%m-%dT%H:%M:%SZ")
