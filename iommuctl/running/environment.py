# SPDX-License-Identifier: Apache-2.0
"""Surroundings: reads what a host adds to its command line: kernel configuration, firmware, hypervisor."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.facts import Facts
from iommuctl.kernel.cmdline import Cmdline, join
from iommuctl.kernel.environment import Surroundings
from iommuctl.kernel.parameters import kernel_bool
from iommuctl.pattern import pattern
from iommuctl.running.firmware import IORT, present
from iommuctl.running.managers import read_managers
from iommuctl.running.modprobe import read_options
from iommuctl.running.seals import ReadDevice, read_seals
from iommuctl.tree import Tree

_ACPI_TABLES = PurePosixPath("/sys/firmware/acpi/tables")
_CPUINFO = PurePosixPath("/proc/cpuinfo")
_BOOTCONFIG = PurePosixPath("/proc/bootconfig")
_SNP_PARAMETER = PurePosixPath("/sys/module/kvm_amd/parameters/sev_snp")
# Debian's own symbol turns VT-d on too, all but the integrated GPU's unit (Debian bug 935270).
_VTD_DEFAULT = pattern(rb"^CONFIG_INTEL_IOMMU_DEFAULT_ON(_INTGPU_OFF)?=y$", re.MULTILINE)
_VTD_BUILT = pattern(rb"^CONFIG_INTEL_IOMMU=y$", re.MULTILINE)
_SPARES_GPU = pattern(rb"^CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y$", re.MULTILINE)
_IGNORES_LOADER = pattern(rb"^CONFIG_CMDLINE_(OVERRIDE|FORCE)=y$", re.MULTILINE)
# arch/x86/include/asm/cpufeatures.h X86_FEATURE_HYPERVISOR
_GUEST_FLAG = pattern(rb"^flags\s*:.*\bhypervisor\b", re.MULTILINE)
_SNP_FLAG = pattern(rb"^flags\s*:.*\bsev_snp\b", re.MULTILINE)
# Documentation/admin-guide/bootconfig.rst: what is below `kernel.` is added to the command line.
_BOOTCONFIG_LINE = pattern(r'^kernel\.(\S+)\s*=\s*"?([^"\n]*)"?$', re.MULTILINE)


def read_surroundings(tree: Tree, facts: Facts, read_device: ReadDevice | None = None) -> Surroundings:
    """Read what is known next to the line; of another root than the running system only the kernels' configuration.

    `read_device` reads the beginning of a block device; of another root none is.
    """
    configs = [config for release in facts.kernels if (config := _kernel_config(tree, release)) is not None]
    is_system = facts.runtime is not None
    cpuinfo = (_read(tree, _CPUINFO) or b"") if is_system else b""
    live = (_read(tree, _SNP_PARAMETER) or b"").decode("ascii", "replace").strip() if is_system else ""
    return Surroundings(
        tables=present(tree.names(_ACPI_TABLES), _read(tree, _ACPI_TABLES / IORT)) or None if is_system else None,
        is_guest=bool(_GUEST_FLAG.search(cpuinfo)) if is_system else None,
        is_xen_host=facts.runtime.is_xen_host if facts.runtime is not None else None,
        vtd_default_on=_vtd_default_on(configs),
        ignores_loader=any(_IGNORES_LOADER.search(config) for config in configs) if configs else None,
        bootconfig=parse_bootconfig(_read(tree, _BOOTCONFIG) or b"") if is_system else None,
        spares_gpu=any(_SPARES_GPU.search(config) for config in configs) if configs else None,
        has_snp=bool(_SNP_FLAG.search(cpuinfo)) if is_system else None,
        uses_snp=kernel_bool(live) if live else None,
        options=read_options(tree),
        seals=read_seals(tree, read_device if is_system else None),
        managers=read_managers(tree),
    )


def parse_bootconfig(content: bytes) -> Cmdline:
    """Return the parameters that /proc/bootconfig says the kernel added to its command line."""
    text = content.decode("utf-8", "surrogateescape")
    return Cmdline.parse(join(f"{key}={value}" if value else key for key, value in _BOOTCONFIG_LINE.findall(text)))


def _vtd_default_on(configs: Iterable[bytes]) -> bool | None:
    """Whether every kernel turns VT-d on by itself; None where no configuration of one with VT-d can be read."""
    defaults = [bool(_VTD_DEFAULT.search(config)) for config in configs if _VTD_BUILT.search(config)]
    return all(defaults) if defaults else None


def _kernel_config(tree: Tree, release: str) -> bytes | None:
    return _read(tree, PurePosixPath(f"/boot/config-{release}")) or _read(
        tree, PurePosixPath(f"/lib/modules/{release}/config")
    )


def _read(tree: Tree, path: PurePosixPath) -> bytes | None:
    """Return a file's content; None also where it may not be read, for all of this only adds to what is known."""
    try:
        return tree.read(path)
    except IommuctlError:
        return None
