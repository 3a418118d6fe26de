# SPDX-License-Identifier: Apache-2.0
"""Parameters of the driver of AMD-Vi. Rows only."""

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import x86

PARAMETERS = (
    Definition(
        "amd_iommu",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="AMD-Vi driver options",
        source="drivers/iommu/amd/init.c parse_amd_iommu_options",
        available=(x86(),),
        platforms=(Platform.AMD,),
        default="on wherever the firmware offers it; there is no value that enables it",
        effect="without AMD-Vi no device can be given to a guest",
        kconfig=("CONFIG_AMD_IOMMU",),
        notes=(
            "options accumulate over repeats, and nothing takes off back",
            (
                "up to 6.0 the parser looked for its words at every place of the value, so xoff was off; later "
                "ones read whole tokens from their beginning"
            ),
        ),
        tokens=(
            Token("off", "DMA remapping and interrupt remapping both off", unsafe=True),
            Token(
                "fullflush",
                "no batching of TLB invalidation; the only spelling that x86 kernels before 5.14 understand",
                same_as="iommu.strict=1",
                deprecated_since=KernelVersion(5, 15),
            ),
            Token(
                "force_isolation",
                (
                    "devices with PASID and PRI (GPUs, NPUs) get translated domains as well; does not "
                    "override iommu=pt; amdgpu is known to hang with it from 6.13"
                ),
                conflicts=("iommu.passthrough=1",),
            ),
            Token("force_enable", "skip the denylist of Stoney Ridge, nothing else", available=(x86("5.14"),)),
            Token(
                "pgtbl_v1", "page tables of the first format (the default)", group="page-table", available=(x86("6.1"),)
            ),
            Token(
                "pgtbl_v2",
                "page tables of the second format where supported; a SEV-SNP host is impossible with it",
                group="page-table",
                available=(x86("6.1"),),
            ),
            Token(
                "irtcachedis",
                "no caching of the interrupt remapping table (a workaround for kdump)",
                available=(x86("6.5"),),
            ),
            Token(
                "nohugepages", "v1 page tables with pages of 4 KiB only", group="page-sizes", available=(x86("6.12"),)
            ),
            Token(
                "v2_pgsizes_only",
                "v1 page tables with the page sizes of v2 only (4 KiB, 2 MiB, 1 GiB)",
                group="page-sizes",
                available=(x86("6.12"),),
            ),
        ),
        myths=(
            Myth("on", "was never a value: AMD-Vi is on by itself, and from 6.1 this is logged as an unknown option"),
            Myth("1", "was never a value: AMD-Vi is on by itself"),
            Myth("enable", "was never a value: AMD-Vi is on by itself"),
            Myth("pt", "was never a value of amd_iommu", mend="iommu=pt"),
            Myth("nosnp", "not an option of amd_iommu", mend="sev=nosnp"),
        ),
    ),
    Definition(
        "amd_iommu_dump",
        Kind.SETUP,
        Grammar.FLAG,
        Manages.ALL,
        summary="print what the firmware table (IVRS) says",
        source="drivers/iommu/amd/init.c parse_amd_iommu_dump",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("the value is not read: amd_iommu_dump=0 turns the dump on too",),
    ),
    Definition(
        "amd_iommu_intr",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="how interrupts reach guests",
        source="drivers/iommu/amd/init.c parse_amd_iommu_intr",
        available=(x86(),),
        platforms=(Platform.AMD,),
        default="vapic",
        tokens=(
            Token("legacy", "through the hypervisor", group="mode"),
            Token("vapic", "straight to the guest (needs kvm-amd.avic=1)", group="mode"),
        ),
    ),
    Definition(
        "ivrs_ioapic",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary=(
            "mend a wrong IOAPIC in the firmware table: <id>@[segment:]bus:device.function, id decimal, "
            "the rest hexadecimal"
        ),
        source="drivers/iommu/amd/init.c parse_ivrs_ioapic",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("the spelling ivrs_ioapic[10]=00:14.0 is deprecated",),
    ),
    Definition(
        "ivrs_hpet",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary="mend a wrong HPET in the firmware table: <id>@[segment:]bus:device.function",
        source="drivers/iommu/amd/init.c parse_ivrs_hpet",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("the spelling ivrs_hpet[0]=00:14.0 is deprecated",),
    ),
    Definition(
        "ivrs_acpihid",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary="mend a wrong ACPI device in the firmware table: <HID>:<UID>@[segment:]bus:device.function",
        source="drivers/iommu/amd/init.c parse_ivrs_acpihid",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("the spelling ivrs_acpihid[00:14.5]=AMD0020:0 is deprecated",),
    ),
)
