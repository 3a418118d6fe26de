# SPDX-License-Identifier: Apache-2.0
"""Beside: whether the running kernel was started with what is kept next to a profile. Pure.

What such a parameter does shows nowhere that all kernels have, so the line alone is held against it, as the check says.
"""

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.running.verdict import Check, Verdict, failure, success

BESIDE = "beside-profile"  # the name of the check


def judge_beside(cmdline: Cmdline, beside: DesiredArguments, catalogue: Catalogue) -> Check:
    """Compare the running line with what is kept next to a profile."""
    if words := Conformer(beside, catalogue).shortcomings(cmdline):
        return failure(BESIDE, f"next to the profile: {'; '.join(words)}", Verdict.NOT_APPLIED)
    return success(BESIDE, f"the running kernel was started with what is kept next to the profile: {_listed(beside)}")


def _listed(beside: DesiredArguments) -> str:
    return ", ".join((*map(str, beside.wanted), *(f"without {one}" for one in beside.unwanted)))
