# SPDX-License-Identifier: Apache-2.0
"""What verify says of a kernel host: written as a tree, read as the running system would be."""

from collections.abc import Mapping
from pathlib import Path

from kernelhosts import KernelHost

from iommuctl.app.look.running import desired_now
from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.host.root import Root
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles
from iommuctl.running.state import Observed
from iommuctl.running.sysfs import read_observed
from iommuctl.running.verdict import Verification
from iommuctl.running.verify import verify

CATALOGUE = shipped_catalogue()


def desire(
    profile: str, platform: Platform, observed: Observed, inputs: Mapping[str, str] | None = None
) -> DesiredArguments:
    facts = Facts(platform, False, Distribution(), ())
    return desired_now(load_profile(profile, shipped_profiles()), CATALOGUE, facts, observed, inputs or {})


def verified(
    observed: Observed, profile: str, platform: Platform, inputs: Mapping[str, str] | None = None
) -> Verification:
    return verify(observed, desire(profile, platform, observed, inputs), CATALOGUE)


def observe(host: KernelHost, root: Path) -> Observed:
    return read_observed(Root(host.write(root)), CATALOGUE)


def failed(found: Verification) -> list[str]:
    return [check.name for check in found.failed]


def details(found: Verification) -> dict[str, str]:
    return {check.name: check.detail for check in found.checks}
