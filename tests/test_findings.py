# SPDX-License-Identifier: Apache-2.0
"""The ids of findings: each with a meaning, each used, and those of the shipped profiles among them."""

import re

import pytest
from project import PACKAGE

from iommuctl.findings import Rule
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.shipped import shipped_profiles


@pytest.mark.parametrize("rule", Rule)
def test_a_rule_has_an_id_in_kebab_case_and_a_meaning(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule)
    assert rule == rule.name.lower().replace("_", "-")
    assert rule.meaning[0].isalnum()
    assert not rule.meaning.endswith(".")


def test_the_rules_of_shipped_profiles_are_known() -> None:
    profiles = [load_profile(name, shipped_profiles()) for name in shipped_profiles()]
    notices = {notice.rule for profile in profiles for notice in profile.notices}
    assert notices | {warn.rule for profile in profiles for warn in profile.warns} <= {*Rule}


def test_every_rule_is_given_somewhere() -> None:
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    profiles = [shipped.profile for shipped in shipped_profiles().values()]
    given: set[str] = {Rule[name] for text in sources for name in re.findall(r"\bRule\.([A-Z_0-9]+)", text)}
    given |= {notice.rule for profile in profiles for notice in profile.notices}
    given |= {warn.rule for profile in profiles for warn in profile.warns}
    assert given == {*Rule}
