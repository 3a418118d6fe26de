# SPDX-License-Identifier: Apache-2.0
"""Versions are compared as the specification has it, with its own examples."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.backends.entries.versions import NewestFirst, compare_versions

# UAPI.10, Version Format Specification 1.0, "Examples": each is older than every one after it.
SEQUENCE = [
    "122.1",
    "123~rc1-1",
    "123",
    "123-a",
    "123-a.1",
    "123-1",
    "123-1.1",
    "123^post1",
    "123.a-1",
    "123.1-1",
    "123a-1",
    "124-1",
]


def sign(left: str, right: str) -> str:
    difference = compare_versions(left, right)
    return "<" if difference < 0 else ">" if difference else "="


@pytest.mark.parametrize(("older", "newer"), tuple(combinations(SEQUENCE, 2)))
def test_the_sequence_of_the_specification(older: str, newer: str) -> None:
    assert (sign(older, newer), sign(newer, older)) == ("<", ">")


@pytest.mark.parametrize(
    ("left", "expected", "right"),
    [
        ("11", "=", "11"),
        ("systemd-123", "=", "systemd-123"),
        ("bar-123", "<", "foo-123"),
        ("123a", ">", "123"),
        ("123.a", ">", "123"),
        ("123.a", "<", "123.b"),
        ("123a", ">", "123.a"),
        ("11\u03b1", "=", "11\u03b2"),
        ("B", "<", "a"),
        ("", "<", "0"),
        ("0.", ">", "0"),
        ("0.0", ">", "0"),
        ("0", ">", "~"),
        ("", ">", "~"),
        ("1_", "=", "1"),
        ("_1", "=", "1"),
        ("1_", "<", "1.2"),
        ("1_2_3", ">", "1.3.3"),
        ("1+", "=", "1"),
        ("+1", "=", "1"),
        ("1+", "<", "1.2"),
        ("1+2+3", ">", "1.3.3"),
        # Of letters against a number, the letters count as 0.
        ("0a", "=", "a"),
        ("0_5", ">", "a"),
        ("0_5", "<", "4"),
        ("1.0a", "=", "1.a"),
        ("001", "=", "1"),
        ("1\u0661", "=", "1"),
        (f"1{'0' * 5000}", ">", f"{'9' * 5000}"),
    ],
)
def test_the_examples_of_the_specification_and_its_corners(left: str, expected: str, right: str) -> None:
    assert sign(left, right) == expected
    assert sign(right, left) == {"<": ">", ">": "<", "=": "="}[expected]


@given(st.lists(st.text(alphabet="0123ab.-~^_", max_size=8), max_size=6))
def test_the_newest_comes_first(versions: list[str]) -> None:
    listed = sorted(versions, key=NewestFirst)
    assert all(compare_versions(one, after) >= 0 for one, after in pairwise(listed))
