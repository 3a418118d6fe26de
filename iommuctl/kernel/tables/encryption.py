# SPDX-License-Identifier: Apache-2.0
"""Parameters of memory encryption, of the host and of guests. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import x86

PARAMETERS = (
    Definition(
        "mem_encrypt",
        Kind.EARLY,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="memory encryption of the host: on or off",
        source="arch/x86/mm/mem_encrypt_boot.S and sme_enable",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("with it on, passthrough that comes from the kernel configuration is cancelled",),
    ),
    Definition(
        "sev",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="encrypted guests",
        source="arch/x86/virt/svm/cmdline.c init_sev_config",
        available=(x86(),),
        platforms=(Platform.AMD,),
        notes=("SEV-SNP needs the IOMMU on, not in passthrough, with v1 page tables",),
        tokens=(
            Token("debug", "print details", exact=True),
            Token("nosnp", "SEV-SNP off", available=(x86("6.14"),), exact=True),
        ),
    ),
    Definition(
        "kvm-amd.sev_snp",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="SEV-SNP guests, whose memory not even the host can write to",
        source="arch/x86/kvm/svm/sev.c",
        available=(x86("6.11"),),
        platforms=(Platform.AMD,),
        default="1 where processor, firmware and IOMMU allow it",
        conflicts=("iommu.passthrough=1", "amd_iommu=pgtbl_v2", "amd_iommu=off", "iommu=off"),
    ),
)
