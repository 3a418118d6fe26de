# SPDX-License-Identifier: Apache-2.0
"""Running kernels as trees of /proc and /sys, with the links that real ones have."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from iommuctl.facts import Platform

INTEL_P, AMD_P, ARM_P = Platform.INTEL, Platform.AMD, Platform.ARM64

INTEL_CONFIG = "CONFIG_INTEL_IOMMU=y\nCONFIG_AMD_IOMMU=y\nCONFIG_IOMMU_DEFAULT_DMA_LAZY=y\n"
ARM_CONFIG = "CONFIG_ARM_SMMU_V3=y\nCONFIG_IOMMU_DEFAULT_DMA_STRICT=y\n"
# VT-d registers of a Xeon (Ice Lake): ECAP has IR, EIM and PT; the last digits of CAP without caching mode.
INTEL_REGISTERS = {"cap": "8d2078c106f0466", "ecap": "f020df"}
AMD_REGISTERS = {"cap": "640f"}
_PASID = 0x1B


@dataclass(frozen=True)
class Pci:
    """One PCI device. `extended` are the ids of its extended capabilities; None leaves 64 bytes, all that users see.

    `port` is what it is on PCI Express, None for a conventional one; `master`: it may start transfers.
    """

    address: str
    ids: str
    device_class: str
    group: int | None
    driver: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    extended: tuple[int, ...] | None = ()
    physical_function: str | None = None
    port: int | None = 0
    master: bool = True


@dataclass(frozen=True)
class KernelHost:
    """What one running kernel shows; `types` are those of its groups by id, `regions` their reserved regions."""

    cmdline: str
    release: str = "6.12.107+deb13-amd64"
    vendor: str = "GenuineIntel"
    flags: str = "fpu vmx"
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    types: Mapping[int, str] = field(default_factory=dict)
    regions: Mapping[int, str] = field(default_factory=dict)
    devices: tuple[Pci, ...] = ()
    tables: tuple[str, ...] = ("APIC", "FACP")
    interrupts: str = " 24:  0  0  PCI-MSI-0000:00:02.0  0-edge  eth0\n"
    config: str | None = INTEL_CONFIG
    files: Mapping[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        """Write it into a directory and give that."""
        cpuinfo = f"processor\t: 0\nvendor_id\t: {self.vendor}\nflags\t\t: {self.flags}\n"
        files = {
            "proc/cmdline": f"{self.cmdline}\n",
            "proc/sys/kernel/osrelease": f"{self.release}\n",
            "proc/cpuinfo": cpuinfo,
            "proc/interrupts": f"           CPU0\n{self.interrupts}",
            **{f"sys/firmware/acpi/tables/{name}": "" for name in self.tables},
            **self.files,
        }
        if self.config is not None:
            files[f"boot/config-{self.release}"] = self.config
        for path, text in files.items():
            write(root / path, text)
        for name, registers in self.units.items():
            self._write_unit(root, name, registers)
        for number, kind in self.types.items():
            write(root / f"sys/kernel/iommu_groups/{number}/type", f"{kind}\n")
            write(root / f"sys/kernel/iommu_groups/{number}/reserved_regions", self.regions.get(number, ""))
        for device in self.devices:
            self._write_device(root, device)
        return root

    @staticmethod
    def _write_unit(root: Path, name: str, registers: Mapping[str, str]) -> None:
        folder = {"dmar": "intel-iommu", "ivhd": "amd-iommu"}.get(name[:4])
        (root / f"sys/devices/virtual/iommu/{name}").mkdir(parents=True)
        for register, value in registers.items():
            write(root / f"sys/devices/virtual/iommu/{name}/{folder}/{register}", f"{value}\n")
        link(root / f"sys/class/iommu/{name}", f"../../devices/virtual/iommu/{name}")

    def _write_device(self, root: Path, device: Pci) -> None:
        real = f"devices/pci0000:00/{device.address}"
        vendor, _, ident = device.ids.partition(":")
        files = {"class": f"0x{device.device_class}", "vendor": f"0x{vendor}", "device": f"0x{ident}", **device.files}
        for name, text in files.items():
            write(root / "sys" / real / name, f"{text}\n")
        (root / "sys" / real / "config").write_bytes(
            configuration_space(device.extended, device.port, master=device.master)
        )
        link(root / f"sys/bus/pci/devices/{device.address}", f"../../../{real}")
        if device.driver is not None:
            (root / f"sys/bus/pci/drivers/{device.driver}").mkdir(parents=True, exist_ok=True)
            link(root / "sys" / real / "driver", f"../../../bus/pci/drivers/{device.driver}")
        if device.physical_function is not None:
            link(root / "sys" / real / "physfn", f"../{device.physical_function}")
        if device.group is not None:
            link(root / "sys" / real / "iommu_group", f"../../../kernel/iommu_groups/{device.group}")
            link(root / f"sys/kernel/iommu_groups/{device.group}/devices/{device.address}", f"../../../../{real}")
            if self.units:
                link(root / "sys" / real / "iommu", f"../../virtual/iommu/{next(iter(self.units))}")


def configuration_space(extended: tuple[int, ...] | None, port: int | None = 0, *, master: bool = True) -> bytes:
    """What `config` gives: 64 bytes to a user, else the whole space with a chain of extended capabilities."""
    space = bytearray(4096)
    space[0x04] = 0x4 if master else 0
    space[0x06], space[0x34] = 0x10, 0x50
    struct.pack_into("<BB", space, 0x50, 0x01, 0x60 if port is not None else 0)  # power management, then PCI Express
    if port is not None:
        struct.pack_into("<BBH", space, 0x60, 0x10, 0, 0x2 | port << 4)
    if extended is None:
        return bytes(space[:64])
    for number, ident in enumerate(extended):
        at = 0x100 + number * 0x10
        following = at + 0x10 if number + 1 < len(extended) else 0
        struct.pack_into("<I", space, at, ident | 1 << 16 | following << 20)
    return bytes(space)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


_BRIDGE = Pci("0000:00:01.0", "8086:2030", "060400", 0, "pcieport")
_NIC = Pci(
    "0000:01:00.0",
    "8086:1572",
    "020000",
    1,
    "i40e",
    {
        "sriov_totalvfs": "64",
        "sriov_numvfs": "1",
        "reset_method": "flr bus",
        "reset": "",
        "subsystem_vendor": "0x8086",
        "subsystem_device": "0x0001",
    },
    (0x01, 0x0D, 0x10),
)
_FUNCTION = Pci("0000:01:02.0", "8086:154c", "020000", 2, "vfio-pci", {"reset": ""}, (0x0D,), "0000:01:00.0")
_DEVICES = (_BRIDGE, _NIC, _FUNCTION)
_REMAPPED = " 24:  0  0  IR-PCI-MSIX-0000:01:00.0  0-edge  i40e\n"

STRICT_LINE = "ro quiet intel_iommu=on iommu.passthrough=0 iommu.strict=1"
LAZY_LINE = "ro intel_iommu=on iommu.passthrough=0 iommu.strict=0"
IDENTITY = {0: "identity", 1: "identity", 2: "identity"}
STRICT_AMD_LINE = "ro quiet iommu.passthrough=0 iommu.strict=1"
PASSTHROUGH_LINE = "ro quiet intel_iommu=on iommu=pt"

INTEL = KernelHost(
    STRICT_LINE,
    units={"dmar0": INTEL_REGISTERS},
    types={0: "DMA", 1: "DMA", 2: "DMA"},
    devices=_DEVICES,
    tables=("APIC", "DMAR", "FACP"),
    interrupts=_REMAPPED,
)
AMD = replace(
    INTEL,
    cmdline=STRICT_AMD_LINE,
    vendor="AuthenticAMD",
    units={"ivhd0": AMD_REGISTERS},
    tables=("APIC", "FACP", "IVRS"),
)
GPU = Pci("0000:03:00.0", "1002:744c", "030000", 3, "amdgpu", {"reset_method": "bus"}, (0x0F, 0x13, _PASID))
AMD_PASID = replace(AMD, types={**AMD.types, 3: "identity"}, devices=(*_DEVICES, GPU))
ARM64 = KernelHost(
    "ro iommu.passthrough=0 iommu.strict=1",
    release="6.12.107+deb13-arm64",
    vendor="",
    flags="",
    units={"smmu3.0x0000000009050000": {}},
    types={0: "DMA"},
    devices=(Pci("0000:00:01.0", "1af4:1041", "020000", 0, "virtio-pci"),),
    tables=("APIC", "IORT"),
    config=ARM_CONFIG,
)
NO_IOMMU = KernelHost(STRICT_LINE, devices=tuple(replace(device, group=None) for device in _DEVICES), tables=())
FIRMWARE_OFF = replace(NO_IOMMU, tables=("APIC", "FACP"))
GUEST = replace(
    INTEL,
    cmdline="ro intel_iommu=on iommu.passthrough=0 iommu.strict=0",
    flags="fpu vmx hypervisor",
    units={"dmar0": {"cap": "d2008c222f06e6", "ecap": "f00f4a"}},  # QEMU's unit, caching mode on
    files={"sys/class/dmi/id/sys_vendor": "QEMU\n"},
)
RMRR = replace(
    INTEL,
    cmdline=PASSTHROUGH_LINE,
    release="5.4.0-216-generic",
    types={0: "identity", 1: "identity", 2: "DMA"},
    regions={2: "0x00000000bdf6f000 0x00000000bdf7efff direct\n0x00000000fee00000 0x00000000feefffff msi\n"},
)


def started(line: str, release: str) -> KernelHost:
    """What a host with an Intel IOMMU shows after a start with a line: it follows from that line alone."""
    words = {*line.split()}
    shown = replace(INTEL, cmdline=line, release=release, types=IDENTITY)
    if "intel_iommu=on" not in words:
        return replace(shown, units={}, types={}, devices=tuple(replace(one, group=None) for one in INTEL.devices))
    return shown if "iommu=pt" in words else replace(shown, types=dict.fromkeys(IDENTITY, "DMA-FQ"))
