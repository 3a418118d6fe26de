# SPDX-License-Identifier: Apache-2.0
"""Parameters of KVM's modules that hosts with guests set. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages
from iommuctl.kernel.tables.spans import x86

_INTEL = (Platform.INTEL,)
_AMD = (Platform.AMD,)

PARAMETERS = (
    Definition(
        "kvm.ignore_msrs",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="let guests touch model-specific registers that KVM does not know, instead of a fault",
        source="arch/x86/kvm/x86.c:156 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/x86.c:118 at 5.10.223"),),
        default="0",
        effect="some guests (macOS, some programs on Windows) start only with it; it is no matter of the IOMMU",
    ),
    Definition(
        "kvm.report_ignored_msrs",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="log each access that kvm.ignore_msrs lets pass",
        source="arch/x86/kvm/x86.c:159 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/x86.c:121 at 5.10.223"),),
        default="1",
    ),
    Definition(
        "kvm.nx_huge_pages",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="whether huge pages of guests are executable: auto, force, off, never, or a truth value",
        source="arch/x86/kvm/mmu/mmu.c:7553 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/mmu/mmu.c:80 at 5.10.223"),),
        default="auto: on where the processor has the bug ITLB multihit",
        effect="on costs guests some speed; off lets a guest stop such a processor",
    ),
    Definition(
        "kvm.mmio_caching",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="remember which addresses of guests are devices; encrypted guests (SEV-ES, SEV-SNP, TDX) need it",
        source="arch/x86/kvm/mmu/spte.c:24 at 7.1.5",
        available=(x86("5.10/6.1 arch/x86/kvm/mmu/spte.c:24 at 6.1.192"),),
        default="1",
    ),
    Definition(
        "kvm.halt_poll_ns",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="how many nanoseconds to poll before a halted processor of a guest sleeps",
        source="virt/kvm/kvm_main.c:79 at 7.1.5",
        available=(x86("5.10 virt/kvm/kvm_main.c:74 at 5.10.223"),),
    ),
    Definition(
        "kvm-intel.nested",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="guests may be hypervisors themselves",
        source="arch/x86/kvm/vmx/vmx.c:131 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/vmx/vmx.c:112 at 5.10.223"),),
        platforms=_INTEL,
        default="1",
        notes=("a guest that shall hand devices on needs an emulated IOMMU as well",),
    ),
    Definition(
        "kvm-amd.nested",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="guests may be hypervisors themselves",
        source="arch/x86/kvm/svm/svm.c:143 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/svm/svm.c:175 at 5.10.223"),),
        platforms=_AMD,
        default="1",
        notes=(
            "a number, and no truth value: 0 or 1",
            "a guest that shall hand devices on needs an emulated IOMMU as well",
        ),
    ),
    Definition(
        "kvm-intel.ept",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="page tables of guests in hardware",
        source="arch/x86/kvm/vmx/vmx.c:102 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/vmx/vmx.c:88 at 5.10.223"),),
        platforms=_INTEL,
        default="1",
    ),
    Definition(
        "kvm-amd.npt",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="page tables of guests in hardware",
        source="arch/x86/kvm/svm/svm.c:139 at 7.1.5",
        available=(x86("5.10 arch/x86/kvm/svm/svm.c:171 at 5.10.223"),),
        platforms=_AMD,
        default="1",
        notes=("a number up to 5.10, and no truth value: 0 or 1",),
    ),
)
