# SPDX-License-Identifier: Apache-2.0
"""SNP: AMD's encrypted guests and devices that are left untranslated, of which a host can have one alone. Pure."""

from collections.abc import Iterator

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import kernel_bool
from iommuctl.kernel.predict import DomainType
from iommuctl.kernel.tables import behaviour
from iommuctl.running.effect.exemption import Situation
from iommuctl.running.verdict import Check, untold

_SWITCH, _FLAG = "kvm-amd.sev_snp", "sev_snp"


def overruling(situation: Situation) -> str | None:
    """Return what to say where SEV-SNP keeps a kernel from leaving devices untranslated; None where it does not."""
    if Platform.AMD not in situation.vendors or not situation.observed.has_snp:
        return None
    source = "drivers/iommu/amd/iommu.c:2637 at 6.12.117"
    return f"SEV-SNP is in use ({_SWITCH}), and the driver then refuses untranslated domains ({source})"


def judge_snp(situation: Situation, promised: frozenset[DomainType]) -> Iterator[Check]:
    """Say where passthrough, which is promised and done, is why a processor with SEV-SNP has none; never a fault."""
    observed = situation.observed
    is_off = kernel_bool(observed.modules.get(_SWITCH)) is False
    untranslated = [group for group in observed.real_groups if group.type == DomainType.IDENTITY]
    if Platform.AMD not in situation.vendors or promised != {DomainType.IDENTITY} or not untranslated:
        return
    if _FLAG in observed.cpu_flags and is_off and situation.does(behaviour.SNP_REFUSES_PASSTHROUGH) is not False:
        lost = "the processor has SEV-SNP, and a host in passthrough has no such guests"
        yield untold("sev-snp", f"{lost} (drivers/iommu/amd/init.c:3268 at 6.12.117)")
