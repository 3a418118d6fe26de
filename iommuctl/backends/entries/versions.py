# SPDX-License-Identifier: Apache-2.0
"""Versions: which of two is the newer, as the loaders that sort entries compare them. Pure."""

import re

from iommuctl.pattern import pattern

# rpmvercmp: `~` is older than the end, letters are newer than it, numbers newer than letters.
_VERSION_PART = re.compile(r"~|\d+|[A-Za-z]+")
_MOST_DIGITS = 255  # more than a file name has; of a text that long the letters are compared
_TILDE, _END, _LETTERS, _NUMBER = range(4)
# UAPI.10: every other character only separates. The marks compare lower than what may be in their place, in this order.
_COMPONENT = pattern(r"[~^.-]|[0-9]+|[A-Za-z]+")
_MARKS = {"~": 0, "": 1, "-": 2, "^": 3, ".": 4}
_TEXT = 5


def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts versions as rpmvercmp does, oldest first: GRUB of Fedora and RHEL sorts entries so."""
    return (*map(_ranked, _VERSION_PART.findall(text)), (_END, 0, ""))


def _ranked(part: str) -> tuple[int, int, str]:
    if part.isascii() and part.isdigit() and len(part) <= _MOST_DIGITS:
        return _NUMBER, int(part), ""
    return (_TILDE, 0, "") if part == "~" else (_LETTERS, 0, part)


def compare_versions(left: str, right: str) -> int:
    """Return less than, exactly or more than 0 where the left version is older, the same or newer, by UAPI.10.

    Takes time by the length of the shorter one.
    """
    return _compare(_COMPONENT.findall(left), _COMPONENT.findall(right))


class NewestFirst:  # noqa: PLW1641 - equal ones may be written differently
    """A key that sorts the newest version first; a version is taken apart once for all comparisons."""

    __slots__ = ("_components",)

    def __init__(self, version: str) -> None:
        self._components = _COMPONENT.findall(version)

    def __lt__(self, other: "NewestFirst") -> bool:
        return _compare(self._components, other._components) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NewestFirst) and _compare(self._components, other._components) == 0


def _compare(ours: list[str], theirs: list[str]) -> int:
    at = there = 0
    while True:
        while at < len(ours) and there < len(theirs) and ours[at] == theirs[there]:
            at, there = at + 1, there + 1
        mine = ours[at] if at < len(ours) else ""
        other = theirs[there] if there < len(theirs) else ""
        difference = _MARKS.get(mine, _TEXT) - _MARKS.get(other, _TEXT)
        if difference or not mine:
            return difference
        numbers = mine[0] <= "9", other[0] <= "9"
        if not any(numbers):
            return -1 if mine < other else 1
        # Letters have no number before them, which counts as 0; they are compared in the next step.
        left, right = (
            _number(text) if is_number else (0, "") for text, is_number in zip((mine, other), numbers, strict=True)
        )
        if left != right:
            return -1 if left < right else 1
        at, there = at + numbers[0], there + numbers[1]


def _number(digits: str) -> tuple[int, str]:
    """A number as its count of digits and these: of any length, and without the cost of one."""
    stripped = digits.lstrip("0")
    return len(stripped), stripped
