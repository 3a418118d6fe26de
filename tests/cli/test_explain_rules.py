# SPDX-License-Identifier: Apache-2.0
"""Explain tells the rules of findings too: by their id, in the order asked, completed, and the one that was meant."""

import json

import pytest
from console import in_process

from iommuctl.app.completion import explained_names
from iommuctl.findings import Rule
from iommuctl.profile.shipped import shipped_catalogue

RULES = [one.value for one in Rule]


def test_no_rule_has_the_name_of_a_parameter() -> None:
    assert [one for one in RULES if shipped_catalogue().known(one) is not None] == []


def test_a_rule_is_told_by_its_id() -> None:
    assert in_process("explain", "too-long").stdout == (
        "too-long: the rule of a finding\n  a line longer than COMMAND_LINE_SIZE\nsource: iommuctl(8), FINDINGS\n"
    )


def test_every_rule_is_in_the_json() -> None:
    document = json.loads(in_process("explain", "iommu=pt", *RULES, "--json").stdout)
    assert document["rules"] == [{"rule": one.value, "meaning": one.meaning} for one in Rule]
    assert [one["asked"] for one in document["parameters"]] == ["iommu=pt"]


@pytest.mark.parametrize("typed", ["rescue-folows", "rescue-follow", "resuce-follows"])
def test_a_slip_is_met_with_the_rule_that_is_meant(typed: str) -> None:
    done = in_process("explain", typed)
    assert (done.returncode, "did you mean 'rescue-follows'?" in done.stderr) == (66, True), done.stderr


def test_rules_are_completed() -> None:
    assert explained_names("rescue-") == ("rescue-follows",)
