# SPDX-License-Identifier: Apache-2.0
"""What hangs on a device, through every layer: for each way that a kernel shows it a small machine and what is told."""

from collections.abc import Callable
from pathlib import Path

import pytest
from devicetrees import Machine
from kernelhosts import link, write

from iommuctl.devices.inventory import Role
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.host.root import Root

DISK, OTHER, NIC, SPARE = "0000:00:17.0", "0000:00:18.0", "0000:00:19.0", "0000:00:1a.0"
R, M, H, U, L = Role.ROOT, Role.MOUNT, Role.HELD, Role.UPLINK, Role.LINK


def machine(root: Path) -> Machine:
    """Two disk controllers with a disk of two partitions each, two network cards, an interface on each."""
    made = Machine(root)
    for number, address, name in ((8, DISK, "sda"), (9, OTHER, "sdb")):
        made.pci(address, "8086:a282", "010601", "ahci").disk(name, number, address, 2, below="ata1/host0/block")
    for address, name in ((NIC, "eno1"), (SPARE, "eno2")):
        made.pci(address, "8086:10d3", "020000", "e1000e").interface(name, address)
    return made


def root_on(*members: str) -> Callable[[Machine], object]:
    return lambda made: made.mapped("md0", "90:0", members).mount("/", "90:0")


def btrfs(made: Machine) -> None:
    for name in ("sda1", "sdb1"):
        link(made.root / f"sys/fs/btrfs/0a34/devices/{name}", f"../../../../{made.place(name)}")
    made.mount("/", "0:30", "btrfs", "/dev/sda1", "subvol=/root")


def crypt_btrfs(made: Machine) -> None:
    made.mapped("dm-0", "253:0", ("sda2",), "luks-1")
    link(made.root / "sys/fs/btrfs/0a34/devices/dm-0", f"../../../../{made.place('dm-0')}")
    link(made.root / "sys/fs/btrfs/ffff/devices/sdb1", f"../../../../{made.place('sdb1')}")
    made.mount("/", "0:30", "btrfs", "/dev/mapper/luks-1")


def overlay(made: Machine) -> None:
    made.mount("/run/live", "8:1").mount("/run/rw", "9:1")
    made.mount("/", "0:40", "overlay", "overlay", "lowerdir=/run/live/a:/run/live/b,upperdir=/run/rw/up")


def loop(made: Machine) -> None:
    made.mapped("loop0", "7:0", ()).mount("/run/live", "8:1").mount("/", "7:0", "squashfs")
    write(made.root / "sys" / made.place("loop0") / "loop/backing_file", "/run/live/filesystem.squashfs\n")


def iscsi(made: Machine) -> None:
    made.disk("sdc", 65, "devices/platform/host5/session1/target5:0:0/block").mount("/", "65:0").route("eno1")


def open_vswitch(made: Machine) -> None:
    made.mount("/", "8:1").interface("ovs-system", state="unknown").interface("br-ex", state="unknown")
    link(made.root / "sys" / made.place("eno2") / "master", "../../../../../devices/virtual/net/ovs-system")
    made.route("br-ex")


def ssh_over_ipv6(made: Machine) -> None:
    made.mount("/", "8:1")
    write(made.root / "proc/net/if_inet6", "20010db8000000000000000000000015 02 40 00 80     eno1\n")
    write(made.root / "proc/self/environ", "SSH_CONNECTION=2001:db8::1 4711 2001:db8::15 22\0")


def ssh_above_sudo(made: Machine) -> None:
    made.mount("/", "8:1").route("eno1", "0002000A", "00FFFFFF").route("eno2", "0003000A", "00FFFFFF")
    write(made.root / "proc/self/status", "Name:\tiommuctl\nPPid:\t811\n")
    write(made.root / "proc/811/environ", "HOME=/root\0")
    write(made.root / "proc/811/status", "Name:\tsudo\nPPid:\t700\n")
    write(made.root / "proc/700/environ", "SSH_CONNECTION=10.0.3.1 4711 10.0.3.15 22\0")


def established(made: Machine, table: str, own: str) -> None:
    made.mount("/", "8:1").route("eno1", "0002000A", "00FFFFFF")
    write(
        made.root / f"proc/net/{table}", f"  sl  local_address rem_address   st\n   0: {own}:0016 0103000A:1267 01 0\n"
    )


def default_of_ipv6(made: Machine) -> None:
    made.mount("/", "8:1")
    zero = "0" * 32
    lines = [f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo"]
    lines.append(f"{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eno2")
    write(made.root / "proc/net/ipv6_route", "".join(f"{line}\n" for line in lines))


ROWS: list[tuple[str, Callable[[Machine], object], dict[str, list[tuple[Role, str]]]]] = [
    ("a partition", lambda made: made.mount("/", "8:1"), {DISK: [(R, "/")]}),
    ("a whole disk", lambda made: made.mount("/", "8:0"), {DISK: [(R, "/")]}),
    ("another mount", lambda made: made.mount("/", "8:1").mount("/srv/a\\040b", "9:1"), {OTHER: [(M, "/srv/a b")]}),
    ("the ESP", lambda made: made.mount("/", "8:1").mount("/efi", "9:1", "vfat"), {OTHER: [(R, "/efi")]}),
    ("/usr", lambda made: made.mount("/", "8:1").mount("/usr", "9:1"), {OTHER: [(R, "/usr")]}),
    ("our state", lambda made: made.mount("/", "8:1").mount("/var", "9:1"), {OTHER: [(R, "/var")]}),
    ("swap", lambda made: made.mount("/", "8:1").swap("/dev/sdb2"), {OTHER: [(M, "swap on /dev/sdb2")]}),
    ("a swap file", lambda made: made.mount("/", "8:1").swap("/swap"), {DISK: [(R, "/"), (M, "swap on /swap")]}),
    ("RAID", root_on("sda1", "sdb1"), {DISK: [(R, "/")], OTHER: [(R, "/")]}),
    ("btrfs on two", btrfs, {DISK: [(R, "/")], OTHER: [(R, "/")]}),
    ("btrfs on LUKS", crypt_btrfs, {DISK: [(R, "/")], OTHER: [(Role.DISK, "sdb")]}),
    ("an overlay", overlay, {DISK: [(M, "/run/live"), (R, "/")], OTHER: [(M, "/run/rw"), (R, "/")]}),
    ("a loop device", loop, {DISK: [(M, "/run/live"), (R, "/")]}),
    ("iSCSI", iscsi, {NIC: [(U, "eno1"), (R, "/")]}),
    ("NFS", lambda made: made.mount("/", "0:50", "nfs4", "nas:/").route("eno1"), {NIC: [(U, "eno1"), (R, "/")]}),
    ("Open vSwitch", open_vswitch, {SPARE: [(U, "eno2")]}),
    ("ssh over IPv6", ssh_over_ipv6, {NIC: [(U, "eno1")]}),
    ("ssh above sudo", ssh_above_sudo, {NIC: [(L, "eno1")], SPARE: [(U, "eno2")]}),
    ("a connection", lambda made: established(made, "tcp", "0F02000A"), {NIC: [(U, "eno1")]}),
    ("one of tcp6", lambda made: established(made, "tcp6", "0000000000000000FFFF00000F02000A"), {NIC: [(U, "eno1")]}),
    ("a route of IPv6", default_of_ipv6, {SPARE: [(U, "eno2")], NIC: [(Role.INTERFACE, "eno1")]}),
    (
        "a tunnel",
        lambda made: made.mount("/", "8:1").interface("ppp0").route("ppp0").route("eno1", "0002000A", "00FFFFFF"),
        {NIC: [(U, "eno1")], SPARE: [(Role.INTERFACE, "eno2")]},
    ),
]


@pytest.mark.parametrize(("name", "change", "found"), ROWS, ids=[row[0] for row in ROWS])
def test_what_hangs_on_a_device_is_found(
    name: str, change: Callable[[Machine], object], found: dict[str, list[tuple[Role, str]]], tmp_path: Path
) -> None:
    change(machine(tmp_path))
    inventory = read_inventory(Root(tmp_path))
    told = {address: [(use.role, use.name) for use in inventory.addresses[address].uses] for address in found}
    assert told == found
    assert inventory.unresolved == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made,
        lambda made: made.mount("/", "0:50", "fuse.odd", "odd"),
        lambda made: made.mount("/", "77:1"),
        lambda made: made.mount("/", "0:25", "zfs", "rpool/ROOT"),
    ],
    ids=["no mounts", "a file system of a program", "a device that is not there", "ZFS that udev knows nothing of"],
)
def test_a_root_whose_disk_is_not_found_is_told(change: Callable[[Machine], object], tmp_path: Path) -> None:
    change(machine(tmp_path))
    assert read_inventory(Root(tmp_path)).unresolved == ("/",)


def test_a_root_in_memory_needs_no_disk(tmp_path: Path) -> None:
    machine(tmp_path).mount("/", "0:2", "tmpfs", "tmpfs")
    assert read_inventory(Root(tmp_path)).unresolved == ()


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"proc/9/cmdline": "/usr/bin/kvm\0-id\000100\0-device\0vfio-pci,host=0000:00:19.0\0"}, {}),
        (
            {"proc/9/cmdline": "/usr/bin/qemu-system-x86_64\0-id\000100\0"},
            {"proc/9/fd/21": "/dev/vfio/7"},
        ),
        (
            {"proc/9/cmdline": "qemu-kvm\0-id\000100\0", "sys/devices/pci0000:00/0000:00:19.0/vfio-dev/vfio3/dev": ""},
            {"proc/9/fd/21": "/dev/vfio/devices/vfio3"},
        ),
    ],
    ids=["by its words", "by its group", "by its device"],
)
def test_a_guest_that_has_a_device_is_found(files: dict[str, str], links: dict[str, str], tmp_path: Path) -> None:
    Machine(tmp_path).pci(NIC, "8086:10d3", "020000", "vfio-pci", 7).pci(SPARE, "8086:10d3", "020000", "vfio-pci", 8)
    for path, text in files.items():
        write(tmp_path / path, text)
    for path, target in links.items():
        link(tmp_path / path, target)
    found = read_inventory(Root(tmp_path))
    assert [use.name for use in found.addresses[NIC].uses] == ["guest 100"]
    assert found.addresses[SPARE].uses == ()


def test_the_boot_display_is_known_without_vga(tmp_path: Path) -> None:
    made = Machine(tmp_path).pci(NIC, "1002:1900", "038000", "amdgpu")
    write(tmp_path / "sys" / made.place(NIC) / "drm/card1/boot_display", "1\n")
    link(tmp_path / "sys" / made.place(NIC) / "drm/card1/device", "../../")
    link(tmp_path / "sys/class/drm/card1", f"../../{made.place(NIC)}/drm/card1")
    assert read_inventory(Root(tmp_path)).addresses[NIC].is_boot_display


def test_a_power_button_is_no_keyboard(tmp_path: Path) -> None:
    made = Machine(tmp_path).pci(NIC, "8086:43ed", "0c0330", "xhci_hcd")
    text = 'N: Name="Power Button"\nS: Sysfs=/{}/input/input1\nH: Handlers=kbd event0 \nB: EV=3\n\n'
    made.file("proc/bus/input/devices", text.format(made.place(NIC)))
    assert read_inventory(Root(tmp_path)).addresses[NIC].uses == ()
    made.keyboard("AT keyboard").keyboard("Dell", NIC)
    found = read_inventory(Root(tmp_path))
    assert ([use.name for use in found.addresses[NIC].uses], found.keyboards) == (["Dell"], 1)


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert read_inventory(Root(tmp_path)).functions == ()
