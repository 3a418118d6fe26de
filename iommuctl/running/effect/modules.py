# SPDX-License-Identifier: Apache-2.0
"""Modules: the live values of module parameters against a profile. Pure."""

from collections.abc import Iterator

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue, Grammar, Kind
from iommuctl.profile.desired import DesiredArguments
from iommuctl.running.state import Observed
from iommuctl.running.verdict import Check, Verdict, failure, success, untold

# Parameters of a unit's driver matter where it drives a unit: by the names in /sys/class/iommu.
_DRIVEN_UNITS = {"arm-smmu": "smmu.", "arm-smmu-v3": "smmu3."}
# drivers/iommu/arm/arm-smmu/arm-smmu.c: the default of arm-smmu.disable_bypass; n in Enterprise Linux.
_BYPASS, _BYPASS_DEFAULT = "arm-smmu.disable_bypass", "CONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT"


def judge_modules(observed: Observed, desired: DesiredArguments, catalogue: Catalogue) -> Iterator[Check]:
    """Compare the parameters of loaded modules, as sysfs shows them, with what is wanted and unwanted."""
    name = "module-parameters"
    problems = tuple(_problems(observed, desired, catalogue))
    if problems:
        yield failure(name, "; ".join(problems), Verdict.DRIFT)
    elif (note := _bypass_by_default(observed, desired)) is not None:
        yield untold(name, note)
    elif observed.modules:
        yield success(name, "none is against the profile")


def _problems(observed: Observed, desired: DesiredArguments, catalogue: Catalogue) -> Iterator[str]:
    for unwanted in desired.unwanted:
        definition = catalogue.define(unwanted.name)
        found = observed.modules.get(definition.name)
        is_default = definition.name == _BYPASS and _bypass_by_default(observed, desired) is not None
        if found is None or is_default or not _matters(definition.name, observed):
            continue
        if definition.kind is Kind.MODULE and definition.grammar is Grammar.BOOL:
            value = definition.unsafe if unwanted.value is None else unwanted.value
            if value is not None and definition.matches(found, value):
                yield f"{definition.name} is {found}: {unwanted.reason}"
    for wanted in desired.wanted:
        definition = catalogue.define(wanted.name)
        found = observed.modules.get(definition.name)
        if (
            definition.kind is Kind.MODULE
            and found is not None
            and _matters(definition.name, observed)
            and not definition.serves(found, wanted.value)
        ):
            yield f"{definition.name} is {found}, wanted {wanted.value}"


def _matters(name: str, observed: Observed) -> bool:
    prefix = _DRIVEN_UNITS.get(name.partition(".")[0])
    return prefix is None or any(unit.name.startswith(prefix) for unit in observed.units)


def _bypass_by_default(observed: Observed, desired: DesiredArguments) -> str | None:
    """Return what to say where the SMMU lets unmatched streams through because its kernel was configured so."""
    unwanted = any(one.name == _BYPASS for one in desired.unwanted)
    found = observed.modules.get(_BYPASS)
    by_line = any(True for _ in Cmdline.parse(observed.cmdline).named(_BYPASS))
    if not unwanted or found != "N" or by_line or not _matters(_BYPASS, observed):
        return None
    if observed.is_configured(_BYPASS_DEFAULT):
        return None
    return f"{_BYPASS} is N, the default of this kernel: streams that no domain covers pass; {_BYPASS}=1 stops them"
