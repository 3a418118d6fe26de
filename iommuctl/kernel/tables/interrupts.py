# SPDX-License-Identifier: Apache-2.0
"""Parameters of interrupt remapping and what depends on it. Rows only."""

from iommuctl.facts import Platform
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import since, x86

PARAMETERS = (
    Definition(
        "intremap",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="interrupt remapping of Intel, AMD and Hyper-V",
        source="drivers/iommu/irq_remapping.c:57 setup_irqremap at 7.1.5",
        available=(x86(),),
        default="on where the firmware offers it",
        effect="without it a device that a guest owns can forge interrupts of the host",
        notes=("unknown tokens are ignored without a message",),
        tokens=(
            Token("on", "remapping on, nopost taken back", group="state"),
            Token("off", "remapping off", group="state", unsafe=True),
            Token("nosid", "the source of an interrupt is not checked (Intel)", unsafe=True),
            Token("no_x2apic_optout", "ignore the wish of the firmware to leave x2APIC off (Intel)"),
            Token("nopost", "no posted interrupts"),
            Token(
                "posted_msi",
                (
                    "message interrupts of the host as posted interrupts, where the kernel is built "
                    "with CONFIG_X86_POSTED_MSI (Fedora, Oracle's UEK 8; not Enterprise Linux 10, "
                    "Debian, openSUSE)"
                ),
                available=(
                    x86(
                        "6.8/6.12 drivers/iommu/irq_remapping.c:75 at 6.12.117",
                        el8="8.10/ no match in drivers/iommu/irq_remapping.c at 8.3 to 8.10",
                        el9="9.6/ no match in drivers/iommu/irq_remapping.c at 9.0 to 9.6",
                    ),
                ),
                needs="CONFIG_X86_POSTED_MSI",
            ),
        ),
    ),
    Definition(
        "nointremap",
        Kind.EARLY,
        Grammar.FLAG,
        Manages.ALL,
        summary="interrupt remapping off",
        source="drivers/iommu/irq_remapping.c:50 setup_nointremap at 7.1.5",
        available=(x86(),),
        notes=("sets the same variable as intremap=, so a later intremap=on takes it back",),
        same_as="intremap=off",
        deprecated_since=since("4.15 drivers/iommu/irq_remapping.c:50 at 7.1.5"),
        unsafe="set",
    ),
    Definition(
        "nox2apic",
        Kind.EARLY,
        Grammar.FLAG,
        Manages.NOTHING,
        summary="do not use x2APIC; there is no x2apic= parameter",
        source="arch/x86/kernel/apic/apic.c:1745 setup_nox2apic at 7.1.5",
        available=(x86(),),
    ),
    Definition(
        "x2apic_phys",
        Kind.EARLY,
        Grammar.FLAG,
        Manages.NOTHING,
        summary="x2APIC in physical destination mode",
        source="arch/x86/kernel/apic/x2apic_phys.c:20 set_x2apic_phys_mode at 7.1.5",
        available=(x86(),),
    ),
    Definition(
        "kvm-amd.avic",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="virtual interrupt controller in hardware; amd_iommu_intr=vapic needs it",
        source="arch/x86/kvm/svm/avic.c:70-101 at 7.1.5",
        available=(x86(),),
        platforms=(Platform.AMD,),
        default="auto from 7.1, off before",
        notes=("sysfs shows N for auto",),
        tokens=(
            Token(
                "auto",
                "on where the processor does it for x2APIC as well (Zen 4 and newer)",
                exact=True,
                available=(
                    x86(
                        "6.12/7.1 arch/x86/kvm/svm/avic.c:101 at 7.1.5",
                        el8="8.10/ no match in arch/x86/kvm/svm/avic.c at 8.3 to 8.10",
                        el9="9.6/ no match in arch/x86/kvm/svm/avic.c at 9.0 to 9.6",
                        el10="10.0/ no match in arch/x86/kvm/svm/avic.c at 10.0",
                    ),
                ),
            ),
        ),
    ),
    Definition(
        "kvm-amd.force_avic",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="use AVIC although the processor does not offer it",
        source="arch/x86/kvm/svm/avic.c:107 at 7.3-rc7",
        available=(
            x86(
                "5.10/6.1 arch/x86/kvm/svm/avic.c:54 at 6.1.192",
                el8="8.8/8.9 arch/x86/kvm/svm/avic.c:54 at 4.18.0-513.24.1.el8_9",
                el9="9.1/9.2 arch/x86/kvm/svm/avic.c:44 at 5.14.0-284.30.1.el9_2",
            ),
        ),
        platforms=(Platform.AMD,),
        effect="for processors whose firmware hides it; it may not work",
    ),
    Definition(
        "kvm-intel.enable_apicv",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="virtual interrupt controller in hardware; posted interrupts need it",
        source="arch/x86/kvm/vmx/vmx.c:120 at 7.1.5",
        available=(x86(),),
        platforms=(Platform.INTEL,),
    ),
    Definition(
        "kvm-amd.enable_device_posted_irqs",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="interrupts of assigned devices straight to the guest",
        source="arch/x86/kvm/svm/svm.c:164 at 7.1.5",
        available=(
            x86(
                "6.12/7.1 arch/x86/kvm/svm/svm.c:164 at 7.1.5",
                el8="8.10/ no match in arch/x86/kvm/svm/svm.c at 8.3 to 8.10",
                el9="9.6/ no match in arch/x86/kvm/svm/svm.c at 9.0 to 9.6",
                el10="10.0/ no match in arch/x86/kvm/svm/svm.c at 10.0",
            ),
        ),
        platforms=(Platform.AMD,),
    ),
    Definition(
        "kvm-intel.enable_device_posted_irqs",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="interrupts of assigned devices straight to the guest",
        source="arch/x86/kvm/vmx/vmx.c:123 at 7.1.5",
        available=(
            x86(
                "6.12/7.1 arch/x86/kvm/svm/svm.c:164 at 7.1.5",
                el8="8.10/ no match in arch/x86/kvm/svm/svm.c at 8.3 to 8.10",
                el9="9.6/ no match in arch/x86/kvm/svm/svm.c at 9.0 to 9.6",
                el10="10.0/ no match in arch/x86/kvm/svm/svm.c at 10.0",
            ),
        ),
        platforms=(Platform.INTEL,),
    ),
)
