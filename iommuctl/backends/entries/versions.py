# SPDX-License-Identifier: Apache-2.0
"""Versions: which of two is the newer, as the loaders that sort entries compare them. Pure."""

import re
from functools import cmp_to_key

# rpmvercmp: `~` is older than the end, letters are newer than it, numbers newer than letters.
_VERSION_PART = re.compile(r"~|\d+|[A-Za-z]+")
_DIGITS = re.compile(r"[0-9]{1,255}")  # more than a file name has; of a text that long the letters are compared
_TILDE, _END, _LETTERS, _NUMBER = range(4)
# UAPI.10: every other character only separates. The marks compare lower than what may be in their place, in this order.
_COMPONENT = re.compile(r"[~^.-]|[0-9]+|[A-Za-z]+")
_MARKS = {"~": 0, "": 1, "-": 2, "^": 3, ".": 4}
_TEXT = 5


def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts versions as rpmvercmp does, oldest first: GRUB of Fedora and RHEL sorts entries so."""
    parts = _VERSION_PART.findall(text)
    ranked = [
        (_TILDE, 0, "") if part == "~" else (_NUMBER, int(part), "") if _DIGITS.fullmatch(part) else (_LETTERS, 0, part)
        for part in parts
    ]
    return (*ranked, (_END, 0, ""))


def compare_versions(left: str, right: str) -> int:
    """Return less than, exactly or more than 0 where the left version is older, the same or newer, by UAPI.10.

    Takes time by the length of the shorter one.
    """
    if left == right:
        return 0
    ours, theirs = iter(_COMPONENT.findall(left)), iter(_COMPONENT.findall(right))
    mine, other = next(ours, ""), next(theirs, "")
    while True:
        difference = _MARKS.get(mine, _TEXT) - _MARKS.get(other, _TEXT)
        if difference or not mine:
            return difference
        both = True
        if "0" <= mine[0] <= "9" or "0" <= other[0] <= "9":
            # Letters have no number before them, which counts as 0; they are compared in the next step.
            difference = _compared(_number(mine), _number(other))
            both = mine[0].isdigit() and other[0].isdigit()
        elif mine != other:
            difference = -1 if mine < other else 1
        if difference:
            return difference
        mine, other = (
            next(ours, "") if both or mine[0].isdigit() else mine,
            next(theirs, "") if both or other[0].isdigit() else other,
        )


def _newest_first(left: str, right: str) -> int:
    return compare_versions(right, left)


# A key that sorts the newest version first.
newest_version_first = cmp_to_key(_newest_first)


def _number(component: str) -> tuple[int, str]:
    """The number that a component is, as its count of digits and these: of any length, and without the cost of one."""
    digits = component.lstrip("0") if component[0].isdigit() else ""
    return len(digits), digits


def _compared(left: tuple[int, str], right: tuple[int, str]) -> int:
    return (left > right) - (left < right)
