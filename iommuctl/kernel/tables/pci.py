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
        source="drivers/pci/pci.c pci_setup",
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
                available=(x86("4.19"), arm64("4.19")),
            ),
            Token(
                "disable_acs_redir",
                "ACS redirection off for these devices: groups merge, isolation is lost",
                available=(x86("4.19"), arm64("4.19")),
                unsafe=True,
                takes_value=True,
            ),
            Token(
                "config_acs",
                "ACS bits of these devices as given; may take isolation away",
                available=(x86("6.12"), arm64("6.12")),
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
        source="no occurrence in mainline 4.19 to 7.1",
        effect="groups split without being isolated: devices of two guests can reach each other",
        unsafe="set",
    ),
    Definition(
        "pcie_ports",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="who runs the services of PCIe ports: compat, native, dpc-native",
        source="drivers/pci/pcie/portdrv.c pcie_port_setup",
        available=(x86(), arm64()),
        notes=("compat turns off AER, DPC and hotplug",),
    ),
    Definition(
        "efi",
        Kind.EARLY,
        Grammar.OPTION_LIST,
        Manages.TOKENS,
        summary="options of the EFI boot code; only those that touch isolation are named here",
        source="drivers/firmware/efi/libstub/efi-stub-helper.c efi_parse_options",
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
                available=(x86("5.11"),),
                exact=True,
            ),
            Token(
                "no_disable_early_pci_dma",
                "bus mastering of bridges left on while the kernel starts",
                group="early-pci-dma",
                available=(x86("5.11"),),
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
        source="kernel/dma/swiotlb.c setup_io_tlb_npages",
        available=(x86(), arm64()),
        tokens=(
            Token("force", "bounce every transfer: disastrous for performance"),
            Token("noforce", "never bounce; for debugging"),
        ),
    ),
)
