# SPDX-License-Identifier: Apache-2.0
"""What verify says of running kernels that stand as trees: each verdict."""

from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import (
    AMD,
    AMD_P,
    AMD_PASID,
    ARM64,
    ARM_P,
    FIRMWARE_OFF,
    GUEST,
    IDENTITY,
    INTEL,
    INTEL_CONFIG,
    INTEL_P,
    INTEL_REGISTERS,
    LAZY_LINE,
    NO_IOMMU,
    PASSTHROUGH_LINE,
    RMRR,
    STRICT_LINE,
    KernelHost,
    Pci,
)
from verified import CATALOGUE, details, failed, observe, verified

from iommuctl.facts import Platform
from iommuctl.profile.desired import DesiredArguments, Wanted
from iommuctl.running.verdict import Result, Verdict
from iommuctl.running.verify import verify

WRONG_TYPES = {0: "DMA-FQ", 1: "DMA-FQ", 2: "DMA-FQ"}
VTD_ON_CONFIG = f"{INTEL_CONFIG}CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"
UNSAFE = {"sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "Y\n"}


@pytest.mark.parametrize(
    ("host", "profile", "platform", "verdict", "failures"),
    [
        pytest.param(INTEL, "strict-isolation", INTEL_P, Verdict.ACTIVE, [], id="Intel"),
        pytest.param(AMD, "strict-isolation", AMD_P, Verdict.ACTIVE, [], id="AMD"),
        pytest.param(ARM64, "strict-isolation", ARM_P, Verdict.ACTIVE, [], id="ARM64"),
        pytest.param(AMD_PASID, "strict-isolation", AMD_P, Verdict.ACTIVE, [], id="AMD GPU with PASID"),
        pytest.param(GUEST, "translated-lazy", INTEL_P, Verdict.ACTIVE, [], id="guest, caching mode"),
        pytest.param(RMRR, "passthrough-perf", INTEL_P, Verdict.ACTIVE, [], id="RMRR before 5.7"),
        pytest.param(
            replace(RMRR, release="6.12.1"),
            "passthrough-perf",
            INTEL_P,
            Verdict.DRIFT,
            ["group-types"],
            id="RMRR excuses nothing from 5.7",
        ),
        pytest.param(
            FIRMWARE_OFF,
            "strict-isolation",
            INTEL_P,
            Verdict.FIRMWARE_OFF,
            ["firmware-tables", "units"],
            id="firmware off, parameters there",
        ),
        pytest.param(
            replace(FIRMWARE_OFF, cmdline="ro"),
            "strict-isolation",
            INTEL_P,
            Verdict.FIRMWARE_OFF,
            ["cmdline", "firmware-tables", "units"],
            id="firmware off outweighs missing parameters",
        ),
        pytest.param(
            NO_IOMMU, "strict-isolation", INTEL_P, Verdict.IGNORED_BY_KERNEL, ["units"], id="no tables at all"
        ),
        pytest.param(
            replace(INTEL, cmdline="ro", types=WRONG_TYPES),
            "strict-isolation",
            INTEL_P,
            Verdict.NOT_APPLIED,
            ["cmdline", "group-types"],
            id="not applied",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro"),
            "strict-isolation",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="there without being asked",
        ),
        pytest.param(
            replace(INTEL, cmdline=f"{STRICT_LINE} pcie_acs_override=downstream", release="6.8.12-4-pve"),
            "strict-isolation",
            INTEL_P,
            Verdict.NOT_APPLIED,
            ["cmdline"],
            id="a left-over whose effect no group shows",
        ),
        pytest.param(
            replace(INTEL, cmdline=f"{STRICT_LINE} pcie_acs_override=downstream"),
            "strict-isolation",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="one that this kernel does not have",
        ),
        pytest.param(
            replace(INTEL, cmdline=f"{STRICT_LINE} amd_iommu=off intel_iommu=strict"),
            "strict-isolation",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="left-overs without effect",
        ),
        pytest.param(
            replace(INTEL, types=WRONG_TYPES),
            "strict-isolation",
            INTEL_P,
            Verdict.DRIFT,
            ["group-types"],
            id="every group otherwise, though the kernel reads it",
        ),
        pytest.param(
            replace(INTEL, types={**INTEL.types, 1: "identity"}),
            "strict-isolation",
            INTEL_P,
            Verdict.DRIFT,
            ["group-types"],
            id="one group changed at run time",
        ),
        pytest.param(
            replace(INTEL, files=UNSAFE),
            "strict-isolation",
            INTEL_P,
            Verdict.DRIFT,
            ["module-parameters"],
            id="a module parameter changed at run time",
        ),
        pytest.param(
            replace(INTEL, interrupts=NO_IOMMU.interrupts),
            "strict-isolation",
            INTEL_P,
            Verdict.IGNORED_BY_KERNEL,
            ["interrupt-remapping"],
            id="no interrupt remapping although the hardware can",
        ),
        pytest.param(
            replace(INTEL, interrupts=NO_IOMMU.interrupts, units={"dmar0": {**INTEL_REGISTERS, "ecap": "f020d7"}}),
            "strict-isolation",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="no interrupt remapping in the hardware",
        ),
        pytest.param(
            replace(NO_IOMMU, cmdline="ro iommu.passthrough=0 iommu.strict=1", config="CONFIG_INTEL_IOMMU=y\n"),
            "strict-isolation",
            AMD_P,
            Verdict.IGNORED_BY_KERNEL,
            ["kernel-config", "units"],
            id="a cloud kernel without the driver",
        ),
        pytest.param(
            replace(INTEL, config="CONFIG_INTEL_IOMMU=y\nCONFIG_CMDLINE_OVERRIDE=y\n"),
            "strict-isolation",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="a built-in command line that asks for it",
        ),
        pytest.param(
            replace(INTEL, types=WRONG_TYPES, config="CONFIG_INTEL_IOMMU=y\nCONFIG_CMDLINE_OVERRIDE=y\n"),
            "strict-isolation",
            INTEL_P,
            Verdict.IGNORED_BY_KERNEL,
            ["kernel-config", "group-types"],
            id="a built-in command line that wins",
        ),
        pytest.param(
            replace(INTEL, files={"proc/xen/capabilities": "control_d\n"}),
            "strict-isolation",
            INTEL_P,
            Verdict.HYPERVISOR,
            ["environment"],
            id="Xen",
        ),
        pytest.param(
            replace(FIRMWARE_OFF, cmdline="ro intel_iommu=off"),
            "iommu-off",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="off is off without tables too",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro intel_iommu=off"),
            "iommu-off",
            INTEL_P,
            Verdict.IGNORED_BY_KERNEL,
            ["units"],
            id="off, and the platform turned it on",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro", types=WRONG_TYPES, config=VTD_ON_CONFIG),
            "kernel-default",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="the kernel's own default",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro", config=VTD_ON_CONFIG),
            "kernel-default",
            INTEL_P,
            Verdict.IGNORED_BY_KERNEL,
            ["group-types"],
            id="not its default",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro", config=None, release="6.12.40-mine"),
            "kernel-default",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="default unknown",
        ),
        pytest.param(
            replace(INTEL, cmdline="ro"),
            "kernel-default",
            INTEL_P,
            Verdict.ACTIVE,
            [],
            id="on by the platform's own wish",
        ),
        pytest.param(
            replace(INTEL, cmdline=PASSTHROUGH_LINE, types={0: "identity", 1: "identity", 2: "identity"}),
            "passthrough-perf",
            Platform.X86,
            Verdict.ACTIVE,
            [],
            id="both vendors meant, Intel found",
        ),
    ],
)
def test_verdict(
    tmp_path: Path, host: KernelHost, profile: str, platform: Platform, verdict: Verdict, failures: list[str]
) -> None:
    found = verified(observe(host, tmp_path), profile, platform)
    assert (found.verdict, failed(found)) == (verdict, failures)


@pytest.mark.parametrize(
    ("line", "verdict", "strictness"),
    [
        pytest.param(
            "ro intel_iommu=on,strict iommu.passthrough=0 iommu.strict=1",
            Verdict.ACTIVE,
            "translated; kernel 5.10 (debian) has no name of its own for lazy domains, and that they are strict rests "
            "on this: kernel 5.10 (debian) reads intel_iommu=strict",
            id="a spelling that it reads",
        ),
        pytest.param(
            STRICT_LINE,
            Verdict.IGNORED_BY_KERNEL,
            "translated, but lazy: kernel 5.10 (debian) does not read iommu.strict=1, only intel_iommu=strict or "
            "amd_iommu=fullflush",
            id="one that it does not",
        ),
        pytest.param(
            "ro intel_iommu=on iommu.passthrough=0",
            Verdict.NOT_APPLIED,
            "translated, but lazy: nothing on the line asks for strict ones",
            id="none",
        ),
    ],
)
def test_where_no_type_shows_it_strictness_rests_on_the_line(
    tmp_path: Path, line: str, verdict: Verdict, strictness: str
) -> None:
    host = replace(INTEL, cmdline=line, release="5.10.0-30-amd64", config="CONFIG_INTEL_IOMMU=y\n")
    found = verified(observe(host, tmp_path), "strict-isolation", INTEL_P)
    assert (found.verdict, details(found)["strictness"]) == (verdict, strictness)


def test_lazy_shows_as_dma_before_it_had_a_name(tmp_path: Path) -> None:
    host = replace(INTEL, cmdline=LAZY_LINE, release="5.14.0")
    assert verified(observe(host, tmp_path), "translated-lazy", INTEL_P).is_active


@pytest.mark.parametrize(("found", "active"), [("Y", False), ("N", True)])
def test_what_may_not_stand_on_the_line_is_looked_for_in_the_module(tmp_path: Path, found: str, active: bool) -> None:
    files = {"sys/module/vfio/parameters/enable_unsafe_noiommu_mode": f"{found}\n"}
    host = replace(INTEL, cmdline=PASSTHROUGH_LINE, types=IDENTITY, files=files)
    assert verified(observe(host, tmp_path), "passthrough-perf", INTEL_P).is_active is active


@pytest.mark.parametrize(("found", "active"), [("N", False), ("Y", True)])
def test_what_is_wanted_of_a_module_is_looked_for_in_it(tmp_path: Path, found: str, active: bool) -> None:
    files = {"sys/module/vfio_pci/parameters/disable_idle_d3": f"{found}\n"}
    observed = observe(replace(INTEL, cmdline="ro vfio-pci.disable_idle_d3=1", files=files, config=None), tmp_path)
    wanted = (Wanted("vfio-pci.disable_idle_d3", "1", ""),)
    assert verify(observed, DesiredArguments("own", INTEL_P, wanted, ()), CATALOGUE).is_active is active


def test_ids_are_numbers(tmp_path: Path) -> None:
    device = Pci("0000:03:00.0", "0b1a:0041", "020000", 0, "virtio-pci")
    observed = observe(replace(INTEL, devices=(device,)), tmp_path)
    desired = DesiredArguments("own", INTEL_P, (Wanted("vfio-pci.ids", "B1A:41", ""),), ())
    found = verify(observed, desired, CATALOGUE)
    assert details(found)["device-binding"] == "not with vfio-pci: 0000:03:00.0 has virtio-pci"


@pytest.mark.parametrize(
    ("driver", "cmdline", "verdict"),
    [("vfio-pci", Result.SKIP, Verdict.ACTIVE), ("virtio-pci", Result.FAIL, Verdict.NOT_APPLIED)],
)
def test_a_device_that_is_held_without_being_asked_for_is_held(
    tmp_path: Path, driver: str, cmdline: Result, verdict: Verdict
) -> None:
    device = Pci("0000:03:00.0", "8086:10d3", "020000", 0, driver)
    host = replace(INTEL, cmdline=PASSTHROUGH_LINE, types=IDENTITY, devices=(device,))
    wanted = (Wanted("iommuctl.vfio", "0000:03:00.0@8086:10d3", ""),)
    found = verify(observe(host, tmp_path), DesiredArguments("own", INTEL_P, wanted, ()), CATALOGUE)
    assert ([one.result for one in found.checks if one.name == "cmdline"], found.verdict) == ([cmdline], verdict)


@pytest.mark.parametrize(
    ("driver", "result"), [("vfio-pci", Result.PASS), ("nvidia", Result.FAIL), (None, Result.FAIL)]
)
def test_a_device_that_another_driver_took_first_is_found(tmp_path: Path, driver: str | None, result: Result) -> None:
    gpu = Pci("0000:03:00.0", "10de:1b80", "030000", 0, driver)
    line = f"{PASSTHROUGH_LINE} vfio-pci.ids=10DE:1b80"
    host = replace(INTEL, cmdline=line, types=IDENTITY, devices=(gpu,))
    found = verified(observe(host, tmp_path), "vfio-bind", INTEL_P, {"vfio-pci.ids": "10DE:1b80"})
    assert [check.result for check in found.checks if check.name == "device-binding"] == [result]


def test_what_may_not_be_listed_is_not_taken_for_absent(tmp_path: Path) -> None:
    observed = observe(NO_IOMMU, tmp_path)._replace(is_hidden=True)
    found = verified(observed, "strict-isolation", INTEL_P)
    assert (found.verdict, found.sentence) == (
        Verdict.UNPROVEN,
        "the units and groups may not be listed by this user",
    )


def test_the_log_and_its_lies_are_not_read(tmp_path: Path) -> None:
    """`DMAR: IOMMU enabled` is in the log of a machine without any IOMMU."""
    lies = "DMAR: IOMMU enabled\niommu: Default domain type: Translated\n"
    host = replace(FIRMWARE_OFF, files={"proc/kmsg": lies, "var/log/kern.log": lies, "var/log/dmesg": lies})
    assert verified(observe(host, tmp_path), "strict-isolation", INTEL_P).verdict is Verdict.FIRMWARE_OFF
