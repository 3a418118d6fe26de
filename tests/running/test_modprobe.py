# SPDX-License-Identifier: Apache-2.0
"""modprobe.d: options in the order in which modprobe hands them on, from the files that count."""

from pathlib import PurePosixPath

from trees import MemoryTree

from iommuctl.running.modprobe import read_options


def test_options_come_in_the_order_of_the_files_that_count() -> None:
    tree = MemoryTree.of(
        {
            "/etc/modprobe.d/vfio.conf": "# cards\noptions vfio-pci ids=10de:2484,\\\n10de:228b disable_vga=1\n",
            "/etc/modprobe.d/kvm.conf": 'options kvm_amd sev=1 sev-snp="1"\nblacklist nouveau\n',
            "/usr/lib/modprobe.d/kvm.conf": "options kvm_amd sev_snp=0\n",
            "/usr/lib/modprobe.d/zz.conf": "options\noptions vfio_pci\n",
            "/etc/modprobe.d/vfio.conf.bak": "options vfio-pci ids=1:2\n",
            "/etc/modprobe.d/locked.conf": "",
        },
        locked=("/etc/modprobe.d/locked.conf",),
    )
    kvm, vfio = PurePosixPath("/etc/modprobe.d/kvm.conf"), PurePosixPath("/etc/modprobe.d/vfio.conf")
    assert read_options(tree) == (
        ("kvm_amd", "sev", "1", kvm),
        ("kvm_amd", "sev_snp", "1", kvm),
        ("vfio_pci", "ids", "10de:2484,10de:228b", vfio),
        ("vfio_pci", "disable_vga", "1", vfio),
    )
