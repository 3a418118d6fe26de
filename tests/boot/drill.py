# SPDX-License-Identifier: Apache-2.0
"""Drill: a host that nobody can walk to loses its disk by a parameter, and comes back by itself.

There is a serial line to watch, and nobody types anything. One process of QEMU runs from the first boot to the last, so
the kernel itself resets the machine, and its firmware and GRUB start it again.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from boot import machine
from boot.guest import END, Job
from boot.images import image
from boot.machine import Boot, Iommu
from boot.recipes import RECIPES, Loader, install_wheel

PROFILE = "passthrough-perf"
# Without its PCI bus the machine has no disk, as with a controller that its IOMMU keeps from it.
BREAKS = "pci=off"
PANIC = "Kernel panic - not syncing"
RETURNS = "Rebooting in 10 seconds"
HALTED = "end Kernel panic"  # kernel/panic.c: with panic=0 it says so and stays
_TIMEOUT = 2400.0  # seconds; on a machine that had six times its work to do, it took half of that
_TAIL = 5.0  # seconds to see that a machine that is halted stays so
# No systemd is there, so the job gives the orders that `trial start --reboot` and the units of the trial would give.
_SCRIPT = """
exec >/dev/console 2>&1
typed() {{ echo "lab:~# $*"; "$@"; }}
mkdir -p /run/systemd/system
if [ ! -e /var/lib/iommuctl/trial.json ]; then
    {install} || exit 3
    cp /run/result/cmdline /root/cmdline
    typed iommuctl trial start {profile} --add {breaks} --remove quiet --why "a drill" --yes || exit 4
    {prepare}
    sync
    mount -o remount,ro /
    echo "lab:~# reboot"
    echo b >/proc/sysrq-trigger
    sleep 60
fi
cp /root/cmdline /run/result/before
typed iommuctl trial settle || exit 5
typed cat /proc/cmdline
iommuctl trial status --json >/run/result/status.json
grep -r -l 'iommuctl.trial' /boot /etc >/run/result/left
exit 0
"""
# The control: the same entry without what has the kernel reboot. The default line says panic=-1.
_WITHOUT = """
sed -i '/BEGIN iommuctl trial/,/END iommuctl trial/s/ panic=[-0-9]*//g' /boot/grub/custom.cfg
"""


def drill(folder: Path, built: Path, *, remedy: bool = True, show: Callable[[str], object] = str) -> Boot:
    """Run the whole drill; `show` gets what the serial line says. Without the remedy it ends when the kernel halts."""
    recipe = next(one for one in reversed(RECIPES) if one.loader is Loader.GRUB_BIOS)
    script = _SCRIPT.format(
        install=install_wheel(built.name),
        profile=PROFILE,
        breaks=BREAKS,
        prepare="" if remedy else _WITHOUT,
    )
    own = image(recipe).copy(folder, Iommu.INTEL, "GenuineIntel")
    job = Job(script, {built.name: built.read_bytes()})
    made = replace(own, job=job, reboots=True, timeout=_TIMEOUT)
    began, seen, halted = time.monotonic(), 0, None
    with machine.start(made, folder / "drill") as process:
        while process.poll() is None and time.monotonic() - began < made.timeout:
            said = (folder / "drill/console").read_bytes()
            show(said[seen:].decode("utf-8", "replace"))
            seen = len(said)
            if HALTED.encode() in said:
                halted = halted or time.monotonic()
                if time.monotonic() - halted > _TAIL:
                    break
            time.sleep(0.1)
    return machine.outcome(folder / "drill", time.monotonic() - began)


def came_back(boot: Boot) -> bool:
    """Whether the trial broke the machine, and the last of its boots is the default's, to its end."""
    broke = boot.console.find(PANIC)
    return 0 < broke < boot.console.find(RETURNS) and boot.console.rfind(END) > broke and boot.ended
