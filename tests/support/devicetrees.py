# SPDX-License-Identifier: Apache-2.0
"""Machines as trees of /sys, /proc and /run, built piece by piece with the links that a kernel makes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from kernelhosts import configuration_space, link, write

PCI_IDS = """\
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t1640  Rembrandt Radeon High Definition Audio Controller
\t1900  Phoenix1
\t73a6  Navi 21 USB
\t73bf  Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]
\tab28  Navi 21/23 HDMI/DP Audio Controller
1022  Advanced Micro Devices, Inc. [AMD]
\t15b9  Phoenix USB4/Thunderbolt NHI controller
102b  Matrox Electronics Systems Ltd.
\t0536  Integrated Matrox G200eW3 Graphics Controller
10de  NVIDIA Corporation
\t10f0  GP104 High Definition Audio Controller
\t1ad6  TU102 USB 3.1 Host Controller
\t1ad7  TU102 USB Type-C UCSI Controller
\t1b80  GP104 [GeForce GTX 1080]
\t1e07  TU102 [GeForce RTX 2080 Ti Rev. A]
\t10f7  TU102 High Definition Audio Controller
144d  Samsung Electronics Co Ltd
\ta808  NVMe SSD Controller SM981/PM981/PM983
1a03  ASPEED Technology, Inc.
\t2000  ASPEED Graphics Family
8086  Intel Corporation
\t10d3  82574L Gigabit Network Connection
\t154c  Ethernet Virtual Function 700 Series
\t1572  Ethernet Controller X710 for 10GbE SFP+
\t201d  Volume Management Device NVMe RAID Controller
\t43ed  Tiger Lake-H USB 3.2 Gen 2x1 xHCI Host Controller
\ta282  200 Series PCH SATA controller [AHCI mode]
C 01  Mass storage controller
\t04  RAID bus controller
\t06  SATA controller
\t08  Non-Volatile memory controller
C 02  Network controller
\t00  Ethernet controller
C 03  Display controller
\t00  VGA compatible controller
\t80  Display controller
C 04  Multimedia controller
\t03  Audio device
C 06  Bridge
\t01  ISA bridge
\t04  PCI bridge
C 0c  Serial bus controller
\t03  USB controller
\t05  SMBus
\t80  Serial bus controller
"""


class Machine:
    """One machine, written into a directory as it is described."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._places: dict[str, str] = {}
        self._mounts: list[str] = []
        self._routes: list[str] = []
        write(root / "usr/share/misc/pci.ids", PCI_IDS)
        write(root / "proc/swaps", "Filename Type Size Used Priority\n")
        write(root / "proc/cmdline", "ro quiet\n")

    def pci(
        self,
        path: str,
        ids: str,
        kind: str,
        driver: str | None = None,
        group: int | None = None,
        files: Mapping[str, str] | None = None,
        *,
        port: int = 0,
    ) -> Self:
        """Add a function; `path` are the addresses from the root port down to its own."""
        *above, address = path.split("/")
        top = self._places[above[-1]] if above else f"devices/pci{address[: address.rindex(':')]}"
        real = f"{top}/{address}"
        self._places[address] = real
        vendor, _, device = ids.partition(":")
        said = {"class": f"0x{kind}", "vendor": f"0x{vendor}", "device": f"0x{device}", "reset_method": "flr bus"}
        for name, text in (said | dict(files or {})).items():
            write(self.root / "sys" / real / name, f"{text}\n")
        (self.root / "sys" / real / "config").write_bytes(configuration_space((), port))
        self._link(f"bus/pci/devices/{address}", real)
        if driver is not None:
            (self.root / f"sys/bus/pci/drivers/{driver}").mkdir(parents=True, exist_ok=True)
            self._link(f"{real}/driver", f"bus/pci/drivers/{driver}")
        if group is not None:
            self._link(f"{real}/iommu_group", f"kernel/iommu_groups/{group}")
            self._link(f"kernel/iommu_groups/{group}/devices/{address}", real)
            write(self.root / f"sys/kernel/iommu_groups/{group}/type", "identity\n")
        return self

    def bridge(self, path: str, group: int = 0, *, port: int = 4) -> Self:
        """Add a PCI bridge."""
        return self.pci(path, "8086:1901", "060400", "pcieport", group, {"reset_method": ""}, port=port)

    def region(self, group: int, text: str) -> Self:
        write(self.root / f"sys/kernel/iommu_groups/{group}/reserved_regions", f"{text}\n")
        return self

    def slot(self, name: str, place: str) -> Self:
        write(self.root / f"sys/bus/pci/slots/{name}/address", f"{place}\n")
        return self

    def physical(self, virtual: str, physical: str) -> Self:
        self._link(f"{self._places[virtual]}/physfn", self._places[physical])
        return self

    def disk(
        self,
        name: str,
        number: int,
        on: str,
        parts: int = 0,
        *,
        below: str = "",
        kinds: Mapping[str, str] | None = None,
    ) -> Self:
        """Add a disk of `number`:0 below a function or a directory of /sys; its partitions are `number`:1 and so on.

        `kinds` is what udev says of the file system on each of them.
        """
        top = self._places.get(on, on)
        real = "/".join(part for part in (top, below, name) if part)
        separator = "p" if name[-1].isdigit() else ""
        for part in range(parts + 1):
            own = name if part == 0 else f"{name}{separator}{part}"
            place = real if part == 0 else f"{real}/{own}"
            self._block(own, f"{number}:{part}", place, (kinds or {}).get(own))
            if part:
                write(self.root / "sys" / place / "partition", f"{part}\n")
        return self

    def mapped(
        self, name: str, number: str, over: Iterable[str], label: str | None = None, kind: str | None = None
    ) -> Self:
        """Add a block device that is made of others: device mapper with its label, or md."""
        real = f"devices/virtual/block/{name}"
        self._block(name, number, real, kind)
        if label is not None:
            write(self.root / "sys" / real / "dm/name", f"{label}\n")
        for one in over:
            place = self._places[one]
            self._link(f"{real}/slaves/{one}", place)
            self._link(f"{place}/holders/{name}", real)
        return self

    def mount(self, point: str, number: str, kind: str = "ext4", source: str = "/dev/x", options: str = "rw") -> Self:
        self._mounts.append(f"{30 + len(self._mounts)} 1 {number} / {point} rw shared:1 - {kind} {source} {options}")
        write(self.root / "proc/self/mountinfo", "".join(f"{line}\n" for line in self._mounts))
        return self

    def swap(self, name: str) -> Self:
        with (self.root / "proc/swaps").open("a") as file:
            file.write(f"{name} partition 8388604 0 -2\n")
        return self

    def interface(
        self, name: str, on: str | None = None, over: Iterable[str] = (), master: str | None = None, state: str = "up"
    ) -> Self:
        """Add a network interface: on a function, or over others that come first."""
        real = f"devices/virtual/net/{name}" if on is None else f"{self._places[on]}/net/{name}"
        self._places[name] = real
        write(self.root / "sys" / real / "operstate", f"{state}\n")
        self._link(f"class/net/{name}", real)
        if on is not None:
            self._link(f"{real}/device", self._places[on])
        for one in over:
            self._link(f"{real}/lower_{one}", self._places[one])
            self._link(f"{self._places[one]}/upper_{name}", real)
        if master is not None:
            self._link(f"{real}/master", f"devices/virtual/net/{master}")
        return self

    def route(self, name: str, destination: str = "00000000", mask: str = "00000000") -> Self:
        self._routes.append(f"{name}\t{destination}\t00000000\t0003\t0\t0\t0\t{mask}\t0\t0\t0\n")
        head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        write(self.root / "proc/net/route", head + "".join(self._routes))
        return self

    def keyboard(self, name: str, on: str | None = None) -> Self:
        place = f"{self._places[on]}/usb1/1-1/input/input3" if on else "devices/platform/i8042/serio0/input/input0"
        block = f'N: Name="{name}"\nS: Sysfs=/{place}\nH: Handlers=sysrq kbd leds event3 \nB: EV=120013\n\n'
        path = self.root / "proc/bus/input/devices"
        write(path, (path.read_text() if path.exists() else "") + block)
        return self

    def file(self, path: str, text: str) -> Self:
        write(self.root / path, text)
        return self

    def place(self, name: str) -> str:
        """Return where a function, a block device or an interface is below /sys."""
        return self._places[name]

    def _block(self, name: str, number: str, real: str, kind: str | None) -> None:
        self._places[name] = real
        write(self.root / "sys" / real / "dev", f"{number}\n")
        self._link(f"class/block/{name}", real)
        self._link(f"dev/block/{number}", real)
        if kind is not None:
            said = "".join(f"E:{line}\n" for line in f"ID_FS_TYPE={kind}".split(" "))
            write(self.root / f"run/udev/data/b{number}", said)

    def _link(self, path: str, target: str) -> None:
        link(self.root / "sys" / path, "/".join((*[".."] * path.count("/"), target)))


def twins(machine: Machine) -> Machine:
    """Two identical network cards, the disk of the host after the chipset, and a way in by the first card."""
    return (
        machine.bridge("0000:00:01.0")
        .pci("0000:00:1f.2", "8086:a282", "010601", "ahci", 1)
        .disk("sda", 8, "0000:00:1f.2", 2, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:2")
        .mount("/boot", "8:1")
        .pci("0000:00:05.0", "8086:10d3", "020000", "e1000e", 2)
        .pci("0000:00:06.0", "8086:10d3", "020000", "e1000e", 3)
        .slot("5", "0000:00:05")
        .slot("6", "0000:00:06")
        .interface("ens5", "0000:00:05.0")
        .interface("ens6", "0000:00:06.0", state="down")
        .route("ens5")
    )


def nvme_multipath(machine: Machine) -> Machine:
    """The root file system on NVMe with native multipath: two controllers lead to it, a third has another disk."""
    for number, group in ((1, 1), (2, 2), (3, 3)):
        machine.bridge(f"0000:00:0{number}.0").pci(
            f"0000:00:0{number}.0/0000:0{number}:00.0", "144d:a808", "010802", "nvme", group
        )
    subsystem = "devices/virtual/nvme-subsystem/nvme-subsys0"
    for number in (0, 1):
        controller = f"{machine.place(f'0000:0{number + 1}:00.0')}/nvme/nvme{number}"
        write(machine.root / "sys" / controller / "state", "live\n")
        link(machine.root / "sys" / subsystem / f"nvme{number}", f"../../../../{controller}")
    machine.disk("nvme0n1", 259, subsystem, 2).mount("/", "259:2", "xfs").mount("/boot/efi", "259:1", "vfat")
    return machine.disk("nvme2n1", 260, "0000:03:00.0", below="nvme/nvme2")


def bond_on_vlan(machine: Machine) -> Machine:
    """The host is reached by a bridge over a VLAN over a bond of two ports; a third port is free."""
    machine.bridge("0000:00:01.0")
    for number in range(3):
        machine.pci(
            f"0000:00:01.0/0000:01:00.{number}", "8086:1572", "020000", "i40e", 10 + number, {"sriov_totalvfs": "64"}
        )
    return (
        machine.pci("0000:00:1f.2", "8086:a282", "010601", "ahci", 1)
        .disk("sda", 8, "0000:00:1f.2", 1, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:1")
        .interface("eno1", "0000:01:00.0", master="bond0")
        .interface("eno2", "0000:01:00.1", master="bond0")
        .interface("eno3", "0000:01:00.2", state="down")
        .interface("bond0", over=("eno1", "eno2"))
        .interface("bond0.100", over=("bond0",), master="vmbr0")
        .interface("vmbr0", over=("bond0.100",))
        .route("vmbr0")
        .route("vmbr0", "0002000A", "00FFFFFF")
    )


def single_gpu(machine: Machine) -> Machine:
    """One graphics card, on which the host shows its console, and the only keyboard on the USB of the chipset."""
    return (
        machine.bridge("0000:00:01.0")
        .pci("0000:00:01.0/0000:01:00.0", "10de:1b80", "030000", "nouveau", 1, {"boot_vga": "1", "rom": ""})
        .pci("0000:00:01.0/0000:01:00.1", "10de:10f0", "040300", "snd_hda_intel", 1)
        .pci("0000:00:14.0", "8086:43ed", "0c0330", "xhci_hcd", 2)
        .pci("0000:00:1f.0", "8086:a2c5", "060100", None, 3)
        .pci("0000:00:1f.4", "8086:a2a3", "0c0500", "i801_smbus", 3)
        .keyboard("Dell KB216", "0000:00:14.0")
        .pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
        .disk("sda", 8, "0000:00:17.0", 1, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:1")
        .swap("/dev/sda1")
        .file("sys/class/tty/console/active", "tty0\n")
    )


def apu(machine: Machine) -> Machine:
    """A processor with graphics of class 0380: sound belongs to it, its neighbours are parts of the chipset."""
    machine.bridge("0000:00:08.1")
    functions = (
        ("0", "1002:1900", "038000", "amdgpu"),
        ("1", "1002:1640", "040300", "snd_hda_intel"),
        ("2", "1022:15c7", "108000", "ccp"),
        ("3", "1022:15b9", "0c0330", "xhci_hcd"),
    )
    for number, ids, kind, driver in functions:
        machine.pci(f"0000:00:08.1/0000:c4:00.{number}", ids, kind, driver, 20 + int(number), {"reset_method": ""})
    return (
        machine.bridge("0000:00:02.4")
        .pci("0000:00:02.4/0000:c1:00.0", "144d:a808", "010802", "nvme", 10)
        .disk("nvme0n1", 259, "0000:c1:00.0", 1, below="nvme/nvme0")
        .mount("/", "259:1")
        .keyboard("AT Translated Set 2 keyboard")
        .file("sys/class/tty/console/active", "tty0 ttyS0\n")
    )


def vmd(machine: Machine) -> Machine:
    """The root file system on NVMe below Intel's VMD, which has a PCI domain of its own."""
    return (
        machine.pci("0000:00:0e.0", "8086:201d", "010400", "vmd", 5)
        .pci("0000:00:0e.0/10000:e0:06.0", "8086:1901", "060400", "pcieport", 5, port=4)
        .pci("0000:00:0e.0/10000:e0:06.0/10000:e1:00.0", "144d:a808", "010802", "nvme", 5)
        .disk("nvme0n1", 259, "10000:e1:00.0", 2, below="nvme/nvme0")
        .mount("/", "259:2", "xfs")
        .mount("/boot/efi", "259:1", "vfat")
    )


def rmrr(machine: Machine) -> Machine:
    """A network card for which the firmware demands a 1:1 mapping, and the management controller's display."""
    return (
        machine.bridge("0000:00:1c.0")
        .pci("0000:00:1c.0/0000:02:00.0", "8086:1572", "020000", "i40e", 7)
        .region(7, "0x00000000bdf6f000 0x00000000bdf7efff direct\n0x00000000fee00000 0x00000000feefffff msi")
        .interface("eno1", "0000:02:00.0", state="down")
        .pci("0000:00:1c.0/0000:03:00.0", "102b:0536", "030000", "mgag200", 8, {"boot_vga": "1"})
        .pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
        .disk("sda", 8, "0000:00:17.0", 1, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:1")
    )


def pf_with_vfs(machine: Machine) -> Machine:
    """A network card with two virtual functions, one of which a guest has now."""
    machine.bridge("0000:00:03.0").pci(
        "0000:00:03.0/0000:05:00.0", "8086:1572", "020000", "i40e", 6, {"sriov_totalvfs": "64", "sriov_numvfs": "2"}
    )
    machine.pci("0000:00:03.0/0000:05:02.0", "8086:154c", "020000", "iavf", 30)
    machine.pci("0000:00:03.0/0000:05:02.1", "8086:154c", "020000", "vfio-pci", 31)
    return (
        machine.physical("0000:05:02.0", "0000:05:00.0")
        .physical("0000:05:02.1", "0000:05:00.0")
        .interface("ens3", "0000:05:00.0")
        .interface("ens3v0", "0000:05:02.0", state="down")
        .route("ens3", "0001A8C0", "00FFFFFF")
        .file(
            "proc/4711/cmdline", "/usr/bin/qemu-system-x86_64\0-name\0guest=web1,debug-threads=on\0host=0000:05:02.1\0"
        )
        .pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
        .disk("sda", 8, "0000:00:17.0", 1, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:1")
    )


def zfs_root(machine: Machine) -> Machine:
    """Root on a mirror of ZFS, which has no link in /sys: udev alone knows its members. A third disk is free."""
    machine.pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
    member = "zfs_member ID_FS_LABEL=rpool"
    for number, name in enumerate(("sda", "sdb")):
        below = f"ata{number + 1}/host{number}/target{number}:0:0/{number}:0:0:0/block"
        machine.disk(name, 8 + number, "0000:00:17.0", 3, below=below, kinds={f"{name}3": member})
    machine.bridge("0000:00:1d.0").pci("0000:00:1d.0/0000:04:00.0", "144d:a808", "010802", "nvme", 9)
    machine.disk(
        "nvme0n1", 259, "0000:04:00.0", 1, below="nvme/nvme0", kinds={"nvme0n1p1": "zfs_member ID_FS_LABEL=tank"}
    )
    return machine.mount("/", "0:25", "zfs", "rpool/ROOT/pve-1").mount("/tank", "0:40", "zfs", "tank")


def lvm_on_luks(machine: Machine) -> Machine:
    """Root and swap on LVM on LUKS on NVMe, /boot next to it; a volume group of another disk is not mounted."""
    machine.bridge("0000:00:1d.0").pci("0000:00:1d.0/0000:04:00.0", "144d:a808", "010802", "nvme", 9)
    machine.disk("nvme0n1", 259, "0000:04:00.0", 3, below="nvme/nvme0", kinds={"nvme0n1p3": "crypto_LUKS"})
    machine.pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
    machine.disk(
        "sda", 8, "0000:00:17.0", 1, below="ata1/host0/target0:0:0/0:0:0:0/block", kinds={"sda1": "LVM2_member"}
    )
    return (
        machine.mapped("dm-0", "253:0", ("nvme0n1p3",), "luks-home", "LVM2_member")
        .mapped("dm-1", "253:1", ("dm-0",), "vg-root")
        .mapped("dm-2", "253:2", ("dm-0",), "vg-swap")
        .mount("/", "253:1")
        .mount("/boot", "259:2")
        .mount("/boot/efi", "259:1", "vfat")
        .swap("/dev/dm-2")
    )


def gpu_with_usb_c(machine: Machine) -> Machine:
    """A graphics card with sound, USB and USB-C in one group, next to the graphics of the processor."""
    machine.pci("0000:00:02.0", "8086:3e9b", "030000", "i915", 1, {"boot_vga": "1"}).bridge("0000:00:01.0", 2)
    functions = (
        ("0", "10de:1e07", "030000", "nouveau"),
        ("1", "10de:10f7", "040300", "snd_hda_intel"),
        ("2", "10de:1ad6", "0c0330", "xhci_hcd"),
        ("3", "10de:1ad7", "0c8000", "nvidia-gpu"),
    )
    for number, ids, kind, driver in functions:
        machine.pci(f"0000:00:01.0/0000:01:00.{number}", ids, kind, driver, 2, {"reset_method": "bus"})
    return (
        machine.slot("1", "0000:01:00")
        .pci("0000:00:17.0", "8086:a282", "010601", "ahci", 4)
        .disk("sda", 8, "0000:00:17.0", 1, below="ata1/host0/target0:0:0/0:0:0:0/block")
        .mount("/", "8:1")
        .file("sys/class/tty/console/active", "tty0 ttyS0\n")
    )


MACHINES = {
    "twins": twins,
    "nvme-multipath": nvme_multipath,
    "bond-on-vlan": bond_on_vlan,
    "single-gpu": single_gpu,
    "apu": apu,
    "vmd": vmd,
    "rmrr": rmrr,
    "pf-with-vfs": pf_with_vfs,
    "zfs-root": zfs_root,
    "lvm-on-luks": lvm_on_luks,
    "gpu-with-usb-c": gpu_with_usb_c,
}
