# SPDX-License-Identifier: Apache-2.0
"""Verify: whether the running kernel does what a profile promises."""

from collections.abc import Mapping

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host, facts_of
from iommuctl.app.look.history import profile_in_force, require_whole, snapshots
from iommuctl.app.look.profiles import find_profile
from iommuctl.app.look.running import desired_now, observe_host
from iommuctl.errors import NotFoundError
from iommuctl.facts import Platform
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.verdict import Check, Result, Verification
from iommuctl.running.verify import verify
from iommuctl.transaction.snapshot import Summary


def verify_host(
    host: Host, profile_name: str | None, *, platform: Platform | None, inputs: Mapping[str, str]
) -> Verification:
    """Compare the running kernel with a profile, or with the one that was applied last, and its inputs then.

    Raises UsageError for another root, NotFoundError where no profile is named and none is applied.
    """
    catalogue = shipped_catalogue()
    observed = observe_host(host, catalogue, "verify")
    if profile_name is None:
        applied = _applied(host)
        profile_name, inputs = applied.profile, {**applied.inputs, **inputs}
    profile = find_profile(host, profile_name)
    desired = desired_now(profile, catalogue, facts_of(host, platform), observed, inputs)
    found = verify(observed, desired, catalogue)
    # What was cut off decides about the next boot; what runs now does what it does all the same.
    noted = (Check(one.rule, Result.SKIP, f"{one.message}: {one.hint}") for one in interrupted_findings(host))
    return found._replace(checks=(*found.checks, *noted))


def _applied(host: Host) -> Summary:
    listing = snapshots(host)
    newest = profile_in_force(listing)
    require_whole(host, listing, newest, host.root.command("verify", "PROFILE"))
    if newest is None:
        raise NotFoundError("no profile is applied", hint="name one: iommuctl verify PROFILE")
    return newest
