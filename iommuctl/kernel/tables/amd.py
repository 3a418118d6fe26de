# SPDX-License-Identifier: Apache-2.0
"""Parameters of the driver of AMD-Vi. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import since, x86

PARAMETERS = (
    Definition(
        "amd_iommu",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="AMD-Vi driver options",
        source="drivers/iommu/amd/init.c:3713 parse_amd_iommu_options at 7.1.5",
        available=(x86(),),
        platforms=(Platform.AMD,),
        default="on wherever the firmware offers it; there is no value that enables it",
        effect="without AMD-Vi no device can be given to a guest",
        kconfig=("CONFIG_AMD_IOMMU",),
        notes=(
            "options accumulate over repeats, and nothing takes off back",
            (
                "up to 6.0, in all of el8 and up to el9 9.3 the parser looked for its words at "
                "every place of the value, so xoff was off; later ones read whole tokens from "
                "their beginning"
            ),
        ),
        tokens=(
            Token("off", "DMA remapping and interrupt remapping both off", unsafe=True),
            Token(
                "fullflush",
                (
                    "no batching of TLB invalidation; the only spelling that x86 kernels before 5.14 "
                    "and el8 before 8.6 understand"
                ),
                same_as="iommu.strict=1",
                deprecated_since=since(
                    "5.14/5.15 drivers/iommu/amd/init.c:3489 at 6.1.192",
                    el8="8.7/8.8 drivers/iommu/amd/init.c:3180 at 4.18.0-477.27.2.el8_8",
                    el9="9.0 drivers/iommu/amd/init.c:3122 at 5.14.0-70.30.1.el9_0",
                ),
            ),
            Token(
                "force_isolation",
                (
                    "devices with PASID (GPUs, NPUs; up to 6.1, el8 and el9 9.4 those with ATS and "
                    "PRI as well) get translated domains too; does not override iommu=pt; amdgpu is "
                    "known to hang with it from 6.13"
                ),
                conflicts=("iommu.passthrough=1",),
            ),
            Token(
                "force_enable",
                "skip the denylist of Stoney Ridge, nothing else",
                available=(
                    x86(
                        "5.12/5.14 drivers/iommu/amd/init.c:3491 at 6.1.192",
                        el8="8.5/8.6 drivers/iommu/amd/init.c:3136 at 4.18.0-372.32.1.el8_6",
                    ),
                ),
            ),
            Token(
                "pgtbl_v1",
                "page tables of the first format (the default)",
                group="page-table",
                available=(
                    x86(
                        "6.0/6.1 drivers/iommu/amd/init.c:3497 at 6.1.192",
                        el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
                        el9="9.3/9.4 drivers/iommu/amd/init.c:3516 at 5.14.0-427.42.1.el9_4",
                    ),
                ),
            ),
            Token(
                "pgtbl_v2",
                (
                    "page tables of the second format where supported; a SEV-SNP host is impossible "
                    "with it, from 7.3 on but for hardware with FEATURE_SNP_PAGE_MODE0_SUP"
                ),
                group="page-table",
                available=(
                    x86(
                        "6.0/6.1 drivers/iommu/amd/init.c:3499 at 6.1.192",
                        el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
                        el9="9.3/9.4 drivers/iommu/amd/init.c:3518 at 5.14.0-427.42.1.el9_4",
                    ),
                ),
            ),
            Token(
                "irtcachedis",
                "no caching of the interrupt remapping table (a workaround for kdump)",
                available=(
                    x86(
                        "6.4/6.5 drivers/iommu/amd/init.c:3501 at 6.1.192",
                        el8="8.9/8.10 drivers/iommu/amd/init.c:3432 at 4.18.0-553.66.1.el8_10",
                        el9="9.3/9.4 drivers/iommu/amd/init.c:3520 at 5.14.0-427.42.1.el9_4",
                        stable=((6, 1, 192),),
                    ),
                ),
            ),
            Token(
                "nohugepages",
                "v1 page tables with pages of 4 KiB only",
                group="page-sizes",
                available=(
                    x86(
                        "6.8/6.12 drivers/iommu/amd/init.c:3619 at 6.12.117",
                        el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
                        el9="9.5/9.6 drivers/iommu/amd/init.c:3497 at 5.14.0-570.32.1.el9_6",
                    ),
                ),
            ),
            Token(
                "v2_pgsizes_only",
                "v1 page tables with the page sizes of v2 only (4 KiB, 2 MiB, 1 GiB)",
                group="page-sizes",
                available=(
                    x86(
                        "6.8/6.12 drivers/iommu/amd/init.c:3622 at 6.12.117",
                        el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
                        el9="9.5/9.6 drivers/iommu/amd/init.c:3500 at 5.14.0-570.32.1.el9_6",
                    ),
                ),
            ),
        ),
        myths=(
            Myth(
                "on",
                (
                    "was never a value: AMD-Vi is on by itself, and from 6.1 and el9 9.4 this is "
                    "logged as an unknown option"
                ),
            ),
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
        source="drivers/iommu/amd/init.c:3691 parse_amd_iommu_dump at 7.1.5",
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
        source="drivers/iommu/amd/init.c:3698 parse_amd_iommu_intr at 7.1.5",
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
            "mend a wrong IOAPIC in the firmware table: <id>@[segment:]bus:device.function, id "
            "decimal, the rest hexadecimal"
        ),
        source="drivers/iommu/amd/init.c:3752 parse_ivrs_ioapic at 7.1.5",
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
        source="drivers/iommu/amd/init.c:3790 parse_ivrs_hpet at 7.1.5",
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
        source="drivers/iommu/amd/init.c:3830 parse_ivrs_acpihid at 7.1.5",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("the spelling ivrs_acpihid[00:14.5]=AMD0020:0 is deprecated",),
    ),
)
