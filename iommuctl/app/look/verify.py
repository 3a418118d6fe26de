# SPDX-License-Identifier: Apache-2.0
"""Verify: whether the running kernel does what a profile promises."""

from collections.abc import Mapping

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host, facts_of
from iommuctl.app.look.history import newest_applied, profile_in_force, require_whole, snapshots
from iommuctl.app.look.profiles import find_profile
from iommuctl.app.look.running import beside_now, desired_now, observe_host
from iommuctl.errors import NotFoundError
from iommuctl.facts import Platform
from iommuctl.profile.beside import NONE, Beside
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.verdict import Check, Result, Verification
from iommuctl.running.verify import verify


def verify_host(
    host: Host, profile_name: str | None, *, platform: Platform | None, inputs: Mapping[str, str]
) -> Verification:
    """Compare the running kernel with a profile alone, or with the one that was applied last, its inputs then, and
    what is kept next to it.

    Raises UsageError for another root, NotFoundError where no profile is named and none is applied.
    """
    catalogue = shipped_catalogue()
    observed = observe_host(host, catalogue, "verify")
    beside = Beside()
    if profile_name is None:
        profile_name, given, beside = _applied(host)
        inputs = {**given, **inputs}
    profile, facts = find_profile(host, profile_name), facts_of(host, platform)
    desired = desired_now(profile, catalogue, facts, observed, inputs)
    found = verify(observed, desired, catalogue, beside_now(beside, catalogue, facts, observed))
    # What was cut off decides about the next boot; what runs now does what it does all the same.
    noted = (Check(one.rule, Result.SKIP, f"{one.message}: {one.hint}") for one in interrupted_findings(host))
    return found._replace(checks=(*found.checks, *noted))


def _applied(host: Host) -> tuple[str, Mapping[str, str], Beside]:
    """Return the profile in force with its inputs, and what is kept next to it, or to none."""
    listing = snapshots(host)
    named, newest = profile_in_force(listing), newest_applied(listing)
    require_whole(host, listing, named or newest, host.root.command("verify", "PROFILE"))
    beside = newest.beside if newest else Beside()
    if named is not None:
        return named.profile, named.inputs, beside
    if beside:
        return NONE, {}, beside
    raise NotFoundError("no profile is applied", hint="name one: iommuctl verify PROFILE")
