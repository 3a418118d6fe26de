# SPDX-License-Identifier: Apache-2.0
"""What firmware, hardware and the drivers of other units do to a promise: told as theirs, not as the kernel's."""

from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import (
    AMD,
    AMD_P,
    ARM64,
    ARM_P,
    INTEL,
    INTEL_P,
    NO_IOMMU,
    KernelHost,
)
from verified import observe, verified

from iommuctl.facts import Platform
from iommuctl.running.verdict import Verdict

NO_UNIT = replace(INTEL, units={}, types={}, devices=NO_IOMMU.devices, interrupts=NO_IOMMU.interrupts)
NO_TRANSLATION = replace(AMD, types={}, devices=NO_IOMMU.devices)


@pytest.mark.parametrize(
    ("host", "platform", "verdict"),
    [
        pytest.param(replace(NO_UNIT, release="7.3.0-rc7-amd64"), INTEL_P, Verdict.FIRMWARE_OFF, id="opt-out obeyed"),
        pytest.param(replace(NO_UNIT, release="7.2.13"), INTEL_P, Verdict.IGNORED_BY_KERNEL, id="no opt-out yet"),
        pytest.param(
            replace(NO_UNIT, release="7.3.0-rc7-amd64", cmdline="ro intel_iommu=off"),
            INTEL_P,
            Verdict.NOT_APPLIED,
            id="off on the line",
        ),
        pytest.param(replace(NO_TRANSLATION, release="7.1.5"), AMD_P, Verdict.FIRMWARE_OFF, id="no host translation"),
        pytest.param(replace(NO_TRANSLATION, release="6.12.1"), AMD_P, Verdict.IGNORED_BY_KERNEL, id="nobody asks yet"),
        pytest.param(
            replace(NO_TRANSLATION, units={}, release="7.1.5", cmdline="ro amd_iommu=off"),
            AMD_P,
            Verdict.NOT_APPLIED,
            id="AMD-Vi off on the line",
        ),
    ],
)
def test_what_firmware_and_hardware_switch_off_is_not_the_kernels(
    tmp_path: Path, host: KernelHost, platform: Platform, verdict: Verdict
) -> None:
    found = verified(observe(host, tmp_path), "strict-isolation", platform)
    assert found.verdict is verdict, found.sentence


SMMU: dict[str, dict[str, str]] = {"smmu.0x0000000009050000": {}}
NO_BYPASS = "CONFIG_ARM_SMMU=y\nCONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT=y\n"
BYPASS = {"sys/module/arm_smmu/parameters/disable_bypass": "N\n"}


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        pytest.param(replace(ARM64, files=BYPASS, config=NO_BYPASS), Verdict.ACTIVE, id="the driver of other units"),
        pytest.param(replace(ARM64, files=BYPASS, units=SMMU, config=NO_BYPASS), Verdict.DRIFT, id="changed since"),
        pytest.param(
            replace(ARM64, files=BYPASS, units=SMMU, config="CONFIG_ARM_SMMU=y\n"), Verdict.ACTIVE, id="the default"
        ),
        pytest.param(
            replace(
                ARM64, files=BYPASS, units=SMMU, cmdline=f"{ARM64.cmdline} arm-smmu.disable_bypass=0", config=NO_BYPASS
            ),
            Verdict.NOT_APPLIED,
            id="asked for on the line",
        ),
    ],
)
def test_a_parameter_of_a_driver_counts_where_it_drives_a_unit(
    tmp_path: Path, host: KernelHost, verdict: Verdict
) -> None:
    found = verified(observe(host, tmp_path), "strict-isolation", ARM_P)
    assert found.verdict is verdict, found.sentence
