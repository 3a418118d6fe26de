# SPDX-License-Identifier: Apache-2.0
"""A program that is missing is a skip here, and a failure where CI=true."""

import re
from pathlib import Path

import pytest
from lacking import lacks
from project import TESTS

# What only the kernel or the rights of who runs the tests decide; every other skip is by way of `lacks`.
ALLOWED = re.compile(
    r"only root|cannot be |cannot mount|no mount here|no ACLs|attributes|no immutable|may not|does not work|already"
)


def test_what_is_missing_is_a_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such program"):
        lacks("no such program")


def test_what_is_missing_is_a_failure_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such program"):
        lacks("no such program")


def test_no_other_skip_hides_a_missing_program() -> None:
    files = (path for path in sorted(TESTS.rglob("*.py")) if path.name not in ("lacking.py", Path(__file__).name))
    lines = [f"{path.name}: {line.strip()}" for path in files for line in path.read_text().splitlines()]
    skips = [line for line in lines if "pytest.skip(" in line or "mark.skipif(" in line]
    assert [line for line in skips if not ALLOWED.search(line)] == []
