# SPDX-License-Identifier: Apache-2.0
"""Group types: the domain types of the groups against those that are promised, and what follows. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator

from iommuctl.kernel.predict import DomainType
from iommuctl.running.effect.exemption import Exemption
from iommuctl.running.effect.reading import Reading
from iommuctl.running.state import Group
from iommuctl.running.verdict import Check, Verdict, failure, success, untold
from iommuctl.value import NamedTuple

_SHOWN_GROUPS = 5
_TRANSLATED = frozenset({DomainType.DMA, DomainType.DMA_FQ})


class Promised(NamedTuple):
    """The types that a profile asks for, `off` left out, and how the kernel reads what asks for them.

    `is_default`: the profile asks for nothing, and they are what the kernel does by itself. `shows_lazy` tells whether
    the kernel has a name of its own for lazy domains, `strict_by_default` whether an empty line makes it strict.
    `overruled_by` is what is known to decide after the line, with its source.
    """

    types: frozenset[DomainType]
    domain: Reading
    strictness: Reading
    shows_lazy: bool | None
    strict_by_default: bool
    is_default: bool = False
    overruled_by: str | None = None

    def allows(self, kind: str | None) -> bool:
        """Whether a type is what is promised, by the name that this kernel gives it."""
        if self.shows_lazy is not True and kind == DomainType.DMA and DomainType.DMA_FQ in self.types:
            return True
        return kind in self.types

    @property
    def is_one(self) -> bool:
        """Whether one type alone is promised, so that the groups prove it."""
        return len(self.types) == 1

    def __str__(self) -> str:
        return " or ".join(sorted(self.types))


def judge_groups(
    groups: tuple[Group, ...], promised: Promised, exemptions: Iterable[Exemption], *, has_units: bool
) -> Iterator[Check]:
    """Compare the groups that an IOMMU is after with what is promised: `group-types`, and `strictness` where the type
    does not tell it. What the kernel's own rules explain is no fault; what they may explain is not proven.
    """
    name = "group-types"
    if not promised.types:
        yield untold(name, "no type is promised")
    elif not groups:
        proves = has_units and not promised.is_default
        detail = "units are active, and the kernel shows no group" if proves else "no groups"
        yield untold(name, detail, Verdict.UNPROVEN if proves else Verdict.ACTIVE)
    elif untyped := [group for group in groups if group.type is None]:
        means = Verdict.ACTIVE if promised.is_default else Verdict.UNPROVEN
        which = "" if len(untyped) == len(groups) else f" of {_listed(untyped)}"
        yield untold(name, f"the kernel shows no domain type{which}; only that units are active is proven", means)
    else:
        yield from _judge(name, groups, promised, tuple(exemptions))


def _judge(
    name: str, groups: tuple[Group, ...], promised: Promised, exemptions: tuple[Exemption, ...]
) -> Iterator[Check]:
    right = [group for group in groups if promised.allows(group.type)]
    excused = {one.group for one in exemptions if one.is_certain}
    # No rule about single devices explains that not one group is as promised.
    doubtful = {one.group: one for one in exemptions if not one.is_certain} if right else {}
    others = [group for group in groups if not promised.allows(group.type) and group.id not in excused]
    wrong = [group for group in others if group.id not in doubtful]
    kinds = Counter(str(group.type) for group in groups)
    if wrong:
        yield _fault(name, wrong, right, promised)
    elif others:
        why = dict.fromkeys(doubtful[group.id].reason for group in others)
        yield untold(name, f"promised {promised}, found {_listed(others)}: {'; '.join(why)}", Verdict.UNPROVEN)
    else:
        rest = f"; {len(excused)} otherwise by the kernel's own rules" if excused else ""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        yield success(name, f"promised {promised}, found {counts}{rest}")
    if promised.is_one and promised.shows_lazy is not True and any(group.type == DomainType.DMA for group in right):
        yield _strictness(promised)


def _fault(name: str, wrong: list[Group], right: list[Group], promised: Promised) -> Check:
    found = f"promised {promised}, found {_listed(wrong)}"
    kinds = {group.type for group in wrong}
    reading = promised.domain
    if promised.types == {DomainType.DMA} and kinds == {DomainType.DMA_FQ}:
        found += ", lazy: memory stays reachable for a while after it is unmapped"
        reading = promised.strictness
    if right:
        return failure(name, f"{found}; the other {len(right)} are as promised", Verdict.DRIFT)
    if promised.is_default or not reading.asked:
        return failure(name, found)
    if promised.types == {DomainType.DMA_FQ} and kinds == {DomainType.DMA}:
        return failure(name, f"{found}: strict, though lazy was promised; only speed is lost")
    if promised.types <= _TRANSLATED and reading.is_read:
        return failure(name, f"{found}; {reading}: changed since the boot", Verdict.DRIFT)
    if reading.is_read:
        later = "look for what decides after it: a hypervisor, memory encryption, the firmware"
        return failure(name, f"{found}; {reading}; {promised.overruled_by or later}")
    return failure(name, f"{found}; {reading}")


def _strictness(promised: Promised) -> Check:
    """Judge what the type does not show: before it had a name for lazy domains, a kernel showed DMA for both."""
    name, reading = "strictness", promised.strictness
    unnamed = f"{reading.kernel} has no name of its own for lazy domains"
    if promised.types == {DomainType.DMA_FQ}:
        detail = (
            unnamed if promised.shows_lazy is False else f"translated; whether lazily {reading.kernel} does not show"
        )
        return untold(name, detail)
    if promised.is_default:
        return untold(name, f"{unnamed}; what it does by itself is promised")
    if promised.shows_lazy is None:
        return untold(name, f"translated; whether strictly, cannot be told of {reading.kernel}", Verdict.UNPROVEN)
    if reading.is_read or (not reading.asked and promised.strict_by_default):
        return untold(name, f"translated; {unnamed}, and that they are strict rests on this: {_ground(reading)}")
    if reading.asked and reading.is_read is None:
        return untold(name, f"translated; {unnamed}, and {reading}", Verdict.UNPROVEN)
    ways = "intel_iommu=strict or amd_iommu=fullflush"
    detail = f"{reading}, only {ways}" if reading.asked else "nothing on the line asks for strict ones"
    return failure(name, f"translated, but lazy: {detail}")


def _ground(reading: Reading) -> str:
    return str(reading) if reading.asked else f"{reading.kernel} is strict by itself"


def _listed(groups: list[Group]) -> str:
    some = ", ".join(map(_named, groups[:_SHOWN_GROUPS]))
    return f"{some} and {len(groups) - _SHOWN_GROUPS} more" if len(groups) > _SHOWN_GROUPS else some


def _named(group: Group) -> str:
    devices = " ".join(device.address for device in group.devices)
    return f"group {group.id} ({devices}) {group.type or 'without a type'}"
