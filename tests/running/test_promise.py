# SPDX-License-Identifier: Apache-2.0
"""Every default domain type that a line may lead to, by what is known of the machine."""

import pytest

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.predict import DomainType
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.promise import promise, shown, vendors
from iommuctl.running.state import Observed, Unit

OFF, IDENTITY, DMA, DMA_FQ = DomainType.OFF, DomainType.IDENTITY, DomainType.DMA, DomainType.DMA_FQ
LAZY = {"CONFIG_IOMMU_DEFAULT_DMA_LAZY": "y"}
STRICT = {"CONFIG_IOMMU_DEFAULT_DMA_STRICT": "y"}
PASSTHROUGH = {"CONFIG_IOMMU_DEFAULT_PASSTHROUGH": "y"}
VTD_ON = {"CONFIG_INTEL_IOMMU_DEFAULT_ON": "y"}
SME = frozenset({"sme"})


def leads_to(line: str, observed: Observed, platform: Platform, kernel: str = "6.12") -> set[DomainType]:
    version = KernelVersion.parse(kernel)
    assert version is not None
    return set(promise(Cmdline.parse(line), observed, platform, version, shipped_catalogue()))


@pytest.mark.parametrize(
    ("line", "config", "platform", "kernel", "expected"),
    [
        ("", None, Platform.INTEL, "6.12", {OFF, IDENTITY, DMA, DMA_FQ}),
        ("intel_iommu=on", None, Platform.INTEL, "6.12", {IDENTITY, DMA, DMA_FQ}),
        ("intel_iommu=on iommu=nopt", None, Platform.INTEL, "6.12", {DMA, DMA_FQ}),
        ("intel_iommu=on iommu=pt", None, Platform.INTEL, "6.12", {IDENTITY}),
        ("iommu=pt", None, Platform.AMD, "6.12", {IDENTITY}),
        ("", LAZY, Platform.INTEL, "6.12", {OFF}),
        ("", LAZY | VTD_ON, Platform.INTEL, "6.12", {DMA_FQ}),
        ("", LAZY, Platform.AMD, "6.12", {DMA_FQ}),
        ("", STRICT, Platform.AMD, "6.12", {DMA}),
        ("", PASSTHROUGH, Platform.ARM64, "6.12", {IDENTITY}),
        ("", LAZY, Platform.X86, "6.12", {OFF, DMA_FQ}),
        # Before 5.15 the configuration does not decide, and each driver had a default of its own.
        ("", STRICT, Platform.AMD, "5.14", {DMA_FQ}),
        ("", LAZY, Platform.ARM64, "5.14", {DMA}),
    ],
)
def test_promise(
    line: str, config: dict[str, str] | None, platform: Platform, kernel: str, expected: set[DomainType]
) -> None:
    assert leads_to(line, Observed(line, kernel, config=config), platform, kernel) == expected


@pytest.mark.parametrize(("line", "expected"), [("", {DMA}), ("iommu=pt", {IDENTITY})])
def test_memory_encryption_cancels_what_was_only_configured(line: str, expected: set[DomainType]) -> None:
    observed = Observed("mem_encrypt=on", "6.12", config=PASSTHROUGH | STRICT, cpu_flags=SME)
    assert leads_to(line, observed, Platform.AMD) == expected


@pytest.mark.parametrize(
    ("units", "platform", "expected"),
    [
        ((), Platform.X86, (Platform.INTEL, Platform.AMD)),
        ((Unit("ivhd0"),), Platform.X86, (Platform.AMD,)),
        ((Unit("dmar0"), Unit("dmar1")), Platform.X86, (Platform.INTEL,)),
        ((Unit("virtio-iommu.0"),), Platform.X86, (Platform.INTEL, Platform.AMD)),
        ((Unit("dmar0"),), Platform.AMD, (Platform.AMD,)),
    ],
)
def test_units_tell_the_vendor(units: tuple[Unit, ...], platform: Platform, expected: tuple[Platform, ...]) -> None:
    assert vendors(Observed("", "6.12", units=units), platform) == expected


@pytest.mark.parametrize(("kernel", "name"), [("5.14", "DMA"), ("5.15", "DMA-FQ")])
def test_a_lazy_domain_has_a_name_since_5_15(kernel: str, name: str) -> None:
    version = KernelVersion.parse(kernel)
    assert version is not None
    assert shown(DMA_FQ, version) == name
