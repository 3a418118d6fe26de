# SPDX-License-Identifier: Apache-2.0
"""What is read of a running kernel, from trees of /proc and /sys with the links that real ones have."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import AMD_PASID, ARM64, FIRMWARE_OFF, GUEST, INTEL, INTEL_CONFIG, NO_IOMMU, RMRR, link, write

from iommuctl.host.root import Root
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.pci_ids import Names
from iommuctl.running.state import Device, Group, Observed, Region, Unit, parse_config
from iommuctl.running.sysfs import Security, read_cards, read_names, read_observed, read_security

CATALOGUE = shipped_catalogue()
BRIDGE = Device(
    "0000:00:01.0", "060400", "8086", "2030", "pcieport", "dmar0", frozenset(), port=0, is_master=True, group=0
)
NIC = Device(
    "0000:01:00.0",
    "020000",
    "8086",
    "1572",
    "i40e",
    "dmar0",
    frozenset({0x01, 0x0D, 0x10}),
    reset=("flr", "bus"),
    virtual_functions=1,
    maximal_virtual_functions=64,
    port=0,
    is_master=True,
    subsystem=("8086", "0001"),
    group=1,
)
FUNCTION = Device(
    "0000:01:02.0",
    "020000",
    "8086",
    "154c",
    "vfio-pci",
    "dmar0",
    frozenset({0x0D}),
    reset=("unknown",),
    physical_function="0000:01:00.0",
    port=0,
    is_master=True,
    group=2,
)


def observe(root: Path) -> Observed:
    return read_observed(Root(root), CATALOGUE)


def test_everything_is_read(tmp_path: Path) -> None:
    assert observe(INTEL.write(tmp_path)) == Observed(
        cmdline="ro quiet intel_iommu=on iommu.passthrough=0 iommu.strict=1",
        release="6.12.107+deb13-amd64",
        units=(Unit("dmar0", 0x8D2078C106F0466, 0xF020DF),),
        groups=(Group(0, "DMA", (BRIDGE,)), Group(1, "DMA", (NIC,)), Group(2, "DMA", (FUNCTION,))),
        devices=(BRIDGE, NIC, FUNCTION),
        firmware_tables=frozenset({"APIC", "DMAR", "FACP"}),
        interrupts_remapped=True,
        config=parse_config(INTEL_CONFIG),
        config_source="/boot/config-6.12.107+deb13-amd64",
        cpu_vendor="GenuineIntel",
        cpu_flags=frozenset({"fpu", "vmx"}),
    )


UEVENT = "DRIVER=i40e\nPCI_CLASS=20000\nPCI_ID=8086:1572\nPCI_SUBSYS_ID=8086:000A\nPCI_SLOT_NAME=0000:01:00.0\n"


def test_one_file_tells_of_a_card_what_a_plan_needs(tmp_path: Path) -> None:
    INTEL.write(tmp_path)
    write(tmp_path / "sys/devices/pci0000:00/0000:01:00.0/uevent", UEVENT)
    found = {one.address: one for one in read_cards(Root(tmp_path))}
    assert found["0000:01:00.0"] == Device(
        "0000:01:00.0",
        "020000",
        "8086",
        "1572",
        "i40e",
        subsystem=("8086", "000a"),
    )
    assert found["0000:00:01.0"] == BRIDGE


def test_an_empty_tree_is_unknown_rather_than_absent(tmp_path: Path) -> None:
    assert observe(tmp_path) == Observed("", "")


def test_a_kernel_without_an_iommu_has_no_groups(tmp_path: Path) -> None:
    found = observe(NO_IOMMU.write(tmp_path))
    assert (found.units, found.groups, found.firmware_tables) == ((), (), None)
    assert [device.unit for device in found.devices] == [None, None, None]


def test_tables_without_an_iommu_are_told_from_no_tables(tmp_path: Path) -> None:
    assert observe(FIRMWARE_OFF.write(tmp_path)).firmware_tables == frozenset({"APIC", "FACP"})


def test_a_guest_is_known_by_its_processor_and_its_vendor(tmp_path: Path) -> None:
    assert observe(GUEST.write(tmp_path)).hypervisor == "QEMU"


def test_groups_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    host = replace(INTEL, types={10: "DMA", 9: "identity", 2: "DMA"}, devices=())
    assert [group.id for group in observe(host.write(tmp_path)).groups] == [2, 9, 10]


def test_reserved_regions_pin_a_group(tmp_path: Path) -> None:
    group = observe(RMRR.write(tmp_path)).groups[2]
    assert group.regions == (
        Region(0xBDF6F000, 0xBDF7EFFF, "direct"),
        Region(0xFEE00000, 0xFEEFFFFF, "msi"),
    )
    assert group.is_pinned


def test_a_region_that_may_be_lifted_pins_nothing() -> None:
    region = Region(0xBDF6F000, 0xBDF7EFFF, "direct-relaxable")
    assert not Group(1, "DMA", (), (region,)).is_pinned


def test_a_guest_without_a_flag_is_known_by_its_vendor(tmp_path: Path) -> None:
    host = replace(ARM64, files={"sys/class/dmi/id/sys_vendor": "QEMU\n"})
    assert observe(host.write(tmp_path)).hypervisor == "QEMU"
    write(tmp_path / "sys/class/dmi/id/sys_vendor", "Ampere\n")
    assert observe(tmp_path).hypervisor is None


def test_what_is_no_group_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "sys/kernel/iommu_groups/stray/type", "DMA\n")
    assert observe(tmp_path).groups == ()


def test_a_release_that_is_a_path_names_no_file(tmp_path: Path) -> None:
    write(tmp_path / "proc/sys/kernel/osrelease", "../../etc/secret\n")
    write(tmp_path / "etc/secret/config", "CONFIG_AMD_IOMMU=y\n")
    (tmp_path / "lib/modules").mkdir(parents=True)
    assert observe(tmp_path).config is None


def test_capabilities_of_a_gpu_are_read(tmp_path: Path) -> None:
    gpu = observe(AMD_PASID.write(tmp_path)).groups[3].devices[0]
    assert (gpu.is_display, gpu.capabilities) == (True, frozenset({0x0F, 0x13, 0x1B}))


def test_a_group_of_devices_that_are_not_on_pci(tmp_path: Path) -> None:
    link(tmp_path / "sys/kernel/iommu_groups/4/devices/arm-smmu-test", "../../../../devices/platform/arm-smmu-test")
    write(tmp_path / "sys/devices/platform/arm-smmu-test/uevent", "")
    write(tmp_path / "sys/kernel/iommu_groups/4/name", "vfio-noiommu\n")
    (group,) = observe(tmp_path).groups
    assert (group, group.is_real) == (Group(4, None, (Device("arm-smmu-test"),), name="vfio-noiommu"), False)


def test_a_link_out_of_the_root_stays_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path / "outside/class", "0x020000")
    link(root / "sys/bus/pci/devices/0000:00:02.0", "../../../../../outside")
    assert observe(root).devices == (Device("0000:00:02.0"),)


def test_module_parameters_have_the_names_of_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path / "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n")
    write(tmp_path / "sys/module/arm_smmu/parameters/disable_bypass", "Y\n")
    write(tmp_path / "sys/module/kvm_amd/parameters/sev_snp", "Y\n")
    found = observe(tmp_path)
    assert found.modules == {
        "vfio_iommu_type1.allow_unsafe_interrupts": "N",
        "arm-smmu.disable_bypass": "Y",
        "kvm-amd.sev_snp": "Y",
    }
    assert found.has_snp


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("boot/config-6.1.0", "lib/modules/6.1.0/config", "proc/config.gz"), "/boot/config-6.1.0"),
        (("lib/modules/6.1.0/config", "proc/config.gz"), "/lib/modules/6.1.0/config"),
        (("proc/config.gz",), "/proc/config.gz"),
        ((), None),
    ],
)
def test_the_configuration_is_that_of_the_running_kernel(
    tmp_path: Path, files: tuple[str, ...], expected: str | None
) -> None:
    write(tmp_path / "proc/sys/kernel/osrelease", "6.1.0\n")
    write(tmp_path / "boot/config-6.2.0", "CONFIG_OTHER=y\n")
    for path in files:
        write(tmp_path / path, "")
        text = b"CONFIG_AMD_IOMMU=y\n"
        (tmp_path / path).write_bytes(gzip.compress(text) if path.endswith(".gz") else text)
    found = observe(tmp_path)
    assert (found.config_source, found.config) == (expected, {"CONFIG_AMD_IOMMU": "y"} if expected else None)


def test_a_broken_configuration_is_unknown(tmp_path: Path) -> None:
    write(tmp_path / "proc/config.gz", "no gzip")
    assert observe(tmp_path).config is None


@pytest.mark.parametrize(
    ("variable", "lockdown", "expected"),
    [
        (b"\6\0\0\0\1", "none [integrity] confidentiality\n", Security(True, "integrity")),
        (b"\6\0\0\0\0", "[none] integrity confidentiality\n", Security(False, "none")),
        (None, None, Security(None, None)),
    ],
)
def test_security_is_read(tmp_path: Path, variable: bytes | None, lockdown: str | None, expected: Security) -> None:
    if variable is not None:
        path = tmp_path / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        write(path, "")
        path.write_bytes(variable)
    if lockdown is not None:
        write(tmp_path / "sys/kernel/security/lockdown", lockdown)
    assert read_security(Root(tmp_path)) == expected


@pytest.mark.parametrize("path", ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"])
def test_names_come_from_the_list_that_there_is(tmp_path: Path, path: str) -> None:
    write(tmp_path / path, "8086  Intel Corporation\n\t1572  X710\nC 02  Network\n\t00  Ethernet controller\n")
    assert read_names(Root(tmp_path), [NIC]) == Names(
        {"8086": "Intel Corporation"}, {"8086:1572": "X710"}, {"02": "Network", "0200": "Ethernet controller"}
    )
    assert read_names(Root(tmp_path / "usr"), [NIC]) == Names()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    os.mkfifo(tmp_path / "proc/interrupts")
    assert observe(tmp_path).interrupts_remapped is None
