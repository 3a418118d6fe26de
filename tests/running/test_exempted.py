# SPDX-License-Identifier: Apache-2.0
"""What the kernel exempts from a promise is listed with its reason, and what nothing excuses fails."""

from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import (
    AMD,
    AMD_P,
    AMD_PASID,
    GPU,
    GUEST,
    IDENTITY,
    INTEL,
    INTEL_P,
    INTEL_REGISTERS,
    LAZY_LINE,
    PASSTHROUGH_LINE,
    RMRR,
    KernelHost,
    Pci,
)
from verified import failed, observe, verified

from iommuctl.facts import Platform
from iommuctl.running.effect.exemption import Exemption
from iommuctl.running.verdict import Verdict

REMOVABLE = Pci("0000:05:00.0", "8086:15d3", "010802", 3, "nvme", {"removable": "removable"})
SOUND = Pci("0000:00:1b.0", "8086:3a3e", "040300", 3, "snd_hda_intel")
IRONLAKE = Pci("0000:00:00.0", "8086:0044", "060000", None)


@pytest.mark.parametrize(
    ("host", "profile", "platform", "group", "reason"),
    [
        pytest.param(
            AMD_PASID,
            "strict-isolation",
            AMD_P,
            (3, "identity", (GPU.address,)),
            "AMD leaves devices with PASID untranslated without force_isolation",
            id="AMD PASID",
        ),
        pytest.param(
            replace(
                INTEL,
                cmdline=PASSTHROUGH_LINE,
                types={**IDENTITY, 3: "DMA"},
                devices=(*INTEL.devices, REMOVABLE),
            ),
            "passthrough-perf",
            INTEL_P,
            (3, "DMA", (REMOVABLE.address,)),
            "the device is behind an external port and not trusted, so it is translated, and strictly",
            id="untrusted",
        ),
        pytest.param(
            replace(INTEL, types={**INTEL.types, 3: "identity"}, devices=(*INTEL.devices, SOUND)),
            "strict-isolation",
            INTEL_P,
            (3, "identity", (SOUND.address,)),
            "the firmware gave the unit of this sound device no TLB entries",
            id="Azalia",
        ),
        pytest.param(
            RMRR,
            "passthrough-perf",
            INTEL_P,
            (2, "DMA", ("0000:01:02.0",)),
            "the firmware demands a 1:1 mapping (RMRR), and kernels up to 5.6 then translate",
            id="RMRR",
        ),
    ],
)
def test_what_the_kernel_exempts_is_listed_with_the_reason(
    tmp_path: Path,
    host: KernelHost,
    profile: str,
    platform: Platform,
    group: tuple[int, str, tuple[str, ...]],
    reason: str,
) -> None:
    found = verified(observe(host, tmp_path), profile, platform)
    assert (found.verdict, found.exemptions) == (Verdict.ACTIVE, (Exemption(*group, reason),))


def test_hardware_that_cannot_pass_through_translates_everything(tmp_path: Path) -> None:
    host = replace(
        INTEL,
        cmdline=PASSTHROUGH_LINE,
        types=INTEL.types,
        units={"dmar0": {**INTEL_REGISTERS, "ecap": "f0209f"}},
    )
    found = verified(observe(host, tmp_path), "passthrough-perf", INTEL_P)
    assert (found.verdict, len(found.exemptions)) == (Verdict.ACTIVE, 3)
    assert {one.reason for one in found.exemptions} == {"the unit cannot leave devices untranslated (ECAP.PT is 0)"}


@pytest.mark.parametrize(
    ("host", "exempted"),
    [
        pytest.param(replace(GUEST, units={"dmar0": INTEL_REGISTERS}), 0, id="no caching mode"),
        pytest.param(GUEST, 3, id="caching mode"),
        pytest.param(replace(INTEL, cmdline=LAZY_LINE, devices=(*INTEL.devices, IRONLAKE)), 3, id="Ironlake"),
    ],
)
def test_strict_where_lazy_was_asked_has_a_reason_or_fails(tmp_path: Path, host: KernelHost, exempted: int) -> None:
    found = verified(observe(host, tmp_path), "translated-lazy", INTEL_P)
    assert (len(found.exemptions), found.is_active) == (exempted, exempted > 0)


@pytest.mark.parametrize(
    ("host", "inputs"),
    [
        pytest.param(
            replace(AMD_PASID, cmdline=f"{AMD.cmdline} amd_iommu=force_isolation"),
            {"force-isolation": "true"},
            id="force_isolation",
        ),
        pytest.param(replace(AMD_PASID, cmdline=f"{AMD.cmdline} mem_encrypt=on", flags="fpu sme"), {}, id="encryption"),
        pytest.param(replace(AMD_PASID, files={"sys/module/kvm_amd/parameters/sev_snp": "Y\n"}), {}, id="SNP"),
        pytest.param(replace(AMD_PASID, devices=(*AMD.devices, replace(GPU, extended=(0x0F,)))), {}, id="no PASID"),
    ],
)
def test_identity_without_a_reason_fails(tmp_path: Path, host: KernelHost, inputs: dict[str, str]) -> None:
    found = verified(observe(host, tmp_path), "strict-isolation", AMD_P, inputs)
    assert (found.verdict, failed(found), found.exemptions) == (Verdict.DRIFT, ["group-types"], ())


@pytest.mark.parametrize(
    ("kinds", "switch", "verdict", "said"),
    [
        ("DMA", "Y", Verdict.IGNORED_BY_KERNEL, "SEV-SNP is in use (kvm-amd.sev_snp), and the driver then refuses"),
        ("DMA", "N", Verdict.IGNORED_BY_KERNEL, "look for what decides after it"),
        ("identity", "N", Verdict.ACTIVE, "the processor has SEV-SNP, and a host in passthrough has no such guests"),
    ],
)
def test_snp_is_named_where_it_and_passthrough_exclude_each_other(
    tmp_path: Path, kinds: str, switch: str, verdict: Verdict, said: str
) -> None:
    host = replace(
        AMD,
        cmdline="ro iommu=pt iommu.passthrough=1",
        types=dict.fromkeys(AMD.types, kinds),
        flags="fpu sev_snp",
        files={"sys/module/kvm_amd/parameters/sev_snp": f"{switch}\n"},
    )
    found = verified(observe(host, tmp_path), "passthrough-perf", AMD_P)
    assert found.verdict is verdict
    assert said in " ".join((found.sentence, *(check.detail for check in found.checks)))


def test_who_may_not_read_capabilities_is_told_so(tmp_path: Path) -> None:
    host = replace(AMD_PASID, devices=(*AMD.devices, replace(GPU, extended=None)))
    found = verified(observe(host, tmp_path), "strict-isolation", AMD_P)
    assert (found.verdict, failed(found), found.exemptions) == (Verdict.UNPROVEN, [], ())
    assert found.sentence == (
        "promised DMA, found group 3 (0000:03:00.0) identity: AMD leaves devices with PASID untranslated; its "
        "capabilities, which root alone may read, would tell whether the kernel has to"
    )
