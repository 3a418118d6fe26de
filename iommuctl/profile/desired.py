# SPDX-License-Identifier: Apache-2.0
"""Arguments: what a command line must have and must not have, each with its reason. Pure."""

from iommuctl.facts import Platform
from iommuctl.findings import Finding
from iommuctl.value import NamedTuple

# A parameter that says of which pages those are that another one counts (mm/hugetlb.c): they stand in one order, and
# the same count may come again for pages of another size.
_SEQUENCES = {"hugepages": "hugepagesz"}
_ORDERED = frozenset((*_SEQUENCES, *_SEQUENCES.values()))


def sequence_of(key: str) -> str:
    """Return what names the order that a parameter stands in: for most its own name, in the spelling of keys."""
    return _SEQUENCES.get(key, key)


def may_repeat(key: str) -> bool:
    """Whether the same value of a parameter counts again where it comes again, for what is before it decides."""
    return key in _ORDERED


class Wanted(NamedTuple):
    """A parameter to have: `value` is one value, or the comma-separated tokens of an option list."""

    name: str
    value: str | None
    reason: str

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


class Unwanted(NamedTuple):
    """A parameter not to have: `value` is one value or one token of an option list; None means whatever its value."""

    name: str
    value: str | None
    reason: str

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


class Watched(NamedTuple):
    """A parameter or token that stays, but of which an operator should know: `finding` is what to say."""

    name: str
    value: str | None
    finding: Finding


class DesiredArguments(NamedTuple):
    """A profile resolved for one host.

    `wanted` is in the order of additions, and names each parameter once, or once for each value where the kernel reads
    every occurrence, or as often as it is set where its place decides what it means. What `unwanted` names whatever
    its value stays where it has a value that is wanted.
    """

    profile: str
    platform: Platform
    wanted: tuple[Wanted, ...]
    unwanted: tuple[Unwanted, ...]
    findings: tuple[Finding, ...] = ()
    watched: tuple[Watched, ...] = ()

    def without(self, name: str) -> "DesiredArguments":
        """Return it without asking for a parameter, which stays as it is found."""
        return self._replace(wanted=tuple(one for one in self.wanted if one.name != name))
