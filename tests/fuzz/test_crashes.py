# SPDX-License-Identifier: Apache-2.0
"""Inputs that once broke a promise: each is fed again. They were found by scripts/fuzz, and are kept by target."""

import os
from pathlib import Path

import pytest
from targets import TARGETS, takes

CRASHES = Path(__file__).with_name("crashes")
KEPT = sorted(path for path in CRASHES.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_promise_does_so_no_more(path: Path) -> None:
    target = TARGETS[path.parent.name]
    if target.is_whole_plan and os.geteuid() != 0:
        pytest.skip("only root can confine the shell that evaluates")
    takes(target, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_or_refuses_what_it_begins_with(name: str) -> None:
    if TARGETS[name].is_whole_plan and os.geteuid() != 0:
        pytest.skip("only root can confine the shell that evaluates")
    taken = [takes(TARGETS[name], content) for content in (*TARGETS[name].seeds(), b"")]
    assert taken
