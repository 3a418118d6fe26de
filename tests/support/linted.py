# SPDX-License-Identifier: Apache-2.0
"""A command line with every rule that there is, as the linter is handed it."""

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.environment import Surroundings
from iommuctl.kernel.lines import parse_kernels
from iommuctl.lint.engine import Subject
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted, Watched
from iommuctl.profile.shipped import shipped_catalogue

CATALOGUE = shipped_catalogue()
ALL_RULES = (*RULES, *HOST_RULES)


def subject(
    line: str,
    platform: str = "",
    kernels: str = "",
    desired: DesiredArguments | None = None,
    surroundings: Surroundings | None = None,
) -> Subject:
    return Subject(
        Cmdline.parse(line),
        CATALOGUE,
        Platform(platform) if platform else None,
        parse_kernels(tuple(kernels.split())),
        desired,
        surroundings or Surroundings(),
    )


def isolating(*watched: Watched) -> DesiredArguments:
    wanted = (Wanted("iommu.passthrough", "0", "r"), Wanted("iommu.strict", "1", "r"))
    return DesiredArguments("p", Platform.INTEL, wanted, (Unwanted("iommu", "pt", "r"),), (), watched)
