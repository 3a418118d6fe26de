# SPDX-License-Identifier: Apache-2.0
"""Profiles: what an operator asks for, as values. Pure; `schema` says what a profile's file may hold."""

import re
from enum import StrEnum

from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.choice import parse_choice
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile.checks import check_pci_ids, check_value
from iommuctl.value import NamedTuple

MOST_BYTES = 64 * 1024  # of one profile


class InputType(StrEnum):
    """What an input takes: any allowed text, `true` or `false`, device ids or devices with commas between."""

    STRING = "string"
    BOOL = "bool"
    PCI_IDS = "pci-ids"
    DEVICES = "devices"


class Setting(NamedTuple):
    """A parameter to set; its name alone where `value_from` names the input that gives the value.

    This, like all that has `platforms` and `when`, holds on those platforms (none named: on all), and only where the
    bool input `when`, if there is one, is true, or another input of that name is given.
    """

    parameter: Parameter
    reason: str
    value_from: str | None = None
    platforms: tuple[Platform, ...] = ()
    when: str | None = None


class Absence(NamedTuple):
    """A parameter, or one value or token of it, to remove."""

    parameter: Parameter
    reason: str
    value_from: str | None = None
    platforms: tuple[Platform, ...] = ()
    when: str | None = None


class Notice(NamedTuple):
    """A finding that the profile always comes with."""

    rule: str
    severity: Severity
    message: str
    hint: str | None = None
    platforms: tuple[Platform, ...] = ()
    when: str | None = None


class Warn(NamedTuple):
    """A parameter, or one value or token of it, that stays where it is found, with a finding."""

    parameter: Parameter
    rule: str
    severity: Severity
    message: str
    hint: str | None = None
    value_from: str | None = None
    platforms: tuple[Platform, ...] = ()
    when: str | None = None


class Refusal(NamedTuple):
    """Why the profile is impossible on some platforms."""

    reason: str
    platforms: tuple[Platform, ...] = ()
    when: str | None = None


class Reset(NamedTuple):
    """Remove every IOMMU parameter that the catalogue manages."""

    reason: str


class Input(NamedTuple):
    """Something that `--set NAME=VALUE` fills. `pattern` has to match the whole value.

    `alternative` is another input, which may be given in its place, and never together with it.
    """

    name: str
    type: InputType
    description: str
    pattern: str | None = None
    required: bool = False
    default: str | None = None
    alternative: str | None = None

    def check(self, value: str) -> str:
        """Return the value as it is written. Raises ValueError for one that the input does not take."""
        check_value(value)
        match self.type:
            case InputType.BOOL:
                if value not in {"true", "false"}:
                    raise ValueError(f"{value!r} is neither 'true' nor 'false'")
            case InputType.PCI_IDS:
                check_pci_ids(value)
            case InputType.DEVICES:
                parse_choice(value)
            case InputType.STRING:
                pass
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} does not match {self.pattern!r}")
        return value


class Profile(NamedTuple):
    """A profile. The tables are in the order of the file; those of what it extends, once merged, are before them."""

    name: str
    summary: str
    description: str = ""
    extends: str | None = None
    inputs: tuple[Input, ...] = ()
    sets: tuple[Setting, ...] = ()
    absent: tuple[Absence, ...] = ()
    warns: tuple[Warn, ...] = ()
    notices: tuple[Notice, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    reset: Reset | None = None


class ProfileText(NamedTuple):
    """A profile that a user wrote and nobody read yet: its TOML, and the file that an error names."""

    text: str
    source: str


class ShippedProfile(NamedTuple):
    """A profile of the package, which was read and checked when the package was made, and the file it is made of."""

    profile: Profile
    source: str


def members(platforms: tuple[Platform, ...]) -> frozenset[Platform]:
    """Return the concrete platforms that are named; all where none is."""
    return frozenset().union(*(platform.members for platform in platforms or Platform))
