# SPDX-License-Identifier: Apache-2.0
"""The linter: any line can be linted, and each is told of as if it were alone."""

from hypothesis import given
from hypothesis import strategies as st
from linted import ALL_RULES, CATALOGUE, isolating, subject

from iommuctl.facts import Platform
from iommuctl.findings import Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.environment import Surroundings
from iommuctl.lint.engine import Linter, LintRule, Subject, lint

WORDS = st.sampled_from(
    [
        *(definition.name for definition in CATALOGUE.definitions),
        *("=", ",", "-", "--", " ", " ", '"', "on", "off", "pt", "1", "0", "x", "iommu.", "[", "\udcff"),
    ]
)


@given(st.lists(WORDS, max_size=12).map("".join), st.sampled_from(Platform), st.sampled_from(["", "4.15", "6.1 7.1"]))
def test_any_line_can_be_linted_and_findings_are_sorted(line: str, platform: Platform, kernels: str) -> None:
    found = lint(
        subject(line, platform, kernels, isolating(), Surroundings(tables=frozenset({"DMAR", "FACP"}), is_guest=True)),
        ALL_RULES,
    )
    order = list(Severity)
    keys = [(order.index(one.severity), one.rule, one.parameter or "", one.message) for one in found]
    assert keys == sorted(set(keys))


@given(st.lists(WORDS, max_size=12).map("".join), st.sampled_from(Platform), st.sampled_from(["", "4.15", "6.1 7.1"]))
def test_rules_of_items_look_at_known_parameters_alone(line: str, platform: Platform, kernels: str) -> None:
    parameters = Cmdline.parse(line).parameters
    known = " ".join(parameter.text for parameter in parameters if CATALOGUE.known(parameter.name))
    rules = [rule for rule in ALL_RULES if rule.of_items]
    whole, part = (lint(subject(text, platform, kernels, isolating()), rules) for text in (line, known))
    assert whole == part


def test_a_linter_tells_of_each_line_what_is_told_of_it_alone() -> None:
    lines = (
        "iommu=pt a",
        'iommu=pt b="c',
        "intel_iommu=off iommu=pt",
        "iomu.strict=1 iommu=pt",
        "iommu=pt -- iommu=off",
    )
    linter = Linter(ALL_RULES)
    assert [linter.lint(subject(line)) for line in lines] == [lint(subject(line), ALL_RULES) for line in lines]


def test_what_is_known_of_lines_is_weighed_once() -> None:
    weighed: list[Subject] = []

    def check(linted: Subject) -> tuple[()]:
        weighed.append(linted)
        return ()

    linter = Linter([LintRule(Rule.MYTH, Severity.WARNING, "", check, of_items=True)])
    for line in ("iommu=pt a", "iommu=pt b", "iommu=pt"):
        linter.lint(subject(line))
    assert len(weighed) == 1
