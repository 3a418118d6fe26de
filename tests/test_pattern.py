# SPDX-License-Identifier: Apache-2.0
"""Patterns serve as compiled expressions do, and are compiled by their first use."""

import re
from collections.abc import Callable

import pytest

from iommuctl.pattern import pattern


@pytest.mark.parametrize(
    "used",
    [
        lambda one: one.match("AB b")[1],
        lambda one: one.fullmatch("ab"),
        lambda one: one.search("- ab").span(),
        lambda one: one.findall("ab AB"),
        lambda one: one.sub("x", "ab ab"),
        lambda one: one.split("1ab2"),
        lambda one: one.pattern,
    ],
)
def test_a_pattern_does_what_the_compiled_expression_does(used: Callable[[re.Pattern[str]], object]) -> None:
    lazy = pattern("(a)b", re.IGNORECASE)
    wanted = used(re.compile("(a)b", re.IGNORECASE))
    assert str(used(lazy)) == str(wanted)
    assert str(used(lazy)) == str(wanted)


def test_a_pattern_of_bytes_reads_bytes() -> None:
    assert pattern(rb"\d+").findall(b"1 22") == [b"1", b"22"]


def test_a_pattern_is_compiled_by_its_first_use() -> None:
    wrong = pattern("(")
    with pytest.raises(re.error, match="unterminated subpattern"):
        wrong.match("")
