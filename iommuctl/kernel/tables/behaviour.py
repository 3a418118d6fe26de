# SPDX-License-Identifier: Apache-2.0
"""Behaviour: what kernels do by themselves, as rows: from which release of which line on. Pure; ask with `cover`."""

from iommuctl.kernel.tables.spans import since

# /sys/kernel/iommu_groups/N/type is there.
SHOWS_TYPE = since(
    "4.15/4.19 drivers/iommu/iommu.c:434 at 5.4", el8="8.1/8.3 drivers/iommu/iommu.c:541 at 4.18.0-240.22.1.el8_3"
)
# That file can be written.
WRITES_TYPE = since(
    "5.10/5.11 drivers/iommu/iommu.c:667 at 6.1.192", el8="8.4/8.5 drivers/iommu/iommu.c:550 at 4.18.0-348.23.1.el8_5"
)
# That file tells a lazy domain (DMA-FQ) from a strict one.
SHOWS_LAZY = since(
    "5.14/5.15 drivers/iommu/iommu.c:652 at 6.1.192",
    el8="8.7/8.8 drivers/iommu/iommu.c:577 at 4.18.0-477.27.2.el8_8",
    el9="9.0 drivers/iommu/iommu.c:557 at 5.14.0-70.30.1.el9_0",
)
# The file `removable` of a PCI device, which tells the devices that are not trusted.
SHOWS_REMOVABLE = since(
    "5.10/6.1 drivers/pci/probe.c:1627 at 6.1.192",
    el8="8.10/ no match in drivers/pci/probe.c at 8.3 to 8.10",
    el9="9.0 drivers/pci/probe.c:1588 at 5.14.0-70.30.1.el9_0",
)
# The configuration chooses between strict and lazy; before, arm64 was strict and x86 lazy.
HAS_STRICT_CHOICE = since(
    "5.14/5.15 drivers/iommu/Kconfig:119 at 6.1.192",
    el8="8.7/8.8 drivers/iommu/Kconfig:107 at 4.18.0-477.27.2.el8_8",
    el9="9.0 drivers/iommu/Kconfig:108 at 5.14.0-70.30.1.el9_0",
)
# The log says whether domains are strict.
LOGS_POLICY = since(
    "5.14/5.15 drivers/iommu/iommu.c:174 at 6.1.192",
    el8="8.7/8.8 drivers/iommu/iommu.c:163 at 4.18.0-477.27.2.el8_8",
    el9="9.0 drivers/iommu/iommu.c:149 at 5.14.0-70.30.1.el9_0",
)
# The log names parameters that nobody reads.
LOGS_UNKNOWN_PARAMETERS = since(
    "5.10/5.14 init/main.c:906 at 6.1.192", el8="8.10/ no match in init/main.c at 8.3 to 8.10"
)
# The log names tokens of intel_iommu= that it does not know.
INTEL_LOGS_UNKNOWN_TOKENS = since(
    "5.14/5.15 drivers/iommu/intel/iommu.c:384 at 6.1.192",
    el8="8.7/8.8 drivers/iommu/intel/iommu.c:418 at 4.18.0-477.27.2.el8_8",
    el9="9.0/9.1 drivers/iommu/intel/iommu.c:379 at 5.14.0-162.23.1.el9_1",
)
# The value of amd_iommu= is read token by token; before, its words were looked for at every place of the value.
AMD_READS_WHOLE_TOKENS = since(
    "6.0/6.1 drivers/iommu/amd/init.c:3504 at 6.1.192",
    el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
    el9="9.3/9.4 drivers/iommu/amd/init.c:3523 at 5.14.0-427.42.1.el9_4",
)
# The token iommu=soft leaves the hardware IOMMU on.
SOFT_KEEPS_IOMMU = since(
    "5.17/5.19 arch/x86/kernel/pci-dma.c:121 at 6.1.192",
    el8="8.7/8.8 arch/x86/kernel/pci-dma.c:122 at 4.18.0-477.27.2.el8_8",
    el9="9.1/9.2 arch/x86/kernel/pci-dma.c:121 at 5.14.0-284.30.1.el9_2",
)
# The token igfx_off leaves every other display device untranslated too, a discrete GPU as well.
IGFX_OFF_FREES_DISPLAYS = since(
    "..6.1/6.12 drivers/iommu/intel/iommu.c:320 at 6.1.192",
    el9="9.0..9.4/9.5 drivers/iommu/intel/iommu.c:342 at 5.14.0-70.30.1.el9_0",
    el10="10.0/ no match in drivers/iommu/intel/iommu.c at 10.0",
    el8="..8.10 drivers/iommu/intel/iommu.c:336 at 4.18.0-553.66.1.el8_10",
)
# The firmware's opt-out of DMA remapping beats every parameter.
OPT_OUT_BEATS_LINE = since(
    "7.2/7.3 drivers/iommu/intel/dmar.c:1002 at 7.3-rc7",
    el8="8.10/ no match in drivers/iommu/intel/dmar.c at 8.3 to 8.10",
    el9="9.6/ no match in drivers/iommu/intel/dmar.c at 9.0 to 9.6",
    el10="10.0/ no match in drivers/iommu/intel/dmar.c at 10.0",
)
# AMD leaves devices with PASID untranslated; before, ATS and PRI had to be there as well.
PASID_IS_ENOUGH = since(
    "6.1/6.12 drivers/iommu/amd/iommu.c:3043 at 6.12.117",
    el8="8.10/ no match in drivers/iommu/amd/iommu.c at 8.3 to 8.10",
    el9="9.4/9.5 drivers/iommu/amd/iommu.c:2814 at 5.14.0-503.40.1.el9_5",
)
# AMD leaves devices with ATS, PRI and PASID untranslated.
PASID_WITH_ATS_AND_PRI = since(
    "5.10..6.1/6.12 drivers/iommu/amd/iommu.c:2744-2758 at 5.10.223",
    el8="8.3 drivers/iommu/amd_iommu.c:2748-2757 at 4.18.0-240.22.1.el8_3",
    el9="9.0..9.4/9.5 drivers/iommu/amd/iommu.c:2234-2248 at 5.14.0-70.30.1.el9_0",
)
# That rule gives way to memory encryption.
ENCRYPTION_TRANSLATES_PASID = since(
    "5.4/5.10 drivers/iommu/amd/iommu.c:2757 at 5.10.223",
    el8="8.3/8.4 drivers/iommu/amd/iommu.c:2679 at 4.18.0-305.25.1.el8_4",
)
# A host in passthrough gets no SEV-SNP.
SNP_REFUSES_PASSTHROUGH = since(
    "5.10/6.1 drivers/iommu/amd/init.c:3803 at 6.1.192",
    el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
    el9="9.2/9.3 drivers/iommu/amd/init.c:3652 at 5.14.0-362.24.2.el9_3",
)
# A host with page tables of the second format gets no SEV-SNP, or gets the first format.
SNP_REFUSES_V2 = since(
    "5.10/6.1 drivers/iommu/amd/init.c:3824 at 6.1.192",
    el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
    el9="9.2/9.3 drivers/iommu/amd/init.c:3673 at 5.14.0-362.24.2.el9_3",
)
# Both limits fall where the hardware has FEATURE_SNP_PAGE_MODE0_SUP.
SNP_LIMITS_LIFTED = since(
    "7.2/7.3 drivers/iommu/amd/init.c:3413 at 7.3-rc7",
    el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
    el9="9.6/ no match in drivers/iommu/amd/init.c at 9.0 to 9.6",
    el10="10.0/ no match in drivers/iommu/amd/init.c at 10.0",
)
# AMD's hardware may say that it has no host translation (HATDis).
MAY_LACK_HOST_TRANSLATION = since(
    "6.12/7.1 drivers/iommu/amd/init.c:177 at 7.1.5",
    el8="8.10/ no match in drivers/iommu/amd/init.c at 8.3 to 8.10",
    el9="9.6/ no match in drivers/iommu/amd/init.c at 9.0 to 9.6",
    el10="10.0/ no match in drivers/iommu/amd/init.c at 10.0",
)
# Intel's driver translates devices that are not trusted whatever is asked.
INTEL_TRANSLATES_UNTRUSTED = since(
    "5.4 drivers/iommu/intel-iommu.c:2924 at 5.4", el8="8.1 drivers/iommu/intel-iommu.c:2938-2941 at 4.18.0-147.5.1"
)
# Every driver translates devices that are not trusted whatever is asked.
TRANSLATES_UNTRUSTED = since(
    "5.10/5.11 drivers/iommu/iommu.c:1582 at 6.1.192", el8="8.4/8.5 drivers/iommu/iommu.c:1486 at 4.18.0-348.23.1.el8_5"
)
# Intel's driver translates devices with an RMRR, and PCI devices after a bridge, under passthrough.
RMRR_TRANSLATED = since(
    "..5.4/5.10 drivers/iommu/intel-iommu.c:2917 at 5.4",
    el8="8.1..8.1/8.3 drivers/iommu/intel-iommu.c:2934 at 4.18.0-147.5.1",
)
# The HiSilicon PTT (19e5:a12e) is never translated.
PTT_UNTRANSLATED = since(
    "5.10/6.1 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:2867 at 6.1.192",
    el8="8.10/ no match in drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c at 8.3 to 8.10",
    el9="9.2/9.3 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:2820 at 5.14.0-362.24.2.el9_3",
)
# Apple's DART translates where it cannot bypass, and does not where its pages are larger than the processor's.
DART_RULES = since(
    "5.10/6.1 drivers/iommu/apple-dart.c:792 at 6.1.192",
    el8="8.10/ no match in drivers/iommu/apple-dart.c at 8.3 to 8.10",
    el9="9.6/ no match in drivers/iommu/apple-dart.c at 9.0 to 9.6",
)
# The driver virtio-iommu takes lazy domains; before, it fell back to strict ones.
VIRTIO_LAZY = since(
    "6.1/6.12 drivers/iommu/virtio-iommu.c:1056 at 6.12.117",
    el8="8.10/ no match in drivers/iommu/virtio-iommu.c at 8.3 to 8.10",
    el9="9.4/9.5 drivers/iommu/virtio-iommu.c:1065 at 5.14.0-503.40.1.el9_5",
)
# Mediated devices have a group of their own, without a name.
MDEV_NAMELESS = since(
    "5.4..5.10/6.1 drivers/vfio/mdev/mdev_driver.c:21 at 5.4",
    el8="8.3 drivers/vfio/mdev/mdev_driver.c:24 at 4.18.0-240.22.1.el8_3",
    el9="9.0..9.0/9.1 drivers/vfio/mdev/mdev_driver.c:21 at 5.14.0-70.30.1.el9_0",
    el10="10.0/ no match in drivers/vfio/mdev/mdev_driver.c at 10.0",
)
# The parameter kvm-amd.avic is a number.
AVIC_INT = since(
    "5.10..5.10/6.1 arch/x86/kvm/svm/avic.c:33 at 5.10.223",
    el8="8.3..8.4/8.5 arch/x86/kvm/svm/avic.c:33 at 4.18.0-240.22.1.el8_3",
    el9="9.6/ no match in arch/x86/kvm/svm/avic.c at 9.0 to 9.6",
    el10="10.0/ no match in arch/x86/kvm/svm/avic.c at 10.0",
)
# The parameter kvm-amd.avic is a truth value or auto, which is its default.
AVIC_AUTO = since(
    "6.12/7.1 arch/x86/kvm/svm/avic.c:101 at 7.1.5",
    el8="8.10/ no match in arch/x86/kvm/svm/avic.c at 8.3 to 8.10",
    el9="9.6/ no match in arch/x86/kvm/svm/avic.c at 9.0 to 9.6",
    el10="10.0/ no match in arch/x86/kvm/svm/avic.c at 10.0",
)
# A truth value may begin with t or f (true, false).
TRUTH_T = since(
    "5.10/5.19 lib/kstrtox.c:356 at 6.1.192",
    el8="8.10/ no match in lib/kstrtox.c at 8.3 to 8.10",
    el9="9.2/9.3 lib/kstrtox.c:344 at 5.14.0-362.24.2.el9_3",
)
# A truth value may begin with e or d (enable, disable).
TRUTH_E = since(
    "6.14/6.18 lib/kstrtox.c:354 at 7.1.5",
    el8="8.10/ no match in lib/kstrtox.c at 8.3 to 8.10",
    el9="9.6/ no match in lib/kstrtox.c at 9.0 to 9.6",
    el10="10.0/ no match in lib/kstrtox.c at 10.0",
)
# A platform that opts in to DMA protection (external ports) turns VT-d on although iommu=off is on the line.
OPT_IN_BEATS_OFF = since(
    "..7.1/7.3 drivers/iommu/intel/iommu.c:2483 at 7.1.5",
    el8="..8.10 drivers/iommu/intel/iommu.c:4365 at 4.18.0-553.66.1.el8_10",
    el9="..9.6 drivers/iommu/intel/iommu.c at 9.0 to 9.6",
    el10="..10.0 drivers/iommu/intel/iommu.c at 10.0",
    debian="..5.10/6.1 drivers/iommu/intel/iommu.c:4915 at 5.10.223",
)

# A device that is left untranslated can have a PASID on arm64 (STRTAB_STE_1_S1DSS_BYPASS).
# It is so in the sources of 6.12.117, not in those of 6.1.192; NVIDIA/nodewright-packages#122 has the bounds between.
PASID_UNDER_PASSTHROUGH = since("6.10/6.11 drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c:3074 at 6.12.117")
