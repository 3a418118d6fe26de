# SPDX-License-Identifier: Apache-2.0
"""What the running system says of its own boot, as the kernel's files spell it."""

import struct

import efivars
import pytest
from efivars import ATTRIBUTES, FOLDER, load_option, text
from trees import MemoryTree

from iommuctl.facts import Platform, Runtime
from iommuctl.host.probe import parse_load_option, read_facts, read_runtime

LOADER = f"/{FOLDER}/{{}}-{efivars.LOADER}"
GLOBAL = f"/{FOLDER}/{{}}-{efivars.GLOBAL}"


def test_every_variable_is_read_by_its_vendor() -> None:
    tree = MemoryTree.of(
        {
            "/proc/cmdline": "root=UUID=1 quiet\n",
            "/proc/self/mounts": "/dev/sda2 / ext4 rw 0 0\n/dev/sda1 /boot/efi vfat rw 0 0\n",
            "/sys/class/block/sda1/dev": "8:1\n",
            "/run/udev/data/b8:1": "S:disk/by-label/ESP\nE:ID_PART_ENTRY_UUID=3B2F4C61\n",
            "/sys/class/block/sda2/dev": "8:2\n",
            "/run/udev/data/b8:2": "E:ID_PART_ENTRY_UUID=11111111\n",
            LOADER.format("LoaderInfo"): text("systemd-boot 257"),
            LOADER.format("StubInfo"): text("systemd-stub 257"),
            LOADER.format("LoaderEntrySelected"): text("arch+3-1.conf"),
            LOADER.format("LoaderEntryDefault"): text("arch.conf"),
            LOADER.format("LoaderDevicePartUUID"): text("3b2f4c61"),
            GLOBAL.format("BootCurrent"): ATTRIBUTES + b"\x0b\0",
            GLOBAL.format("Boot000B"): ATTRIBUTES + load_option("\\EFI\\systemd\\systemd-bootx64.efi"),
            GLOBAL.format("LoaderInfo"): text("another vendor's"),
        }
    )
    assert read_runtime(tree) == Runtime(
        cmdline="root=UUID=1 quiet",
        is_efi=True,
        loader_info="systemd-boot 257",
        stub_info="systemd-stub 257",
        entry_selected="arch+3-1.conf",
        entry_default="arch.conf",
        loader_partition="3b2f4c61",
        boot_program="\\EFI\\systemd\\systemd-bootx64.efi",
        mounts=("/boot/efi",),
        partitions=("3b2f4c61",),
    )


def test_a_mount_without_a_known_partition_has_none() -> None:
    mounts = "/dev/mapper/vg-boot /boot ext4 rw 0 0\nsystemd-1 /efi autofs rw 0 0\n"
    files = {"/proc/cmdline": "ro\n", "/proc/self/mounts": mounts, "/sys/class/block/vg-boot/dev": "253:0\n"}
    assert read_runtime(MemoryTree.of(files)) == Runtime("ro", mounts=("/boot", "/efi"))


def test_a_host_without_efi_has_none_of_them() -> None:
    assert read_runtime(MemoryTree.of({"/proc/cmdline": "ro\n"})) == Runtime("ro")


def test_a_xen_host_is_known_by_its_capabilities() -> None:
    tree = MemoryTree.of({"/proc/cmdline": "ro\n", "/proc/xen/capabilities": "control_d\n"})
    assert read_runtime(tree) == Runtime("ro", is_xen_host=True)


@pytest.mark.parametrize(
    ("files", "model"),
    [
        ({"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "Raspberry Pi 5 Model B Rev 1.0"),
        ({"/sys/class/dmi/id/product_name": "PowerEdge R650\n"}, "PowerEdge R650"),
        ({"/sys/class/dmi/id/product_name": "\n"}, None),
    ],
)
def test_the_model_is_of_the_device_tree_or_of_dmi(files: dict[str, str | bytes], model: str | None) -> None:
    assert read_runtime(MemoryTree.of({"/proc/cmdline": "ro\n"} | files)) == Runtime("ro", machine=model)


def test_a_variable_that_may_not_be_read_is_as_good_as_none() -> None:
    assert read_runtime(MemoryTree.of({}, locked=(LOADER.format("LoaderInfo"),))) == Runtime("", is_efi=True)


@pytest.mark.parametrize(
    "option", [b"", b"\0" * 6, b"\0" * 8, load_option("x")[:20], struct.pack("<IH", 1, 8) + b"\0\0" + bytes(8)]
)
def test_a_broken_boot_option_names_no_program(option: bytes) -> None:
    assert parse_load_option(option) is None


@pytest.mark.parametrize("top", ["/lib/modules", "/usr/lib/modules"])
def test_a_directory_of_modules_names_a_kernel_and_an_empty_one_none(top: str) -> None:
    tree = MemoryTree.of(
        {
            "/boot/vmlinuz-6.1.0-50-amd64": "",
            "/boot/vmlinuz-0-rescue-3f1c0d6a5b7e4f52a9d08c6b1e2d3f40": "",
            f"{top}/4.18.0-348.el8_5.x86_64/modules.dep": "",
            f"{top}/5.14.0-570.el9_6.x86_64/vmlinuz": "",
            f"{top}/6.1.0-40-amd64/updates/dkms/zfs.ko": "",
        }
    )
    facts = read_facts(tree, is_system=False, platform=Platform.INTEL)
    assert (facts.kernels, facts.modules) == (
        ("5.14.0-570.el9_6.x86_64", "6.1.0-50-amd64"),
        ("4.18.0-348.el8_5.x86_64",),
    )


@pytest.mark.parametrize(
    ("path", "platform"),
    [
        ("/boot/vmlinuz-6.1.0-50-amd64", Platform.X86),
        ("/boot/vmlinuz-6.1.0-50-arm64", Platform.ARM64),
        ("/boot/efi/EFI/BOOT/BOOTAA64.EFI", Platform.ARM64),
        ("/boot/efi/EFI/BOOT/bootx64.efi", Platform.X86),
        ("/boot/firmware/kernel8.img", Platform.ARM64),
        ("/boot/firmware/kernel_2712.img", Platform.ARM64),
        ("/boot/kernel8.img", Platform.ARM64),
        ("/boot/vmlinuz-6.6.31+rpt-rpi-v8", Platform.ARM64),
        ("/lib/modules/6.6.31+rpt-rpi-2712/modules.dep", Platform.ARM64),
        ("/boot/firmware/kernel7l.img", None),
        ("/boot/vmlinuz-linux", None),
    ],
)
def test_the_platform_of_a_tree_is_told_by_the_names_of_its_kernels(path: str, platform: Platform | None) -> None:
    facts = read_facts(MemoryTree.of({path: ""}), is_system=False, platform=None)
    assert (facts.platform, facts.platform_assumed) == (platform or Platform.X86, platform is None)
