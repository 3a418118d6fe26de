# SPDX-License-Identifier: Apache-2.0
"""Overview: a host in five lines: what boots it, what is applied, what it does, what waits, and what to type next."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host
from iommuctl.app.look.history import profile_in_force
from iommuctl.app.look.status import Status, read_status
from iommuctl.errors import IommuctlError
from iommuctl.findings import Rule
from iommuctl.transaction.trial.record import Phase
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.app.trial.state import TrialState
    from iommuctl.transaction.snapshot import Summary
    from iommuctl.transaction.store import Listing

_NOTHING = "nothing"
_AS_ROOT = "sudo iommuctl"


class Overview(NamedTuple):
    """One line each. `next` is a command."""

    bootloader: str
    profile: str
    effective: str
    waiting: str
    next: str


def read_overview(host: Host) -> Overview:
    """Look at a host. What cannot be told is said in its line: nothing is raised, and nothing is written."""
    try:
        status = read_status(host, platform=None, backend=None)
    except IommuctlError as error:
        return Overview(
            bootloader=f"not told: {error.brief}",
            profile=_profile(host, None),
            effective="not looked at",
            waiting="; ".join(finding.message for finding in interrupted_findings(host)) or _NOTHING,
            next=next(iter(_commands_in(error.hint)), "iommuctl status"),
        )
    waits = tuple(_waiting(status))
    return Overview(
        bootloader=_bootloader(status),
        profile=_profile(host, status),
        effective=_effective(status),
        waiting=", ".join(dict.fromkeys(what for what, _ in waits)) or _NOTHING,
        next=waits[0][1] if waits else _next(status),
    )


def _bootloader(status: Status) -> str:
    proof = min(status.evidence, key=lambda one: one.weight.value, default=None)
    return f"{status.backend}" if proof is None else f"{status.backend}, by {proof.probe}: {proof.found}"


def _profile(host: Host, status: Status | None) -> str:
    try:
        listing = host.store.list()
    except IommuctlError as error:
        return f"not known: {error.brief}"
    applied = profile_in_force(listing)
    parts = ["none applied" if applied is None else f"{applied.profile} {_since(applied)}"]
    if status is not None and status.beside:
        parts.append(f"beside it {status.beside}")
    if status is not None and status.trial is not None:
        parts += _ended(status.trial, listing)
    return "; ".join(parts)


def _ended(trial: "TrialState", listing: "Listing") -> Iterator[str]:
    """How the last trial ended, until something else is applied after it."""
    record = trial.record
    after = [one for one in listing.snapshots if one.created >= record.created]
    if trial.phase is Phase.RETURNED and not after:
        yield f"a trial of {record.profile} came back"
    if trial.phase is Phase.CONFIRMED and [one.profile for one in after] == [record.profile]:
        yield "confirmed on trial"


def _since(applied: "Summary") -> str:
    return f"since {applied.created:%Y-%m-%dT%H:%M:%SZ} ({applied.short_id})"


def _effective(status: Status) -> str:
    if status.effective is None:
        return "not looked at: no kernel runs in that tree"
    found = status.effective.verification
    if found is not None:
        return f"{found.verdict}: {found.sentence}"
    types = ", ".join(f"{count} {kind}" for kind, count in status.effective.group_types.items())
    return f"groups: {types}" if types else "no IOMMU group: no IOMMU is active"


def _waiting(status: Status) -> Iterator[tuple[str, str]]:
    """What waits to be seen to, the most pressing first, each with the command for it."""
    rules = {finding.rule for finding in status.findings}
    if Rule.INTERRUPTED_RUN in rules:
        yield "an interrupted run", "sudo iommuctl recover"
    if status.trial is not None and not status.trial.phase.is_over:
        yield f"a trial boot ({status.trial.phase})", "iommuctl trial status"
    if status.drift:
        places = "1 place" if len(status.drift) == 1 else f"{len(status.drift)} places"
        yield f"drift in {places}", status.way_in_step
    if status.reboot_required:
        yield "a reboot", "sudo systemctl reboot"
    if {Rule.STATE_UNREADABLE, Rule.HISTORY_UNREADABLE} & rules:
        yield "what root alone may read", _AS_ROOT


def _next(status: Status) -> str:
    if status.profile is None:
        return "iommuctl check"
    found = None if status.effective is None else status.effective.verification
    return "iommuctl status" if found is None or found.is_active else "iommuctl verify"


def _commands_in(hint: str | None) -> Iterator[str]:
    if hint and hint.startswith("iommuctl "):
        yield hint
