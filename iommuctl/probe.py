# SPDX-License-Identifier: Apache-2.0
"""Probe: read the facts of a host. Reading only; a host other than the running one is known by its files alone."""

import platform as running
import re
import shlex
import struct
from collections.abc import Iterable
from pathlib import PurePosixPath

from iommuctl.backends.base import Tree
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Distribution, Facts, Platform, Runtime

_OS_RELEASE = (PurePosixPath("/etc/os-release"), PurePosixPath("/usr/lib/os-release"))
_MODULES = PurePosixPath("/lib/modules")
_BOOT = PurePosixPath("/boot")
_CPUINFO = PurePosixPath("/proc/cpuinfo")
# Small programs that every distribution has; their ELF header tells the machine of a tree.
_PROGRAMS = tuple(PurePosixPath(path) for path in ("/usr/bin/env", "/bin/sh", "/usr/bin/bash", "/sbin/init"))
_ELF_HEAD = 20  # up to and with e_machine: elf.h
_ELF_MACHINES = {62: Platform.X86, 183: Platform.ARM64}  # EM_X86_64, EM_AARCH64: elf.h
# Every AMD-Vi machine says one of these; every other x86 CPU with an IOMMU has VT-d (drivers/iommu/intel).
_VENDORS = {"AuthenticAMD": Platform.AMD, "HygonGenuine": Platform.AMD, "GenuineIntel": Platform.INTEL}
_ARM_NAMES = re.compile(r"(arm64|aarch64|\bBOOTAA64)", re.IGNORECASE)
_X86_NAMES = re.compile(r"(amd64|x86_64|\bBOOTX64)", re.IGNORECASE)
_CMDLINE = PurePosixPath("/proc/cmdline")
# The vendor GUID is the Boot Loader Interface's (systemd.io/BOOT_LOADER_INTERFACE); an efivarfs file is 4 bytes of
# attributes, then UTF-16.
_LOADER_INFO = PurePosixPath("/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
_EFIVAR_ATTRIBUTES = 4
_KERNEL_PREFIXES = ("vmlinuz-", "vmlinux-", "Image-", "kernel-")


def read_facts(tree: Tree, *, is_system: bool, platform: Platform | None) -> Facts:
    """Read what a plan depends on. `is_system`: the tree is the running system, whose /proc may be asked.

    `platform` overrides the detection. Raises UnavailableError on a machine that no profile speaks of.
    """
    kernels = _kernels(tree)
    assumed = False
    if platform is None:
        platform = _running_platform(tree) if is_system else _tree_platform(tree, kernels)
        assumed = platform is None
    return Facts(
        platform=platform or Platform.X86,
        platform_assumed=assumed,
        distribution=parse_os_release(_first(tree, _OS_RELEASE)),
        kernels=kernels,
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
    cmdline = (tree.read(_CMDLINE) or b"").decode("utf-8", "surrogateescape").removesuffix("\n")
    loader = tree.read(_LOADER_INFO)
    info = None if loader is None else loader[_EFIVAR_ATTRIBUTES:].decode("utf-16-le", "replace").rstrip("\0")
    return Runtime(cmdline, info)


def _first(tree: Tree, paths: Iterable[PurePosixPath]) -> str:
    for path in paths:
        content = tree.read(path)
        if content is not None:
            return content.decode("utf-8", "replace")
    return ""


def _kernels(tree: Tree) -> tuple[str, ...]:
    """The releases of installed kernels: images in /boot, and module folders that hold their own image."""
    images = {
        name.removeprefix(prefix)
        for name in tree.names(_BOOT)
        for prefix in _KERNEL_PREFIXES
        if name.startswith(prefix)
    }
    modules = {name for name in tree.names(_MODULES) if "vmlinuz" in tree.names(_MODULES / name)}
    return tuple(sorted(release for release in images | modules if release[:1].isdigit()))


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
            head = (tree.read(path) or b"")[:_ELF_HEAD]
        except BootConfigError:
            continue
        if head[:4] == b"\x7fELF" and len(head) == _ELF_HEAD:
            order = "<" if head[5] == 1 else ">"
            machine = struct.unpack_from(f"{order}H", head, 18)[0]
            if machine not in _ELF_MACHINES:
                raise UnavailableError(f"no profile speaks of the machine of {str(path)!r} (ELF machine {machine})")
            return _ELF_MACHINES[machine]
    names = (*kernels, *tree.names(_MODULES), *tree.names(PurePosixPath("/boot/efi/EFI/BOOT")))
    if any(_ARM_NAMES.search(name) for name in names):
        return Platform.ARM64
    return Platform.X86 if any(_X86_NAMES.search(name) for name in names) else None
