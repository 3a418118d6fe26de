# SPDX-License-Identifier: Apache-2.0
"""Parameters of the driver of Intel's VT-d. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import since, x86

PARAMETERS = (
    Definition(
        "intel_iommu",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="Intel VT-d driver options",
        source="drivers/iommu/intel/iommu.c:236 intel_iommu_setup at 7.1.5",
        available=(x86(),),
        platforms=(Platform.INTEL,),
        default="off, or on where the kernel was configured so",
        effect="without VT-d no device can be given to a guest",
        kconfig=(
            "CONFIG_INTEL_IOMMU_DEFAULT_ON",
            "CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON",
        ),
        notes=(
            "options accumulate over repeats",
            ("Fedora, Enterprise Linux, openSUSE and Arch leave VT-d off, so intel_iommu=on has to be written"),
            (
                "where on is the default it changes nothing, but for Debian: its default leaves "
                "the integrated GPU out, and intel_iommu=on takes it in"
            ),
            (
                "an unknown token is logged as an unknown option from 5.15, el8 8.8 and el9 9.1, "
                "and ignored without a message before"
            ),
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
                (
                    "units that serve only graphics are bypassed, and their devices are in no group: "
                    "no protection from the integrated GPU; up to 6.1, el8 and el9 9.4 every other "
                    "display device, a discrete GPU too, is left untranslated"
                ),
                unsafe=True,
            ),
            Token(
                "forcedac",
                "allocate DMA addresses above 4 GiB first",
                same_as="iommu.forcedac=1",
                deprecated_since=since(
                    "5.11/5.12 drivers/iommu/intel/iommu.c:366 at 6.1.192",
                    el8="8.4/8.5 drivers/iommu/intel/iommu.c:452 at 4.18.0-348.23.1.el8_5",
                ),
            ),
            Token(
                "strict",
                (
                    "no batching of TLB invalidation; the only spelling that x86 kernels before 5.14 "
                    "and el8 before 8.6 understand"
                ),
                same_as="iommu.strict=1",
                deprecated_since=since(
                    "5.14/5.15 drivers/iommu/intel/iommu.c:369 at 6.1.192",
                    el8="8.7/8.8 drivers/iommu/intel/iommu.c:406 at 4.18.0-477.27.2.el8_8",
                    el9="9.0 drivers/iommu/intel/iommu.c:430 at 5.14.0-70.30.1.el9_0",
                ),
            ),
            Token("sp_off", "no super pages"),
            Token(
                "sm_on",
                "scalable mode allowed",
                group="scalable-mode",
                available=(
                    x86(
                        "4.19/5.4 drivers/iommu/intel-iommu.c:461 at 5.4",
                        el8="8.3 drivers/iommu/intel-iommu.c:478 at 4.18.0-240.22.1.el8_3",
                    ),
                ),
            ),
            Token(
                "sm_off",
                "scalable mode not allowed",
                group="scalable-mode",
                available=(
                    x86(
                        "5.14/5.15 drivers/iommu/intel/iommu.c:377 at 6.1.192",
                        el8="8.10/ no match in drivers/iommu/intel/iommu.c at 8.3 to 8.10",
                        el9="9.0 drivers/iommu/intel/iommu.c:438 at 5.14.0-70.30.1.el9_0",
                    ),
                ),
            ),
            Token("tboot_noforce", "a measured launch (tboot) no longer forces VT-d on", unsafe=True),
            Token(
                "nobounce",
                "no bounce buffers for untrusted devices; gone by 5.11",
                available=(
                    x86(
                        "4.19/5.4..5.10/5.11 drivers/iommu/intel-iommu.c:468 at 5.4",
                        el8="8.3..8.4/8.5 drivers/iommu/intel-iommu.c:485 at 4.18.0-240.22.1.el8_3",
                        el9="9.6/ no match in drivers/iommu/intel/iommu.c at 9.0 to 9.6",
                        el10="10.0/ no match in drivers/iommu/intel/iommu.c at 10.0",
                    ),
                ),
                unsafe=True,
            ),
            Token(
                "ecs_off",
                "no extended context tables; gone by 5.4",
                available=(
                    x86(
                        "..4.19/5.4 no match in drivers/iommu/intel/iommu.c at 5.4 to 7.3",
                        el8="8.1..8.1/8.3 drivers/iommu/intel-iommu.c:578 at 4.18.0-147.5.1",
                        el9="9.6/ no match in drivers/iommu/intel/iommu.c at 9.0 to 9.6",
                        el10="10.0/ no match in drivers/iommu/intel/iommu.c at 10.0",
                    ),
                ),
            ),
            Token(
                "pasid28",
                "PASID of pre-production hardware, with its GPU untranslated; gone by 5.4",
                available=(
                    x86(
                        "..4.19/5.4 no match in drivers/iommu/intel/iommu.c at 5.4 to 7.3",
                        el8="8.1..8.1/8.3 drivers/iommu/intel-iommu.c:582 at 4.18.0-147.5.1",
                        el9="9.6/ no match in drivers/iommu/intel/iommu.c at 9.0 to 9.6",
                        el10="10.0/ no match in drivers/iommu/intel/iommu.c at 10.0",
                    ),
                ),
                unsafe=True,
            ),
            Token(
                "intgpu_off",
                "a patch of Debian: only the integrated GPU is left out (Debian bug 935270)",
                available=(
                    x86(
                        "7.1/ no match in drivers/iommu/intel/iommu.c:239-279 at 7.1.5",
                        debian="5.10 drivers/iommu/intel/iommu.c:450 at 5.10.223",
                    ),
                ),
                unsafe=True,
            ),
            Token(
                "relax_rmrr",
                (
                    "a patch of Proxmox: every memory region that the firmware reserves for a device (RMRR) counts "
                    "as one that may be given up, so the device can go to a guest although its firmware may still "
                    "write there"
                ),
                available=(
                    x86(
                        "7.1/ no match in drivers/iommu/intel/iommu.c:239-279 at 7.1.5",
                        pve="5.19/6.2 proxmox/pve-kernel patches/kernel/0009 at bookworm-6.2 to 7.0.14-14",
                    ),
                ),
                unsafe=True,
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
