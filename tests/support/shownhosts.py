# SPDX-License-Identifier: Apache-2.0
"""Shown hosts: what the examples of the documents run on. Images, and hosts that stand for running ones."""

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from kernelhosts import INTEL, KernelHost, Pci, link, write
from project import PROJECT

MOUNTED = "/mnt/image"  # where the documents have an image

# iommuctl as if the tree of SHOWN_HOST were the running system; it never starts a program of the machine it is on.
_AS_RUNNING = """
import os, sys
import iommuctl.cli, iommuctl.host.commands
from iommuctl.host.root import Root

def refuse(self, command, **_):
    sys.exit(f"a shown host would run {command}")

Root.is_running_system = property(lambda self: True)
iommuctl.host.commands.SystemRunner.run = refuse
if not {"explain", "--help"}.intersection(sys.argv) and sys.argv[1:3] != ["profile", "check"]:
    sys.argv += ["--root", os.environ["SHOWN_HOST"]]
iommuctl.cli.main()
"""
_PROGRAMS = {
    "iommuctl": f"""\
if [ -n "${{SHOWN_HOST-}}" ]; then
    exec {sys.executable} -c '{_AS_RUNNING}' "$@"
fi
exec {sys.executable} -m iommuctl "$@"
""",
    "sudo": '[ "$1" != -n ] || shift; exec "$@"\n',
    "reboot": 'rm -r "$SHOWN_HOST/proc" "$SHOWN_HOST/sys" && cp -a "$SHOWN_HOST.after/." "$SHOWN_HOST"\n',
    # ssh HOST COMMAND...: what arrives is one line for the shell of the host.
    "ssh": 'while [ "${1#-}" != "$1" ]; do case $1 in -o) shift ;; esac; shift; done\n'
    'host=$1; shift; [ -d "hosts/$host" ] || { echo "ssh: $host: no route" >&2; exit 255; }\n'
    'export SHOWN_HOST="$PWD/hosts/$host"; exec sh -c "$*"\n',
}

_RELEASE = "6.14.5-300.fc42.x86_64"
_LINE = "root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro rootflags=subvol=root rhgb quiet"
_CONFIG = "CONFIG_INTEL_IOMMU=y\nCONFIG_AMD_IOMMU=y\nCONFIG_IOMMU_DEFAULT_DMA_LAZY=y\n"
_PCI_IDS = """\
10de  NVIDIA Corporation
\t10f0  GP104 High Definition Audio Controller
\t1b80  GP104 [GeForce GTX 1080]
8086  Intel Corporation
	3e98  CoffeeLake-S GT2 [UHD Graphics 630]
\t154c  Ethernet Virtual Function 700 Series
\t1572  Ethernet Controller X710 for 10GbE SFP+
\t1901  Xeon E3-1200 v5/E3-1500 v5/6th Gen Core Processor PCIe Controller (x16)
C 02  Network controller
\t00  Ethernet controller
C 03  Display controller
\t00  VGA compatible controller
C 04  Multimedia controller
\t03  Audio device
C 06  Bridge
\t04  PCI bridge
"""
_RESETS = {"reset_method": "flr bus", "reset": ""}
_NIC = Pci(
    "0000:02:00.0",
    "8086:1572",
    "020000",
    2,
    "i40e",
    {"sriov_totalvfs": "64", "sriov_numvfs": "0", **_RESETS},
    (0x0D, 0x10),
)
_FUNCTIONS = tuple(
    Pci(f"0000:02:02.{number}", "8086:154c", "020000", 3 + number, "iavf", _RESETS, (0x0D,), "0000:02:00.0")
    for number in range(2)
)
_GPU = (
    Pci("0000:01:00.0", "10de:1b80", "030000", 1, "nouveau", {"reset_method": "bus", "reset": ""}),
    Pci("0000:01:00.1", "10de:10f0", "040300", 1, "snd_hda_intel", {"reset_method": "bus", "reset": ""}),
)
_PORT = Pci("0000:00:01.0", "8086:1901", "060400", 0, "pcieport")
_SCREEN = Pci("0000:00:02.0", "8086:3e98", "030000", 3, "i915", {"boot_vga": "1", "reset_method": "flr", "reset": ""})
_CONTROLLER = Pci("0000:03:00.0", "1000:0097", "010700", 4, "mpt3sas", {"reset_method": "bus", "reset": ""})
_DEVICES = (_PORT, *_GPU, _NIC)
_AFTER = replace(
    INTEL,
    cmdline=f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{_RELEASE} {_LINE} intel_iommu=on iommu=pt",
    release=_RELEASE,
    types={0: "identity", 1: "identity", 2: "identity"},
    devices=_DEVICES,
    config=_CONFIG,
)
_WITH_SCREEN = replace(_AFTER, types=dict.fromkeys(range(4), "identity"), devices=(*_DEVICES, _SCREEN))
_BEFORE = replace(
    _AFTER,
    cmdline=f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{_RELEASE} {_LINE}",
    units={},
    types={},
    devices=tuple(replace(device, group=None) for device in (*_DEVICES, _SCREEN, _CONTROLLER)),
    interrupts=" 24:  0  0  PCI-MSI-0000:02:00.0  0-edge  i40e\n",
)


@dataclass(frozen=True)
class RunningHost:
    """A golden tree with the kernel that runs in it, and the one that runs after a reboot."""

    before: KernelHost
    after: KernelHost
    tree: str = "bls/fedora-42"


RUNNING = {
    "host": RunningHost(_BEFORE, replace(_AFTER, devices=(*_DEVICES, replace(_SCREEN, group=0)))),
    "vfio": RunningHost(
        _WITH_SCREEN,
        replace(
            _WITH_SCREEN,
            cmdline=f"{_AFTER.cmdline} vfio-pci.ids=10de:1b80,10de:10f0",
            devices=(_PORT, *(replace(device, driver="vfio-pci") for device in _GPU), _NIC, _SCREEN),
        ),
    ),
    "sr-iov": RunningHost(
        _AFTER,
        replace(
            _AFTER,
            types=dict.fromkeys(range(5), "identity"),
            devices=(
                *_DEVICES[:-1],
                replace(_NIC, files={**_NIC.files, "sriov_numvfs": "2"}),
                *_FUNCTIONS,
            ),
        ),
    ),
    "strict": RunningHost(
        _BEFORE,
        replace(
            _AFTER,
            cmdline=f"{_BEFORE.cmdline} intel_iommu=on iommu.passthrough=0 iommu.strict=1",
            types={0: "DMA", 1: "DMA", 2: "DMA"},
        ),
    ),
    "firmware-off": RunningHost(_BEFORE, replace(_BEFORE, cmdline=_AFTER.cmdline, tables=("APIC", "FACP"))),
}


@dataclass(frozen=True)
class Stage:
    """A directory where examples run, with the programs that they call first on PATH."""

    folder: Path

    @classmethod
    def build(cls, folder: Path) -> "Stage":
        programs = folder / "bin"
        programs.mkdir(parents=True)
        for name, text in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}")
            (programs / name).chmod(0o755)
        work = folder / "work"
        work.mkdir()
        for name in ("examples", "tests"):
            (work / name).symlink_to(PROJECT / name)
        return cls(folder)

    @property
    def work(self) -> Path:
        """The directory that stands for a clean tree of the project."""
        return self.folder / "work"

    def environment(self, host: str = "") -> dict[str, str]:
        """What examples see; `host` is the running one, as `running` gave it."""
        packages = [path for path in sys.path if path.endswith("-packages")]
        return {
            "PATH": os.pathsep.join((str(self.folder / "bin"), "/usr/sbin:/usr/bin:/sbin:/bin")),
            "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent",
            "PYTHONPATH": os.pathsep.join((str(PROJECT), *packages)),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"SHOWN_HOST": host} if host else {}),
        }

    def image(self, name: str) -> Path:
        """A copy of a sample or golden tree, the same one each time."""
        copy = self.folder / "images" / name
        if not copy.exists():
            shutil.copytree(_source(name), copy, symlinks=True)
        return copy

    def running(self, name: str, place: Path | None = None) -> Path:
        """A host that stands for a running one, the same one each time."""
        tree = place or self.folder / "hosts" / name
        if not tree.exists():
            host = RUNNING[name]
            shutil.copytree(PROJECT / "tests/golden" / host.tree / "before", tree, symlinks=True)
            write(tree / "usr/share/hwdata/pci.ids", _PCI_IDS)
            (tree / "var/lib").mkdir(parents=True, exist_ok=True)
            for kernel, top in ((host.before, tree), (host.after, tree.with_name(f"{tree.name}.after"))):
                _put_disk(kernel.write(top))
        return tree


def _put_disk(top: Path) -> None:
    """Add the disk that the root file system is on."""
    disk = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"
    for name, number in (("sda", "8:0"), ("sda/sda3", "8:3")):
        place = f"{disk.removesuffix('sda')}{name}"
        write(top / "sys" / place / "dev", f"{number}\n")
        link(top / "sys/class/block" / name.rpartition("/")[2], f"../../{place}")
        link(top / "sys/dev/block" / number, f"../../{place}")
    write(top / "sys" / disk / "sda3/partition", "3\n")
    write(top / "proc/self/mountinfo", "30 1 8:3 / / rw,relatime shared:1 - ext4 /dev/sda3 rw\n")


def _source(name: str) -> Path:
    sample = PROJECT / "examples" / name
    return sample if sample.is_dir() else next((PROJECT / "tests/golden").glob(f"*/{name}")) / "before"
