# SPDX-License-Identifier: Apache-2.0
"""Arguments: what a command line must have and must not have, and the token changes that make it so. Pure."""

from dataclasses import dataclass

from iommuctl.cmdline import Cmdline
from iommuctl.facts import Platform
from iommuctl.plan import Finding


@dataclass(frozen=True, slots=True)
class Wanted:
    """A parameter to have: `value` is one value, or the comma-separated tokens of an option list."""

    name: str
    value: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A parameter not to have: `value` is one value or one token of an option list; None means whatever its value."""

    name: str
    value: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class DesiredArguments:
    """A profile resolved for one host."""

    profile: str
    platform: Platform
    wanted: tuple[Wanted, ...]
    unwanted: tuple[Unwanted, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of the line that the kernel sees, in the order in which the bootloader joins the stretches.

    Additions go into the first segment that `takes_additions`; removals into whichever holds the token.
    """

    cmdline: Cmdline
    takes_additions: bool


@dataclass(frozen=True, slots=True)
class TokenChange:
    """One token of one segment. `index` is None for an addition (behind the segment's last kernel parameter).

    `before` is None for an addition, `after` for a removal.
    """

    segment: int
    index: int | None
    before: str | None
    after: str | None
    reason: str


def conform(segments: tuple[Segment, ...], desired: DesiredArguments) -> tuple[TokenChange, ...]:
    """Give the changes that bring the joined segments to `desired`; none when they are there already."""
    raise NotImplementedError
