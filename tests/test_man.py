# SPDX-License-Identifier: Apache-2.0
"""The man page of the parameters says what `explain` says, and is current."""

import importlib.util
from pathlib import Path

from iommuctl.explain import describe, explain
from iommuctl.shipped import shipped_catalogue

MAN = Path(__file__).resolve().parent.parent / "man"


def generated() -> str:
    spec = importlib.util.spec_from_file_location("parameters_page", MAN / "parameters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page: str = module.page()
    return page


def test_the_page_is_what_its_generator_makes_of_the_catalogue() -> None:
    assert (MAN / "iommuctl-parameters.7.rst").read_text() == generated()


def test_every_parameter_is_explained_as_the_command_does() -> None:
    page = generated()
    for definition in shipped_catalogue().definitions:
        words = describe(explain(definition.name, shipped_catalogue())).splitlines()
        assert [line for line in words if line.strip() and f"    {line}" not in page] == [], definition.name
