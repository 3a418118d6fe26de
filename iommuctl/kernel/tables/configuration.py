# SPDX-License-Identifier: Apache-2.0
"""Configuration: how the kernels of each line are configured, as far as their configurations were read. Pure.

Each text is values, each after the releases that were read with it: `9.0..9.4 n; 9.5..9.6 y`, `n` alone for any
release. The configuration of a host's own kernel beats these rows wherever it can be read.
"""

from collections.abc import Mapping

from iommuctl.facts import KernelVersion
from iommuctl.kernel.lines import Kernel, Line
from iommuctl.kernel.parameters import Architecture

CONFIGURATION: Mapping[str, Mapping[Architecture, Mapping[Line, str]]] = {
    "CONFIG_ARM_SMMU": {
        Architecture.ARM64: {
            Line.EL8: "8.3..8.10 y",
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10..7.2 y",
            Line.UEK8: "6.12 y",
        },
    },
    "CONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT": {
        Architecture.ARM64: {
            Line.EL8: "8.5..8.10 n",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 y",
            Line.UEK8: "6.12 n",
        },
    },
    "CONFIG_ARM_SMMU_V3": {
        Architecture.ARM64: {
            Line.EL8: "8.3..8.10 y",
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10..7.2 y",
            Line.UEK8: "6.12 y",
        },
    },
    "CONFIG_EFI_DISABLE_PCI_DMA": {
        Architecture.X86: {
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 n",
            Line.UEK7: "5.15 n",
        },
        Architecture.ARM64: {Line.EL9: "9.0..9.6 n", Line.EL10: "10.0 n", Line.DEBIAN: "5.10..7.2 n"},
        Architecture.S390: {Line.EL9: "9.0..9.6 n", Line.EL10: "10.0 n"},
    },
    "CONFIG_GART_IOMMU": {
        Architecture.X86: {
            Line.EL8: "8.3..8.10 n",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 y",
            Line.SUSE: "6.19 y",
            Line.UEK8: "6.12 y",
        },
    },
    "CONFIG_INTEL_IOMMU_DEFAULT_ON": {
        Architecture.X86: {
            Line.EL8: "8.3..8.10 n",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 n",
            Line.UBUNTU: "7.0 y",
            Line.SUSE: "6.19 n",
            Line.UEK7: "5.15 y",
            Line.UEK8: "6.12 y",
            Line.AZURE: "6.6 y",
            Line.FEDORA: "n",
            Line.ARCH: "7.2 n",
        },
    },
    "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF": {
        Architecture.X86: {Line.DEBIAN: "5.10..7.2 y"},
    },
    "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON": {
        Architecture.X86: {
            Line.EL8: "8.4..8.10 n",
            Line.EL9: "9.0..9.4 n; 9.5..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10 n; 6.1..7.2 y",
            Line.SUSE: "6.19 n",
            Line.UEK7: "5.15 n",
            Line.UEK8: "6.12 n",
            Line.AZURE: "6.6 n",
        },
    },
    "CONFIG_IOMMUFD": {
        Architecture.X86: {
            Line.EL9: "9.3 n; 9.4..9.6 m",
            Line.EL10: "10.0 m",
            Line.DEBIAN: "6.12..7.2 n",
            Line.UBUNTU: "6.8 m",
            Line.SUSE: "6.19 n",
            Line.UEK8: "6.12 y",
            Line.AZURE: "6.6 n",
        },
        Architecture.ARM64: {
            Line.EL9: "9.3 n; 9.4..9.6 m",
            Line.EL10: "10.0 m",
            Line.DEBIAN: "6.12..7.2 n",
            Line.UBUNTU: "6.8 m",
            Line.UEK8: "6.12 y",
        },
        Architecture.S390: {Line.EL9: "9.3 n; 9.4..9.6 m", Line.EL10: "10.0 m"},
    },
    "CONFIG_IOMMU_DEFAULT_DMA_LAZY": {
        Architecture.X86: {
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "6.1..7.2 y",
            Line.UBUNTU: "7.0 y",
            Line.SUSE: "6.19 n",
            Line.UEK7: "5.15 n",
            Line.AZURE: "6.6 y",
            Line.FEDORA: "y",
        },
        Architecture.ARM64: {Line.EL9: "9.0..9.6 y", Line.EL10: "10.0 y", Line.DEBIAN: "6.1..7.2 n", Line.FEDORA: "y"},
        Architecture.S390: {Line.EL9: "9.0..9.4 n; 9.5..9.6 y", Line.EL10: "10.0 y", Line.UBUNTU: "7.0 y"},
    },
    "CONFIG_IOMMU_DEFAULT_DMA_STRICT": {
        Architecture.X86: {
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "6.1..7.2 n",
            Line.SUSE: "6.19 n",
            Line.UEK7: "5.15 n",
        },
        Architecture.ARM64: {
            Line.EL8: "8.8..8.10 y",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "6.1..7.2 y",
            Line.UBUNTU: "7.0 y",
        },
        Architecture.S390: {Line.EL9: "9.0..9.4 y; 9.5..9.6 n", Line.EL10: "10.0 n"},
    },
    "CONFIG_IOMMU_DEFAULT_PASSTHROUGH": {
        Architecture.X86: {
            Line.EL8: "8.3..8.10 y",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 n",
            Line.UBUNTU: "6.8 n",
            Line.SUSE: "6.19 y",
            Line.UEK7: "5.15 y",
            Line.UEK8: "6.12 y",
            Line.AZURE: "6.6 n",
        },
        Architecture.ARM64: {
            Line.EL8: "8.3..8.10 n",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 n",
            Line.UBUNTU: "6.8 n",
            Line.UEK8: "6.12 y",
        },
        Architecture.S390: {Line.EL8: "8.3..8.10 n", Line.EL9: "9.0..9.6 n", Line.EL10: "10.0 n", Line.UBUNTU: "6.8 n"},
    },
    "CONFIG_TEGRA241_CMDQV": {
        Architecture.ARM64: {Line.EL9: "9.6 y", Line.EL10: "10.0 y", Line.DEBIAN: "6.12..7.2 n"},
    },
    "CONFIG_VFIO_NOIOMMU": {
        Architecture.X86: {
            Line.EL8: "8.3..8.10 y",
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10..7.2 n",
            Line.SUSE: "6.19 n",
            Line.UEK8: "6.12 y",
        },
        Architecture.ARM64: {
            Line.EL8: "8.3..8.10 y",
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10..7.2 n",
            Line.UEK8: "6.12 y",
        },
        Architecture.S390: {Line.EL8: "8.3..8.10 n", Line.EL9: "9.0..9.6 n", Line.EL10: "10.0 n"},
    },
    "CONFIG_VFIO_PCI_VGA": {
        Architecture.X86: {
            Line.EL8: "8.3..8.10 n",
            Line.EL9: "9.0..9.6 n",
            Line.EL10: "10.0 n",
            Line.DEBIAN: "5.10..7.2 y",
            Line.SUSE: "6.19 y",
            Line.UEK8: "6.12 y",
        },
    },
    "CONFIG_VIRTIO_IOMMU": {
        Architecture.X86: {
            Line.EL8: "8.4..8.10 n",
            Line.EL9: "9.0 n; 9.1..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "6.1 n; 6.12..7.2 m",
            Line.SUSE: "6.19 m",
            Line.UEK7: "5.15 y",
            Line.UEK8: "6.12 y",
            Line.AZURE: "6.6 n",
        },
        Architecture.ARM64: {
            Line.EL8: "8.4..8.10 n",
            Line.EL9: "9.0..9.6 y",
            Line.EL10: "10.0 y",
            Line.DEBIAN: "5.10..6.1 n; 6.12..7.2 m",
        },
        Architecture.S390: {Line.EL8: "8.4..8.10 n", Line.EL9: "9.0..9.6 n", Line.EL10: "10.0 n"},
    },
    "CONFIG_X86_POSTED_MSI": {
        Architecture.X86: {Line.EL10: "10.0 n", Line.DEBIAN: "6.12..7.2 n", Line.SUSE: "6.19 n", Line.UEK8: "6.12 y"},
    },
}

# Where they were read: the configurations that the packages ship.
SOURCES: Mapping[Line, str] = {
    Line.EL8: "kernel-ARCH.config at 4.18.0-240.22.1.el8_3 to 4.18.0-553.66.1.el8_10",
    Line.EL9: "kernel-ARCH-rhel.config at 5.14.0-70.30.1.el9_0 to 5.14.0-570.32.1.el9_6",
    Line.EL10: "kernel-ARCH-rhel.config at 6.12.0-55.24.1.el10_0",
    Line.DEBIAN: "linux-config-5.10 at 5.10.223-1, linux-config-6.1 at 6.1.192-2, linux-config-6.12 at 6.12.117-1, "
    "linux-config-7.2 at 7.2.13-1",
    Line.UBUNTU: "debian.master/config/annotations of Ubuntu 24.04 at 6.8, of resolute at 7.0",
    Line.SUSE: "config/x86_64/default of SUSE/kernel-source at 6.19.11",
    Line.UEK7: "uek-rpm/ol9/config-x86_64 of oracle/linux-uek at 5.15",
    Line.UEK8: "uek-rpm/ol10/config-ARCH of oracle/linux-uek at 6.12",
    Line.AZURE: "SPECS/kernel/config of microsoft/azurelinux at 6.6",
    Line.FEDORA: "kernel-ARCH-fedora.config of danayer/fedora-kernel at 7.1",
    Line.ARCH: "omacom/omarchy#12550 at 7.2.3",
}


def configured(kernel: Kernel, symbol: str, architecture: Architecture) -> str | None:
    """Return `y`, `m` or `n`: how a symbol is set in the kernels of a line; None where that was not read."""
    for part in CONFIGURATION.get(symbol, {}).get(architecture, {}).get(kernel.line, "").split("; "):
        *releases, value = part.split(" ")
        if value and all(_is_within(kernel, text) for text in releases):
            return value
    return None


def _is_within(kernel: Kernel, releases: str) -> bool:
    first, _, last = releases.partition("..")
    least, most = KernelVersion.parse(first), KernelVersion.parse(last or first)
    if kernel.least is None or kernel.most is None or least is None or most is None:
        return False
    return least <= kernel.least and kernel.most <= most
