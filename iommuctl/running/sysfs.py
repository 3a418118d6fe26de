# SPDX-License-Identifier: Apache-2.0
"""Sysfs: reads what a running kernel shows of its IOMMU. Reading only; what may not be read is left unknown."""

import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError, NotPermittedError
from iommuctl.host.descriptors import READ_LIMIT
from iommuctl.host.root import Root
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.parameters import Catalogue, Kind
from iommuctl.running.firmware import IORT, present
from iommuctl.running.pci_ids import Names, parse_pci_ids
from iommuctl.running.state import (
    Device,
    Group,
    Observed,
    Unit,
    parse_capabilities,
    parse_config,
    parse_cpu,
    parse_interrupts,
    parse_master,
    parse_port,
    parse_regions,
)
from iommuctl.value import NamedTuple

_CMDLINE = PurePosixPath("/proc/cmdline")
_RELEASE = PurePosixPath("/proc/sys/kernel/osrelease")
_CPUINFO = PurePosixPath("/proc/cpuinfo")
_INTERRUPTS = PurePosixPath("/proc/interrupts")
_XEN = PurePosixPath("/proc/xen/capabilities")
_HYPERVISOR = PurePosixPath("/sys/hypervisor/type")
_SYSTEM_VENDOR = PurePosixPath("/sys/class/dmi/id/sys_vendor")
_GROUPS = PurePosixPath("/sys/kernel/iommu_groups")
_UNITS = PurePosixPath("/sys/class/iommu")
_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_TABLES = PurePosixPath("/sys/firmware/acpi/tables")
_MODULES = PurePosixPath("/sys/module")
_PCI_IDS = (PurePosixPath("/usr/share/misc/pci.ids"), PurePosixPath("/usr/share/hwdata/pci.ids"))
_LOCKDOWN = PurePosixPath("/sys/kernel/security/lockdown")
_SECURE_BOOT = PurePosixPath("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
_CLASS_DIGITS = 6  # class, subclass and interface, two hexadecimal digits each
_EFIVAR_ATTRIBUTES = 4  # Documentation/filesystems/efivarfs.rst: then the variable's own bytes
_GUEST_FLAG = "hypervisor"  # CPUID leaf 1, ECX bit 31, in /proc/cpuinfo
_EMULATORS = frozenset({"QEMU"})  # where there is no such flag (ARM64), DMI tells


class Security(NamedTuple):
    """What the firmware and the kernel enforce; None where it is not told."""

    secure_boot: bool | None
    lockdown: str | None


def read_observed(root: Root, catalogue: Catalogue) -> Observed:
    """Read everything that verify and the other views ask for. Raises nothing for what cannot be read."""
    release = _text(root, _RELEASE)
    config, source = _config(root, release)
    cpuinfo = _text(root, _CPUINFO)
    vendor, flags = parse_cpu(cpuinfo)
    interrupts = _bytes(root, _INTERRUPTS)
    devices = read_devices(root)
    return Observed(
        cmdline=(_bytes(root, _CMDLINE) or b"").decode("utf-8", "surrogateescape").removesuffix("\n"),
        release=release,
        units=tuple(_unit(root, name) for name in _names(root, _UNITS)),
        groups=_groups(root, devices),
        devices=devices,
        firmware_tables=present(names, _bytes(root, _TABLES / IORT)) if (names := _names(root, _TABLES)) else None,
        interrupts_remapped=None if not interrupts else parse_interrupts(interrupts.decode("utf-8", "replace")),
        modules=_modules(root, catalogue),
        config=config,
        config_source=source,
        cpu_vendor=vendor,
        cpu_flags=flags,
        hypervisor=_hypervisor(root, flags),
        is_xen_host="control_d" in _text(root, _XEN),
        is_hidden=any(_is_forbidden(root, path) for path in (_UNITS, _GROUPS)),
    )


def read_devices(root: Root) -> tuple[Device, ...]:
    """Read the devices on PCI, by address."""
    return tuple(_device(root, _DEVICES / name) for name in _names(root, _DEVICES))


def read_cards(root: Root) -> tuple[Device, ...]:
    """Read the devices on PCI as far as one file of each tells: class, ids, driver.

    For plans, which would wait seconds for everything that `read_devices` reads of hundreds of functions.
    """
    return tuple(_card(root, _DEVICES / name) for name in _names(root, _DEVICES))


def read_security(root: Root) -> Security:
    """Read Secure Boot and lockdown of the running system."""
    variable = _bytes(root, _SECURE_BOOT)
    state = None if variable is None else variable[_EFIVAR_ATTRIBUTES:] == b"\1"
    modes = _text(root, _LOCKDOWN)
    return Security(state, modes.partition("[")[2].partition("]")[0] or None)


def read_names(root: Root, devices: Iterable[Device]) -> Names:
    """Read the names of devices from the system's list; none where it has none."""
    wanted = {(device.vendor, device.device) for device in devices}
    for path in _PCI_IDS:
        if content := _bytes(root, path):
            return parse_pci_ids(content.decode("utf-8", "replace"), wanted)
    return Names()


def _bytes(root: Root, path: PurePosixPath) -> bytes | None:
    """A file's content; None where it is missing or unreadable, which a missing attribute of a device often is."""
    try:
        return root.read(path)
    except IommuctlError:
        return None


def _text(root: Root, path: PurePosixPath) -> str:
    return (_bytes(root, path) or b"").decode("utf-8", "replace").strip()


def _names(root: Root, path: PurePosixPath) -> tuple[str, ...]:
    try:
        return root.names(path)
    except IommuctlError:
        return ()


def _is_forbidden(root: Root, path: PurePosixPath) -> bool:
    """Whether a directory is there and may not be listed."""
    try:
        root.names(path)
    except NotPermittedError:
        return True
    except IommuctlError:
        return False
    return False


def _link(root: Root, path: PurePosixPath) -> str | None:
    """The name of what a link leads to; None where there is no such link."""
    try:
        return root.resolve(path).name if root.stat(path) is not None else None
    except IommuctlError:
        return None


def _groups(root: Root, devices: tuple[Device, ...]) -> tuple[Group, ...]:
    known = {device.address: device for device in devices}
    groups = []
    for name in _names(root, _GROUPS):
        folder = _GROUPS / name
        if not name.isdecimal():
            continue
        members = _names(root, folder / "devices")
        groups.append(
            Group(
                id=int(name),
                type=_text(root, folder / "type") or None,
                devices=tuple(known.get(one) or _device(root, folder / "devices" / one) for one in members),
                regions=parse_regions(_text(root, folder / "reserved_regions")),
                name=_text(root, folder / "name") or None,
            )
        )
    return tuple(sorted(groups, key=lambda group: group.id))


def _device(root: Root, path: PurePosixPath) -> Device:
    # Only a device on PCI has these files; the ids are written 0x8086.
    space = _bytes(root, path / "config")
    return Device(
        address=path.name,
        device_class=_text(root, path / "class").removeprefix("0x"),
        vendor=_text(root, path / "vendor").removeprefix("0x"),
        device=_text(root, path / "device").removeprefix("0x"),
        driver=_link(root, path / "driver"),
        unit=_link(root, path / "iommu"),
        capabilities=None if space is None else parse_capabilities(space),
        is_removable=_text(root, path / "removable") == "removable",
        reset=_reset(root, path),
        virtual_functions=_number(root, path / "sriov_numvfs"),
        maximal_virtual_functions=_number(root, path / "sriov_totalvfs"),
        physical_function=_link(root, path / "physfn"),
        port=None if space is None else parse_port(space),
        is_master=None if space is None else parse_master(space),
        subsystem=(
            _text(root, path / "subsystem_vendor").removeprefix("0x"),
            _text(root, path / "subsystem_device").removeprefix("0x"),
        ),
        group=_group_of(root, path),
    )


def _card(root: Root, path: PurePosixPath) -> Device:
    told = dict(line.partition("=")[::2] for line in _text(root, path / "uevent").splitlines())
    if "PCI_ID" not in told:  # drivers/pci/pci-driver.c pci_uevent
        return _device(root, path)
    vendor, _, device = told["PCI_ID"].lower().partition(":")
    subvendor, _, subdevice = told.get("PCI_SUBSYS_ID", "").lower().partition(":")
    return Device(
        address=path.name,
        device_class=told.get("PCI_CLASS", "").lower().zfill(_CLASS_DIGITS),
        vendor=vendor,
        device=device,
        driver=told.get("DRIVER"),
        subsystem=(subvendor, subdevice),
    )


def _group_of(root: Root, path: PurePosixPath) -> int | None:
    name = _link(root, path / "iommu_group") or ""
    return int(name) if name.isdecimal() else None


def _reset(root: Root, path: PurePosixPath) -> tuple[str, ...]:
    """The ways to reset a device; before 5.15 the kernel shows only that there is one."""
    methods = tuple(_text(root, path / "reset_method").split())
    return methods or (("unknown",) if "reset" in _names(root, path) else ())


def _number(root: Root, path: PurePosixPath) -> int:
    text = _text(root, path)
    return int(text) if text.isdecimal() else 0


def _unit(root: Root, name: str) -> Unit:
    folder = _UNITS / name
    registers = {"dmar": "intel-iommu", "ivhd": "amd-iommu"}
    driver = next((sub for prefix, sub in registers.items() if name.startswith(prefix)), None)
    if driver is None:
        return Unit(name)
    return Unit(name, _register(root, folder / driver / "cap"), _register(root, folder / driver / "ecap"))


def _register(root: Root, path: PurePosixPath) -> int | None:
    try:
        return int(_text(root, path), 16)
    except ValueError:
        return None


def _modules(root: Root, catalogue: Catalogue) -> dict[str, str]:
    """The live values of the module parameters that the catalogue knows, by the catalogue's name."""
    known = (one.name for one in catalogue.definitions if one.kind is Kind.MODULE and "." in one.name)
    found: dict[str, str] = {}
    for name in known:
        module, _, parameter = name.partition(".")
        if value := _text(root, _MODULES / canonical_name(module) / "parameters" / canonical_name(parameter)):
            found[name] = value
    return found


def _hypervisor(root: Root, flags: frozenset[str]) -> str | None:
    kind, vendor = _text(root, _HYPERVISOR), _text(root, _SYSTEM_VENDOR)
    if kind:
        return kind
    if _GUEST_FLAG in flags or vendor in _EMULATORS:
        return vendor or "an unnamed hypervisor"
    return None


def _config(root: Root, release: str) -> tuple[dict[str, str] | None, str | None]:
    """The configuration of the running kernel and the file it is from."""
    # The release is a name of the kernel's own making, but it becomes part of a path.
    names = () if not release or "/" in release else (f"/boot/config-{release}", f"/lib/modules/{release}/config")
    for path in map(PurePosixPath, names):
        if content := _bytes(root, path):
            return parse_config(content.decode("utf-8", "replace")), str(path)
    path = PurePosixPath("/proc/config.gz")
    if (content := _bytes(root, path)) and (unpacked := _unpacked(content)) is not None:
        return parse_config(unpacked.decode("utf-8", "replace")), str(path)
    return None, None


def _unpacked(content: bytes) -> bytes | None:
    """What a gzip file holds, up to the size that any file may have; None where it is none."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(content, READ_LIMIT)
    except zlib.error:
        return None
