# SPDX-License-Identifier: Apache-2.0
"""Kernel rules: what the kernels that read a line make of it, by their line and release. Each rule is pure."""

from collections.abc import Iterable

from iommuctl.facts import Platform
from iommuctl.findings import Rule, Severity
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Grammar, any_of
from iommuctl.kernel.tables import behaviour
from iommuctl.lint.engine import Item, Remark, RuleBook, Subject, is_managed, sets
from iommuctl.lint.hints import is_patch, older_spelling, upstream_bounds

rule = RuleBook()

_OF_DOMAINS = frozenset({"iommu.passthrough", "iommu.strict", "iommu.forcedac"})
_VFIO_IDS = "vfio-pci.ids"
# The first letters of truth values that kernels learned later: true, false, enable, disable.
_LATER_TRUTHS = {
    **dict.fromkeys("tf", behaviour.TRUTH_T),
    **dict.fromkeys("ed", behaviour.TRUTH_E),
}


@rule(Rule.UNPORTABLE_BOOL, Severity.WARNING, "lib/kstrtox.c kstrtobool", of_items=True)
def _unportable_bool(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        truth = item.definition.truth(item.text) if item.definition.grammar is Grammar.BOOL else None
        since = _LATER_TRUTHS.get((item.text or "")[:1].lower())
        if truth is None or since is None:
            continue
        if not subject.kernels or any(since.cover(kernel) is not True for kernel in subject.kernels):
            yield Remark(
                f"kernels before {since.since} do not take {item.text!r} for a truth value",
                item.parameter.text,
                f"write {item.definition.name}={int(truth)} instead",
            )


@rule(Rule.NOT_IN_KERNEL, Severity.WARNING, "the catalogue", of_items=True)
def _not_in_kernel(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        acting = [one for one in subject.platforms if one in item.definition.acting]
        if not acting or not is_managed(item.definition, item.text) or not item.is_read:
            continue
        if not subject.kernels and is_patch(item):
            message = f"only kernels with a patch of their own read {item.single}: {upstream_bounds(item, acting)}"
            yield Remark(message, item.parameter.text, severity=Severity.INFO)
            continue
        own = sets(subject, item)
        known = {
            kernel: any(own and own <= subject.effects(one, kernel) for one in acting)
            or any_of(subject.knows(item, one, kernel) for one in acting)
            for kernel in subject.readers
        }
        lacking = [kernel for kernel, reads in known.items() if reads is False]
        unsure = [kernel for kernel, reads in known.items() if reads is None]
        if lacking:
            # What the profile itself wants was weighed against the installed kernels when it was resolved.
            every = len(lacking) == len(subject.readers) and not subject.wants(item)
            yield Remark(
                f"kernel {', '.join(map(str, lacking))} does not know {item.single}",
                item.parameter.text,
                older_spelling(subject, item, acting, lacking),
                severity=Severity.WARNING if every else Severity.INFO,
            )
        if unsure:
            names = ", ".join(map(str, unsure))
            message = f"whether kernel {names} reads {item.single} is not known: {upstream_bounds(item, acting)}"
            yield Remark(message, item.parameter.text, "run iommuctl verify after the boot", Severity.INFO)


@rule(Rule.VTD_NOT_ENABLED, Severity.WARNING, "drivers/iommu/intel/Kconfig INTEL_IOMMU_DEFAULT_ON", of_items=True)
def _vtd_not_enabled(subject: Subject) -> Iterable[Remark]:
    known = subject.surroundings.vtd_default_on
    if Platform.INTEL not in subject.platforms or known:
        return
    asking = [item for item in subject.items if item.is_read and _needs_vtd(subject, item)]
    if not asking or subject.has("intel_iommu=on") or subject.has("intel_iommu=off") or subject.has("iommu=off"):
        return
    lacking = [one for one in subject.kernels if known is None and not _turns_vtd_on(one)]
    if known is None and subject.kernels and not lacking:
        return
    off = [one for one in lacking if _turns_vtd_on(one) is False]
    if known is False:
        where = "VT-d is off by default in an installed kernel"
    elif off:
        where = f"VT-d is off by default in kernel {', '.join(map(str, off))}"
    else:
        where = "VT-d is off by default in many kernels (Fedora, Enterprise Linux, openSUSE, Arch)"
    message = f"{where}, and nothing on the line turns it on: without it this does nothing on Intel"
    severity = Severity.WARNING if subject.platform is not None else Severity.INFO
    yield Remark(message, asking[-1].parameter.text, "add intel_iommu=on", severity)


def _needs_vtd(subject: Subject, item: Item) -> bool:
    """Whether an item does nothing on Intel as long as VT-d is off."""
    variables = {one.variable for one in sets(subject, item)}
    return bool(variables & _OF_DOMAINS) or item.definition.name == _VFIO_IDS


def _turns_vtd_on(kernel: Kernel) -> bool | None:
    from iommuctl.kernel.predict import defaults  # noqa: PLC0415 - a line that turns VT-d on does not need it

    return defaults(Platform.INTEL, kernel).vtd_on


KERNEL_RULES = rule.rules
