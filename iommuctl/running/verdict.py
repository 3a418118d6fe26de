# SPDX-License-Identifier: Apache-2.0
"""Verdict: what a comparison of the running kernel with a profile says. Values only."""

from enum import StrEnum

from iommuctl.running.effect.exemption import Exemption
from iommuctl.value import NamedTuple


class Result(StrEnum):
    """How one check came out; `skip` where nothing is promised or nothing can be told."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"


class Verdict(StrEnum):
    """What is the matter, the deepest cause first."""

    HYPERVISOR = "hypervisor"
    FIRMWARE_OFF = "firmware_off"
    NOT_APPLIED = "not_applied"
    IGNORED_BY_KERNEL = "ignored_by_kernel"
    DRIFT = "drift"
    UNPROVEN = "unproven"
    ACTIVE = "active"


class Agent(StrEnum):
    """Who brought about what is promised: the command line asks for it, or the kernel does it unasked."""

    COMMAND_LINE = "command_line"
    KERNEL_DEFAULT = "kernel_default"


class Check(NamedTuple):
    """One thing that was compared. `means` is the verdict that follows from it alone."""

    name: str
    result: Result
    detail: str
    means: Verdict = Verdict.ACTIVE


class Verification(NamedTuple):
    """The verdict, what it rests on, and the groups that the kernel treats otherwise by its own rules.

    `sentence` names what decided. `by` is None unless the profile is active.
    """

    profile: str
    verdict: Verdict
    by: Agent | None
    sentence: str
    checks: tuple[Check, ...]
    exemptions: tuple[Exemption, ...]

    @property
    def is_active(self) -> bool:
        """Whether the running kernel does what the profile promises."""
        return self.verdict is Verdict.ACTIVE

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result is Result.FAIL)


def failure(name: str, detail: str, means: Verdict = Verdict.IGNORED_BY_KERNEL) -> Check:
    """Return a check that failed."""
    return Check(name, Result.FAIL, detail, means)


def success(name: str, detail: str) -> Check:
    """Return a check that passed."""
    return Check(name, Result.PASS, detail)


def untold(name: str, detail: str, means: Verdict = Verdict.ACTIVE) -> Check:
    """Return a check that decides nothing, or `means` UNPROVEN where the promise rests on what cannot be seen."""
    return Check(name, Result.SKIP, detail, means)
