# SPDX-License-Identifier: Apache-2.0
"""Parameters of VFIO, iommufd, and what binds devices to them. Rows only."""

from iommuctl.kernel.choice import PARAMETER
from iommuctl.kernel.parameters import Definition, Grammar, Kind, Manages
from iommuctl.kernel.tables.spans import arm64, x86

PARAMETERS = (
    Definition(
        "vfio-pci.ids",
        Kind.MODULE,
        Grammar.LAST_WINS_LIST,
        Manages.NOTHING,
        summary=(
            "bind every device with one of these ids to vfio-pci: "
            "vendor:device[:subvendor[:subdevice[:class[:mask]]]], hexadecimal"
        ),
        source="drivers/vfio/pci/vfio_pci.c:33 at 7.1.5",
        available=(x86(), arm64()),
        default="none",
        effect="claims all devices of an id, a boot GPU or NVMe disk included",
        notes=(
            "only the last occurrence counts, it does not accumulate; at most 1023 characters",
            (
                "to claim a device before its own driver does, the initramfs has to hold vfio-pci "
                "(dracut: rd.driver.pre=vfio-pci)"
            ),
            "driver_override in sysfs binds one device at run time without a parameter",
        ),
        conflicts=(
            "iommu=off",
            "intel_iommu=off",
            "amd_iommu=off",
        ),
    ),
    Definition(
        PARAMETER,
        Kind.USERSPACE,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary=(
            "iommuctl: have the initramfs give these functions to vfio-pci, and no other: "
            "address@vendor:device with commas between, hexadecimal, lower case"
        ),
        source="init/main.c unknown_bootoption at 7.1.5, which passes it over for the script in the initramfs",
        effect="binds exactly that card, before another driver has it; a twin with the same ids stays with the host",
        notes=(
            "only the last occurrence counts",
            "a function with other ids at its address is left alone, and the kernel's log says so",
            "without the script of iommuctl in the initramfs it does nothing",
        ),
        conflicts=(
            "iommu=off",
            "intel_iommu=off",
            "amd_iommu=off",
        ),
    ),
    Definition(
        "pci-stub.ids",
        Kind.MODULE,
        Grammar.LAST_WINS_LIST,
        Manages.NOTHING,
        summary="bind devices with these ids to a driver that does nothing, out of reach of vfio-pci",
        source="drivers/pci/pci-stub.c:22 at 7.1.5",
        available=(x86(), arm64()),
    ),
    Definition(
        "rd.driver.pre",
        Kind.USERSPACE,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="dracut: load these modules before any other driver",
        source="man/dracut.cmdline.7.asc of dracut-ng at 0c6d257f9c7d",
        notes=("accumulates over repeats",),
    ),
    Definition(
        "modprobe.blacklist",
        Kind.USERSPACE,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="modules that modprobe does not load by alias",
        source="libkmod/libkmod-config.c kmod_config_parse_kcmdline of kmod at 84fa569",
        notes=("accumulates over repeats; kmod reads it behind -- too",),
    ),
    Definition(
        "vfio-pci.disable_vga",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="no access to legacy VGA ranges",
        source="drivers/vfio/pci/vfio_pci.c:43 at 7.1.5",
        available=(x86(), arm64()),
        kconfig=("CONFIG_VFIO_PCI_VGA",),
        needs="CONFIG_VFIO_PCI_VGA",
    ),
    Definition(
        "vfio-pci.disable_idle_d3",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="do not put unused devices to sleep (D3)",
        source="drivers/vfio/pci/vfio_pci.c:48 at 7.1.5",
        available=(x86(), arm64()),
    ),
    Definition(
        "vfio-pci.nointxmask",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="do not rely on PCI 2.3 INTx masking",
        source="drivers/vfio/pci/vfio_pci.c:37 at 7.1.5",
        available=(x86(), arm64()),
    ),
    Definition(
        "vfio-pci.enable_sriov",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="a device that vfio-pci owns may make virtual functions",
        source="drivers/vfio/pci/vfio_pci.c:53 at 7.1.5",
        available=(
            x86(
                "5.4/5.10 drivers/vfio/pci/vfio_pci.c:59 at 5.10.223",
                el8="8.3/8.4 drivers/vfio/pci/vfio_pci.c:62 at 4.18.0-305.25.1.el8_4",
            ),
            arm64(
                "5.4/5.10 drivers/vfio/pci/vfio_pci.c:59 at 5.10.223",
                el8="8.3/8.4 drivers/vfio/pci/vfio_pci.c:62 at 4.18.0-305.25.1.el8_4",
            ),
        ),
        effect="the owner of the physical function controls the virtual ones: trust it",
        unsafe="1",
    ),
    Definition(
        "vfio-pci.disable_denylist",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.NOTHING,
        summary="bind devices that are known to break the host",
        source="drivers/vfio/pci/vfio_pci.c:59 at 7.1.5",
        available=(
            x86(
                "5.4/5.10 drivers/vfio/pci/vfio_pci.c:64 at 5.10.223",
                el8="8.3/8.4 drivers/vfio/pci/vfio_pci.c:67 at 4.18.0-305.25.1.el8_4",
            ),
            arm64(
                "5.4/5.10 drivers/vfio/pci/vfio_pci.c:64 at 5.10.223",
                el8="8.3/8.4 drivers/vfio/pci/vfio_pci.c:67 at 4.18.0-305.25.1.el8_4",
            ),
        ),
        effect="a guest may bring the host down",
        unsafe="1",
    ),
    Definition(
        "vfio_iommu_type1.allow_unsafe_interrupts",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="give devices to guests without interrupt isolation",
        source="drivers/vfio/vfio_iommu_type1.c:47 at 7.1.5",
        available=(x86(), arm64()),
        default="0",
        effect="a guest can forge interrupts of the host; never needed where interrupt remapping works",
        notes=("does not cover users of iommufd, which has its own",),
        unsafe="1",
    ),
    Definition(
        "vfio_iommu_type1.disable_hugepages",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="map guest memory in small pages",
        source="drivers/vfio/vfio_iommu_type1.c:53 at 7.1.5",
        available=(x86(), arm64()),
        default="0",
        effect="slow; for debugging",
    ),
    Definition(
        "vfio_iommu_type1.dma_entry_limit",
        Kind.MODULE,
        Grammar.SCALAR,
        Manages.ALL,
        summary="how many mappings one container may hold; DPDK may need more",
        source="drivers/vfio/vfio_iommu_type1.c:59 at 7.1.5",
        available=(x86(), arm64()),
        default="65535",
    ),
    Definition(
        "iommufd.allow_unsafe_interrupts",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="give devices to guests without interrupt isolation, for users of iommufd",
        source="drivers/iommu/iommufd/device.c:14 at 7.1.5",
        available=(
            x86(
                "6.1/6.3 drivers/iommu/iommufd/device.c:14 at 6.12.117",
                el8="8.10/ no match in drivers/iommu/iommufd/device.c at 8.3 to 8.10",
                el9="9.2/9.3 drivers/iommu/iommufd/device.c:11 at 5.14.0-362.24.2.el9_3",
            ),
            arm64(
                "6.1/6.3 drivers/iommu/iommufd/device.c:14 at 6.12.117",
                el8="8.10/ no match in drivers/iommu/iommufd/device.c at 8.3 to 8.10",
                el9="9.2/9.3 drivers/iommu/iommufd/device.c:11 at 5.14.0-362.24.2.el9_3",
            ),
        ),
        default="0",
        effect="a guest can forge interrupts of the host",
        unsafe="1",
        needs="CONFIG_IOMMUFD",
        kconfig=("CONFIG_IOMMUFD",),
    ),
    Definition(
        "vfio.enable_unsafe_noiommu_mode",
        Kind.MODULE,
        Grammar.BOOL,
        Manages.ALL,
        summary="hand devices to programs without any IOMMU",
        source="drivers/vfio/vfio_main.c:59 at 7.1.5",
        available=(x86(), arm64()),
        default="0",
        effect="the program reaches all memory; taints the kernel; of no use for virtual machines",
        kconfig=("CONFIG_VFIO_NOIOMMU",),
        unsafe="1",
        needs="CONFIG_VFIO_NOIOMMU",
    ),
)
