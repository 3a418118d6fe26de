# SPDX-License-Identifier: Apache-2.0
"""Parameters of memory encryption, of the host and of guests. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Lifted, Manages, Token
from iommuctl.kernel.tables.behaviour import SNP_LIMITS_LIFTED
from iommuctl.kernel.tables.spans import x86

_NEEDS_HARDWARE = "only hardware with FEATURE_SNP_PAGE_MODE0_SUP has SEV-SNP then"

PARAMETERS = (
    Definition(
        "mem_encrypt",
        Kind.EARLY,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="memory encryption of the host: on or off",
        source="arch/x86/boot/compressed/misc.c:370 at 7.1.5",
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
        source="arch/x86/virt/svm/cmdline.c:19 init_sev_config at 7.1.5",
        available=(
            x86(
                "5.10/6.1 arch/x86/kernel/sev.c:2218 at 6.1.192",
                el8="8.7/8.8 arch/x86/kernel/sev.c:2163 at 4.18.0-477.27.2.el8_8",
                el9="9.0/9.1 arch/x86/kernel/sev.c:2220 at 5.14.0-162.23.1.el9_1",
            ),
        ),
        platforms=(Platform.AMD,),
        notes=(
            (
                "SEV-SNP needs the IOMMU on, not in passthrough, with v1 page tables; from 7.3 on"
                " the last two only where the hardware lacks FEATURE_SNP_PAGE_MODE0_SUP"
            ),
        ),
        tokens=(
            Token("debug", "print details", exact=True),
            Token(
                "nosnp",
                "SEV-SNP off",
                available=(
                    x86(
                        "6.12/6.14 arch/x86/virt/svm/cmdline.c:29 at 7.1.5",
                        el8="8.10/ no match in arch/x86/virt/svm/cmdline.c at 8.3 to 8.10",
                        el9="9.6/ no match in arch/x86/virt/svm/cmdline.c at 9.0 to 9.6",
                        el10="10.0/ no match in arch/x86/virt/svm/cmdline.c at 10.0",
                    ),
                ),
                exact=True,
            ),
        ),
    ),
    Definition(
        "kvm-amd.sev_snp",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="SEV-SNP guests, whose memory not even the host can write to",
        source="arch/x86/kvm/svm/sev.c:64 at 7.1.5",
        available=(
            x86(
                "6.1/6.12 arch/x86/kvm/svm/sev.c:54 at 6.12.117",
                el8="8.10/ no match in arch/x86/kvm/svm/sev.c at 8.3 to 8.10",
                el9="9.4/9.5 arch/x86/kvm/svm/sev.c:54 at 5.14.0-503.40.1.el9_5",
            ),
        ),
        platforms=(Platform.AMD,),
        default="1 where processor, firmware and IOMMU allow it",
        conflicts=(
            "iommu.passthrough=1",
            "amd_iommu=pgtbl_v2",
            "amd_iommu=off",
            "iommu=off",
        ),
        lifted=(
            Lifted("iommu.passthrough=1", SNP_LIMITS_LIFTED, _NEEDS_HARDWARE),
            Lifted("amd_iommu=pgtbl_v2", SNP_LIMITS_LIFTED, _NEEDS_HARDWARE),
        ),
    ),
    Definition(
        "kvm-amd.sev",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="guests with encrypted memory (SEV)",
        source="arch/x86/kvm/svm/sev.c:56 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/svm/svm.c:191 at 5.10.223"),),
        platforms=(Platform.AMD,),
        default="1 where the processor has it",
    ),
    Definition(
        "kvm-amd.sev_es",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="guests whose registers are encrypted too (SEV-ES)",
        source="arch/x86/kvm/svm/sev.c:60 at 7.1.5",
        available=(x86("5.10/6.1 arch/x86/kvm/svm/sev.c:54 at 6.1.192"),),
        platforms=(Platform.AMD,),
        default="1 where the processor has it",
    ),
    Definition(
        "kvm-amd.ciphertext_hiding_asids",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="how many guests get SEV-SNP with their encrypted memory hidden from the host",
        source="arch/x86/kvm/svm/sev.c:67 at 7.1.5",
        available=(x86("6.12/7.1 arch/x86/kvm/svm/sev.c:67 at 7.1.5"),),
        platforms=(Platform.AMD,),
        default="0",
    ),
    Definition(
        "kvm-intel.tdx",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="confidential guests by Intel TDX",
        source="arch/x86/kvm/vmx/tdx.c:57 at 7.1.5",
        available=(x86("6.12/7.1 arch/x86/kvm/vmx/tdx.c:57 at 7.1.5"),),
        platforms=(Platform.INTEL,),
        kconfig=("CONFIG_KVM_INTEL_TDX",),
    ),
)
