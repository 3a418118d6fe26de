# SPDX-License-Identifier: Apache-2.0
"""What the releases that were read say of one kernel: yes, no, or nothing."""

import pytest

from iommuctl.facts import KernelVersion
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.span import Span
from iommuctl.kernel.tables.spans import since


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("6.1", ("6.1", None, None, None, "")),
        ("5.12/5.14 a/b.c:7 at 5.14", ("5.14", "5.12", None, None, "a/b.c:7 at 5.14")),
        ("4.19/5.4..5.10/5.11", ("5.4", "4.19", "5.10", "5.11", "")),
        ("..4.19/5.4", (None, None, "4.19", "5.4", "")),
        ("8.10/ none", (None, "8.10", None, None, "none")),
    ],
)
def test_a_span_is_read_with_its_source(text: str, parts: tuple[str | None, ...]) -> None:
    *versions, source = Span.parse(text)
    assert [None if one is None else str(one) for one in versions] == list(parts[:-1])
    assert source == parts[-1]


@pytest.mark.parametrize("text", ["", "six", "6.1..", "6", "/", " source alone"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no span"):
        Span.parse(text)


@pytest.mark.parametrize(
    ("text", "least", "most", "expected"),
    [
        ("9.2/9.3", "9.3", "9.3", True),
        ("9.2/9.3", "9.2", "9.2", False),
        ("9.2/9.3", "9.1", "9.2", False),
        ("9.2/9.3", "9.2", "9.3", None),
        ("9.2/9.3", "9.4", None, True),
        ("9.0/9.3", "9.1", "9.1", None),
        ("9.3", "9.1", "9.1", None),
        ("9.0..9.4/9.5", "9.4", "9.4", True),
        ("9.0..9.4/9.5", "9.4", "9.5", None),
        ("9.0..9.4/9.5", "9.5", "9.6", False),
        ("9.0..9.4/9.5", "9.7", None, False),
        ("9.6/", "9.6", "9.6", False),
        ("9.6/", "9.7", "9.7", None),
        ("9.6/", None, "9.0", False),
    ],
)
def test_a_kernel_is_between_releases(text: str, least: str | None, most: str | None, expected: bool | None) -> None:
    bounds = (None if one is None else KernelVersion.parse(one) for one in (least, most))
    assert Span.parse(text).covers(*bounds) is expected


STRICT = since("5.12/5.14", el8="8.5/8.6")
REMOVED = since("4.19..6.8/6.12", el9="9.0..9.4/9.5")


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("5.12", False),
        ("5.13", None),  # between the trees that were read
        ("5.14", True),
        ("5.10.0-30-amd64", False),
        ("4.18.0-348.el8_5", False),
        ("4.18.0-372.el8_6", True),
        ("4.18.0-360.el8", None),
        ("5.14.0-70.el9_0", True),  # no row of its own: what its number has
        ("5.4.0-100-generic", None),  # a number says what a line has, not what it lacks
        ("5.15.0-100-generic", True),
        ("4.19.0+1", None),
        ("6.6.0-custom", True),
    ],
)
def test_a_line_knows_more_than_its_number(release: str, expected: bool | None) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert STRICT.cover(kernel) is expected


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.8", True),
        ("6.12", False),
        ("5.14.0-427.el9_4", True),
        ("5.14.0-503.el9_5", False),
        ("6.5.0-10-generic", None),  # what upstream removed may have been taken over
        ("6.12.0-55.el10_0", False),
        ("6.14.0-10-generic", False),
    ],
)
def test_what_was_removed_is_not_known_by_the_number_alone(release: str, expected: bool | None) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert REMOVED.cover(kernel) is expected


@pytest.mark.parametrize(("release", "expected"), [("6.1.192", True), ("6.1.100", None), ("6.1.0-50-amd64", None)])
def test_a_stable_release_may_have_it_earlier(release: str, expected: bool | None) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert since("6.4/6.5", stable=((6, 1, 192),)).cover(kernel) is expected
