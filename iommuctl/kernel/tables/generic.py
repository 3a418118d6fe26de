# SPDX-License-Identifier: Apache-2.0
"""Parameters of the generic variables of the IOMMU core, and iommu= of x86. Rows only."""

from iommuctl.facts import KernelVersion
from iommuctl.kernel.parameters import Advice, Definition, Grammar, Kind, Manages, Myth, Token
from iommuctl.kernel.tables.spans import arm64, powerpc, riscv, s390, x86

PARAMETERS = (
    Definition(
        "iommu",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary="x86 DMA options: the default domain type, and switches of the old GART driver",
        source="arch/x86/kernel/pci-dma.c iommu_setup",
        available=(x86(),),
        default="as the kernel was configured",
        effect=("pt gives host drivers near-native DMA without protection from their devices; guests stay isolated"),
        kconfig=(
            "CONFIG_IOMMU_DEFAULT_DMA_LAZY",
            "CONFIG_IOMMU_DEFAULT_DMA_STRICT",
            "CONFIG_IOMMU_DEFAULT_PASSTHROUGH",
        ),
        notes=(
            (
                "options accumulate over repeats; pt and nopt: the last one on the line wins, iommu.passthrough= "
                "included"
            ),
            "an unknown token is ignored without a message",
            (
                "ARM64 and RISC-V have no iommu= parameter at all; that of PowerPC is another one, without pt, on"
                " and off"
            ),
            "pt needs the IOMMU to be enabled as well (intel_iommu=on where that is not the default)",
        ),
        tokens=(
            Token(
                "off",
                (
                    "no VT-d, no AMD-Vi, and no automatic bounce buffers above 4 GiB; Intel keeps interrupt "
                    "remapping, AMD loses it. A platform that opts in to DMA protection or tboot overrides "
                    "it, and no other token takes it back"
                ),
                unsafe=True,
                conflicts=("intel_iommu=on", "iommu.passthrough=1"),
            ),
            Token(
                "force",
                "read by the AMD GART driver only: no effect on VT-d and AMD-Vi, whatever checklists say",
                inert_since=KernelVersion(4, 15),
            ),
            Token("noforce", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("biomerge", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("merge", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("nomerge", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("panic", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("nopanic", "GART only: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token(
                "soft",
                (
                    "bounce buffers instead of a hardware IOMMU up to 5.17; from 5.19 the hardware IOMMU is "
                    "used all the same"
                ),
                unsafe=True,
                inert_since=KernelVersion(5, 19),
            ),
            Token(
                "pt",
                "default domain type identity (passthrough): devices of host drivers are not translated",
                same_as="iommu.passthrough=1",
            ),
            Token(
                "nopt",
                "default domain type translated (DMA or DMA-FQ)",
                same_as="iommu.passthrough=0",
                available=(x86("4.19"),),
            ),
            Token(
                "usedac",
                "VIA quirk; the kernel reads nothing of the list behind it and logs a malformed early option",
                ends_list=True,
            ),
            Token("forcesac", "ignored with a warning, but read as force too", inert_since=KernelVersion(4, 15)),
            Token("allowdac", "ignored with a warning", inert_since=KernelVersion(4, 15)),
            Token("nodac", "ignored with a warning", inert_since=KernelVersion(4, 15)),
            Token("fullflush", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token(
                "nofullflush", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)
            ),
            Token("noagp", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("noaperture", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token(
                "memaper",
                "GART aperture option, memaper[=order]: no effect on VT-d and AMD-Vi",
                inert_since=KernelVersion(4, 15),
            ),
            Token("allowed", "GART aperture option: no effect on VT-d and AMD-Vi", inert_since=KernelVersion(4, 15)),
            Token("novmerge", "PowerPC: do not merge pages of one request", group="vmerge", available=(powerpc(),)),
            Token("vmerge", "PowerPC: merge pages of one request", group="vmerge", available=(powerpc(),)),
            Token("nobypass", "PowerNV: no 64-bit bypass window", available=(powerpc(),)),
        ),
        myths=(
            Myth("1", "sets the size of the GART aperture to 1; enables nothing", mend="intel_iommu=on"),
            Myth("on", "no such token: ignored without a message", mend="intel_iommu=on"),
            Myth("true", "no such token: ignored without a message", mend="intel_iommu=on"),
            Myth("enabled", "no such token: ignored without a message", mend="intel_iommu=on"),
            Myth("auto", "no such token: ignored without a message"),
            Myth("strict", "no such token: ignored without a message", mend="iommu.strict=1"),
        ),
        advice=(
            Advice(
                "iommu=1 or iommu=pt: which of the two do I want?",
                (
                    (
                        "Never iommu=1, and neither of them turns an IOMMU on. On Intel intel_iommu=on does that;"
                        " AMD-Vi and the SMMU of ARM64 are on by themselves wherever the firmware offers them."
                    ),
                    (
                        "iommu=pt if the host gives devices to guests (VFIO, SR-IOV) and its own drivers should "
                        "not pay for translation: guests stay isolated, but a faulty or malicious device that the"
                        " host drives itself reaches all memory."
                    ),
                    (
                        "iommu.passthrough=0 iommu.strict=1 if the host must be safe from its own devices too: "
                        "every device reaches only what was mapped for it."
                    ),
                    (
                        "iommu.passthrough=0 iommu.strict=0 if what a guide calls iommu=1 is meant, an IOMMU that"
                        " translates: the same, but memory stays reachable for some milliseconds after it was "
                        "unmapped, and throughput is better."
                    ),
                    "As profiles these are passthrough-perf, strict-isolation and translated-lazy.",
                ),
                ("1", "on", "true", "enabled", "pt", "nopt"),
            ),
        ),
    ),
    Definition(
        "iommu.passthrough",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="default domain type of every device: 1 identity, 0 translated",
        source="drivers/iommu/iommu.c iommu_set_def_domain_type",
        available=(arm64("4.19"), x86("5.4"), riscv(), s390()),
        default="as the kernel was configured",
        effect=(
            "1: near-native DMA for host drivers without protection from their devices; 0: each device "
            "reaches only what was mapped for it"
        ),
        kconfig=("CONFIG_IOMMU_DEFAULT_PASSTHROUGH",),
        notes=(
            "one variable with iommu=pt and iommu=nopt: the last on the line wins",
            "external-facing (untrusted) devices are translated all the same from 5.11",
            "AMD devices with PASID and PRI stay identity even with 0, unless amd_iommu=force_isolation",
            (
                "memory encryption cancels passthrough that comes from the kernel configuration, not from the "
                "command line"
            ),
        ),
    ),
    Definition(
        "iommu.strict",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="when unmapped addresses stop being reachable: 1 at once (DMA), 0 lazily in batches (DMA-FQ)",
        source="drivers/iommu/iommu.c iommu_dma_setup",
        available=(arm64("4.20"), x86("5.14"), s390("6.8"), riscv()),
        default="lazy on x86 and s390 upstream, strict elsewhere; distributions differ",
        effect="1 closes the window in which a device still reaches freed memory, at some cost in throughput",
        kconfig=("CONFIG_IOMMU_DEFAULT_DMA_STRICT", "CONFIG_IOMMU_DEFAULT_DMA_LAZY"),
        notes=(
            ("intel_iommu=strict and amd_iommu=fullflush are read later and beat iommu.strict=0, wherever they stand"),
            "an IOMMU that is emulated for a guest forces strict whatever is asked (caching mode, NpCache)",
            "together with passthrough it matters only for the groups that are translated anyway",
        ),
    ),
    Definition(
        "iommu.forcedac",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="allocate DMA addresses above 4 GiB first",
        source="drivers/iommu/dma-iommu.c iommu_dma_forcedac_setup",
        available=(x86("5.12"), arm64("5.12")),
        default="0",
    ),
    Definition(
        "iommu.debug_pagealloc",
        Kind.EARLY,
        Grammar.BOOL,
        Manages.ALL,
        summary="check that a page is unmapped from every IOMMU before it is freed",
        source="drivers/iommu/iommu-debug-pagealloc.c",
        available=(x86("7.1"), arm64("7.1")),
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
        source="no occurrence in drivers/iommu",
    ),
)
