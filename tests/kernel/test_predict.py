# SPDX-License-Identifier: Apache-2.0
"""The predicted default domain type, against the precedence sheet and against what real kernels did."""

import csv

import pytest
from lacking import lacks
from project import SHARED

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.predict import DomainType, Machine, effective, predict
from iommuctl.profile.shipped import shipped_catalogue

CATALOGUE = shipped_catalogue()
REFERENCE = SHARED / "reference"
MEASURED = ("6.1", "6.12", "7.2")

# The emulated devices of the measurement: QEMU's AMD unit sets NpCache, its Intel unit caching mode where asked.
DEVICES = {
    "intel": (Platform.INTEL, False),
    "intel-cm": (Platform.INTEL, True),
    "amd": (Platform.AMD, True),
}
NO_DEVICE = {"none", "virtio"}  # no unit, or one whose driver the measured initramfs did not load


def machine(platform: Platform = Platform.INTEL, kernel: str = "6.12", *, vtd: bool = True) -> Machine:
    version = KernelVersion.parse(kernel)
    assert version is not None
    strict = platform is Platform.ARM64  # drivers/iommu/Kconfig: lazy is the default on x86 and s390 only
    return Machine(
        platform, Kernel.upstream(version), vtd_default_on=vtd, passthrough_default=False, strict_default=strict
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("iommu=pt iommu.passthrough=0", "DMA-FQ"),
        ("iommu.passthrough=0 iommu=pt", "identity"),
        ("iommu=pt iommu=nopt", "DMA-FQ"),
        ("iommu=nopt,pt", "identity"),
        ("iommu=off iommu=pt", "off"),
        ("intel_iommu=on intel_iommu=off", "off"),
        ("intel_iommu=off intel_iommu=on", "DMA-FQ"),
        ("intel_iommu=strict iommu.strict=0", "DMA"),
        ("iommu.strict=0 amd_iommu=fullflush", "DMA"),
        ("iommu.strict=0 iommu.strict=1", "DMA"),
        ("iommu=pt iommu.strict=1", "identity"),
        ("-- iommu=pt", "DMA-FQ"),
        ("iommu=usedac,pt", "DMA-FQ"),
        ("iommu.passthrough", "DMA-FQ"),
    ],
)
def test_precedence(line: str, expected: str) -> None:
    assert predict(Cmdline.parse(line), machine(), CATALOGUE) == expected


@pytest.mark.parametrize(
    ("line", "platform", "kernel", "expected"),
    [
        ("amd_iommu=off amd_iommu=force_enable", Platform.AMD, "6.12", "off"),
        ("iommu=pt", Platform.ARM64, "6.12", "DMA"),
        ("iommu=off", Platform.ARM64, "6.12", "DMA"),
        ("iommu.passthrough=1", Platform.ARM64, "6.12", "identity"),
        ("iommu.strict=0", Platform.ARM64, "5.4", "DMA-FQ"),
        ("iommu.strict=1", Platform.INTEL, "5.10", "DMA-FQ"),
        ("intel_iommu=strict", Platform.INTEL, "5.10", "DMA"),
        ("amd_iommu=fullflush", Platform.INTEL, "5.10", "DMA-FQ"),
        ("iommu.passthrough=1", Platform.INTEL, "5.3", "DMA-FQ"),
        ("iommu=soft", Platform.AMD, "5.15", "off"),
        ("iommu=soft", Platform.AMD, "5.19", "DMA-FQ"),
    ],
)
def test_platform_and_kernel_decide_what_is_read(line: str, platform: Platform, kernel: str, expected: str) -> None:
    assert predict(Cmdline.parse(line), machine(platform, kernel), CATALOGUE) == expected


def test_vtd_is_off_where_the_kernel_was_configured_so() -> None:
    assert predict(Cmdline.parse("iommu=pt"), machine(vtd=False), CATALOGUE) is DomainType.OFF
    assert predict(Cmdline.parse("iommu=pt intel_iommu=on"), machine(vtd=False), CATALOGUE) is DomainType.IDENTITY


@pytest.mark.parametrize(
    ("line", "state"),
    [("intremap=off intremap=on", "on"), ("nointremap intremap=on", "on"), ("intremap=on nointremap", "off")],
)
def test_two_spellings_set_one_variable(line: str, state: str) -> None:
    variables = effective(Cmdline.parse(line), Platform.INTEL, Kernel.upstream(KernelVersion(6, 12)), CATALOGUE)
    assert variables == {"intremap:state": state}


@pytest.mark.corpus
@pytest.mark.parametrize("release", MEASURED)
def test_prediction_is_what_a_real_kernel_did(release: str) -> None:
    path = REFERENCE / f"iommu-matrix-{release}.tsv"
    if not path.is_file():
        reason = f"no measurements at {path}"
        lacks(reason)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 40
    differing = []
    for row in rows:
        line = Cmdline.parse("" if row["parameters"] == "(nothing)" else row["parameters"])
        kernel = Kernel.parse(row["kernel"])
        assert kernel is not None
        predicted = "off"
        if row["iommu_device"] not in NO_DEVICE:
            platform, forces_strict = DEVICES[row["iommu_device"]]
            # Debian's configuration: INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF, IOMMU_DEFAULT_DMA_LAZY.
            host = Machine(platform, kernel, True, False, False, forces_strict)
            predicted = predict(line, host, CATALOGUE)
        if predicted != {"no groups": "off"}.get(row["result"], row["result"]):
            differing.append((row["iommu_device"], row["parameters"], row["result"], predicted))
    assert differing == []
