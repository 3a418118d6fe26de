# SPDX-License-Identifier: Apache-2.0
"""Parameters of the driver of Intel's VT-d. Rows only."""

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import x86

PARAMETERS = (
    Definition(
        "intel_iommu",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="Intel VT-d driver options",
        source="drivers/iommu/intel/iommu.c intel_iommu_setup",
        available=(x86(),),
        platforms=(Platform.INTEL,),
        default="off, or on where the kernel was configured so",
        effect="without VT-d no device can be given to a guest",
        kconfig=("CONFIG_INTEL_IOMMU_DEFAULT_ON", "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON"),
        notes=(
            "options accumulate over repeats",
            (
                "Fedora, RHEL and Arch leave VT-d off, so intel_iommu=on has to be written; it is harmless where "
                "on is the default"
            ),
            "an unknown token is logged as an unknown option from 5.15 and ignored without a message before",
        ),
        tokens=(
            Token(
                "on",
                (
                    'DMA remapping on, if the firmware offers it; the log line "IOMMU enabled" proves only '
                    "that this was read"
                ),
                group="state",
            ),
            Token(
                "off",
                (
                    "DMA remapping off, and no opt-in of the platform; interrupt remapping stays "
                    "(intremap=off is its switch); tboot overrides it"
                ),
                group="state",
                unsafe=True,
            ),
            Token(
                "igfx_off",
                "units that serve only graphics are bypassed: no protection from the integrated GPU",
                unsafe=True,
            ),
            Token(
                "forcedac",
                "allocate DMA addresses above 4 GiB first",
                same_as="iommu.forcedac=1",
                deprecated_since=KernelVersion(5, 12),
            ),
            Token(
                "strict",
                "no batching of TLB invalidation; the only spelling that x86 kernels before 5.14 understand",
                same_as="iommu.strict=1",
                deprecated_since=KernelVersion(5, 15),
            ),
            Token("sp_off", "no super pages"),
            Token("sm_on", "scalable mode allowed", group="scalable-mode", available=(x86("5.4"),)),
            Token("sm_off", "scalable mode not allowed", group="scalable-mode", available=(x86("5.15"),)),
            Token("tboot_noforce", "a measured launch (tboot) no longer forces VT-d on", unsafe=True),
            Token(
                "nobounce",
                "no bounce buffers for untrusted devices; gone by 5.11",
                available=(x86("5.4", until="5.4"),),
                unsafe=True,
            ),
            Token("ecs_off", "no extended context tables; gone by 5.4", available=(x86(until="4.19"),)),
            Token(
                "pasid28",
                "PASID of pre-production hardware, with its GPU untranslated; gone by 5.4",
                available=(x86(until="4.19"),),
                unsafe=True,
            ),
            Token(
                "intgpu_off", "a patch of Debian: only the integrated GPU is left out (Debian bug 935270)", unsafe=True
            ),
        ),
        myths=(
            Myth("pt", "no such token: it does not even enable VT-d", mend="intel_iommu=on iommu=pt"),
            Myth("1", "no such token: VT-d is not enabled by it", mend="intel_iommu=on"),
            Myth("true", "no such token: VT-d is not enabled by it", mend="intel_iommu=on"),
            Myth("enabled", "no such token: VT-d is not enabled by it", mend="intel_iommu=on"),
            Myth("igfx-off", "a dash is not an underscore in a value: no such token", mend="intel_iommu=igfx_off"),
        ),
    ),
)
