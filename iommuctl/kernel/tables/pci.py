# SPDX-License-Identifier: Apache-2.0
"""Parameters of PCI, EFI and bounce buffers, as far as they touch the isolation of devices. Rows only."""

from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import arm64, x86

PARAMETERS = (
    Definition(
        "pci",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.TOKENS,
        summary="options of the PCI core; only those that touch isolation are named here",
        source="drivers/pci/pci.c:6709 pci_setup at 7.1.5",
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
        "pcie_ports",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="who runs the services of PCIe ports: compat, native, dpc-native",
        source="drivers/pci/pcie/portdrv.c:622 pcie_port_setup at 7.1.5",
        available=(x86(), arm64()),
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
