# SPDX-License-Identifier: Apache-2.0
"""Reading: whether the running kernel reads what its line says of one variable. Pure."""

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Assignment, Catalogue, any_of
from iommuctl.value import NamedTuple


class Reading(NamedTuple):
    """What the running kernel makes of what its line asks of one variable, as a profile does.

    `asked` are the parameters of its line that set the variable; `is_read` whether it reads one of them, None where
    that is not known, and then `asked` has those alone. `kernel` names the kernel.
    """

    kernel: str
    asked: tuple[str, ...] = ()
    is_read: bool | None = None

    def __str__(self) -> str:
        names = " ".join(self.asked)
        match self.is_read:
            case True:
                return f"{self.kernel} reads {names}"
            case False:
                return f"{self.kernel} does not read {names}"
            case None:
                return f"whether {self.kernel} reads {names} is not known"


def read_assignment(
    wanted: Assignment, cmdline: Cmdline, kernel: Kernel | None, vendors: tuple[Platform, ...], catalogue: Catalogue
) -> Reading:
    """Return how a kernel reads what on its command line sets a variable to the value that is promised."""
    asked: dict[str, bool | None] = {}
    for parameter in cmdline.parameters:
        definition = catalogue.define(parameter.name)
        for item in definition.items(parameter.value):
            if wanted in catalogue.assignments(parameter.name, item):
                text = parameter.name if item is None else f"{parameter.name}={item}"
                answers = (None if kernel is None else definition.reads(vendor, kernel, item) for vendor in vendors)
                asked[text] = any_of(answers)
    is_read = any_of(asked.values()) if asked else None
    return Reading(named(kernel), tuple(text for text, answer in asked.items() if answer is is_read), is_read)


def named(kernel: Kernel | None) -> str:
    """Return how a sentence calls a kernel."""
    return "this kernel" if kernel is None else f"kernel {kernel}"
