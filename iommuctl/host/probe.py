# SPDX-License-Identifier: Apache-2.0
"""Probe: read the facts of a host. Reading only; a host other than the running one is known by its files alone."""

import platform as running
import re
import shlex
import struct
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError, NotPermittedError, UnavailableError
from iommuctl.facts import Distribution, Facts, Platform, Runtime
from iommuctl.pattern import pattern
from iommuctl.tree import Tree

_OS_RELEASE = (PurePosixPath("/etc/os-release"), PurePosixPath("/usr/lib/os-release"))
_MODULES = PurePosixPath("/lib/modules")
_USR_MODULES = PurePosixPath("/usr/lib/modules")  # where a tree lacks the link
# What depmod and the packages of a kernel leave in its directory; a directory that a removed kernel left is without.
_MODULE_FILES = frozenset({"modules.dep", "modules.order", "modules.builtin"})
_BOOT = PurePosixPath("/boot")
# Where names tell the machine: of modules, of firmware's programs, of kernels.
_TELLING = (_MODULES, *(PurePosixPath(path) for path in ("/boot/efi/EFI/BOOT", "/boot/firmware", "/boot")))
_CPUINFO = PurePosixPath("/proc/cpuinfo")
# Small programs that every distribution has; their ELF header tells the machine of a tree.
_PROGRAMS = tuple(PurePosixPath(path) for path in ("/usr/bin/env", "/bin/sh", "/usr/bin/bash", "/sbin/init"))
_ELF_HEAD = 20  # up to and with e_machine: elf.h
_ELF_MACHINES = {62: Platform.X86, 183: Platform.ARM64}  # EM_X86_64, EM_AARCH64: elf.h
# Every AMD-Vi machine says one of these; every other x86 CPU with an IOMMU has VT-d (drivers/iommu/intel).
_VENDORS = {"AuthenticAMD": Platform.AMD, "HygonGenuine": Platform.AMD, "GenuineIntel": Platform.INTEL}
# kernel8.img and kernel_2712.img are the Raspberry Pi's 64-bit kernels (config_txt.html), -rpi-v8 its package's.
_ARM_NAMES = pattern(r"(arm64|aarch64|\bBOOTAA64|\bkernel(?:8|_2712)\.img|-rpi-(?:v8|2712))", re.IGNORECASE)
_X86_NAMES = pattern(r"(amd64|x86_64|\bBOOTX64)", re.IGNORECASE)
_CMDLINE = PurePosixPath("/proc/cmdline")
_MOUNTS = PurePosixPath("/proc/self/mounts")
_BOOT_MOUNTS = frozenset({"/boot", "/efi", "/boot/efi"})
_BLOCK_DEVICES = PurePosixPath("/sys/class/block")
_UDEV = PurePosixPath("/run/udev/data")
_PARTITION = pattern(rb"^E:ID_PART_ENTRY_UUID=([0-9A-Fa-f-]+)$", re.MULTILINE)
_EFI = PurePosixPath("/sys/firmware/efi")
# An efivarfs file is 4 bytes of attributes, then the variable's own: UTF-16 with a final NUL for a string.
_EFI_VARIABLES = _EFI / "efivars"
_EFIVAR_ATTRIBUTES = 4
_LOADER_GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"  # systemd.io/BOOT_LOADER_INTERFACE
_GLOBAL_GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # UEFI 2.10, section 3.3: EFI_GLOBAL_VARIABLE
_LOAD_OPTION_HEAD = 6  # UEFI 2.10, section 3.1.3: attributes (4 bytes), length of the device path (2 bytes)
_FILE_PATH_NODE = (4, 4)  # UEFI 2.10, section 10.3.5.4: media device path, file path
_XEN_CAPABILITIES = PurePosixPath("/proc/xen/capabilities")
_XEN_HOST = b"control_d"
_KERNEL_PREFIXES = ("vmlinuz-", "vmlinux-", "Image-", "kernel-")
_MODELS = (PurePosixPath("/proc/device-tree/model"), PurePosixPath("/sys/class/dmi/id/product_name"))
_RESCUE = "0-rescue-"  # 51-dracut-rescue.install: vmlinuz-0-rescue-MACHINE


def read_facts(tree: Tree, *, is_system: bool, platform: Platform | None) -> Facts:
    """Read what a plan depends on. `is_system`: the tree is the running system, whose /proc may be asked.

    `platform` overrides the detection. Raises UnavailableError on a machine that no profile speaks of.
    """
    directories = tuple(_module_directories(tree))
    kernels = _kernels(tree, directories)
    assumed = False
    if platform is None:
        platform = _running_platform(tree) if is_system else _tree_platform(tree, kernels)
        assumed = platform is None
    return Facts(
        platform=platform or Platform.X86,
        platform_assumed=assumed,
        distribution=parse_os_release(_first(tree, _OS_RELEASE)),
        kernels=kernels,
        runtime=read_runtime(tree) if is_system else None,
        modules=tuple(sorted({name for name, files in directories if not _MODULE_FILES.isdisjoint(files)})),
    )


def parse_os_release(text: str) -> Distribution:
    """Read os-release(5); lines that are no assignment are passed over, as its own readers do."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            try:
                values[name] = "".join(shlex.split(value))
            except ValueError:
                continue
    return Distribution(values.get("ID", ""), tuple(values.get("ID_LIKE", "").split()), values.get("VERSION_ID", ""))


def read_runtime(tree: Tree) -> Runtime:
    """Read what the running system says of its own boot; only for the running system's own root."""
    fields = [line.decode("utf-8", "replace").split(" ") for line in _lines(tree, _MOUNTS) if b" " in line]
    mounts = {point: device for device, point, *_ in fields if point in _BOOT_MOUNTS}
    return Runtime(
        cmdline=(tree.read(_CMDLINE) or b"").decode("utf-8", "surrogateescape").removesuffix("\n"),
        is_efi=bool(tree.names(_EFI)),
        is_xen_host=_XEN_HOST in (tree.read(_XEN_CAPABILITIES) or b""),
        loader_info=_loader_variable(tree, "LoaderInfo"),
        stub_info=_loader_variable(tree, "StubInfo"),
        entry_selected=_loader_variable(tree, "LoaderEntrySelected"),
        entry_default=_loader_variable(tree, "LoaderEntryDefault"),
        entry_preferred=_loader_variable(tree, "LoaderEntryPreferred"),
        loader_partition=_loader_variable(tree, "LoaderDevicePartUUID"),
        boot_program=_boot_program(tree),
        machine=_first(tree, _MODELS).strip("\0\n ") or None,
        mounts=tuple(sorted(mounts)),
        partitions=tuple(sorted({found for device in mounts.values() if (found := _partition(tree, device))})),
    )


def _partition(tree: Tree, device: str) -> str | None:
    """The PARTUUID of a device, lower case, as udev keeps it; None for what has none, such as a volume of LVM."""
    number = tree.read(_BLOCK_DEVICES / PurePosixPath(device).name / "dev")
    known = tree.read(_UDEV / f"b{number.decode().strip()}") if number else None
    match = _PARTITION.search(known or b"")
    return match[1].decode().lower() if match else None


def _lines(tree: Tree, path: PurePosixPath) -> list[bytes]:
    return (tree.read(path) or b"").split(b"\n")


def _efi_variable(tree: Tree, name: str, guid: str) -> bytes | None:
    try:
        content = tree.read(_EFI_VARIABLES / f"{name}-{guid}")
    except NotPermittedError:
        return None
    return None if content is None else content[_EFIVAR_ATTRIBUTES:]


def _loader_variable(tree: Tree, name: str) -> str | None:
    content = _efi_variable(tree, name, _LOADER_GUID)
    return None if content is None else content.decode("utf-16-le", "replace").rstrip("\0")


def _boot_program(tree: Tree) -> str | None:
    """The path of the program that the firmware started, by BootCurrent and its boot option; None where none tells."""
    current = _efi_variable(tree, "BootCurrent", _GLOBAL_GUID)
    if current is None or len(current) != struct.calcsize("<H"):
        return None
    option = _efi_variable(tree, f"Boot{struct.unpack('<H', current)[0]:04X}", _GLOBAL_GUID)
    return None if option is None else parse_load_option(option)


def parse_load_option(option: bytes) -> str | None:
    """Return the file path of an EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3); None for one that names no file."""
    at = _LOAD_OPTION_HEAD
    while option[at : at + 2] not in (b"", b"\0\0"):
        at += 2
    at += 2
    while at + 4 <= len(option):
        kind, subtype, length = struct.unpack_from("<BBH", option, at)
        if length < struct.calcsize("<BBH"):
            return None
        if (kind, subtype) == _FILE_PATH_NODE:
            return option[at + 4 : at + length].decode("utf-16-le", "replace").rstrip("\0")
        at += length
    return None


def _first(tree: Tree, paths: Iterable[PurePosixPath]) -> str:
    for path in paths:
        content = tree.read(path)
        if content is not None:
            return content.decode("utf-8", "replace")
    return ""


def _module_directories(tree: Tree) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The directories of modules, by the release that each is named after, with what they hold."""
    top = next((path for path in (_MODULES, _USR_MODULES) if tree.names(path)), _MODULES)
    yield from ((name, tree.names(top / name)) for name in tree.names(top) if name[:1].isdigit())


def _kernels(tree: Tree, directories: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """The releases of installed kernels: images in /boot, and module directories that hold their own image."""
    images = {
        name.removeprefix(prefix)
        for name in tree.names(_BOOT)
        for prefix in _KERNEL_PREFIXES
        if name.startswith(prefix)
    }
    modules = {name for name, files in directories if "vmlinuz" in files}
    return tuple(sorted(name for name in images | modules if name[:1].isdigit() and not name.startswith(_RESCUE)))


def _running_platform(tree: Tree) -> Platform:
    machine = running.machine()
    if machine == "aarch64":
        return Platform.ARM64
    if machine != "x86_64":
        raise UnavailableError(
            f"no profile speaks of {machine!r} machines", hint="iommuctl knows x86_64 and aarch64 hosts"
        )
    cpuinfo = (tree.read(_CPUINFO) or b"").decode("utf-8", "replace")
    vendor = re.search(r"^vendor_id\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    return _VENDORS.get(vendor[1], Platform.X86) if vendor else Platform.X86


def _tree_platform(tree: Tree, kernels: tuple[str, ...]) -> Platform | None:
    """The platform of a tree by the ELF machine of its programs, else by the names of its kernels and boot files."""
    for path in _PROGRAMS:
        try:
            head = tree.read_part(path, 0, _ELF_HEAD) or b""
        except BootConfigError:
            continue
        if head[:4] == b"\x7fELF" and len(head) == _ELF_HEAD:
            order = "<" if head[5] == 1 else ">"
            machine = struct.unpack_from(f"{order}H", head, 18)[0]
            if machine not in _ELF_MACHINES:
                raise UnavailableError(f"no profile speaks of the machine of {str(path)!r} (ELF machine {machine})")
            return _ELF_MACHINES[machine]
    names = (*kernels, *(name for folder in _TELLING for name in tree.names(folder)))
    if any(_ARM_NAMES.search(name) for name in names):
        return Platform.ARM64
    return Platform.X86 if any(_X86_NAMES.search(name) for name in names) else None
