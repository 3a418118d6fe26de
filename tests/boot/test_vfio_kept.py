# SPDX-License-Identifier: Apache-2.0
"""The way back from an image that does not boot, as docs/gpu-passthrough.md tells it to whoever is at the menu.

One machine, from boot to boot, by its own GRUB:
1. The controller of its disk is refused, and so is the card that it is reached by. Another card is chosen by its
   address: initramfs-tools builds the image, and the one that the machine booted with is kept.
2. The card is with vfio-pci, its twin with its driver, and `verify` says so. The image is cut off in the middle.
3. It does not boot.
4. At the menu, the kept image is named on the line `initrd`: it boots, and binds nothing. The choice is rolled back,
   and the kept image takes its place again.
5. It boots by itself, with the line that it had.
"""

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

from boot import machine
from boot.guest import Job
from boot.images import image
from boot.machine import Boot, Iommu, Machine
from boot.recipes import WITH_MENU, install_wheel
from boot.traces import DRIVERS

CHOSEN, TWIN = "0000:00:10.0", "0000:00:12.0"
CARDS = ("e1000e,addr=0x10", "e1000e,addr=0x12")
SHOW = f"""{DRIVERS}
drivers {CHOSEN} {TWIN} >/run/result/drivers
live=/boot/initrd.img-$(uname -r)
kept=/boot/iommuctl-kept-${{live#/boot/}}
disk=$(readlink -f /sys/class/block/vda/device)
disk=${{disk%/*}}
"""
# The host is reached by one card: without a program for it, as ioctl does it (netdevice(7), rtentry of linux/route.h).
UPLINK = r"""
import fcntl, os, socket, struct, sys

[card] = os.listdir(f"/sys/bus/pci/devices/{sys.argv[1]}/net")
name = card.encode().ljust(16, b"\0")
address = lambda text: struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
    fcntl.ioctl(ours, 0x8916, name + address("10.0.0.2"))  # SIOCSIFADDR
    fcntl.ioctl(ours, 0x8914, name + struct.pack("H14x", 1))  # SIOCSIFFLAGS, IFF_UP
    route = address("0.0.0.0"), address("10.0.0.1"), address("0.0.0.0")
    fcntl.ioctl(ours, 0x890B, struct.pack("8x16s16s16sH62x", *route, 3))  # SIOCADDRT, RTF_UP and RTF_GATEWAY
"""
CHOOSE = f"""
refused() {{
    iommuctl apply vfio-bind --device "$2" --yes >"/run/result/$1" 2>&1
    echo "exit code $?" >>"/run/result/$1"
}}
refused disk "${{disk##*/}}"
python3 ./uplink {TWIN} || exit 5
refused uplink {TWIN}
iommuctl apply vfio-bind --device {CHOSEN} --yes --json >/run/result/apply.json || exit 3
[ -s "$kept" ] || exit 4
"""
BREAK = """
iommuctl verify --json >/run/result/verify.json
truncate --size=1M "$live"
"""
BACK = """
iommuctl rollback --yes --json >/run/result/rollback.json || exit 3
mv "$kept" "$live"
"""
LEFT = "ls /boot >/run/result/boot\n"
MENU = b"`e' to edit"
EDITOR = b"Minimum Emacs-like screen editing"
STARTED = b"Booting a command list"
PATIENCE = 300.0  # seconds


def press(line: socket.socket, keys: bytes, after: bytes) -> None:
    """Type once the screen shows something."""
    shown, began = b"", time.monotonic()
    while after not in shown:
        assert time.monotonic() - began < PATIENCE, shown
        shown += line.recv(1 << 16)
    line.sendall(keys)


class Rig:
    """One machine from boot to boot."""

    def __init__(self, own: Machine, folder: Path) -> None:
        self.own = replace(own, devices=CARDS, timeout=1800.0)
        self.folder = folder
        self.told: list[str] = []

    def boot(self, script: str, what: str, given: dict[str, bytes] | None = None, initrd: str = "") -> Boot:
        """Boot once; with `initrd`, somebody names that file at the menu."""
        folder = self.folder / str(len(self.told))
        folder.mkdir()
        keyboard = folder / "keyboard"
        made = replace(self.own, job=Job(f"{SHOW}\n{script}\nexit 0\n", given or {}), keyboard=keyboard)
        began = time.monotonic()
        with machine.start(made, folder) as process:
            if initrd:
                name_at_menu(keyboard, initrd)
            process.wait(made.timeout)
        found = machine.outcome(folder, time.monotonic() - began)
        self.told.append(f"{what} ({found.seconds:.0f} s)")
        return found


def name_at_menu(keyboard: Path, initrd: str) -> None:
    """Edit the first entry of the menu: its last line names the initramfs."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(PATIENCE)
        while not keyboard.exists():
            time.sleep(0.05)
        line.connect(str(keyboard))
        press(line, b"e", MENU)
        # Down to the last line, to its beginning, and what is there goes.
        press(line, b"\x0e" * 40 + b"\x01\x0b" + f"initrd {initrd}".encode() + b"\x18", EDITOR)
        press(line, b"", STARTED)  # what is not read yet when somebody leaves is lost


def test_an_image_that_does_not_boot_has_its_way_back(built_wheel: Path, results: Path, tmp_path: Path) -> None:
    made = image(WITH_MENU)
    rig = Rig(made.copy(tmp_path, Iommu.INTEL, "GenuineIntel"), tmp_path)
    (release,) = made.releases.values()
    given = {built_wheel.name: built_wheel.read_bytes(), "uplink": UPLINK.encode()}
    chosen = rig.boot(f"cd /run/job\n{install_wheel(built_wheel.name)}\n{CHOOSE}", "chosen", given)
    assert chosen.ended, chosen.told()
    for what, rule in (("disk", "device-carries-root"), ("uplink", "device-is-uplink")):
        assert rule in chosen.text(what), chosen.text(what)
        assert chosen.text(what).endswith("exit code 65\n")
    kept = f"/boot/iommuctl-kept-initrd.img-{release}"
    findings = json.loads(chosen.text("apply.json"))["findings"]
    assert [one["rule"] for one in findings if kept in one["message"]] == ["image-kept"]

    bound = rig.boot(BREAK, "the card bound and its twin not, by the new image")
    assert bound.ended, bound.told()
    assert bound.text("drivers") == f"{CHOSEN} vfio-pci\n{TWIN} e1000e\n", bound.told()
    assert json.loads(bound.text("verify.json"))["verdict"] == "active", bound.text("verify.json")

    lost = rig.boot("", "that image, cut off in the middle, not booting")
    assert not lost.marks, lost.told()
    assert "Kernel panic" in lost.console, lost.told()

    back = rig.boot(BACK, "the kept image, named at GRUB's menu, booting and binding nothing", initrd=kept)
    assert back.ended, back.told()
    free = f"{CHOSEN} e1000e\n{TWIN} e1000e\n"
    assert back.text("drivers") == free, back.told()
    assert f"iommuctl.vfio={CHOSEN}" in back.text("cmdline")

    usual = rig.boot(LEFT, "after the rollback booting by itself")
    assert usual.ended, usual.told()
    assert (usual.text("drivers"), usual.text("cmdline")) == (free, chosen.text("cmdline")), usual.told()
    assert "iommuctl-kept" not in usual.text("boot")
    told = ("the controller of its disk and its uplink refused", *rig.told[1:])
    (results / "vfio-kept.txt").write_text(f"Debian 13, GRUB by BIOS, initramfs-tools: {'; '.join(told)}\n")
