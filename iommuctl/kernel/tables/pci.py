# SPDX-License-Identifier: Apache-2.0
"""Parameters of PCI, EFI and bounce buffers, as far as they touch the isolation of devices. Rows only."""

from iommuctl.kernel.parameters import Availability, Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import arm64, x86


def _both(span: str) -> tuple[Availability, ...]:
    return (x86(span), arm64(span))


PARAMETERS = (
    Definition(
        "pci",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.TOKENS,
        summary=(
            "options of the PCI core; those that touch isolation, and those that SR-IOV and "
            "large BARs need, are named here"
        ),
        source="drivers/pci/pci.c:6706-6770 pci_setup, arch/x86/pci/common.c:518-620 at 7.1.5",
        available=(x86(), arm64()),
        notes=(
            "flags accumulate over repeats; of disable_acs_redir= and config_acs= the last one wins",
            "lists of devices inside use a semicolon, which has to stand in quotes in files that a shell reads",
        ),
        tokens=(
            Token(
                "noats",
                (
                    "no address translation services: devices cannot bring addresses that claim to be "
                    "translated; breaks shared virtual addressing"
                ),
                available=(
                    x86("4.19 drivers/pci/pci.c:6547 at 5.10.223", el8="8.1 drivers/pci/pci.c:6173 at 4.18.0-147.5.1"),
                    arm64(
                        "4.19 drivers/pci/pci.c:6547 at 5.10.223", el8="8.1 drivers/pci/pci.c:6173 at 4.18.0-147.5.1"
                    ),
                ),
            ),
            Token(
                "disable_acs_redir",
                "ACS redirection off for these devices: groups merge, isolation is lost",
                available=(
                    x86("4.19 drivers/pci/pci.c:6594 at 5.10.223", el8="8.1 drivers/pci/pci.c:6216 at 4.18.0-147.5.1"),
                    arm64(
                        "4.19 drivers/pci/pci.c:6594 at 5.10.223", el8="8.1 drivers/pci/pci.c:6216 at 4.18.0-147.5.1"
                    ),
                ),
                unsafe=True,
                takes_value=True,
            ),
            Token(
                "config_acs",
                "ACS bits of these devices as given; may take isolation away",
                available=(
                    x86(
                        "6.8/6.12 drivers/pci/pci.c:6933 at 6.12.117",
                        el8="8.10/ no match in drivers/pci/pci.c at 8.3 to 8.10",
                        el9="9.5/9.6 drivers/pci/pci.c:6933 at 5.14.0-570.32.1.el9_6",
                    ),
                    arm64(
                        "6.8/6.12 drivers/pci/pci.c:6933 at 6.12.117",
                        el8="8.10/ no match in drivers/pci/pci.c at 8.3 to 8.10",
                        el9="9.5/9.6 drivers/pci/pci.c:6933 at 5.14.0-570.32.1.el9_6",
                    ),
                ),
                unsafe=True,
                takes_value=True,
            ),
            Token(
                "realloc",
                "more room for bridges than the firmware gave, for large BARs and SR-IOV; =on or =off may follow",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6556 at 5.10.223"),
            ),
            Token(
                "noari",
                "no alternative routing: at most 8 functions a device, so few virtual ones",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6560 at 5.10.223"),
            ),
            Token(
                "assign-busses",
                "number the buses anew (x86), where the firmware left none for virtual functions",
                exact=True,
                foreign=True,
                available=(x86("5.10 arch/x86/pci/common.c:589 at 5.10.223"),),
            ),
            Token(
                "nocrs",
                "do not trust the windows that ACPI gives for host bridges (x86)",
                exact=True,
                foreign=True,
                available=(x86("5.10 arch/x86/pci/common.c:595 at 5.10.223"),),
            ),
            Token(
                "use_crs",
                "trust the windows that ACPI gives for host bridges (x86)",
                exact=True,
                foreign=True,
                available=(x86("5.10 arch/x86/pci/common.c:592 at 5.10.223"),),
            ),
            Token(
                "big_root_window",
                "a 64-bit window of the root bus on AMD (x86), for large BARs",
                exact=True,
                foreign=True,
                available=(x86("5.10 arch/x86/pci/common.c:599 at 5.10.223"),),
            ),
            Token(
                "nommconf",
                "no memory-mapped configuration space (x86): no extended capabilities, so no SR-IOV, ACS or ATS",
                exact=True,
                foreign=True,
                available=(x86("5.10 arch/x86/pci/common.c:554 at 5.10.223"),),
            ),
            Token(
                "nomsi",
                "no message interrupts",
                exact=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6545 at 5.10.223"),
            ),
            Token(
                "noaer",
                "no reports of PCIe errors",
                exact=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6550 at 5.10.223"),
            ),
            Token(
                "pcie_bus_perf",
                "largest payloads that a path allows",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6588 at 5.10.223"),
            ),
            Token(
                "pcie_bus_safe",
                "largest payload that every device of a path supports",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6586 at 5.10.223"),
            ),
            Token(
                "pcie_bus_peer2peer",
                "smallest payload everywhere, so that devices can reach each other",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6590 at 5.10.223"),
            ),
            Token(
                "pcie_bus_tune_off",
                "leave payloads as the firmware set them",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6584 at 5.10.223"),
            ),
            Token(
                "pcie_scan_all",
                "look for devices at every number of a PCIe link",
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6592 at 5.10.223"),
            ),
            Token(
                "hpbussize",
                "buses to reserve for hotplug bridges",
                takes_value=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6579 at 5.10.223"),
            ),
            Token(
                "hpmmiosize",
                "memory to reserve for hotplug bridges",
                takes_value=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6572 at 5.10.223"),
            ),
            Token(
                "hpmmioprefsize",
                "prefetchable memory to reserve for hotplug bridges",
                takes_value=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6574 at 5.10.223"),
            ),
            Token(
                "resource_alignment",
                "alignment of the BARs of these devices",
                takes_value=True,
                foreign=True,
                available=_both("5.10 drivers/pci/pci.c:6566 at 5.10.223"),
            ),
        ),
    ),
    Definition(
        "pcie_acs_override",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.ALL,
        summary=(
            "in no mainline kernel: a patch that claims isolation which the hardware does not give "
            "(downstream, multifunction, id:vendor:device)"
        ),
        source="no match in drivers/pci at 7.1.5; patch 0004 of proxmox/pve-kernel at 7.0.14-14",
        available=(
            x86(
                "7.1/ no match in drivers/pci at 4.19 to 7.1.5",
                pve="5.3 proxmox/pve-kernel patches/kernel/0003, 0004 at pve-kernel-5.3 to 7.0.14-14",
            ),
            arm64("7.1/ no match in drivers/pci at 4.19 to 7.1.5"),
        ),
        effect="groups split without being isolated: devices of two guests can reach each other",
        unsafe="set",
    ),
    Definition(
        "pcie_aspm",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="power saving of PCIe links: off leaves it as the firmware set it, force overrides ACPI's no",
        source="drivers/pci/pcie/aspm.c:1765 pcie_aspm_disable at 7.1.5",
        available=_both("5.10 drivers/pci/pcie/aspm.c:1377 at 5.10.223"),
        notes=("to have it off whatever the firmware set, pcie_aspm.policy=performance",),
    ),
    Definition(
        "pcie_aspm.policy",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="power saving of PCIe links: default, performance (none), powersave, powersupersave",
        source="drivers/pci/pcie/aspm.c:270, 1587 at 7.1.5",
        available=_both("5.10 drivers/pci/pcie/aspm.c:1199 at 5.10.223"),
    ),
    Definition(
        "pcie_ports",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="who runs the services of PCIe ports: compat, native, dpc-native",
        source="drivers/pci/pcie/portdrv.c:622 pcie_port_setup at 7.1.5",
        available=_both("5.10 drivers/pci/pcie/portdrv_pci.c:49 at 5.10.223"),
        notes=("compat turns off AER, DPC and hotplug",),
    ),
    Definition(
        "efi",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.TOKENS,
        summary="options of the EFI boot code; only those that touch isolation are named here",
        source="drivers/firmware/efi/libstub/efi-stub-helper.c:48 efi_parse_options at 7.1.5",
        available=(x86(), arm64()),
        notes=("effective only when the kernel is started through its EFI stub",),
        tokens=(
            Token(
                "disable_early_pci_dma",
                (
                    "bus mastering of bridges off until the IOMMU is up; some GPUs and firmware fail with it "
                    "(default CONFIG_EFI_DISABLE_PCI_DMA)"
                ),
                group="early-pci-dma",
                available=(
                    x86(
                        "5.4/5.10 drivers/firmware/efi/libstub/efi-stub-helper.c:226 at 5.10.223",
                        el8="8.10/ no match in drivers/firmware/efi/libstub/efi-stub-helper.c at 8.3 to 8.10",
                    ),
                ),
                exact=True,
            ),
            Token(
                "no_disable_early_pci_dma",
                "bus mastering of bridges left on while the kernel starts",
                group="early-pci-dma",
                available=(
                    x86(
                        "5.4/5.10 drivers/firmware/efi/libstub/efi-stub-helper.c:226 at 5.10.223",
                        el8="8.10/ no match in drivers/firmware/efi/libstub/efi-stub-helper.c at 8.3 to 8.10",
                    ),
                ),
                unsafe=True,
                exact=True,
            ),
        ),
    ),
    Definition(
        "swiotlb",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="bounce buffers: <slabs>[,<areas>], force or noforce",
        source="kernel/dma/swiotlb.c:184 setup_io_tlb_npages at 7.1.5",
        available=(x86(), arm64()),
        tokens=(
            Token("force", "bounce every transfer: disastrous for performance"),
            Token("noforce", "never bounce; for debugging"),
        ),
    ),
)
