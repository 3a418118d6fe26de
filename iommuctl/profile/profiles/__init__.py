# SPDX-License-Identifier: Apache-2.0
"""The shipped profiles as values. Made of the TOML next to this by scripts/profiles.py: change that, then run it."""

from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile.profile import Absence, Input, InputType, Notice, Profile, Refusal, Reset, Setting, Warn

_p = Parameter.parse

PROFILES = (
    Profile(
        "hardened",
        "strict isolation, without what weakens encrypted guests, and with early DMA protection where asked for",
        extends="strict-isolation",
        inputs=(
            Input(
                "disable-early-pci-dma",
                InputType.BOOL,
                "efi=disable_early_pci_dma: no DMA before the IOMMU is up; can leave GPUs black, does nothing on BIOS",
                default="false",
            ),
            Input(
                "noats",
                InputType.BOOL,
                "pci=noats: devices cannot claim that an address is translated; breaks shared virtual addressing",
                default="false",
            ),
        ),
        sets=(
            Setting(
                _p("efi=disable_early_pci_dma"),
                "closes the time between firmware and IOMMU to devices",
                platforms=(Platform.INTEL, Platform.AMD),
                when="disable-early-pci-dma",
            ),
            Setting(
                _p("pci=noats"),
                "a malicious device could otherwise send addresses that claim to be translated",
                platforms=(Platform.INTEL, Platform.AMD),
                when="noats",
            ),
        ),
        absent=(
            Absence(_p("efi=no_disable_early_pci_dma"), "leaves devices free to use DMA before the IOMMU is up"),
            Absence(_p("sev=nosnp"), "takes memory integrity from encrypted guests"),
            Absence(_p("amd_iommu=pgtbl_v2"), "encrypted guests with SEV-SNP need page tables of the first format"),
        ),
        notices=(
            Notice(
                "early-dma-black-screen",
                Severity.WARNING,
                "some GPUs and firmware fail with efi=disable_early_pci_dma, and it does nothing where the host boots by BIOS",
                hint="keep a second boot entry without it",
                platforms=(Platform.INTEL, Platform.AMD),
                when="disable-early-pci-dma",
            ),
        ),
    ),
    Profile(
        "iommu-off",
        "no DMA remapping: for bare metal without guests that own devices",
        sets=(
            Setting(
                _p("intel_iommu=off"), "VT-d off; interrupt remapping and x2APIC stay", platforms=(Platform.INTEL,)
            ),
            Setting(_p("amd_iommu=off"), "AMD-Vi off", platforms=(Platform.AMD,)),
        ),
        absent=(
            Absence(_p("intel_iommu=on"), "turns VT-d on"),
            Absence(_p("intel_iommu=strict"), "means nothing without an IOMMU"),
            Absence(_p("amd_iommu=on"), "was never a value, and means the opposite"),
            Absence(_p("amd_iommu=fullflush"), "means nothing without an IOMMU"),
            Absence(_p("iommu=on"), "not a value that the kernel knows, and means the opposite"),
            Absence(_p("iommu=pt"), "means nothing without an IOMMU"),
            Absence(_p("iommu.passthrough"), "means nothing without an IOMMU"),
            Absence(_p("iommu.strict"), "means nothing without an IOMMU"),
            Absence(_p("vfio-pci.ids"), "binds devices to vfio-pci that no guest can have without an IOMMU"),
            Absence(_p("iommuctl.vfio"), "binds devices to vfio-pci that no guest can have without an IOMMU"),
        ),
        notices=(
            Notice(
                "interrupt-remapping-off",
                Severity.WARNING,
                "amd_iommu=off turns interrupt remapping off too, and with it x2APIC and more than 255 CPUs",
                platforms=(Platform.AMD,),
            ),
            Notice(
                "no-device-assignment",
                Severity.WARNING,
                "no device can be given to a guest, and Thunderbolt devices reach all memory",
            ),
        ),
        refusals=(Refusal("ARM64 has no parameter that turns the SMMU off", platforms=(Platform.ARM64,)),),
    ),
    Profile(
        "kernel-default",
        "no IOMMU parameter at all: what the kernel does by itself",
        description="Device bindings such as vfio-pci.ids stay.",
        reset=Reset("the kernel's own default is asked for"),
    ),
    Profile(
        "passthrough-perf",
        "IOMMU on, host devices untranslated: for KVM and SR-IOV hosts that want near-native DMA",
        description="Guests stay isolated: a device that VFIO owns has a domain of its own. Devices of host drivers reach all memory.",
        sets=(
            Setting(
                _p("intel_iommu=on"),
                "VT-d is off by default on Fedora, RHEL, Arch and others",
                platforms=(Platform.INTEL,),
            ),
            Setting(
                _p("iommu=pt"),
                "default domain type identity: host drivers pay nothing for translation",
                platforms=(Platform.INTEL, Platform.AMD),
            ),
            Setting(
                _p("iommu.passthrough=1"),
                "default domain type identity: host drivers pay nothing for translation",
                platforms=(Platform.ARM64,),
            ),
        ),
        absent=(
            Absence(
                _p("iommu.passthrough"),
                "iommu=pt says it on x86, and the last of two spellings wins",
                platforms=(Platform.INTEL, Platform.AMD),
            ),
            Absence(_p("iommu.strict"), "identity domains have no TLB invalidation to order"),
            Absence(_p("intel_iommu=off"), "turns VT-d off, so that no device can be given to a guest"),
            Absence(_p("intel_iommu=strict"), "costs throughput, and identity domains have nothing to invalidate"),
            Absence(_p("amd_iommu=off"), "turns AMD-Vi off, interrupt remapping included"),
            Absence(_p("amd_iommu=on"), "was never a value: AMD-Vi is on by itself"),
            Absence(_p("amd_iommu=fullflush"), "costs throughput, and identity domains have nothing to invalidate"),
            Absence(
                _p("amd_iommu=force_isolation"), "does not override passthrough, and amdgpu is known to hang with it"
            ),
            Absence(_p("iommu=off"), "turns every IOMMU off, and nothing later on the line takes it back"),
            Absence(_p("iommu=nopt"), "asks for translation, the opposite of passthrough"),
            Absence(_p("iommu=soft"), "kernels up to 5.17 use bounce buffers instead of the IOMMU"),
            Absence(_p("iommu=1"), "does not enable anything: a number is a size for AMD's old GART"),
            Absence(_p("iommu=on"), "not a value that the kernel knows"),
            Absence(_p("iommu=force"), "read by the old GART driver only"),
            Absence(
                _p("intremap=off"),
                "without interrupt remapping a guest's device can forge interrupts, and VFIO refuses it",
            ),
            Absence(_p("intremap=nosid"), "without source checks a guest's device can forge interrupts"),
            Absence(
                _p("nointremap"),
                "without interrupt remapping a guest's device can forge interrupts, and VFIO refuses it",
            ),
            Absence(_p("vfio.enable_unsafe_noiommu_mode"), "hands devices over without any IOMMU, which this host has"),
        ),
        warns=(
            Warn(
                _p("intel_iommu=igfx_off"),
                "igfx-bypass",
                Severity.WARNING,
                "the integrated GPU bypasses the IOMMU, so it cannot be given to a guest",
                hint="remove igfx_off by hand unless the graphics need it",
            ),
        ),
    ),
    Profile(
        "strict-isolation",
        "every device translated, and unmapped memory out of its reach at once",
        inputs=(
            Input(
                "force-isolation",
                InputType.BOOL,
                "amd_iommu=force_isolation: translate AMD GPUs and NPUs too; amdgpu is known to hang with it from 6.13",
                default="false",
            ),
        ),
        sets=(
            Setting(
                _p("intel_iommu=on"),
                "VT-d is off by default on Fedora, RHEL, Arch and others",
                platforms=(Platform.INTEL,),
            ),
            Setting(
                _p("amd_iommu=force_isolation"),
                "devices with PASID and PRI (GPUs, NPUs) stay untranslated without it",
                platforms=(Platform.AMD,),
                when="force-isolation",
            ),
            Setting(
                _p("iommu.passthrough=0"),
                "default domain type translated: a device reaches only what was mapped for it",
            ),
            Setting(
                _p("iommu.strict=1"), "unmapped memory is out of a device's reach at once, not some milliseconds later"
            ),
        ),
        absent=(
            Absence(_p("iommu=pt"), "asks for untranslated devices, the opposite of isolation"),
            Absence(_p("iommu=off"), "turns every IOMMU off, and nothing later on the line takes it back"),
            Absence(_p("iommu=soft"), "kernels up to 5.17 use bounce buffers instead of the IOMMU"),
            Absence(_p("intel_iommu=off"), "turns VT-d off"),
            Absence(_p("intel_iommu=strict"), "deprecated: iommu.strict=1 says it"),
            Absence(_p("amd_iommu=off"), "turns AMD-Vi off, interrupt remapping included"),
            Absence(_p("amd_iommu=fullflush"), "deprecated: iommu.strict=1 says it"),
            Absence(_p("amd_iommu=on"), "was never a value: AMD-Vi is on by itself"),
            Absence(_p("intremap=off"), "without interrupt remapping a device can forge interrupts"),
            Absence(_p("intremap=nosid"), "without source checks a device can forge interrupts"),
            Absence(_p("nointremap"), "without interrupt remapping a device can forge interrupts"),
            Absence(
                _p("vfio_iommu_type1.allow_unsafe_interrupts=1"),
                "gives devices to guests although they can forge interrupts of the host",
            ),
            Absence(
                _p("iommufd.allow_unsafe_interrupts=1"),
                "gives devices to guests although they can forge interrupts of the host",
            ),
            Absence(_p("vfio.enable_unsafe_noiommu_mode=1"), "hands devices to programs that then reach all memory"),
            Absence(_p("pcie_acs_override"), "pretends isolation between devices that the hardware does not give"),
            Absence(_p("arm-smmu.disable_bypass=0"), "lets devices that no domain covers reach all memory"),
            Absence(_p("arm-smmu-v3.disable_bypass=0"), "lets devices that no domain covers reach all memory"),
        ),
        warns=(
            Warn(
                _p("intel_iommu=igfx_off"),
                "igfx-bypass",
                Severity.WARNING,
                "the integrated GPU bypasses the IOMMU and reaches all memory",
                hint="remove igfx_off by hand unless the graphics need it",
            ),
            Warn(
                _p("intel_iommu=tboot_noforce"),
                "tboot-noforce",
                Severity.WARNING,
                "a measured launch no longer forces VT-d on",
                hint="remove tboot_noforce by hand unless the host needs it",
            ),
            Warn(
                _p("pci=disable_acs_redir"),
                "acs-weakened",
                Severity.WARNING,
                "devices named here can reach each other past the IOMMU, and their groups merge",
                hint="remove disable_acs_redir= by hand unless peer-to-peer DMA needs it",
            ),
            Warn(
                _p("pci=config_acs"),
                "acs-weakened",
                Severity.WARNING,
                "ACS of the devices named here is set by hand and may isolate them less",
                hint="remove config_acs= by hand unless peer-to-peer DMA needs it",
            ),
        ),
        notices=(
            Notice(
                "amdgpu-force-isolation",
                Severity.WARNING,
                "amdgpu is known to hang or show a black screen with force_isolation from kernel 6.13",
                hint="keep a second boot entry, or a console that needs no AMD GPU",
                platforms=(Platform.AMD,),
                when="force-isolation",
            ),
        ),
    ),
    Profile(
        "translated-lazy",
        "every device translated, invalidation in batches: what many guides mean by iommu=1",
        sets=(
            Setting(
                _p("intel_iommu=on"),
                "VT-d is off by default on Fedora, RHEL, Arch and others",
                platforms=(Platform.INTEL,),
            ),
            Setting(
                _p("iommu.passthrough=0"),
                "default domain type translated: a device reaches only what was mapped for it",
            ),
            Setting(_p("iommu.strict=0"), "batched invalidation costs least; some ARM64 kernels are strict by default"),
        ),
        absent=(
            Absence(_p("iommu=pt"), "asks for untranslated devices"),
            Absence(_p("iommu=off"), "turns every IOMMU off, and nothing later on the line takes it back"),
            Absence(_p("iommu=soft"), "kernels up to 5.17 use bounce buffers instead of the IOMMU"),
            Absence(_p("intel_iommu=off"), "turns VT-d off"),
            Absence(_p("intel_iommu=strict"), "is read after iommu.strict=0 and beats it"),
            Absence(_p("amd_iommu=off"), "turns AMD-Vi off, interrupt remapping included"),
            Absence(_p("amd_iommu=fullflush"), "is read after iommu.strict=0 and beats it"),
        ),
        warns=(
            Warn(
                _p("intel_iommu=igfx_off"),
                "igfx-bypass",
                Severity.WARNING,
                "the integrated GPU bypasses the IOMMU and reaches all memory",
                hint="remove igfx_off by hand unless the graphics need it",
            ),
        ),
    ),
    Profile(
        "vfio-bind",
        "passthrough-perf, and devices bound to vfio-pci for guests, each by its address or all of an id",
        extends="passthrough-perf",
        inputs=(
            Input(
                "devices",
                InputType.DEVICES,
                "devices by address and id, such as 0000:01:00.0@10de:2484 (--device ADDRESS fills it)",
            ),
            Input(
                "vfio-pci.ids",
                InputType.PCI_IDS,
                "device ids with commas between, such as 10de:1b80,10de:10f0 (lspci -nn shows them)",
                required=True,
                alternative="devices",
            ),
        ),
        sets=(
            Setting(
                _p("iommuctl.vfio"),
                "the initramfs gives exactly these devices to vfio-pci, before another driver has them",
                value_from="devices",
            ),
            Setting(
                _p("vfio-pci.ids"),
                "vfio-pci takes every device with one of these ids before it goes to a guest",
                value_from="vfio-pci.ids",
            ),
        ),
        absent=(
            Absence(_p("iommuctl.vfio"), "ids are asked for in the place of single devices", when="vfio-pci.ids"),
            Absence(_p("pci-stub.ids"), "pci-stub would take the device before vfio-pci", value_from="vfio-pci.ids"),
        ),
        notices=(
            Notice(
                "vfio-claims-all",
                Severity.INFO,
                "vfio-pci claims all devices with these ids, a boot GPU or disk included, once its module is loaded",
                hint="check the devices with lspci -nnk; put vfio-pci into the initramfs where another driver would be first",
                when="vfio-pci.ids",
            ),
        ),
    ),
)
