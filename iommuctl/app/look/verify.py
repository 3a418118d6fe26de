# SPDX-License-Identifier: Apache-2.0
"""Verify: whether the running kernel does what a profile promises."""

from collections.abc import Mapping

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host, facts_of
from iommuctl.app.look.history import newest_applied, profile_in_force, require_whole, snapshots
from iommuctl.app.look.profiles import find_profile
from iommuctl.app.look.running import beside_now, desired_now, devices_around, observe_host
from iommuctl.errors import IommuctlError, NotFoundError
from iommuctl.facts import Platform
from iommuctl.profile.beside import NONE, Beside
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.verdict import Check, Result, Verification
from iommuctl.running.verify import verify
from iommuctl.transaction.snapshot import Summary


def verify_host(
    host: Host, profile_name: str | None, *, platform: Platform | None, inputs: Mapping[str, str]
) -> Verification:
    """Compare the running kernel with a profile alone, or with the one that was applied last, its inputs then, and
    what is kept next to it.

    Raises UsageError for another root, NotFoundError where no profile is named and none is applied.
    """
    catalogue = shipped_catalogue()
    observed = observe_host(host, catalogue, "verify")
    beside, snapshot = Beside(), None
    if profile_name is None:
        named, beside = _applied(host)
        profile_name, snapshot = (NONE, None) if named is None else (named.profile, named.id)
        inputs = {**({} if named is None else named.inputs), **inputs}
    else:
        snapshot = _snapshot_of(host, profile_name)
    profile, facts = find_profile(host, profile_name), facts_of(host, platform)
    desired = desired_now(profile, catalogue, facts, observed, inputs)
    next_to_it = beside_now(beside, catalogue, facts, observed)
    found = verify(observed, desired, catalogue, next_to_it, devices_around(host, desired, facts, observed, snapshot))
    # What was cut off decides about the next boot; what runs now does what it does all the same.
    noted = (Check(one.rule, Result.SKIP, f"{one.message}: {one.hint}") for one in interrupted_findings(host))
    return found._replace(checks=(*found.checks, *noted))


def _snapshot_of(host: Host, profile: str) -> str | None:
    """Return the snapshot of the profile in force where it is this one; None where it is not, or is not known."""
    try:
        named = profile_in_force(snapshots(host))
    except IommuctlError:  # a named profile is compared without the history
        return None
    return named.id if named is not None and named.profile == profile else None


def _applied(host: Host) -> tuple[Summary | None, Beside]:
    """Return the apply of the profile in force, None for none, and what is kept next to it."""
    listing = snapshots(host)
    named, newest = profile_in_force(listing), newest_applied(listing)
    require_whole(host, listing, named or newest, host.root.command("verify", "PROFILE"))
    beside = newest.beside if newest else Beside()
    if named is not None:
        return named, beside
    if beside:
        return None, beside
    raise NotFoundError("no profile is applied", hint="name one: iommuctl verify PROFILE")
