# SPDX-License-Identifier: Apache-2.0
"""Neighbour rules: what else on a host a changed line meets: modprobe.d, the TPM, programs that write it too. Pure."""

from collections.abc import Iterable

from iommuctl.findings import Rule, Severity
from iommuctl.kernel.cmdline import Cmdline, canonical_name
from iommuctl.kernel.environment import Manager
from iommuctl.kernel.parameters import same_id
from iommuctl.lint.engine import Remark, RuleBook, Subject, is_managed

rule = RuleBook()

# What is measured of a command line, by PCR: the UAPI group's list (4, 11, 12), GRUB's manual, Measured Boot (8, 9).
_MEASURED = {
    4: "the image that boots, with a line inside it",
    8: "what GRUB runs, the kernel's line included",
    9: "the files that GRUB reads, and the line that the kernel's own loader code gets",
    11: "what is inside a unified image",
    12: "the line that systemd's boot loader and stub hand on",
}


@rule(Rule.IDS_SHADOW_MODPROBE, Severity.WARNING, "kmod: the line comes last; drivers/vfio/pci/vfio_pci.c: one string")
def _ids_shadow_modprobe(subject: Subject) -> Iterable[Remark]:
    values = [one.value or "" for one in subject.cmdline.named("vfio-pci.ids")]
    options = [one for one in subject.surroundings.options if (one.module, one.name) == ("vfio_pci", "ids")]
    if not values or not options:
        return
    kept = values[-1].split(",")
    lost = [text for text in options[-1].value.split(",") if text and not any(same_id(text, one) for one in kept)]
    if lost:
        message = f"takes the place of the ids in {options[-1].path}: {','.join(lost)} go back to their own drivers"
        merged = ",".join((*kept, *lost))
        wanted = () if subject.desired is None else subject.desired.wanted
        is_asked = any(
            canonical_name(one.name) == "vfio_pci.ids" for one in wanted
        )  # else it is there, for good or ill
        yield Remark(
            message,
            f"vfio-pci.ids={values[-1]}",
            f"give all of them: vfio-pci.ids={merged}",
            Severity.ERROR if is_asked else None,
        )


@rule(
    Rule.TPM_SEALED,
    Severity.WARNING,
    "systemd-cryptenroll(1); systemd-pcrlock(8); UAPI group, Linux TPM PCR registry",
    of_items=True,
)
def _tpm_sealed(subject: Subject) -> Iterable[Remark]:
    # Only an apply changes the line; of the lines that are there this is good to know.
    severity = None if subject.desired is not None else Severity.INFO
    for seal in subject.surroundings.seals:
        if seal.pcrs is None:
            message = f"the TPM opens {seal.what}, by PCRs that {seal.path} does not tell; some hold the command line"
        elif touched := sorted(seal.pcrs & _MEASURED.keys()):
            pcrs = "; ".join(f"PCR {number}: {_MEASURED[number]}" for number in touched)
            message = f"the TPM opens {seal.what} by {pcrs} ({seal.path}); a changed line keeps it shut"
        else:
            continue
        yield Remark(
            message, None, "have the passphrase or recovery key at hand, and enroll anew after the reboot", severity
        )


@rule(
    Rule.OTHER_MANAGER,
    Severity.WARNING,
    "tuned(8), plugin bootloader; openshift/machine-config-operator; sriov-network-operator; gardenlinux",
    of_items=True,
)
def _other_manager(subject: Subject) -> Iterable[Remark]:
    for manager in subject.surroundings.managers:
        managed = _managed(subject, manager.parameters)
        if managed or _owns_all(manager):
            what = " ".join(managed) or "kernel parameters"
            message = f"{manager.name} sets {what} too ({manager.path}): who writes last has the last word"
            yield Remark(message, hint=f"change it there, or take it out of what {manager.name} does")


def _owns_all(manager: Manager) -> bool:
    """Whether a manager takes any parameter that it did not set for a fault of the host."""
    return manager.name == "the machine config operator"


def _managed(subject: Subject, cmdline: Cmdline) -> list[str]:
    texts = []
    for parameter in cmdline.parameters:
        definition = subject.catalogue.known(parameter.name)
        if definition and any(is_managed(definition, item) for item in definition.items(parameter.value)):
            texts.append(parameter.text)
    return texts


NEIGHBOUR_RULES = rule.rules
