# SPDX-License-Identifier: Apache-2.0
"""What else on a host decides about a device: each file by what is told of it, and files that must tell nothing."""

from pathlib import Path

import pytest
from kernelhosts import write

from iommuctl.devices.conflicts import conflicts
from iommuctl.devices.inventory import Function
from iommuctl.host.root import Root
from iommuctl.running.state import Device

CARD = Function(Device("0000:01:00.0", "030000", "10de", "1b80", "nouveau", group=1))
HOSTDEV = """<domain><devices><hostdev mode="subsystem" type="pci" managed="{}">
<source><address domain="0x0000" bus="0x01" slot="0x00" function="0x0"/></source></hostdev></devices></domain>"""

VIRQFD = "warning: {path} names vfio_virqfd, which is no module from 6.2 on, and an initramfs may fail for it"


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        (
            "etc/modprobe.d/a.conf",
            "blacklist nouveau\n",
            "warning: /etc/modprobe.d/a.conf keeps nouveau off every device, not just 0000:01:00.0",
        ),
        ("etc/modprobe.d/a.conf", "#blacklist nouveau\nblacklist snd_hda_intel\n", None),
        (
            "etc/modprobe.d/a.conf",
            "softdep nouveau pre: vfio-pci\n",
            "info: /etc/modprobe.d/a.conf has vfio-pci loaded before nouveau",
        ),
        ("etc/modprobe.d/a.conf", "softdep nouveau post: vfio-pci\nsoftdep nvme pre: vfio-pci\n", None),
        (
            "etc/modprobe.d/a.conf",
            "install vfio-pci /sbin/bind-them\n",
            "warning: /etc/modprobe.d/a.conf runs a command of its own where vfio-pci is to be loaded",
        ),
        (
            "etc/driverctl.d/pci-0000:01:00.0",
            "vfio-pci\n",
            "info: driverctl binds 0000:01:00.0 to vfio-pci at each start, by its address alone ({path})",
        ),
        (
            "etc/driverctl.d/pci-0000:01:00.0",
            "nouveau\n",
            "warning: driverctl binds 0000:01:00.0 to nouveau at each start, by its address alone ({path})",
        ),
        ("etc/driverctl.d/pci-0000:02:00.0", "vfio-pci\n", None),
        (
            "etc/pve/qemu-server/100.conf",
            "cores: 4\nhostpci0: 01:00,pcie=1\n",
            "info: Proxmox binds 0000:01:00.0 by itself when guest 100 starts (/etc/pve/qemu-server/100.conf)",
        ),
        ("etc/pve/qemu-server/100.conf", "hostpci0: 0000:02:00.0\n[before]\nhostpci0: 0000:01:00.0\n", None),
        (
            "etc/libvirt/qemu/web.xml",
            HOSTDEV.format("yes"),
            "info: libvirt binds 0000:01:00.0 by itself when guest web starts (managed) (/etc/libvirt/qemu/web.xml)",
        ),
        ("etc/libvirt/qemu/web.xml", HOSTDEV.format("no"), None),
        (
            "etc/initramfs-tools/modules",
            "vfio\nvfio_virqfd\n",
            VIRQFD,
        ),
        (
            "etc/dracut.conf.d/vfio.conf",
            'force_drivers+=" vfio_pci vfio_virqfd "\n',
            VIRQFD,
        ),
        ("etc/initramfs-tools/modules", "# vfio_virqfd\n", None),
    ],
)
def test_what_else_binds_is_named(path: str, text: str, told: str | None, tmp_path: Path) -> None:
    write(tmp_path / path, text)
    found = [f"{one.severity}: {one.message}" for one in conflicts(Root(tmp_path), (CARD,))]
    assert found == ([told.format(path=f"/{path}")] if told else [])


def test_nothing_is_told_of_no_device(tmp_path: Path) -> None:
    write(tmp_path / "etc/modprobe.d/a.conf", "blacklist nouveau\n")
    assert conflicts(Root(tmp_path), ()) == ()
