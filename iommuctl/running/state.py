# SPDX-License-Identifier: Apache-2.0
"""Observed: what a running kernel shows of its IOMMU, and how its files are read. Pure; sysfs.py reads them."""

import re
import struct
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import kernel_bool
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple


class ExtendedCapability(IntEnum):
    """The extended PCI capabilities that decide about an IOMMU (include/uapi/linux/pci_regs.h: PCI_EXT_CAP_ID_*)."""

    ACS = 0x0D
    ATS = 0x0F
    PRI = 0x13
    PASID = 0x1B


class PortType(IntEnum):
    """What a function is on PCI Express; of the types only those that decide (uapi/linux/pci_regs.h: PCI_EXP_TYPE_*).

    CONVENTIONAL stands for a function without that capability.
    """

    CONVENTIONAL = -1
    TO_CONVENTIONAL = 0x7


_BRIDGE_CLASS = "0604"  # include/linux/pci_ids.h: PCI_CLASS_BRIDGE_PCI
_DISPLAY_CLASS = "03"  # PCI_BASE_CLASS_DISPLAY
_INTEL = "8086"
NOIOMMU_GROUP = "vfio-noiommu"  # drivers/vfio: a group for a device without any IOMMU
_MEDIATED = pattern(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # drivers/vfio/mdev: named by UUID


class Device(NamedTuple):
    """One device as sysfs shows it. `device_class` has 6 hexadecimal digits, `vendor` and `device` 4; empty for one
    that is not on PCI.

    `capabilities` are the ids of its extended capabilities, `port` what it is on PCI Express (a PortType where it is
    one of those); None where they may not be read. `is_master`: it may start transfers. `is_removable`: after a port
    that the firmware marks as external, which the kernel does not trust. `reset` are the ways to reset it. `subsystem`
    are vendor and device of the card, `group` the number of its IOMMU group.
    """

    address: str
    device_class: str = ""
    vendor: str = ""
    device: str = ""
    driver: str | None = None
    unit: str | None = None
    capabilities: frozenset[int] | None = None
    is_removable: bool = False
    reset: tuple[str, ...] = ()
    virtual_functions: int = 0
    maximal_virtual_functions: int = 0
    physical_function: str | None = None
    port: int | None = None
    is_master: bool | None = None
    subsystem: tuple[str, str] = ("", "")
    group: int | None = None

    @property
    def is_bridge(self) -> bool:
        """Whether it is a PCI bridge, which stays with the host when its group goes to a guest."""
        return self.device_class.startswith(_BRIDGE_CLASS)

    @property
    def is_display(self) -> bool:
        """Whether it is a graphics device."""
        return self.device_class.startswith(_DISPLAY_CLASS)

    @property
    def is_on_root_bus(self) -> bool:
        """Whether it is part of the chipset and not after any port: bus 0 of its segment."""
        return self.address.split(":")[1:2] == ["00"]

    @property
    def is_integrated_display(self) -> bool:
        """Whether it is the graphics device of an Intel processor."""
        return self.is_display and self.vendor == _INTEL and self.is_on_root_bus

    @property
    def is_mediated(self) -> bool:
        """Whether a driver made it up for a guest (mdev): it reaches no memory by itself."""
        return _MEDIATED.fullmatch(self.address) is not None


class Region(NamedTuple):
    """A range of addresses that the firmware or the hardware keeps for a group; `kind` as the kernel names it."""

    start: int
    end: int
    kind: str


class Group(NamedTuple):
    """One IOMMU group. `type` is that of its default domain, None where the kernel does not show it."""

    id: int
    type: str | None
    devices: tuple[Device, ...]
    regions: tuple[Region, ...] = ()
    name: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether an IOMMU is after it: neither a group of vfio for a device without one, nor of mediated devices."""
        return self.name != NOIOMMU_GROUP and not (self.devices and all(one.is_mediated for one in self.devices))

    @property
    def is_pinned(self) -> bool:
        """Whether the firmware demands a 1:1 mapping (RMRR): the kernel then gives none of its devices to a guest."""
        return any(region.kind == "direct" for region in self.regions)


class Unit(NamedTuple):
    """One active IOMMU. `cap` and `ecap` are its capability registers, None where the driver shows none."""

    name: str
    cap: int | None = None
    ecap: int | None = None

    @property
    def platform(self) -> Platform | None:
        """Whose unit it is by the driver's name for it; None for one that several platforms may have (virtio)."""
        prefixes = {"dmar": Platform.INTEL, "ivhd": Platform.AMD, "smmu": Platform.ARM64}
        return next((platform for prefix, platform in prefixes.items() if self.name.startswith(prefix)), None)

    @property
    def is_emulated(self) -> bool:
        """Whether it caches entries that are not present, as only an emulated unit does (VT-d CAP.CM, AMD NpCache)."""
        match self.platform:
            case Platform.INTEL:
                return _bit(self.cap, _CAP_CACHING_MODE) is True
            case Platform.AMD:
                return _bit(self.cap, _AMD_NP_CACHE) is True
            case _:
                return False

    @property
    def passes_through(self) -> bool | None:
        """Whether the hardware can leave devices untranslated (VT-d ECAP.PT); None where that is not shown."""
        return _bit(self.ecap, _ECAP_PASS_THROUGH) if self.platform is Platform.INTEL else None

    @property
    def remaps_interrupts(self) -> bool | None:
        """Whether the hardware can remap interrupts (VT-d ECAP.IR); None where that is not shown."""
        return _bit(self.ecap, _ECAP_INTERRUPT_REMAPPING) if self.platform is Platform.INTEL else None


# drivers/iommu/intel/iommu.h: cap_caching_mode, ecap_pass_through, ecap_ir_support
_CAP_CACHING_MODE = 7
_ECAP_PASS_THROUGH = 6
_ECAP_INTERRUPT_REMAPPING = 3
_AMD_NP_CACHE = 26  # drivers/iommu/amd/amd_iommu_types.h: IOMMU_CAP_NPCACHE


def _bit(register: int | None, number: int) -> bool | None:
    return None if register is None else bool(register >> number & 1)


class Observed(NamedTuple):
    """What a running kernel shows. What may not or cannot be read is None, and never taken for absent.

    `firmware_tables` are the names of ACPI tables, as `firmware.present` counts them. `interrupts_remapped`: an
    interrupt goes through an IOMMU. `modules` are module parameters by name. `config` is the kernel's configuration, a
    symbol that is not set left out. `is_hidden`: units or groups may not be listed by who asks.
    """

    cmdline: str
    release: str
    units: tuple[Unit, ...] = ()
    groups: tuple[Group, ...] = ()
    devices: tuple[Device, ...] = ()
    firmware_tables: frozenset[str] | None = None
    interrupts_remapped: bool | None = None
    modules: Mapping[str, str] = MappingProxyType({})
    config: Mapping[str, str] | None = None
    config_source: str | None = None
    cpu_vendor: str = ""
    cpu_flags: frozenset[str] = frozenset()
    hypervisor: str | None = None
    is_xen_host: bool = False
    is_hidden: bool = False

    @property
    def real_groups(self) -> tuple[Group, ...]:
        """The groups that an IOMMU is after."""
        return tuple(group for group in self.groups if group.is_real)

    @property
    def encrypts_memory(self) -> bool:
        """Whether the host's memory is encrypted: AMD's SME, which the command line has to ask for (x86/mm, 6.x)."""
        asked = [parameter.value for parameter in Cmdline.parse(self.cmdline).named("mem_encrypt")]
        return "sme" in self.cpu_flags and asked[-1:] == ["on"]

    @property
    def has_snp(self) -> bool:
        """Whether guests may use SEV-SNP, for which every device has to be translated."""
        return kernel_bool(self.modules.get("kvm-amd.sev_snp")) is True

    def is_configured(self, *symbols: str) -> bool | None:
        """Whether one of the symbols is `y` or `m`; None where the configuration cannot be read."""
        return None if self.config is None else any(self.config.get(symbol) in {"y", "m"} for symbol in symbols)


_CONFIG = pattern(r"^(CONFIG_\w+)=(.*)$", re.MULTILINE)
_CHIP = pattern(r"\s(?:IR|INTEL-IR|HYPERV-IR)-\S")
_EXTENDED_START = 0x100  # include/uapi/linux/pci_regs.h: PCI_CFG_SPACE_SIZE
_HIDDEN_SIZE = 64  # Documentation/PCI/sysfs-pci.rst: all that others than root may read
_HEADER = struct.Struct("<I")
# include/uapi/linux/pci_regs.h: PCI_COMMAND_MASTER, PCI_STATUS_CAP_LIST, PCI_CAPABILITY_LIST, PCI_CAP_ID_EXP
_COMMAND, _MASTER = 0x04, 0x4
_STATUS, _HAS_CAPABILITIES = 0x06, 0x10
_CAPABILITY_POINTER, _EXPRESS = 0x34, 0x10
_NO_DEVICE = 0xFFFFFFFF

# drivers/iommu/iommu.c: iommu_group_show_resv_regions()
_REGION = pattern(r"^(0x[0-9a-f]+) (0x[0-9a-f]+) (\S+)$", re.MULTILINE)


def parse_config(text: str) -> dict[str, str]:
    """Read a kernel configuration: each symbol that is set, strings without their quotes."""
    return {match[1]: match[2].strip('"') for match in _CONFIG.finditer(text)}


def parse_interrupts(text: str) -> bool:
    """Tell from /proc/interrupts whether a chip is after interrupt remapping (`IR-IO-APIC`, `IR-PCI-MSI`)."""
    return _CHIP.search(text) is not None


def parse_regions(text: str) -> tuple[Region, ...]:
    """Read the `reserved_regions` of a group: start, end and kind on each line; a line of another form says nothing."""
    return tuple(Region(int(one[1], 16), int(one[2], 16), one[3]) for one in _REGION.finditer(text))


def parse_capabilities(config: bytes) -> frozenset[int] | None:
    """Return the ids of the extended capabilities in a device's configuration space; None where they are hidden."""
    if len(config) <= _HIDDEN_SIZE:
        return None
    found: set[int] = set()
    at, seen = _EXTENDED_START, set[int]()
    while at >= _EXTENDED_START and at not in seen and at + _HEADER.size <= len(config):
        seen.add(at)
        header: int = _HEADER.unpack_from(config, at)[0]
        if header in {0, _NO_DEVICE}:
            break
        found.add(header & 0xFFFF)
        at = header >> 20 & ~3
    return frozenset(found)


def parse_port(config: bytes) -> int | None:
    """Return what a function is on PCI Express from its configuration space; None where that is hidden."""
    if len(config) <= _HIDDEN_SIZE:
        return None
    at = config[_CAPABILITY_POINTER] & ~3 if config[_STATUS] & _HAS_CAPABILITIES else 0
    seen = set[int]()
    while _HIDDEN_SIZE <= at < _EXTENDED_START - 2 and at + 2 < len(config) and at not in seen:
        seen.add(at)
        if config[at] == _EXPRESS:
            return config[at + 2] >> 4
        at = config[at + 1] & ~3
    return PortType.CONVENTIONAL


def parse_master(config: bytes) -> bool | None:
    """Return whether a function may start transfers on the bus; None for a configuration space that is cut off."""
    return bool(config[_COMMAND] & _MASTER) if len(config) >= _HIDDEN_SIZE else None


def parse_cpu(text: str) -> tuple[str, frozenset[str]]:
    """Return vendor and flags of the first processor in /proc/cpuinfo; empty where they are not told."""
    vendor = re.search(r"^vendor_id[ \t]*:[ \t]*(\S+)", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return (vendor[1] if vendor else "", frozenset(flags[1].split()) if flags else frozenset())
