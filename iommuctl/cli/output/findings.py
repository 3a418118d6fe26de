# SPDX-License-Identifier: Apache-2.0
"""Findings: what an operator should know, and what was looked at to tell the bootloader, as text."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from iommuctl.cli.output.style import Style, styled, table
from iommuctl.cli.output.text import visible
from iommuctl.findings import Finding, Severity

if TYPE_CHECKING:
    from iommuctl.backends.detection.evidence import Evidence

_SEVERITY_STYLES = {Severity.ERROR: Style.RED, Severity.WARNING: Style.YELLOW, Severity.INFO: Style.CYAN}


def finding_lines(findings: Iterable[Finding], *, colour: bool) -> Iterator[str]:
    """Findings, worst first, each with its hint."""
    order = list(Severity)
    ordered = sorted(
        findings, key=lambda finding: (order.index(finding.severity), finding.rule, finding.parameter or "")
    )
    if ordered:
        yield ""
    for finding in ordered:
        mark = styled(f"{finding.severity}[{finding.rule}]", _SEVERITY_STYLES[finding.severity], colour=colour)
        about = f" {visible(finding.parameter)}:" if finding.parameter else ""
        yield f"{mark}{about} {visible(finding.message)}"
        if finding.hint:
            yield f"    hint: {visible(finding.hint)}"


def evidence_lines(evidence: "Iterable[Evidence]") -> Iterator[str]:
    """What was looked at to tell the bootloader, one row each."""
    rows = [tuple(map(visible, (item.probe, item.found, item.says))) for item in evidence]
    yield from table(("looked at", "found", "says"), rows)
