# SPDX-License-Identifier: Apache-2.0
"""Explain: what a parameter does, where, and who says so; and what the rule of a finding means."""

from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.text import visible_lines
from iommuctl.cli.session import print_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iommuctl.documents.explained import ExplainReport, ParameterReport
    from iommuctl.findings import Rule
    from iommuctl.kernel.explain import Explanation


def _complete_parameter(incomplete: str) -> list[str]:
    from iommuctl.app.completion import explained_names

    return list(explained_names(incomplete))


@command("explain iommu=1", "explain intel_iommu iommu.strict=0", "explain rescue-follows")
def explain(
    context: typer.Context,
    parameters: Annotated[
        list[str],
        typer.Argument(
            metavar="PARAMETER[=VALUE]",
            help="Such as iommu=pt or intel_iommu; or the rule of a finding.",
            autocompletion=_complete_parameter,
        ),
    ],
    kernel: options.KernelOption = None,
) -> None:
    """Tell what a parameter does, on which hardware and kernels.

    Also what it conflicts with, and the place in the kernel's source that says so; with --kernel, whether that kernel
    reads it.
    """
    from iommuctl.app.look.explain import explain_words

    found = explain_words(tuple(parameters), options.parse_kernels(kernel))
    print_result(context, lambda: _report(found), lambda: _text(found))


def _text(found: "Iterable[Explanation | Rule]") -> str:
    """What explain says, one parameter or rule after the other."""
    from iommuctl.findings import Rule
    from iommuctl.kernel.explain import describe

    return "\n".join(_rule(one) if isinstance(one, Rule) else visible_lines(describe(one)) for one in found)


def _rule(rule: "Rule") -> str:
    return f"{rule.value}: the rule of a finding\n  {rule.meaning}\nsource: iommuctl(8), FINDINGS\n"


def _report(found: "Iterable[Explanation | Rule]") -> "ExplainReport":
    from iommuctl.documents.explained import ExplainReport, RuleReport
    from iommuctl.findings import Rule

    words = tuple(found)
    return ExplainReport(
        parameters=tuple(_parameter(one) for one in words if not isinstance(one, Rule)),
        rules=tuple(RuleReport(rule=one.value, meaning=one.meaning) for one in words if isinstance(one, Rule)),
    )


def _parameter(one: "Explanation") -> "ParameterReport":
    from iommuctl.documents.base import report
    from iommuctl.documents.explained import KernelAnswerReport, KernelDefaultReport, ParameterReport

    kernels = tuple(
        KernelAnswerReport(
            item=answer.item,
            kernel=answer.kernel.release,
            architecture=answer.architecture,
            reads=answer.reads,
            source=answer.source,
        )
        for answer in one.answers
    )
    return report(
        ParameterReport,
        one.definition,
        asked=one.asked,
        said=one.said,
        advice=one.advice,
        conflicts=one.rivals,
        kernels=kernels,
        defaults=tuple(report(KernelDefaultReport, each, kernel=each.kernel.release) for each in one.defaults),
    )
