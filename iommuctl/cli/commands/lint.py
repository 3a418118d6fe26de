# SPDX-License-Identifier: Apache-2.0
"""Lint: what is wrong with a command line, and what to write instead."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.findings import finding_lines
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result, session, wants_colour
from iommuctl.findings import Severity

if TYPE_CHECKING:
    from iommuctl.app.look.lint import LintResult, LocatedFinding
    from iommuctl.documents.models import LintReport, LocatedFindingReport

_ERRORS_FOUND = 1


@command("lint", "lint --cmdline 'intel_iommu=on iommu=1'", "lint strict-isolation --platform amd", verbose=True)
def lint(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE",
            help="Lint the line that this profile makes; without it, what the host boots with.",
            autocompletion=options.complete_profile,
        ),
    ] = None,
    cmdline: Annotated[
        str | None, typer.Option("--cmdline", metavar="TEXT", help="Lint this command line instead.")
    ] = None,
    root: options.Root = options.ROOT,
    platform: options.PlatformOption = "auto",
    kernel: options.KernelOption = None,
    backend: options.Backend = None,
    inputs: options.Set = None,
) -> None:
    """Find myths, contradictions, deprecated and unsafe parameters.

    Each comes with the mend. Exit code 1 where one is an error.
    """
    if profile is not None and cmdline is not None:
        raise typer.BadParameter("a profile and a text are two things to lint", param_hint="'--cmdline'")
    from iommuctl.app.host import Host
    from iommuctl.app.look import lint as use_case

    chosen, kernels = options.parse_platform(platform), options.parse_kernels(kernel)
    found: LintResult
    if cmdline is not None:
        found = use_case.lint_text(cmdline, platform=chosen, kernels=kernels)
    elif profile is not None:
        host, values = Host.open(root), options.parse_inputs(inputs)
        found = use_case.lint_profile(host, profile, inputs=values, platform=chosen, kernels=kernels, backend=backend)
    else:
        host = Host.open(root)
        found = use_case.lint_host(host, platform=chosen, backend=backend, kernels=kernels)
    print_result(
        context,
        lambda: _report(found),
        lambda: _text(found, colour=wants_colour(sys.stdout), verbose=session(context).verbose),
    )
    raise typer.Exit(_ERRORS_FOUND if found.has_errors else 0)


def _text(found: "LintResult", *, colour: bool, verbose: bool) -> str:
    """What lint found, for people; verbose also says what was looked at, and which source a rule has."""
    return "".join(f"{line}\n" for line in _lines(found, colour=colour, verbose=verbose))


def _lines(found: "LintResult", *, colour: bool, verbose: bool) -> Iterator[str]:
    from iommuctl.lint.host_rules import HOST_RULES
    from iommuctl.lint.line_rules import RULES

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


def _count(findings: "Iterable[LocatedFinding]") -> str:
    severities = [one.finding.severity for one in findings]
    counts = [(severities.count(severity), severity) for severity in Severity]
    shown = [f"{count} {severity}{'s' if count > 1 else ''}" for count, severity in counts if count]
    return ", ".join(shown) or "nothing found"


def _report(found: "LintResult") -> "LintReport":
    from iommuctl.documents import base, models

    return models.LintReport(
        platform=found.platform,
        lines=base.reports(models.LineReport, found.lines),
        findings=tuple(map(_located, found.findings)),
    )


def _located(one: "LocatedFinding") -> "LocatedFindingReport":
    from iommuctl.documents import base, models

    return models.LocatedFindingReport(**dict(base.report(models.FindingReport, one.finding)), where=one.where)
