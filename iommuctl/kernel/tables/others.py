# SPDX-License-Identifier: Apache-2.0
"""Parameters of the drivers of other architectures, and Xen. Rows only."""

from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import arm64, s390, since, x86

PARAMETERS = (
    Definition(
        "s390_iommu",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="s390 DMA options",
        source="drivers/iommu/s390-iommu.c:1096 s390_iommu_setup at 7.1.5",
        available=(s390(),),
        tokens=(
            Token(
                "strict",
                "no batching of TLB invalidation",
                same_as="iommu.strict=1",
                deprecated_since=since(
                    "6.4/6.8 drivers/iommu/s390-iommu.c:817 at 6.12.117",
                    el9="9.4/9.5 drivers/iommu/s390-iommu.c:754 at 5.14.0-503.40.1.el9_5",
                ),
                exact=True,
            ),
        ),
    ),
    Definition(
        "s390_iommu_aperture",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.ALL,
        summary="size of the DMA address space as a multiple of main memory (decimal)",
        source="drivers/iommu/s390-iommu.c:1107 s390_iommu_aperture_setup at 7.1.5",
        available=(
            s390(
                "5.14/5.17 arch/s390/pci/pci_dma.c:726 at 6.1.192",
                el8="8.3/8.6 arch/s390/pci/pci_dma.c:705 at 4.18.0-372.32.1.el8_6",
                el9="9.0 arch/s390/pci/pci_dma.c:706 at 5.14.0-70.30.1.el9_0",
            ),
        ),
    ),
    Definition(
        "arm-smmu.disable_bypass",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="SMMUv1 and v2: refuse DMA of streams that nothing matches",
        source="drivers/iommu/arm/arm-smmu/arm-smmu.c:60 at 7.1.5",
        available=(
            arm64(
                "4.19 drivers/iommu/arm-smmu.c:71 at 5.4",
                el8="8.1 drivers/iommu/arm-smmu.c:109 at 4.18.0-147.5.1",
            ),
        ),
        default="1 upstream and in Debian, 0 in Enterprise Linux and Oracle's UEK",
        effect="0 lets devices that no domain covers reach all memory",
        kconfig=("CONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT",),
        unsafe="0",
    ),
    Definition(
        "arm-smmu.force_stage",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.ALL,
        summary="SMMUv1 and v2: use translation stage 1 or 2 only",
        source="drivers/iommu/arm/arm-smmu/arm-smmu.c:56 at 7.1.5",
        available=(arm64(),),
    ),
    Definition(
        "arm-smmu-v3.disable_bypass",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="SMMUv3: refuse DMA of streams that nothing matches",
        source="drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:35 at 6.1.192",
        available=(
            arm64(
                "4.19..6.8/6.12 drivers/iommu/arm-smmu-v3.c:392 at 5.4",
                el8="8.1 drivers/iommu/arm-smmu-v3.c:371 at 4.18.0-147.5.1",
                el9="9.0..9.4/9.5 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:37 at 5.14.0-70.30.1.el9_0",
                el10="10.0/ no match in drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c at 10.0",
            ),
        ),
        default="1",
        effect="0 lets devices that no domain covers reach all memory",
        notes=("gone by 6.12 and el9 9.5, and ignored without a message since",),
        unsafe="0",
    ),
    Definition(
        "arm-smmu-v3.disable_msipolling",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="SMMUv3: do not wait for commands by message interrupts",
        source="drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:37 at 7.1.5",
        available=(
            arm64(
                "5.4/5.10 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:42 at 5.10.223",
                el8="8.4/8.5 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:42 at 4.18.0-348.23.1.el8_5",
            ),
        ),
    ),
    Definition(
        "tegra241-cmdqv.disable_cmdqv",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="do not use the command queue virtualisation of Tegra241",
        source="drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:110 at 7.1.5",
        available=(
            arm64(
                "6.1/6.12 drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:106 at 6.12.117",
                el8="8.10/ no match in drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c at 8.3 to 8.10",
                el9="9.5/9.6 drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:107 at 5.14.0-570.32.1.el9_6",
            ),
        ),
        needs="CONFIG_TEGRA241_CMDQV",
    ),
    Definition(
        "tegra241-cmdqv.bypass_vcmdq",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="send commands past the virtual queues of Tegra241 (debugging)",
        source="drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:115 at 7.1.5",
        available=(
            arm64(
                "6.1/6.12 drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:106 at 6.12.117",
                el8="8.10/ no match in drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c at 8.3 to 8.10",
                el9="9.5/9.6 drivers/iommu/arm/arm-smmu-v3/tegra241-cmdqv.c:107 at 5.14.0-570.32.1.el9_6",
            ),
        ),
        needs="CONFIG_TEGRA241_CMDQV",
    ),
    Definition(
        "dom0-iommu",
        Kind.HYPERVISOR,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="a parameter of Xen, not of Linux: passthrough=, strict=, map-inclusive=, map-reserved=, none",
        source="docs/misc/xen-command-line.pandoc of xen-project/xen at 8f7824289910",
        available=(x86(),),
        notes=("a Linux PV dom0 never looks for VT-d or AMD-Vi; Xen owns them",),
    ),
)
