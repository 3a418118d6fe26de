# SPDX-License-Identifier: Apache-2.0
"""Parameters of the generic variables of the IOMMU core, and iommu= of x86. Rows only."""

from iommuctl.kernel.parameters import Advice, Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import ALWAYS, arm64, powerpc, riscv, s390, since, x86

PARAMETERS = (
    Definition(
        "iommu",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="x86 DMA options: the default domain type, and switches of the old GART driver",
        source="arch/x86/kernel/pci-dma.c:111 iommu_setup at 7.1.5",
        available=(x86(),),
        default="as the kernel was configured",
        effect="pt gives host drivers near-native DMA without protection from their devices; guests stay isolated",
        kconfig=(
            "CONFIG_IOMMU_DEFAULT_DMA_LAZY",
            "CONFIG_IOMMU_DEFAULT_DMA_STRICT",
            "CONFIG_IOMMU_DEFAULT_PASSTHROUGH",
        ),
        notes=(
            (
                "options accumulate over repeats; pt and nopt: the last one on the line wins, "
                "iommu.passthrough= included"
            ),
            "an unknown token is ignored without a message",
            (
                "ARM64 and RISC-V have no iommu= parameter at all; that of PowerPC is another "
                "one, without pt, on and off; Xen's iommu= is on the line of the hypervisor"
            ),
            ("pt needs the IOMMU to be enabled as well (intel_iommu=on where that is not the default)"),
            (
                "the isolation profiles keep iommu=force, so that a checklist which asks for it "
                "passes; passthrough-perf removes it, and none sets it"
            ),
        ),
        tokens=(
            Token(
                "off",
                (
                    "no VT-d, no AMD-Vi, and no automatic bounce buffers above 4 GiB; Intel keeps "
                    "interrupt remapping, AMD loses it. A platform that opts in to DMA protection "
                    "overrides it up to 7.2 (Debian's kernels from 6.1 on do not let it), tboot in "
                    "every kernel; no other token takes it back"
                ),
                unsafe=True,
                conflicts=(
                    "intel_iommu=on",
                    "iommu.passthrough=1",
                ),
            ),
            Token(
                "force",
                (
                    "read by AMD's old GART driver only: no effect on VT-d and AMD-Vi, whatever "
                    "checklists say (rule R7 of ANSSI's guide for Linux asks for it)"
                ),
                inert_since=ALWAYS,
            ),
            Token("noforce", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("biomerge", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("merge", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("nomerge", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("panic", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("nopanic", "GART only: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token(
                "soft",
                (
                    "bounce buffers instead of a hardware IOMMU up to 5.17; from 5.19, el8 8.8 and "
                    "el9 9.2 the hardware IOMMU is used all the same"
                ),
                unsafe=True,
                inert_since=since(
                    "5.17/5.19 arch/x86/kernel/pci-dma.c:121 at 6.1.192",
                    el8="8.7/8.8 arch/x86/kernel/pci-dma.c:122 at 4.18.0-477.27.2.el8_8",
                    el9="9.1/9.2 arch/x86/kernel/pci-dma.c:121 at 5.14.0-284.30.1.el9_2",
                ),
            ),
            Token(
                "pt",
                (
                    "default domain type identity (passthrough): devices of host drivers are not "
                    "translated; those that a guest owns are, as without it"
                ),
                same_as="iommu.passthrough=1",
            ),
            Token(
                "nopt",
                "default domain type translated (DMA or DMA-FQ)",
                same_as="iommu.passthrough=0",
                available=(
                    x86(
                        "4.15/4.19 arch/x86/kernel/pci-dma.c:109 at 5.10.223",
                        el8="8.1 arch/x86/kernel/pci-dma.c:124 at 4.18.0-147.5.1",
                    ),
                ),
            ),
            Token(
                "usedac",
                "VIA quirk; the kernel reads nothing of the list behind it and logs a malformed early option",
                ends_list=True,
            ),
            Token("forcesac", "ignored with a warning, but read as force too", inert_since=ALWAYS),
            Token("allowdac", "ignored with a warning", inert_since=ALWAYS),
            Token("nodac", "ignored with a warning", inert_since=ALWAYS),
            Token("fullflush", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("nofullflush", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("noagp", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("noaperture", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("memaper", "GART aperture option, memaper[=order]: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token("allowed", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=ALWAYS),
            Token(
                "calgary",
                "a driver that no shipped kernel was built with; the token is gone with it",
                available=(
                    x86(
                        "7.3/ no match in arch/x86/kernel/pci-dma.c at 5.10 to 7.3",
                        el8="..8.10 arch/x86/kernel/pci-dma.c:185 at 4.18.0-553.66.1.el8_10",
                        el9="9.6/ no match in arch/x86/kernel/pci-dma.c at 9.0 to 9.6",
                        el10="10.0/ no match in arch/x86/kernel/pci-dma.c at 10.0",
                    ),
                ),
                inert_since=ALWAYS,
            ),
            Token("novmerge", "PowerPC: do not merge pages of one request", group="vmerge", available=(powerpc(),)),
            Token("vmerge", "PowerPC: merge pages of one request", group="vmerge", available=(powerpc(),)),
            Token("nobypass", "PowerNV: no 64-bit bypass window", available=(powerpc(),)),
        ),
        myths=(
            Myth(
                "1",
                (
                    "a number is the size in bytes of the remapping area of AMD's old GART (nothing "
                    "where the kernel has no CONFIG_GART_IOMMU, as in Enterprise Linux): it turns no "
                    "IOMMU on and changes none that is on"
                ),
                mend="intel_iommu=on",
                is_number=True,
            ),
            Myth(
                "on",
                ("no such token: ignored without a message; it turns no IOMMU on and changes none that is on"),
                mend="intel_iommu=on",
            ),
            Myth(
                "true",
                ("no such token: ignored without a message; it turns no IOMMU on and changes none that is on"),
                mend="intel_iommu=on",
            ),
            Myth(
                "enabled",
                ("no such token: ignored without a message; it turns no IOMMU on and changes none that is on"),
                mend="intel_iommu=on",
            ),
            Myth(
                "auto", ("no such token: ignored without a message; it turns no IOMMU on and changes none that is on")
            ),
            Myth(
                "strict",
                ("no such token: ignored without a message; it turns no IOMMU on and changes none that is on"),
                mend="iommu.strict=1",
            ),
        ),
        advice=(
            Advice(
                "iommu=1 or iommu=pt: which of the two do I want?",
                (
                    (
                        "Never iommu=1, and neither of them turns an IOMMU on. On Intel intel_iommu=on "
                        "does that where the kernel does not by itself (Fedora, Enterprise Linux, "
                        "openSUSE and Arch leave VT-d off; Debian, Ubuntu from 7.0 and Oracle's UEK turn "
                        "it on); AMD-Vi and the SMMU of ARM64 are on by themselves wherever the firmware "
                        "offers them."
                    ),
                    (
                        "A device that a guest owns is translated with iommu=pt and without it: VFIO "
                        "gives it a domain of its own. So pt makes no guest faster and no guest less "
                        "isolated."
                    ),
                    (
                        "What pt gives: the host's own drivers use physical addresses, and pay nothing "
                        "for mapping and unmapping each buffer; emulated devices of guests gain by that, "
                        "for they end in a driver of the host."
                    ),
                    (
                        "What pt takes: a faulty, malicious or taken-over device that the host drives "
                        "itself reaches all memory, that of the guests included."
                    ),
                    ("iommu=pt if the host gives devices to guests (VFIO, SR-IOV) and trusts its own devices."),
                    (
                        "iommu.passthrough=0 iommu.strict=1 if the host must be safe from its own devices"
                        " too: every device reaches only what was mapped for it."
                    ),
                    (
                        "iommu.passthrough=0 iommu.strict=0 if what a guide calls iommu=1 is meant, an "
                        "IOMMU that translates: the same, but memory stays reachable for some "
                        "milliseconds after it was unmapped, and throughput is better."
                    ),
                    (
                        "Without any of them the kernel's configuration decides: untranslated on "
                        "Enterprise Linux 8, openSUSE and Oracle's UEK, translated lazily on Debian, "
                        "Ubuntu, Fedora and Enterprise Linux 9 and 10 (x86)."
                    ),
                    "As profiles these are passthrough-perf, strict-isolation and translated-lazy.",
                ),
                ("1", "on", "true", "enabled", "auto", "strict", "pt", "nopt"),
            ),
            Advice(
                "Xen has an iommu= of its own: what does it read?",
                (
                    (
                        "It is on the line of the hypervisor, not on Linux's, and reads truth values: "
                        "force or required (no start without an IOMMU), verbose, debug, sharept, "
                        "intremap, intpost, crash-disable, snoop, qinval, igfx (no-igfx is like "
                        "intel_iommu=igfx_off), amd-iommu-perdev-intremap; a truth value alone turns all "
                        "of it on or off. dom0-iommu= says whether the devices of dom0 are translated "
                        "(docs/misc/xen-command-line.pandoc of xen-project/xen at 8f7824289910)."
                    ),
                    (
                        "A Linux PV dom0 never looks for VT-d or AMD-Vi, so Linux's iommu= does nothing "
                        "there. iommuctl does not edit the line of Xen."
                    ),
                ),
                (
                    "required",
                    "verbose",
                    "debug",
                    "sharept",
                    "intremap",
                    "intpost",
                    "crash-disable",
                    "snoop",
                    "qinval",
                    "igfx",
                    "no-igfx",
                    "amd-iommu-perdev-intremap",
                    "dom0-passthrough",
                    "dom0-strict",
                    "no",
                    "yes",
                ),
            ),
        ),
    ),
    Definition(
        "iommu.passthrough",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="default domain type of every device: 1 identity, 0 translated",
        source="drivers/iommu/iommu.c:791 iommu_set_def_domain_type at 7.1.5",
        available=(
            arm64(
                "4.19 drivers/iommu/iommu.c:228 at 5.4", el8="8.3 drivers/iommu/iommu.c:335 at 4.18.0-240.22.1.el8_3"
            ),
            x86(
                "4.19/5.4 drivers/iommu/iommu.c:228 at 5.4",
                el8="8.1/8.3 drivers/iommu/iommu.c:335 at 4.18.0-240.22.1.el8_3",
            ),
            riscv(),
            s390(),
        ),
        default=("as the kernel was configured: 1 in Enterprise Linux 8 (x86), openSUSE and Oracle's UEK, else 0"),
        effect=(
            "1: near-native DMA for host drivers without protection from their devices; 0: each "
            "device reaches only what was mapped for it"
        ),
        kconfig=("CONFIG_IOMMU_DEFAULT_PASSTHROUGH",),
        notes=(
            "one variable with iommu=pt and iommu=nopt: the last on the line wins",
            (
                "external-facing (untrusted) devices are translated all the same: by Intel's "
                "driver from 5.4 and el8 8.1, by every driver from 5.11 and el8 8.5"
            ),
            (
                "AMD devices with PASID stay identity even with 0, unless "
                "amd_iommu=force_isolation; up to 6.1, el8 and el9 9.4 only those that have ATS "
                "and PRI as well"
            ),
            (
                "memory encryption cancels passthrough that comes from the kernel configuration, "
                "not from the command line"
            ),
        ),
    ),
    Definition(
        "iommu.strict",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="when unmapped addresses stop being reachable: 1 at once (DMA), 0 lazily in batches (DMA-FQ)",
        source="drivers/iommu/iommu.c:809 iommu_dma_setup at 7.1.5",
        available=(
            arm64("4.19/4.20 drivers/iommu/iommu.c:234 at 5.4", el8="8.1 drivers/iommu/iommu.c:48 at 4.18.0-147.5.1"),
            x86(
                "5.12/5.14 drivers/iommu/iommu.c:360 at 5.14.0-70.30.1.el9_0, no x86 driver at 5.10.223",
                el8="8.5/8.6 drivers/iommu/iommu.c:355-378 at 4.18.0-372.32.1.el8_6",
            ),
            s390(
                "6.4/6.8 drivers/iommu/s390-iommu.c:817 at 6.12.117",
                el8="8.10/ arch/s390/pci/pci_dma.c at 8.3 to 8.10",
                el9="9.4/9.5 drivers/iommu/s390-iommu.c:754 at 5.14.0-503.40.1.el9_5",
            ),
            riscv(),
        ),
        default=(
            "lazy on x86 and s390 upstream, strict elsewhere; lazy on ARM64 too in Enterprise"
            " Linux 9 and 10 and Fedora; without meaning where the default is passthrough"
        ),
        effect="1 closes the window in which a device still reaches freed memory, at some cost in throughput",
        kconfig=(
            "CONFIG_IOMMU_DEFAULT_DMA_STRICT",
            "CONFIG_IOMMU_DEFAULT_DMA_LAZY",
        ),
        notes=(
            ("intel_iommu=strict and amd_iommu=fullflush are read later and beat iommu.strict=0, wherever they stand"),
            (
                "a unit with caching mode (Intel) or NpCache (AMD), as hypervisors emulate them, "
                "is strict whatever is asked; virtio-iommu is up to 6.1 and el9 9.4"
            ),
            ("together with passthrough it matters only for the groups that are translated anyway"),
        ),
    ),
    Definition(
        "iommu.forcedac",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="allocate DMA addresses above 4 GiB first",
        source="drivers/iommu/dma-iommu.c:88 iommu_dma_forcedac_setup at 7.1.5",
        available=(
            x86(
                "5.11/5.12 drivers/iommu/dma-iommu.c:84 at 6.1.192",
                el8="8.4/8.5 drivers/iommu/dma-iommu.c:77 at 4.18.0-348.23.1.el8_5",
            ),
            arm64(
                "5.11/5.12 drivers/iommu/dma-iommu.c:84 at 6.1.192",
                el8="8.4/8.5 drivers/iommu/dma-iommu.c:77 at 4.18.0-348.23.1.el8_5",
            ),
        ),
        default="0",
    ),
    Definition(
        "iommu.debug_pagealloc",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="check that a page is unmapped from every IOMMU before it is freed",
        source="drivers/iommu/iommu-debug-pagealloc.c:156 at 7.1.5",
        available=(
            x86(
                "6.19/7.1 drivers/iommu/iommu-debug-pagealloc.c:164 at 7.1.5",
                el8="8.10/ no match in drivers/iommu/iommu-debug-pagealloc.c at 8.3 to 8.10",
                el9="9.6/ no match in drivers/iommu/iommu-debug-pagealloc.c at 9.0 to 9.6",
                el10="10.0/ no match in drivers/iommu/iommu-debug-pagealloc.c at 10.0",
            ),
            arm64(
                "6.19/7.1 drivers/iommu/iommu-debug-pagealloc.c:164 at 7.1.5",
                el8="8.10/ no match in drivers/iommu/iommu-debug-pagealloc.c at 8.3 to 8.10",
                el9="9.6/ no match in drivers/iommu/iommu-debug-pagealloc.c at 9.0 to 9.6",
                el10="10.0/ no match in drivers/iommu/iommu-debug-pagealloc.c at 10.0",
            ),
        ),
        default="0",
        effect="debugging only: slow",
        kconfig=("CONFIG_IOMMU_DEBUG_PAGEALLOC",),
    ),
    Definition(
        "iommu.prq_timeout",
        Kind.NOBODY,
        Grammar.SCALAR,
        Manages.ALL,
        summary="in no kernel that was read (4.15 to 7.1); ignored without a message",
        source="no match in drivers/iommu at 7.1.5",
    ),
)
