# SPDX-License-Identifier: Apache-2.0
"""The models of a profile's file and the values that they become: two shapes of one thing, and what ships of it.

`scripts/profiles.py` writes the values of the shipped profiles anew from their TOML.
"""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from project import PROJECT
from pydantic import BaseModel

from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile import profile, schema
from iommuctl.profile.profile import Absence, Input, InputType, Notice, Profile, Refusal, Reset, Setting, Warn
from iommuctl.profile.schema import parse_profile
from iommuctl.profile.shipped import shipped_profiles

SOURCES = PROJECT / "iommuctl" / "profile" / "profiles"
SHAPES: dict[type[BaseModel], type[NamedTuple]] = {
    schema.ProfileModel: Profile,
    schema.InputModel: Input,
    schema.SettingModel: Setting,
    schema.AbsenceModel: Absence,
    schema.WarnModel: Warn,
    schema.NoticeModel: Notice,
    schema.RefusalModel: Refusal,
    schema.ResetModel: Reset,
}
# No field has its default here, so that one which is not handed on shows.
WHOLE = """
name = "whole"
summary = "s"
description = "d"
extends = "other"
reset = { reason = "r" }
input = [
    { name = "i", type = "string", description = "d", pattern = "a?", default = "a" },
    { name = "j", type = "pci-ids", description = "d", required = true, alternative = "i" },
]
set = [{ parameter = "a", value_from = "i", reason = "r", platforms = ["intel"], when = "w" }]
absent = [{ parameter = "b", value_from = "i", reason = "r", platforms = ["amd"], when = "w" }]
refuse = [{ reason = "r", platforms = ["arm64"], when = "w" }]

[[warn]]
parameter = "c"
value_from = "i"
rule = "x-y"
severity = "info"
message = "m"
hint = "h"
platforms = ["intel", "amd"]
when = "w"

[[notice]]
rule = "z"
severity = "error"
message = "m"
hint = "h"
platforms = ["x86"]
when = "w"
"""


def own_classes(module: ModuleType) -> set[str]:
    return {name for name, one in vars(module).items() if isinstance(one, type) and one.__module__ == module.__name__}


def defaults(value: object) -> dict[str, object]:
    found: dict[str, object] = getattr(value, "_field_defaults", {})
    return found


@pytest.mark.parametrize("model", SHAPES)
def test_a_value_has_the_fields_of_its_model_with_their_defaults(model: type[BaseModel]) -> None:
    fields, shape = model.model_fields, SHAPES[model]
    assert set(shape._fields) == set(fields)
    assert defaults(shape) == {name: field.default for name, field in fields.items() if not field.is_required()}


def test_every_model_and_every_value_is_compared() -> None:
    assert {name for name in own_classes(schema) if name.endswith("Model")} == {one.__name__ for one in SHAPES}
    others = {"InputType", "ProfileText", "ShippedProfile"}
    assert own_classes(profile) - others == {one.__name__ for one in SHAPES.values()}


def test_every_field_reaches_the_value() -> None:
    assert parse_profile(WHOLE, "whole.toml") == Profile(
        name="whole",
        summary="s",
        description="d",
        extends="other",
        inputs=(
            Input("i", InputType.STRING, "d", pattern="a?", default="a"),
            Input("j", InputType.PCI_IDS, "d", required=True, alternative="i"),
        ),
        sets=(Setting(Parameter.parse("a"), "r", value_from="i", platforms=(Platform.INTEL,), when="w"),),
        absent=(Absence(Parameter.parse("b"), "r", value_from="i", platforms=(Platform.AMD,), when="w"),),
        warns=(
            Warn(
                parameter=Parameter.parse("c"),
                rule="x-y",
                severity=Severity.INFO,
                message="m",
                hint="h",
                value_from="i",
                platforms=(Platform.INTEL, Platform.AMD),
                when="w",
            ),
        ),
        notices=(Notice("z", Severity.ERROR, "m", hint="h", platforms=(Platform.X86,), when="w"),),
        refusals=(Refusal("r", platforms=(Platform.ARM64,), when="w"),),
        reset=Reset("r"),
    )


def test_the_whole_profile_leaves_no_field_at_its_default() -> None:
    whole = parse_profile(WHOLE, "whole.toml")
    for one in (whole, *whole.sets, *whole.absent, *whole.warns, *whole.notices, *whole.refusals):
        assert {name for name, usual in defaults(one).items() if getattr(one, name) == usual} == set()
    # An input that is required has no default, so it takes two.
    unusual = {name for one in whole.inputs for name, usual in defaults(one).items() if getattr(one, name) != usual}
    assert unusual == set(defaults(Input))


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_profile_is_what_its_toml_says(path: Path) -> None:
    shipped = shipped_profiles()[path.stem]
    assert shipped == (parse_profile(path.read_text(), path.name), str(path.relative_to(PROJECT)))


def test_no_shipped_profile_is_left_over() -> None:
    assert set(shipped_profiles()) == {path.stem for path in SOURCES.rglob("*.toml")}


def test_the_module_of_the_shipped_profiles_is_what_the_script_writes() -> None:
    check = [sys.executable, "scripts/profiles.py", "--check"]
    done = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
