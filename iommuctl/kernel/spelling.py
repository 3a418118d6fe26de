# SPDX-License-Identifier: Apache-2.0
"""Spelling: which known name a misspelt one is meant to be. Pure."""

from collections.abc import Iterable
from functools import lru_cache

from iommuctl.kernel.cmdline import canonical_name

# Below this length too many names are one letter apart (iommu and iomem, efi and edd).
_SHORTEST = 5
# Up to this length one slip is forgiven, beyond it two: noapic is two letters away from nox2apic.
_SHORT = 8
# Among a few names that are offered, a slip in every third letter still tells which is meant.
_LETTERS_OF_A_SLIP = 3


@lru_cache(maxsize=1024)  # the entries of a host repeat the same names a thousand times
def nearest(name: str, candidates: tuple[str, ...]) -> str | None:
    """Return the candidate that a name is a slip or two away from, the closest and first of them; None for none.

    A slip is a letter too many, missing, wrong, or swapped with its neighbour; `-` and `_` are one letter.
    """
    wanted = canonical_name(name)
    best: tuple[int, str] | None = None
    for candidate, known, allowed in _known(candidates):
        if abs(len(known) - len(wanted)) > allowed or not _shares_a_part(wanted, known, allowed + 1):
            continue
        slips = _slips(wanted, known)
        if slips <= allowed and (best is None or slips < best[0]):
            best = (slips, candidate)
    return best[1] if best else None


def meant(word: str, candidates: Iterable[str]) -> str | None:
    """Return which of a few names that a user may type is meant by a word that is none of them; None for none.

    It is one that begins with the word or has it as a whole part, where no other has, or one that is as near as a
    third of its letters. Case, and `_` for `-`, tell nothing apart.
    """
    known = {_folded(one): str(one) for one in candidates}
    wanted = _folded(word)
    if not wanted:
        return None
    if wanted in known:
        return known[wanted]
    for fits in (
        lambda one: one.startswith(wanted),
        lambda one: wanted in one.split("-"),
        lambda one: wanted.startswith(one) and len(one) >= _SHORTEST - 2,
    ):
        found = [one for one in known if fits(one)]
        if len(found) == 1:
            return known[found[0]]
    parts: dict[str, str] = {}
    for one in sorted(known, key=lambda one: one.count("-")):
        for part in one.split("-"):
            if len(part) >= _SHORT and (part not in parts or one.startswith(part)):
                parts[part] = one
    slips, near_part = min(((_slips(wanted, part), part) for part in parts), default=(len(wanted), ""))
    if slips <= 1 and len(wanted) >= _SHORT:
        return known[parts[near_part]]
    slips, nearest_one = min(((_slips(wanted, one), one) for one in known), default=(len(wanted), ""))
    return known[nearest_one] if slips * _LETTERS_OF_A_SLIP <= max(len(wanted), len(nearest_one)) else None


def _folded(word: str) -> str:
    return word.casefold().replace("_", "-")


@lru_cache(maxsize=8)
def _known(candidates: tuple[str, ...]) -> tuple[tuple[str, str, int], ...]:
    """Those that a slip can be forgiven in: each with the spelling that all its spellings share, and how many."""
    names = ((candidate, canonical_name(candidate)) for candidate in candidates)
    return tuple((candidate, known, allowed) for candidate, known in names if (allowed := _allowed(known)))


def _allowed(known: str) -> int:
    if len(known) < _SHORTEST:
        return 0
    return 1 if len(known) <= _SHORT else 2


def _shares_a_part(wanted: str, known: str, parts: int) -> bool:
    """Whether one of so many parts of a name survived; all parts but one can be hit by a slip each.

    A swap of neighbours can hit two parts at once, so the parts overlap it: the last letter of each is left out.
    """
    size = len(known) // parts
    return any(known[at * size : (at + 1) * size - 1] in wanted for at in range(parts))


def _slips(left: str, right: str) -> int:
    """Count the slips between two names (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for at, letter in enumerate(left, 1):
        older, before, row = before, row, [at]
        for other, known in enumerate(right, 1):
            cost = min(before[other] + 1, row[-1] + 1, before[other - 1] + (letter != known))
            if at > 1 and other > 1 and letter == right[other - 2] and left[at - 2] == known:
                cost = min(cost, older[other - 2] + 1)
            row.append(cost)
    return row[-1]
