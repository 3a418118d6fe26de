# SPDX-License-Identifier: Apache-2.0
"""Explained: what lint found and what explain says, as the JSON models of report.py and as text."""

from collections.abc import Iterable, Iterator

from iommuctl.app.lint import LintResult, LocatedFinding
from iommuctl.cli.output.plan import finding_lines
from iommuctl.cli.output.text import legible, visible
from iommuctl.documents.models import (
    AdviceReport,
    AvailabilityReport,
    ExplainReport,
    LineReport,
    LintReport,
    LocatedFindingReport,
    MythReport,
    ParameterReport,
    SaidReport,
    TokenReport,
)
from iommuctl.findings import Severity
from iommuctl.kernel.explain import Explanation, describe
from iommuctl.kernel.parameters import Availability
from iommuctl.kernel.span import Spans
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES


def lint_report(found: LintResult) -> LintReport:
    """What lint found, as JSON."""
    return LintReport(
        platform=found.platform,
        lines=tuple(
            LineReport(
                where=legible(line.where),
                cmdline=legible(str(line.cmdline)),
                kernels=tuple(map(str, line.kernels)),
            )
            for line in found.lines
        ),
        findings=tuple(
            LocatedFindingReport(
                rule=one.finding.rule,
                severity=one.finding.severity,
                parameter=None if one.finding.parameter is None else legible(one.finding.parameter),
                message=legible(one.finding.message),
                hint=None if one.finding.hint is None else legible(one.finding.hint),
                where=tuple(map(legible, one.where)),
            )
            for one in found.findings
        ),
    )


def lint_text(found: LintResult, *, colour: bool, verbose: bool) -> str:
    """What lint found, for people; verbose also says what was looked at, and which source a rule has."""
    return "".join(f"{line}\n" for line in _lint_lines(found, colour=colour, verbose=verbose))


def _lint_lines(found: LintResult, *, colour: bool, verbose: bool) -> Iterator[str]:
    sources: dict[str, str] = {rule.id: rule.source for rule in (*RULES, *HOST_RULES)}
    if verbose:
        for line in found.lines:
            yield from (visible(f"{line.where}:"), f"    {visible(str(line.cmdline))}")
    for one in found.findings:
        yield from (text for text in finding_lines((one.finding,), colour=colour) if text)
        if 0 < len(one.where) < len(found.lines):
            yield visible(f"    on: {', '.join(one.where)}")
        if verbose and one.finding.rule in sources:
            yield f"    source: {sources[one.finding.rule]}"
    lines = "1 command line" if len(found.lines) == 1 else f"{len(found.lines)} command lines"
    yield f"{_count(found.findings)} in {lines}"


def _count(findings: Iterable[LocatedFinding]) -> str:
    severities = [one.finding.severity for one in findings]
    counts = [(severities.count(severity), severity) for severity in Severity]
    shown = [f"{count} {severity}{'s' if count > 1 else ''}" for count, severity in counts if count]
    return ", ".join(shown) or "nothing found"


def explain_report(found: Iterable[Explanation]) -> ExplainReport:
    """What explain says, as JSON."""
    return ExplainReport(parameters=tuple(map(_parameter, found)))


def explain_text(found: Iterable[Explanation]) -> str:
    """What explain says, one parameter after the other."""
    return "\n".join(visible(describe(one)) for one in found)


def _parameter(one: Explanation) -> ParameterReport:
    definition = one.definition
    return ParameterReport(
        asked=legible(one.asked),
        name=definition.name,
        summary=definition.summary,
        kind=definition.kind.value,
        grammar=definition.grammar.value,
        said=tuple(SaidReport(item=legible(said.item), meaning=legible(said.meaning)) for said in one.said),
        advice=tuple(AdviceReport(question=advice.question, answer=advice.answer) for advice in one.advice),
        available=_available(definition.available),
        platforms=tuple(definition.platforms),
        default=definition.default,
        kconfig=definition.kconfig,
        effect=definition.effect,
        same_as=definition.same_as,
        deprecated_since=_since(definition.deprecated_since),
        unsafe=definition.unsafe,
        conflicts=one.rivals,
        tokens=tuple(
            TokenReport(
                name=token.name,
                meaning=token.meaning,
                same_as=token.same_as,
                available=_available(token.available),
                deprecated_since=_since(token.deprecated_since),
                unsafe=token.unsafe,
            )
            for token in definition.tokens
        ),
        myths=tuple(MythReport(value=myth.value, meaning=myth.meaning, mend=myth.mend) for myth in definition.myths),
        notes=definition.notes,
        source=definition.source,
    )


def _available(spans: Iterable[Availability]) -> tuple[AvailabilityReport, ...]:
    return tuple(
        AvailabilityReport(architecture=span.on, since=_version(span.since), until=_version(span.until))
        for span in spans
    )


def _since(spans: Spans | None) -> str | None:
    return None if spans is None else _version(spans.since)


def _version(version: object) -> str | None:
    return None if version is None else str(version)
