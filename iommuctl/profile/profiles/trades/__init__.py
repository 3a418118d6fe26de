# SPDX-License-Identifier: Apache-2.0
"""The shipped profiles of trades as values. Made of the TOML next to this by scripts/profiles.py: change that, then run it."""

from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile.profile import Absence, Input, InputType, Notice, Profile, Refusal, Setting

_p = Parameter.parse

PROFILES = (
    Profile(
        "dpdk-host",
        "passthrough-perf, huge pages and processors kept free: for DPDK and SPDK on the host",
        description="Sources, read on 2026-11-28: DPDK's guide for NICs on Intel platforms (default_hugepagesz, hugepagesz, hugepages, isolcpus,\niommu=pt intel_iommu=on) and SPDK's system configuration guide (vfio-pci with an IOMMU; iommu.passthrough=1 on arm64).",
        extends="passthrough-perf",
        inputs=(
            Input(
                "hugepages",
                InputType.STRING,
                "how many huge pages are set aside at boot, such as 8",
                pattern="\\d{1,7}",
                required=True,
            ),
            Input(
                "hugepagesz",
                InputType.STRING,
                "their size: 1G or 2M on x86; what the processor offers on arm64",
                pattern="\\d{1,4}[KMG]",
                default="1G",
            ),
            Input(
                "isolcpus",
                InputType.STRING,
                "processors that the scheduler leaves to DPDK or SPDK, such as 2-15,34-47",
                pattern="[0-9][0-9,:/-]{0,200}",
            ),
        ),
        sets=(
            Setting(
                _p("default_hugepagesz"),
                "a program that asks for huge pages without a size gets these",
                value_from="hugepagesz",
            ),
            Setting(_p("hugepagesz"), "says of which pages the count that follows is", value_from="hugepagesz"),
            Setting(
                _p("hugepages"),
                "pages of 1G can be set aside at boot alone, before memory is in pieces",
                value_from="hugepages",
            ),
            Setting(_p("isolcpus"), "a thread that polls shares its processor with nothing", value_from="isolcpus"),
        ),
    ),
    Profile(
        "proxmox-passthrough",
        "passthrough-perf as Proxmox's guide for PCI(e) passthrough has it, and what is left to do next to the line",
        description="Source, read on 2026-11-28: Proxmox VE Administration Guide, PCI(e) Passthrough, General Requirements.",
        extends="passthrough-perf",
        notices=(
            Notice(
                "proxmox-modules",
                Severity.INFO,
                "Proxmox's guide asks for the modules vfio, vfio_iommu_type1 and vfio_pci too, which no parameter loads",
                hint="printf '%s\\n' vfio vfio_iommu_type1 vfio_pci >/etc/modules-load.d/vfio.conf && update-initramfs -u -k all",
            ),
        ),
    ),
    Profile(
        "realtime-host",
        "passthrough-perf and processors without a tick: for real-time guests and telco workloads",
        description="Sources, read on 2026-11-28: TuneD's profiles realtime and realtime-virtual-host, which Red Hat's guides for real-time hosts\napply; both add nosoftlockup and, on Intel, intel_pstate=disable, which go next to this profile: --add nosoftlockup. Where\nTuneD runs with one of them, leave the line to it: it writes the same parameters itself.",
        extends="passthrough-perf",
        inputs=(
            Input(
                "isolcpus",
                InputType.STRING,
                "processors that are kept free for real-time guests, such as 2-15; leave the first ones to the host",
                pattern="[0-9][0-9,:/-]{0,200}",
                required=True,
            ),
            Input(
                "irqaffinity",
                InputType.STRING,
                "processors that take interrupts, which are those that are left, such as 0-1",
                pattern="[0-9][0-9,:/-]{0,200}",
            ),
            Input(
                "hugepagesz", InputType.STRING, "the size of huge pages for guests, such as 1G", pattern="\\d{1,4}[KMG]"
            ),
            Input("hugepages", InputType.STRING, "how many huge pages are set aside at boot", pattern="\\d{1,7}"),
        ),
        sets=(
            Setting(_p("isolcpus"), "the scheduler puts nothing there by itself", value_from="isolcpus"),
            Setting(_p("nohz_full"), "no timer interrupts there while one task runs", value_from="isolcpus"),
            Setting(_p("rcu_nocbs"), "no callbacks of RCU there", value_from="isolcpus"),
            Setting(
                _p("irqaffinity"),
                "interrupts of devices stay away from the processors that are kept free",
                value_from="irqaffinity",
            ),
            Setting(_p("hugepagesz"), "says of which pages the count that follows is", value_from="hugepagesz"),
            Setting(_p("hugepages"), "the memory of a real-time guest is not moved or split", value_from="hugepages"),
        ),
    ),
    Profile(
        "sev-snp-host",
        "what lets an AMD host start SEV-SNP guests: IOMMU on, devices translated, page tables of the first format",
        description="Sources, read on 2026-11-28: AMD's guide (AMDESE/AMDSEV, branch snp-latest) and the kernel (drivers/iommu/amd/init.c\niommu_snp_enable). The firmware has to allow it as well: SMEE, SNP Memory Coverage, SEV-SNP and the ASID limits of SEV-ES.",
        sets=(
            Setting(
                _p("iommu.passthrough=0"),
                "kernels before 7.3 give up SEV-SNP where devices are untranslated",
                platforms=(Platform.AMD,),
            ),
        ),
        absent=(
            Absence(_p("iommu=pt"), "asks for untranslated devices, with which kernels before 7.3 give up SEV-SNP"),
            Absence(_p("iommu=off"), "SEV-SNP needs the IOMMU"),
            Absence(_p("iommu=soft"), "SEV-SNP needs the IOMMU"),
            Absence(_p("amd_iommu=off"), "SEV-SNP needs the IOMMU"),
            Absence(_p("amd_iommu=on"), "was never a value: AMD-Vi is on by itself"),
            Absence(_p("amd_iommu=pgtbl_v2"), "SEV-SNP needs page tables of the first format before 7.3"),
            Absence(_p("sev=nosnp"), "switches SEV-SNP off"),
            Absence(_p("kvm_amd.sev=0"), "SEV-SNP is built on SEV"),
            Absence(_p("kvm_amd.sev_es=0"), "SEV-SNP is built on SEV-ES"),
            Absence(_p("kvm_amd.sev_snp=0"), "switches SEV-SNP guests off"),
        ),
        refusals=(
            Refusal(
                "SEV-SNP is of AMD's EPYC processors from the 7003 series on; Intel has TDX. Of an image of an AMD host: --platform amd",
                platforms=(Platform.INTEL, Platform.ARM64),
            ),
        ),
    ),
)
