# SPDX-License-Identifier: Apache-2.0
"""Host rules: what can be wrong with a line where it is used: kernels, firmware, hypervisor. Each rule is pure."""

from collections.abc import Iterable

from iommuctl.findings import Rule, Severity
from iommuctl.kernel.parameters import Assignment, Kind, Manages
from iommuctl.lint.engine import Remark, RuleBook, Subject, is_managed, sets
from iommuctl.lint.hardware_rules import HARDWARE_RULES
from iommuctl.lint.neighbour_rules import NEIGHBOUR_RULES
from iommuctl.running.firmware import tables_of

rule = RuleBook()


@rule(Rule.LINE_IGNORED, Severity.ERROR, "arch/{x86,arm64}/Kconfig", of_items=True)
def _line_ignored(subject: Subject) -> Iterable[Remark]:
    if subject.surroundings.ignores_loader:
        message = "an installed kernel has its command line built in and ignores the loader's"
        yield Remark(message, hint="use a kernel without CONFIG_CMDLINE_OVERRIDE and CONFIG_CMDLINE_FORCE")


@rule(Rule.BOOTCONFIG_TOO_LATE, Severity.ERROR, "init/main.c setup_boot_config", of_items=True)
def _bootconfig_too_late(subject: Subject) -> Iterable[Remark]:
    bootconfig = subject.surroundings.bootconfig
    for parameter in () if bootconfig is None else bootconfig.parameters:
        definition = subject.catalogue.known(parameter.name)
        if definition is not None and definition.kind is Kind.EARLY and definition.manages is not Manages.NOTHING:
            message = "comes from the boot configuration, which is read after such parameters took effect"
            hint = f"write {parameter.text} on the command line of the boot loader"
            # An apply does not make it, and does not need it gone.
            yield Remark(message, parameter.text, hint, Severity.WARNING if subject.desired is not None else None)


@rule(Rule.XEN_HOST, Severity.WARNING, "arch/x86/kernel/pci-dma.c pci_iommu_alloc", of_items=True)
def _xen(subject: Subject) -> Iterable[Remark]:
    if subject.surroundings.is_xen_host:
        message = "Xen runs this system and owns the IOMMU; the parameters of Linux do not reach it"
        yield Remark(message, hint="the hypervisor has its own iommu= and dom0-iommu=")


@rule(Rule.GUEST, Severity.WARNING, "drivers/iommu/intel/iommu.c", of_items=True)
def _guest(subject: Subject) -> Iterable[Remark]:
    lazy = next((item for item in subject.items if Assignment("iommu.strict", "0") in sets(subject, item)), None)
    if subject.surroundings.is_guest and lazy is not None:
        message = "this is a guest, and an IOMMU that is emulated for a guest is strict whatever is asked"
        yield Remark(message, lazy.parameter.text)


@rule(Rule.FIRMWARE_OFF, Severity.WARNING, "ACPI: DMAR, IVRS, IORT, VIOT", of_items=True)
def _firmware_off(subject: Subject) -> Iterable[Remark]:
    tables, expected = subject.surroundings.tables, tables_of(subject.platforms)
    if tables is None or not tables.isdisjoint(expected):
        return
    asking = [one for one in subject.items if subject.acts(one.definition) and sets(subject, one)]
    if any(is_managed(one.definition, one.text) for one in asking):
        message = f"the firmware tells of no IOMMU (none of {' '.join(expected)}), so no parameter turns one on"
        yield Remark(message, hint="turn VT-d, AMD-Vi or the SMMU on in the firmware's setup")


HOST_RULES = (*rule.rules, *HARDWARE_RULES, *NEIGHBOUR_RULES)
