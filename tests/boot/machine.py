# SPDX-License-Identifier: Apache-2.0
"""Machine: one QEMU process from its start to its end. Always within a time limit, always ended by its process id.

The contract: `run(machine, folder)` boots once and gives a `Boot`; it never raises for what the guest does. `start`
gives the process itself to those who cut its power, and `outcome` reads what it left. One process is one boot
(`-no-reboot`): a panic ends it too, so success is `Boot.ended`, never an exit code.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from boot import guest
from boot.guest import Job

# A boot takes 20 to 60 seconds on an idle machine, and many times that on a busy one.
TIMEOUT_SECONDS = 900.0
MEMORY = 768  # MiB
# What emulation itself does to a kernel now and then, before any of its programs runs.
_RETRIED = ("Oops:", "double fault:", "IO-APIC + timer doesn't work")
_FIRMWARE = (
    (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
    (Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),
)
_ARM64_FIRMWARE = ((Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd")),)


class Iommu(StrEnum):
    """The IOMMU of a machine."""

    INTEL = "intel"
    AMD = "amd"
    NONE = "none"
    SMMU = "smmuv3"


class Firmware(StrEnum):
    """What starts the bootloader."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that QEMU starts by itself, past any bootloader."""

    image: Path
    initrd: Path | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What a boot needs: a PC, or with the SMMU an ARM64 machine. The guest changes `disk`, and UEFI `variables`.

    `cpu_vendor` is what the processor calls itself, which need not fit the IOMMU. `memory` is in MiB. `cut` is one more
    disk, raw and with the serial `cut`; `log`, where given, gets every write to that one by QEMU's blklogwrites. One
    that `reboots` goes on after a reset, by its firmware; else a reset is its end. `devices` are more of them, as the
    option of QEMU names them. `keyboard` is a socket to be made at which somebody types on its serial line.
    """

    disk: Path
    firmware: Firmware
    iommu: Iommu
    cpu_vendor: str
    variables: Path | None = None
    kernel: Kernel | None = None
    job: Job | None = None
    cut: Path | None = None
    log: Path | None = None
    memory: int = MEMORY
    devices: tuple[str, ...] = ()
    keyboard: Path | None = None
    timeout: float = TIMEOUT_SECONDS
    reboots: bool = False


@dataclass(frozen=True, slots=True)
class Boot:
    """How a boot went: the console, what the guest handed over, and whether it came to the end of its job."""

    console: str
    result: dict[str, bytes]
    seconds: float
    retries: int = 0
    marks: tuple[str, ...] = field(default=())

    @property
    def ended(self) -> bool:
        """Whether the guest ran its job to the end, and the job was content."""
        return guest.END in self.marks and f"{guest.RC}0" in self.marks

    def text(self, name: str) -> str:
        """Return a file that the guest handed over; empty where there is none."""
        return self.result.get(name, b"").decode("utf-8", "replace")

    def told(self) -> str:
        """What to read when it went wrong."""
        tail = "\n".join(self.console.replace("\r", "").splitlines()[-40:])
        return f"marks: {self.marks}\nlog:\n{self.text('log')}\nconsole:\n{tail}"


def missing() -> str | None:
    """Why no machine can be run here; None where one can."""
    programs = (
        "qemu-system-x86_64",
        "qemu-system-aarch64",
        "qemu-img",
        "depmod",
        "mmdebstrap",
        "mkfs.vfat",
        "mke2fs",
        "sfdisk",
    )
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (scripts/boot-test installs them)"
    if os.geteuid() != 0:
        return "images are installed in a chroot, for which one must be root"
    if firmware_files() is None or firmware_files(arm64=True) is None:
        return "not installed: OVMF or AAVMF (scripts/boot-test installs them)"
    return None


def firmware_files(*, arm64: bool = False) -> tuple[Path, Path] | None:
    """Return UEFI's code and the template of its variables."""
    known = _ARM64_FIRMWARE if arm64 else _FIRMWARE
    return next((pair for pair in known if all(path.is_file() for path in pair)), None)


def overlay(base: Path, target: Path) -> Path:
    """Make a disk that begins as `base` and never changes it."""
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(target))
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return target


def run(machine: Machine, folder: Path) -> Boot:
    """Boot once, and once more where the emulated processor failed before the guest was up; `folder` keeps the rest."""
    first = _run_once(machine, folder)
    if any(text in first.console for text in _RETRIED) and not any(mark.startswith(guest.UP) for mark in first.marks):
        again = _run_once(machine, folder)
        return Boot(again.console, again.result, first.seconds + again.seconds, 1, again.marks)
    return first


@contextlib.contextmanager
def start(machine: Machine, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a machine; on leaving it is killed, by its process id, if it still runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "console").write_bytes(b"")
    with (folder / "result").open("wb") as disk:
        disk.truncate(guest.RESULT_BYTES)
    if machine.job is not None:
        machine.job.write(folder / "job")
    with (folder / "qemu").open("wb") as errors:
        process = subprocess.Popen(
            _argv(machine, folder), stdin=subprocess.DEVNULL, stdout=errors, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def outcome(folder: Path, seconds: float) -> Boot:
    """Read what a machine that is off left in its directory."""
    console = (folder / "console").read_bytes().decode("utf-8", "replace")
    complaints = (folder / "qemu").read_text(errors="replace")
    marks = tuple(line.strip() for line in console.splitlines() if line.startswith("@@"))
    result = guest.read_result(folder / "result") if guest.END in marks else {}
    return Boot(complaints + console, result, seconds, marks=marks)


def _run_once(machine: Machine, folder: Path) -> Boot:
    began = time.monotonic()
    with start(machine, folder) as process, contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(machine.timeout)
    return outcome(folder, time.monotonic() - began)


def _argv(machine: Machine, folder: Path) -> tuple[str, ...]:
    return (
        # Whatever ends a test ends its machine: the signal that the kernel sends when the parent is gone.
        *("setpriv", "--pdeathsig", "KILL"),
        *_processor(machine),
        *(word for device in machine.devices for word in ("-device", device)),
        *(
            "-nodefaults",
            "-no-user-config",
            *(() if machine.reboots else ("-no-reboot",)),
            "-display",
            "none",
            "-accel",
            "tcg",
            "-m",
            f"{machine.memory}",
        ),
        *_disk("sys", machine.disk, bootindex=1, device=_root_device(machine)),
        *(_disk("cut", machine.cut, log=machine.log) if machine.cut is not None else ()),
        *(_disk("job", folder / "job", readonly=True) if machine.job is not None else ()),
        *_disk("result", folder / "result"),
        *_firmware(machine),
        *_kernel(machine.kernel),
        *_serial(machine.keyboard, folder / "console"),
    )


def _serial(keyboard: Path | None, console: Path) -> tuple[str, ...]:
    if keyboard is None:
        return ("-serial", f"file:{console}")
    line = f"socket,id=line,path={keyboard},server=on,wait=off,logfile={console}"
    return ("-chardev", line, "-serial", "chardev:line")


def _processor(machine: Machine) -> tuple[str, ...]:
    """The program, its processor and its IOMMU. The last device of a PC is there to be in a group."""
    pc = ("qemu-system-x86_64", "-machine", "q35", "-cpu", f"qemu64,vendor={machine.cpu_vendor}")
    grouped = ("-device", "e1000e,romfile=")  # without the firmware's driver of it, which takes a second
    match machine.iommu:
        case Iommu.INTEL:
            return (*pc, "-device", "intel-iommu,intremap=on", *grouped)
        case Iommu.AMD:
            return (*pc, "-device", "amd-iommu,intremap=on", *grouped)
        case Iommu.NONE:
            return (*pc, *grouped)
        case Iommu.SMMU:
            return ("qemu-system-aarch64", "-machine", "virt,gic-version=3,iommu=smmuv3", "-cpu", "cortex-a57")


def _root_device(machine: Machine) -> str:
    """An SMMU has groups only for devices whose driver is loaded, so its machine boots from one that is after it."""
    return "nvme" if machine.iommu is Iommu.SMMU else "virtio-blk-pci"


def _disk(
    serial: str,
    path: Path,
    *,
    log: Path | None = None,
    readonly: bool = False,
    bootindex: int | None = None,
    device: str = "virtio-blk-pci",
) -> tuple[str, ...]:
    kind = "qcow2" if path.suffix == ".qcow2" else "raw"
    switch = "on" if readonly else "off"
    nodes = [f"driver=file,node-name={serial}-file,filename={path},read-only={switch}"]
    nodes.append(f"driver={kind},node-name={serial},file={serial}-file,read-only={switch}")
    node = serial
    if log is not None:
        nodes.append(f"driver=file,node-name={serial}-log-file,filename={log}")
        nodes.append(
            f"driver=blklogwrites,node-name={serial}-logged,file={serial},log={serial}-log-file,log-sector-size=512"
        )
        node = f"{serial}-logged"
    more = "" if bootindex is None else f",bootindex={bootindex}"
    if log is not None:
        # Where it is told to write zeroes, the filter of QEMU 7.2 may spoil its log.
        more += ",discard=off,write-zeroes=off"
    blockdevs = tuple(word for options in nodes for word in ("-blockdev", options))
    return (*blockdevs, "-device", f"{device},drive={node},serial={serial}{more}")


def _firmware(machine: Machine) -> tuple[str, ...]:
    if machine.firmware is Firmware.BIOS:
        return ()
    files = firmware_files(arm64=machine.iommu is Iommu.SMMU)
    assert files is not None, "no firmware here"
    assert machine.variables is not None, "UEFI needs a file for its variables"
    code, _ = files
    return (
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={machine.variables}"),
    )


def _kernel(kernel: Kernel | None) -> tuple[str, ...]:
    if kernel is None:
        return ()
    initrd = () if kernel.initrd is None else ("-initrd", str(kernel.initrd))
    return ("-kernel", str(kernel.image), *initrd, "-append", kernel.cmdline)
