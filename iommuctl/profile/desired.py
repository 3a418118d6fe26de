# SPDX-License-Identifier: Apache-2.0
"""Arguments: what a command line must have and must not have, each with its reason. Pure."""

from typing import NamedTuple

from iommuctl.facts import Platform
from iommuctl.findings import Finding


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
    every occurrence. What `unwanted` names whatever its value stays where it has a
    value that is wanted.
    """

    profile: str
    platform: Platform
    wanted: tuple[Wanted, ...]
    unwanted: tuple[Unwanted, ...]
    findings: tuple[Finding, ...] = ()
    watched: tuple[Watched, ...] = ()
