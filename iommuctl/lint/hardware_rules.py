# SPDX-License-Identifier: Apache-2.0
"""Hardware rules: what a line would do to the machine that it is for: its processor, GPUs and devices. Each is pure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iommuctl.facts import Platform
from iommuctl.findings import Rule, Severity
from iommuctl.kernel.parameters import Assignment, kernel_bool
from iommuctl.kernel.tables import behaviour
from iommuctl.lint.engine import Item, Remark, RuleBook, Subject, sets
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.running.state import Device

rule = RuleBook()

_PASSTHROUGH = Assignment("iommu.passthrough", "1")
_TRANSLATED = Assignment("iommu.passthrough", "0")
_VTD_ON = Assignment("intel_iommu:state", "on")
_NVIDIA, _AMD = "10de", "1002"
# include/linux/pci_ids.h: 3D controller, other display controller, processing accelerator. A GPU for a screen is 0300.
_COMPUTE = ("0302", "0380", "1200")
_SEVERAL = 2


class Fabric(NamedTuple):
    """What a vendor says of GPUs that copy to each other: `mode` is the one to keep away from."""

    vendor: str
    platforms: frozenset[Platform]
    mode: Assignment
    advice: str


# docs/gpu-fabrics.md has the table with the sources.
FABRICS = (
    Fabric(
        _NVIDIA,
        frozenset({Platform.INTEL, Platform.AMD}),
        _TRANSLATED,
        "NVIDIA advises iommu=pt, or no IOMMU at all, where GPUs copy to each other or to storage",
    ),
    Fabric(
        _NVIDIA,
        frozenset({Platform.ARM64}),
        _PASSTHROUGH,
        "NVIDIA wants the IOMMU on and passthrough off for GPUDirect Storage on Grace",
    ),
    Fabric(
        _AMD,
        frozenset({Platform.INTEL, Platform.AMD}),
        _TRANSLATED,
        "AMD advises iommu=pt where Instinct GPUs copy to each other",
    ),
)


@rule(Rule.SNP_LOST, Severity.WARNING, "drivers/iommu/amd/init.c iommu_snp_enable", of_items=True)
def _snp_lost(subject: Subject) -> Iterable[Remark]:
    item = _asking(subject, _PASSTHROUGH)
    if Platform.AMD not in subject.platforms or item is None:
        return
    refusing = [kernel for kernel in subject.readers if behaviour.SNP_REFUSES_PASSTHROUGH.cover(kernel) is not False]
    why = _wants_snp(subject)
    if why is None or not refusing:
        return
    lifted = all(behaviour.SNP_LIMITS_LIFTED.cover(kernel) for kernel in refusing)
    message = f"{why}, and a host in passthrough has no SEV-SNP guests"
    if lifted:
        message = f"{why}, which passthrough allows from 7.3 only where the hardware has SNP_PAGE_MODE0_SUP"
    is_wanted = subject.surroundings.uses_snp or _snp_option(subject) is not None
    yield Remark(
        message,
        item.parameter.text,
        "iommuctl apply strict-isolation keeps SEV-SNP",
        Severity.WARNING if is_wanted and not lifted else Severity.INFO,
    )


def _wants_snp(subject: Subject) -> str | None:
    known = subject.surroundings
    if known.uses_snp:
        return "the running kernel uses SEV-SNP (kvm_amd.sev_snp)"
    if (path := _snp_option(subject)) is not None:
        return f"{path} switches SEV-SNP on"
    if known.uses_snp is None and known.has_snp:
        return "the processor offers SEV-SNP"
    return None


def _snp_option(subject: Subject) -> str | None:
    values = [one for one in subject.surroundings.options if (one.module, one.name) == ("kvm_amd", "sev_snp")]
    return str(values[-1].path) if values and kernel_bool(values[-1].value) else None


@rule(
    Rule.PASID_UNDER_PASSTHROUGH,
    Severity.WARNING,
    "NVIDIA/nodewright-packages#122; k8snetworkplumbingwg/sriov-network-operator#864",
    of_items=True,
)
def _pasid_under_passthrough(subject: Subject) -> Iterable[Remark]:
    gpus = [device.address for device in subject.devices if device.vendor == _NVIDIA and _is_gpu(device)]
    if Platform.ARM64 not in subject.platforms or not gpus:
        return
    item = _asking(subject, _PASSTHROUGH)
    if item is None:
        return
    able = [behaviour.PASID_UNDER_PASSTHROUGH.cover(kernel) for kernel in subject.readers]
    if all(able):
        return
    message = (
        "before 6.11 a device of this platform cannot be untranslated and have a PASID, so that CUDA fails on "
        f"{gpus[0]} once ACS is on"
    )
    severity = Severity.WARNING if False in able else Severity.INFO
    yield Remark(message, item.parameter.text, "iommuctl apply translated-lazy, or a kernel from 6.11 on", severity)


@rule(
    Rule.GPU_FABRIC,
    Severity.WARNING,
    "docs.nvidia.com/gpudirect-storage; rocm.docs.amd.com; docs/gpu-fabrics.md",
    of_items=True,
)
def _gpu_fabric(subject: Subject) -> Iterable[Remark]:
    for fabric in FABRICS:
        gpus = [one for one in subject.devices if one.vendor == fabric.vendor and one.device_class.startswith(_COMPUTE)]
        if len(gpus) < _SEVERAL or not fabric.platforms & set(subject.platforms):
            continue
        item = _asking(subject, fabric.mode)
        if item is not None:
            message = f"{fabric.advice}; this host has {len(gpus)} such GPUs"
            yield Remark(message, item.parameter.text, "choose the profile by what counts: isolation, or speed")


@rule(
    Rule.INTEGRATED_GPU,
    Severity.WARNING,
    "Debian bug 935270; drivers/iommu/intel/iommu.c intel_iommu_setup",
    of_items=True,
)
def _integrated_gpu(subject: Subject) -> Iterable[Remark]:
    gpus = [device.address for device in subject.devices if device.is_integrated_display]
    if Platform.INTEL not in subject.platforms or not subject.surroundings.spares_gpu or not gpus:
        return
    item = _asking(subject, _VTD_ON)
    if item is not None and not all(
        _PASSTHROUGH in subject.effects(Platform.INTEL, kernel) for kernel in subject.readers
    ):
        message = f"Debian's kernel leaves the integrated GPU {gpus[0]} untranslated by default, and this translates it"
        yield Remark(message, item.parameter.text, "if the screen fails: intel_iommu=on,intgpu_off leaves it out again")


def _asking(subject: Subject, wanted: Assignment) -> Item | None:
    """The last item of the line that sets a variable to a value, where that is its effect on some kernel."""
    items = [item for item in subject.items if wanted in sets(subject, item)]
    if not items:
        return None
    has = any(wanted in subject.effects(one, kernel) for one in subject.platforms for kernel in subject.readers)
    return items[-1] if has else None


def _is_gpu(device: "Device") -> bool:
    return device.is_display or device.device_class.startswith(_COMPUTE)


HARDWARE_RULES = rule.rules
