# SPDX-License-Identifier: Apache-2.0
"""Difference: what the running command line lacks of a profile, and which check shows whether that matters. Pure."""

from collections.abc import Iterator, Mapping

from iommuctl.facts import Platform
from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue, Definition, Kind
from iommuctl.kernel.predict import effective
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.segments import SegmentError, TokenChange, apply_changes
from iommuctl.running.effect.promise import NEWEST
from iommuctl.running.state import Observed
from iommuctl.value import NamedTuple

_BY_GROUPS = frozenset({"units", "group-types", "strictness", "ungrouped-devices"})
# The variables (Catalogue.assignments) whose effect shows in the groups.
_GROUP_VARIABLES = frozenset(
    {
        *("iommu.passthrough", "iommu.strict", "iommu:off", "iommu:soft"),
        *("intel_iommu:state", "intel_iommu:igfx_off", "intel_iommu:intgpu_off"),
        *("amd_iommu:off", "amd_iommu:force_isolation"),
    }
)
_INTERRUPTS = frozenset({"intremap:state", "nointremap"})
# Parameters that decide which driver a device gets, which the device itself shows.
_BINDING = frozenset({CHOICE, "vfio-pci.ids", "pci-stub.ids", "rd.driver.pre", "modprobe.blacklist"})


class Difference(NamedTuple):
    """What conforming would change. `words` has every change, those without any effect included.

    `judged` are the variables that it would change and the checks that show whether they have what the profile asks
    for; `unjudged` what would change and shows nowhere. `missing` are the variables of the profile that the line does
    not set, or sets otherwise.
    """

    words: tuple[str, ...] = ()
    judged: Mapping[str, frozenset[str]] = {}
    unjudged: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()


def compare_line(
    cmdline: Cmdline,
    observed: Observed,
    kernel: Kernel | None,
    desired: DesiredArguments,
    vendors: tuple[Platform, ...],
    catalogue: Catalogue,
    *,
    shows_types: bool,
) -> Difference:
    """Compare the running line with a profile. `shows_types`: one domain type is promised, so the groups decide."""
    conformer = Conformer(desired, catalogue)
    words = conformer.shortcomings(cmdline)
    try:
        changes = conformer.shortfall(cmdline)
    except SegmentError as error:
        return Difference(words, {}, (error.message,))
    now, then = variables(cmdline, vendors, catalogue), variables(apply_changes(cmdline, changes), vendors, catalogue)
    judged: dict[str, frozenset[str]] = {}
    unjudged: list[str] = []
    for name in sorted(name for name in {*now, *then} if now.get(name) != then.get(name)):
        if name in _GROUP_VARIABLES and shows_types:
            judged[name] = _BY_GROUPS
        elif name in _INTERRUPTS and observed.interrupts_remapped is not None:
            judged[name] = frozenset({"interrupt-remapping"})
        else:
            unjudged.append(name)
    for change in changes:
        for name, item in _changed(change):
            definition = catalogue.define(name)
            if definition.name in _BINDING:
                judged[definition.name] = frozenset({"device-binding"})
            elif definition.name in observed.modules:
                judged[definition.name] = frozenset({"module-parameters"})
            elif _acts(definition, item, kernel, vendors):
                unjudged.append(definition.name)
    asked = variables(Cmdline.parse(" ".join(map(str, desired.wanted))), vendors, catalogue)
    missing = frozenset(name for name, value in asked.items() if now.get(name) != value)
    return Difference(words, judged, tuple(unjudged), missing)


def conformed(cmdline: Cmdline, desired: DesiredArguments, catalogue: Catalogue) -> Cmdline:
    """Return the running line as the profile would have it; where that cannot be written, the profile's parameters."""
    try:
        return apply_changes(cmdline, Conformer(desired, catalogue).shortfall(cmdline))
    except SegmentError:
        return Cmdline.parse(" ".join(map(str, desired.wanted)))


def variables(cmdline: Cmdline, vendors: tuple[Platform, ...], catalogue: Catalogue) -> dict[str, str]:
    """Return the variables that a line sets in the drivers of some vendors, on a kernel that reads all of it."""
    return {name: value for vendor in vendors for name, value in effective(cmdline, vendor, NEWEST, catalogue).items()}


def _changed(change: TokenChange) -> Iterator[tuple[str, str | None]]:
    """Return the units of a value that a change adds or removes, with the parameter's name."""
    before, after = (_units(text) for text in (change.before, change.after))
    yield from (unit for unit in (*before, *after) if unit not in before or unit not in after)


def _units(text: str | None) -> tuple[tuple[str, str | None], ...]:
    parameters = () if text is None else Cmdline.parse(text).parameters
    return tuple(
        (one.name, item) for one in parameters for item in (one.value.split(",") if one.value is not None else (None,))
    )


def _acts(definition: Definition, item: str | None, kernel: Kernel | None, vendors: tuple[Platform, ...]) -> bool:
    """Whether what sets no variable of upstream's drivers does something all the same, or may do."""
    match definition.kind:
        case Kind.EARLY | Kind.SETUP:
            upstream = any(definition.reads(vendor, NEWEST, item) for vendor in vendors)
            return not upstream and any(
                kernel is None or definition.reads(vendor, kernel, item) is not False for vendor in vendors
            )
        case Kind.MODULE:
            return not definition.acting or bool(definition.acting & set(vendors))
        case Kind.NOBODY:
            return definition.source == "none"  # not in the catalogue
        case Kind.USERSPACE | Kind.HYPERVISOR:
            return True
