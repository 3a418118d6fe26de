# SPDX-License-Identifier: Apache-2.0
"""Surroundings: what a host says of its firmware, hypervisor and kernels, which some rules of lint ask for."""

import pytest
from trees import MemoryTree

from iommuctl.facts import Distribution, Facts, Platform, Runtime
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.environment import Surroundings
from iommuctl.running.environment import parse_bootconfig, read_surroundings


def test_bootconfig_is_read_below_kernel_only() -> None:
    text = b'kernel.iommu = "pt"\nkernel.quiet\nkernel.intel_iommu = on\ninit.kernel.x = "1"\n'
    assert str(parse_bootconfig(text)) == "iommu=pt intel_iommu=on"


def release_facts(runtime: Runtime | None = None) -> Facts:
    return Facts(Platform.INTEL, False, Distribution("debian"), ("6.1.0-1-amd64", "6.12.1-1-amd64"), runtime)


VTD = "CONFIG_INTEL_IOMMU=y\n"
VTD_ON = f"{VTD}CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"


@pytest.mark.parametrize(
    ("older", "newer", "vtd_default_on", "ignores_loader", "spares_gpu"),
    [
        (VTD_ON, VTD_ON, True, False, False),
        (VTD_ON, VTD, False, False, False),
        (f"{VTD}CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n", VTD_ON, True, False, True),
        ("CONFIG_ARM_SMMU_V3=y\nCONFIG_CMDLINE_FORCE=y\n", "", None, True, False),
        (f"{VTD_ON}# CONFIG_CMDLINE_OVERRIDE is not set\n", VTD_ON, True, False, False),
        (f"{VTD_ON}CONFIG_CMDLINE_OVERRIDE=y\n", VTD_ON, True, True, False),
        ("", "", None, None, None),
    ],
)
def test_what_the_installed_kernels_were_configured_to_do(
    older: str, newer: str, vtd_default_on: bool | None, ignores_loader: bool | None, spares_gpu: bool | None
) -> None:
    files = {"/boot/config-6.1.0-1-amd64": older, "/lib/modules/6.12.1-1-amd64/config": newer}
    tree = MemoryTree.of({path: text for path, text in files.items() if text})
    expected = Surroundings(vtd_default_on=vtd_default_on, ignores_loader=ignores_loader, spares_gpu=spares_gpu)
    assert read_surroundings(tree, release_facts()) == expected


def test_the_running_system_is_asked_for_its_firmware_hypervisor_and_boot_configuration() -> None:
    host = {
        "/sys/firmware/acpi/tables/DMAR": "",
        "/sys/firmware/acpi/tables/FACP": "",
        "/proc/cpuinfo": "processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm sev_snp\n",
        "/sys/module/kvm_amd/parameters/sev_snp": "Y\n",
        "/proc/bootconfig": 'kernel.iommu = "pt"\n',
    }
    expected = Surroundings(
        tables=frozenset({"DMAR", "FACP"}),
        is_guest=True,
        is_xen_host=False,
        bootconfig=Cmdline.parse("iommu=pt"),
        has_snp=True,
        uses_snp=True,
    )
    assert read_surroundings(MemoryTree.of(host), release_facts(Runtime("quiet"))) == expected


def test_a_system_without_acpi_tells_nothing_of_its_firmware() -> None:
    assert read_surroundings(MemoryTree.of({}), release_facts(Runtime("quiet"))).tables is None
