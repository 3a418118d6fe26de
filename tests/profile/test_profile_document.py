# SPDX-License-Identifier: Apache-2.0
"""The document of the profile format: its example is a profile, and it names every table and field."""

import re

from project import PROJECT

from iommuctl.profile.inheritance import Profiles, load_profile
from iommuctl.profile.profile import ProfileText as Text
from iommuctl.profile.schema import ProfileModel, parse_profile
from iommuctl.profile.shipped import shipped_profiles

DOCUMENT = (PROJECT / "docs/profiles.md").read_text()


def example() -> str:
    found = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_a_profile_and_extends_a_shipped_one() -> None:
    known: Profiles = {**shipped_profiles(), "storage-node": Text(example(), "docs/profiles.md")}
    profile = load_profile("storage-node", known)
    assert {"iommu.strict=1", "intel_iommu=sm_off"} <= {one.parameter.text for one in profile.sets}
    assert parse_profile(example(), "docs/profiles.md").extends == "strict-isolation"


def test_every_table_is_named() -> None:
    tables = {field.alias or name for name, field in ProfileModel.model_fields.items()}
    tables -= {"name", "summary", "description", "extends"}
    assert {name for name in tables if f"[{name}]" not in DOCUMENT} == set()
