# SPDX-License-Identifier: Apache-2.0
"""Devices that no group holds although their IOMMU runs: which count, for which profiles, and why they are there."""

from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import AMD, INTEL, PASSTHROUGH_LINE, STRICT_LINE, Pci
from verified import details, observe, verified

from iommuctl.facts import Platform
from iommuctl.running.effect.ungrouped import ungrouped
from iommuctl.running.verdict import Verdict

GPU = Pci("0000:00:02.0", "8086:3e9b", "030000", None, "i915")
IOAT = Pci("0000:00:04.0", "8086:3c20", "088000", None, "ioatdma")


@pytest.mark.parametrize(
    ("device", "counts"),
    [
        pytest.param(GPU, True, id="a display device"),
        pytest.param(replace(GPU, driver=None, master=False), True, id="one that no driver has yet"),
        pytest.param(IOAT, True, id="a peripheral that a driver runs"),
        pytest.param(replace(IOAT, driver=None), True, id="a peripheral that may start transfers"),
        pytest.param(replace(IOAT, driver=None, master=False), False, id="registers of the chipset"),
        pytest.param(Pci("0000:00:00.2", "1022:1481", "080600", None, None), False, id="the unit itself"),
        pytest.param(Pci("0000:00:00.0", "1022:1480", "060000", None, None), False, id="a host bridge"),
        pytest.param(Pci("0000:00:09.0", "1af4:1057", "ff0000", None, "virtio-pci"), False, id="virtio-iommu itself"),
        pytest.param(Pci("0000:00:1c.0", "8086:a338", "060400", None, None, master=False), True, id="a bridge to PCI"),
        pytest.param(replace(GPU, group=1), False, id="in a group"),
    ],
)
def test_what_can_start_a_transfer_counts(tmp_path: Path, device: Pci, counts: bool) -> None:
    observed = observe(replace(INTEL, devices=(*INTEL.devices, device)), tmp_path)
    assert [one.address for one in ungrouped(observed)] == [device.address] * counts


def test_without_a_unit_nothing_is_left_out(tmp_path: Path) -> None:
    assert ungrouped(observe(replace(INTEL, units={}, devices=(GPU,)), tmp_path)) == ()


@pytest.mark.parametrize(
    ("line", "profile", "types", "verdict"),
    [
        (STRICT_LINE, "strict-isolation", "DMA", Verdict.IGNORED_BY_KERNEL),
        (f"{STRICT_LINE[:-1]}0", "translated-lazy", "DMA-FQ", Verdict.IGNORED_BY_KERNEL),
        (PASSTHROUGH_LINE, "passthrough-perf", "identity", Verdict.ACTIVE),
        ("ro", "kernel-default", "DMA-FQ", Verdict.ACTIVE),
    ],
)  # fmt: skip
def test_it_is_a_fault_where_translation_is_promised(
    tmp_path: Path, line: str, profile: str, types: str, verdict: Verdict
) -> None:
    host = replace(INTEL, cmdline=line, types=dict.fromkeys(range(3), types), devices=(*INTEL.devices, GPU))
    found = verified(observe(host, tmp_path), profile, Platform.INTEL)
    assert found.verdict is verdict
    assert "0000:00:02.0 (i915)" in details(found)["ungrouped-devices"]


@pytest.mark.parametrize(
    ("line", "more", "reason"),
    [
        (STRICT_LINE.replace("=on", "=on,igfx_off"), (), "0000:00:02.0 (i915, igfx_off)"),
        (
            STRICT_LINE,
            (Pci("0000:00:00.0", "8086:2e20", "060000", None),),
            "0000:00:02.0 (i915, a quirk of this chipset (quirk_iommu_igfx))",
        ),
        (
            STRICT_LINE,
            (Pci("0000:00:16.0", "8086:402f", "088000", None, "ioatdma"),),
            "0000:00:16.0 (ioatdma, the firmware names a wrong unit for it (quirk_ioat_snb_local_iommu))",
        ),
    ],
)
def test_the_reason_is_told_where_it_is_known(tmp_path: Path, line: str, more: tuple[Pci, ...], reason: str) -> None:
    host = replace(INTEL, cmdline=line, devices=(*INTEL.devices, GPU, *more))
    found = verified(observe(host, tmp_path), "strict-isolation", Platform.INTEL)
    assert reason in details(found)["ungrouped-devices"]


@pytest.mark.parametrize(
    ("release", "is_told"),
    [("6.8.0-45-generic", True), ("5.15.0-100-generic", False), ("6.8.12-43-pve", False)],
)
def test_ubuntu_is_named_where_it_leaves_an_integrated_gpu_out(tmp_path: Path, release: str, is_told: bool) -> None:
    host = replace(INTEL, release=release, devices=(*INTEL.devices, GPU))
    told = details(verified(observe(host, tmp_path), "strict-isolation", Platform.INTEL))["ungrouped-devices"]
    assert ("(i915, Ubuntu's kernels leave the units of some integrated GPUs out)" in told) is is_told


def test_a_host_that_is_covered_is_told_so(tmp_path: Path) -> None:
    found = verified(observe(AMD, tmp_path), "strict-isolation", Platform.AMD)
    assert details(found)["ungrouped-devices"] == "every device that can start a transfer is in a group"
