# SPDX-License-Identifier: Apache-2.0
"""Render: results as text for people. Plain strings; colour only where the stream wants it."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from iommuctl.app.plan import Plan
from iommuctl.backends.detection.detect import Evidence
from iommuctl.cli.output.text import visible
from iommuctl.findings import Finding, Severity
from iommuctl.plan import FileEdit

if TYPE_CHECKING:
    from iommuctl.app.host import Host
    from iommuctl.app.status import Effective, Status
    from iommuctl.transaction.recovery import Recovered


class Style(StrEnum):
    """ANSI SGR codes (ECMA-48)."""

    BOLD = "1"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


_SEVERITY_STYLES = {Severity.ERROR: Style.RED, Severity.WARNING: Style.YELLOW, Severity.INFO: Style.CYAN}


def styled(text: str, style: Style, colour: bool) -> str:
    """Put a style around a text, or leave it."""
    return f"\x1b[{style}m{text}\x1b[0m" if colour else text


def plan_text(plan: Plan, *, colour: bool, verbose: bool) -> str:
    """The whole plan: diffs, commands with their reason, findings, fingerprint."""
    return "".join(f"{line}\n" for line in _plan_lines(plan, colour=colour, verbose=verbose))


def _plan_lines(plan: Plan, *, colour: bool, verbose: bool) -> Iterator[str]:
    subject = f"apply {plan.profile}" if plan.of is None else f"rollback to before {plan.of}"
    yield styled(
        f"{subject}  (platform {plan.survey.facts.platform}, backend {plan.survey.backend.name})", Style.BOLD, colour
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


def finding_lines(findings: Iterable[Finding], *, colour: bool) -> Iterator[str]:
    """Findings, worst first, each with its hint."""
    order = list(Severity)
    ordered = sorted(
        findings, key=lambda finding: (order.index(finding.severity), finding.rule, finding.parameter or "")
    )
    if ordered:
        yield ""
    for finding in ordered:
        mark = styled(f"{finding.severity}[{finding.rule}]", _SEVERITY_STYLES[finding.severity], colour)
        about = f" {visible(finding.parameter)}:" if finding.parameter else ""
        yield f"{mark}{about} {visible(finding.message)}"
        if finding.hint:
            yield f"    hint: {visible(finding.hint)}"


def evidence_lines(evidence: Iterable[Evidence]) -> Iterator[str]:
    """What was looked at to tell the bootloader, one row each."""
    rows = [(item.probe, visible(item.found), item.says) for item in evidence]
    yield from table(("looked at", "found", "says"), rows)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns that are as wide as they must be."""
    all_rows = [head, *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(head))]
    for row in all_rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def status_text(status: "Status", *, colour: bool) -> str:
    """The bootloader and why, what runs, what boots, and what has drifted."""
    return "".join(f"{line}\n" for line in _status_lines(status, colour=colour))


def _status_lines(status: "Status", *, colour: bool) -> Iterator[str]:
    yield styled(f"backend {status.backend}, platform {status.platform}", Style.BOLD, colour)
    yield from (f"  {line}" for line in evidence_lines(status.evidence))
    yield ""
    yield f"profile applied: {status.profile or 'none'}"
    if status.running_cmdline is not None:
        yield f"running: {visible(status.running_cmdline)}"
    if status.effective is not None:
        yield from _effective_lines(status.effective, colour=colour)
    yield f"next kernel: {visible(str(status.config.future.cmdline))}  (from {status.config.future.source})"
    yield ""
    for entry in status.config.entries:
        mark = "*" if entry.default else " "
        note = "" if entry.ours and not entry.rescue else f"  [{entry.reason}]"
        yield f"{mark} {visible(entry.title)}{note}"
        if entry.cmdline.tokens:
            yield f"    {visible(str(entry.cmdline))}"
    for drift in status.drift:
        text = visible(f"drift: {drift.where}: expected {drift.expected}, found {drift.found}")
        yield styled(text, Style.YELLOW, colour)
    if status.drift:
        yield f"hint: {visible(status.way_in_step)} shows what would bring them in step"
    yield from finding_lines(status.findings, colour=colour)
    if status.reboot_required:
        yield styled("a reboot is required for the applied profile to take effect", Style.YELLOW, colour)


def _effective_lines(effective: "Effective", *, colour: bool) -> Iterator[str]:
    units = " ".join(unit.name for unit in effective.observed.units) or "no IOMMU"
    types = ", ".join(f"{count} {kind}" for kind, count in effective.group_types.items()) or "none"
    remapped = {True: "on", False: "off", None: "not known"}[effective.observed.interrupts_remapped]
    yield visible(f"effective: {units}; groups: {types}; interrupt remapping {remapped}")
    if (found := effective.verification) is not None:
        yield styled(f"verify: {found.verdict}", Style.GREEN if found.is_active else Style.YELLOW, colour)
        yield from (f"  {check.name}: {visible(check.detail)}" for check in found.failed)


def recover_text(host: "Host", recovered: "Recovered | None") -> str:
    """What became of an interrupted run."""
    if recovered is None:
        return "nothing to recover: no run was interrupted\n"
    if recovered.completed:
        return f"snapshot {recovered.snapshot.id} was complete; it is closed now\n"
    lines = [f"snapshot {recovered.snapshot.id} was interrupted; it is undone"]
    lines += [f"  {path}: put back" for path in recovered.restored]
    lines += [f"  {path}: kept as it is" for path in recovered.kept]
    lines += [f"  {path}: what stood there before" for path in recovered.displaced]
    for argv in recovered.started:
        lines += ["what this one wrote is not undone before it runs again:", f"hint: {host.typed(argv)}"]
    return "".join(f"{visible(line)}\n" for line in lines)


def diff_lines(edit: FileEdit, *, colour: bool) -> Iterator[str]:
    """One file's unified diff; control characters made visible."""
    yield from (_diff_line(line, colour) for line in visible(edit.diff).splitlines())


def _diff_line(line: str, colour: bool) -> str:
    if line.startswith(("+++", "---")):
        return styled(line, Style.BOLD, colour)
    if line.startswith("@@"):
        return styled(line, Style.CYAN, colour)
    if line.startswith("+"):
        return styled(line, Style.GREEN, colour)
    return styled(line, Style.RED, colour) if line.startswith("-") else line


def _change_text(before: str | None, after: str | None) -> str:
    if before is None:
        return f"add {after}"
    return f"remove {before}" if after is None else f"{before} becomes {after}"
