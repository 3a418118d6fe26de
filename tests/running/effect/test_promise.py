# SPDX-License-Identifier: Apache-2.0
"""Every default domain type that a line may lead to, by what is known of the machine."""

import pytest

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.predict import DomainType
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.effect.promise import promise, shows_lazy, vendors
from iommuctl.running.state import Group, Observed, Unit

OFF, IDENTITY, DMA, DMA_FQ = DomainType.OFF, DomainType.IDENTITY, DomainType.DMA, DomainType.DMA_FQ
LAZY = {"CONFIG_IOMMU_DEFAULT_DMA_LAZY": "y"}
STRICT = {"CONFIG_IOMMU_DEFAULT_DMA_STRICT": "y"}
PASSTHROUGH = {"CONFIG_IOMMU_DEFAULT_PASSTHROUGH": "y"}
VTD_ON = {"CONFIG_INTEL_IOMMU_DEFAULT_ON": "y"}
SME = frozenset({"sme"})


def leads_to(line: str, observed: Observed, platform: Platform, kernel: str = "6.12") -> set[DomainType]:
    return set(promise(Cmdline.parse(line), observed, platform, Kernel.parse(kernel), shipped_catalogue()))


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
        # Before 5.15 the configuration had no choice, and each driver had a default of its own.
        ("", {"CONFIG_AMD_IOMMU": "y"}, Platform.AMD, "5.14", {DMA_FQ}),
        ("", {"CONFIG_ARM_SMMU_V3": "y"}, Platform.ARM64, "5.14", {DMA}),
        ("", LAZY, Platform.ARM64, "5.14.0-570.32.1.el9_6.aarch64", {DMA_FQ}),
        ("", PASSTHROUGH, Platform.AMD, "4.18.0-425.3.1.el8.x86_64", {IDENTITY}),
        ("iommu.passthrough=0", PASSTHROUGH, Platform.AMD, "4.18.0-425.3.1.el8.x86_64", {DMA_FQ}),
        ("iommu.passthrough=0", PASSTHROUGH, Platform.AMD, "5.4.17-2136.331.7.el8uek.x86_64", {DMA_FQ}),
    ],
)
def test_promise(
    line: str, config: dict[str, str] | None, platform: Platform, kernel: str, expected: set[DomainType]
) -> None:
    assert leads_to(line, Observed(line, kernel, config=config), platform, kernel) == expected


@pytest.mark.parametrize(
    ("line", "config", "platform", "kernel", "expected"),
    [
        ("", None, Platform.INTEL, "4.18.0-553.66.1.el8_10.x86_64", {OFF}),
        ("intel_iommu=on", None, Platform.INTEL, "4.18.0-553.66.1.el8_10.x86_64", {IDENTITY}),
        ("", None, Platform.AMD, "5.14.0-570.32.1.el9_6.x86_64", {DMA_FQ}),
        ("", None, Platform.ARM64, "6.12.107+deb13-arm64", {DMA}),
        ("", None, Platform.INTEL, "6.12.107+deb13-amd64", {DMA_FQ}),
        ("", None, Platform.INTEL, "5.15.0-300.163.18.el9uek.x86_64", {IDENTITY}),
        ("", None, Platform.INTEL, "6.12.0-160000.5-default", {OFF, IDENTITY, DMA, DMA_FQ}),
        ("", LAZY | VTD_ON, Platform.INTEL, "4.18.0-553.66.1.el8_10.x86_64", {DMA_FQ}),
    ],
)
def test_what_cannot_be_read_is_as_the_line_is_configured(
    line: str, config: dict[str, str] | None, platform: Platform, kernel: str, expected: set[DomainType]
) -> None:
    observed = Observed(line, kernel, config=config)
    catalogue = shipped_catalogue()
    found = promise(Cmdline.parse(line), observed, platform, Kernel.parse(kernel), catalogue, by_line=True)
    assert found == expected


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


@pytest.mark.parametrize(
    ("kernel", "kind", "shows"),
    [
        ("5.14", "DMA", False),
        ("5.15", "DMA", True),
        ("4.18.0-477.10.1.el8_8.x86_64", "DMA", True),
        ("4.18.0-372.9.1.el8.x86_64", "DMA", False),
        ("4.18.0-460.el8.x86_64", "DMA", None),
        ("4.19.90-2312.1.0.0255.oe2003sp4.x86_64", "DMA", None),
        ("4.19.90-2312.1.0.0255.oe2003sp4.x86_64", "DMA-FQ", True),
    ],
)
def test_a_lazy_domain_has_a_name_by_line_or_by_proof(kernel: str, kind: str, shows: bool | None) -> None:
    observed = Observed("", kernel, groups=(Group(0, kind, ()),))
    assert shows_lazy(observed, Kernel.parse(kernel)) is shows
