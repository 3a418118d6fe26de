# SPDX-License-Identifier: Apache-2.0
"""Trials that fail after the kernel has started, on hosts with systemd: each comes back, and not without its remedy.

The default arms a trial and reboots; the trial fails and resets the machine, or does not; the default is back, has its
line and its sources, says why, and nothing is left. A reset ends a process of QEMU, and the next one is started. What
fails, and the control:
1. `root=` names no disk, with initramfs-tools and with dracut. Control: the trial's line without what has them reboot.
2. PID 1 crashes, and reboots by itself; it does not, and the hardware watchdog runs. Control: neither.
3. A check of confirm.d fails; one never ends; nobody confirms in time. Each by the trial's own units, which systemd
   runs. Control: the failing check without these units.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from boot import guest, machine, ordinary, recipes
from boot.guest import Job
from boot.images import image
from boot.machine import Boot, Iommu
from boot.traces import TRACES

PROFILE = "passthrough-perf"
LIMIT = 300  # seconds from the start of the trial's kernel; a busy machine takes most of them to come up
TIMEOUT = 3600.0  # seconds, of a whole case; a machine that has eight times its work to do needs most of them
GOES_ON, BROKEN = 9, 3  # exit codes of a job: the host is to go on as it is; something is wrong
ON_TRIAL = "@@TRIAL"
CRASHED = "@@CRASHED"
BOOTS = 3  # the default, the trial, the default
RESTARTED, SWITCHED_OFF = "reboot: Restarting system", "reboot: Power down"  # kernel/reboot.c
SCRIPT = """
edit() {{ sed -i "/BEGIN iommuctl trial/,/END iommuctl trial/$1" /boot/grub/custom.cfg; }}
check() {{
    mkdir -p /etc/iommuctl/confirm.d
    printf '#!/bin/sh\\n%s\\n' "$1" >/etc/iommuctl/confirm.d/10-lab
    chmod 755 /etc/iommuctl/confirm.d/10-lab
}}
if [ ! -e /var/lib/iommuctl/trial.json ]; then
    {install} || exit {broken}
    {prepare}
    cp /run/result/cmdline /root/cmdline
    permanent >/root/permanent
    iommuctl trial start {profile} --timeout {limit} --yes || exit {broken}
    {breaks}
    {without}
    sync
    date +%s >/root/ordered
    systemctl reboot
    exit {goes_on}
fi
if grep -q iommuctl.trial= /proc/cmdline; then
    {during}
    echo {on_trial} >/dev/console
    exit {goes_on}
fi
echo $(($(date +%s) - $(cat /root/ordered))) >/run/result/away
cp /root/cmdline /run/result/before
cp /root/permanent /run/result/permanent.before
permanent >/run/result/permanent
left >/run/result/left
iommuctl trial status --json >/run/result/status.json || exit {broken}
exit 0
"""
LOSE_ROOT = "edit 's# root=UUID=[^ ]*# root=UUID=1ab00000-0000-4000-8000-00000000dead#'"
CRASH = f"""
    kill -SEGV 1
    timeout 5 systemctl show-environment >/run/result/answer 2>&1 || echo {CRASHED} >/dev/console
"""
WATCHED = """
    for second in $(seq 60); do
        grep -qx active /sys/class/watchdog/watchdog0/state && break
        sleep 1
    done
    echo "watchdog: $(cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout)" >/dev/console
"""
WITHOUT_RETURN = "edit 's# panic=[-0-9]*##g' && edit 's# rd[.][a-z]*=[a-z0-9]*##g'"
WITHOUT_CRASH_REBOOT = "edit 's# systemd.crash_reboot=1##'"
WITHOUT_UNITS = "rm -r /etc/systemd/system/iommuctl-trial* /etc/systemd/system/timers.target.d"


@dataclass(frozen=True, slots=True)
class Failure:
    """What becomes of a trial. `shows` is on its console; a `reason` begins what its record says in the end.

    Its control is `without` its remedy, and stays away once its console shows `stays`, for `tail` seconds: longer than
    the remedy would take. Where there is no `stays`, the control is another one's.
    """

    name: str
    reason: str | tuple[str, ...]
    shows: str = ""
    tool: str = "initramfs-tools"
    breaks: str = ""
    during: str = ""
    prepare: str = ""
    devices: tuple[str, ...] = ()
    without: str = ""
    stays: str = ""
    tail: float = 0.0

    def script(self, install: str, *, remedy: bool) -> str:
        """The job of each of its boots."""
        told = SCRIPT.format(
            install=install,
            profile=PROFILE,
            limit=LIMIT,
            prepare=self.prepare,
            breaks=self.breaks,
            without="" if remedy else self.without,
            during=self.during,
            on_trial=ON_TRIAL,
            goes_on=GOES_ON,
            broken=BROKEN,
        )
        return f"{TRACES}\n{told}"


NO_WORD = "its boot left no word"
LIMITED = f"it was rebooted before it was confirmed: by its limit of {LIMIT} s"
# The first look at a trial may be before it or after.
EARLY = (LIMITED, NO_WORD)
FAILURES = (
    Failure(
        name="a lost root with initramfs-tools",
        reason=NO_WORD,
        shows="Gave up waiting for root file system device",
        breaks=LOSE_ROOT,
        without=WITHOUT_RETURN,
        stays="(initramfs)",
        tail=60.0,
    ),
    Failure(
        name="a lost root with dracut",
        reason=NO_WORD,
        tool="dracut",
        breaks=LOSE_ROOT,
        without=WITHOUT_RETURN,
        stays=RESTARTED,  # it waits for the disk without a word
        tail=600.0,
    ),
    Failure(
        name="a crash of PID 1",
        reason=EARLY,
        shows=CRASHED,
        during=CRASH,
        without=WITHOUT_CRASH_REBOOT,
        stays=CRASHED,
        tail=LIMIT,
    ),
    Failure(
        name="a crash of PID 1 with a watchdog alone",
        reason=(*EARLY, "it is not the trial: 'systemd.crash_reboot=1'"),
        shows=CRASHED,
        prepare="modprobe i6300esb || exit 3",
        breaks=WITHOUT_CRASH_REBOOT,
        during=f"{WATCHED}{CRASH}",
        devices=("i6300esb",),
    ),
    Failure(
        name="a check that fails",
        reason="check 10-lab failed: ",
        prepare="check 'echo no good; exit 1'",
        without=WITHOUT_UNITS,
        stays=ON_TRIAL,
        tail=LIMIT + 60.0,
    ),
    Failure(name="a check that never ends", reason="check 10-lab failed: ", prepare="check 'sleep infinity'"),
    Failure(name="a trial that nobody confirms", reason=EARLY),
)


def run(failure: Failure, wheel: Path, folder: Path, *, remedy: bool) -> Boot:
    """Boot until a job is over; without the remedy it ends a while after the host was seen to stay away.

    What is given is the last boot, with the console of them all.
    """
    recipe = ordinary.host(failure.tool)
    own = image(recipe).copy(folder, Iommu.INTEL, "GenuineIntel")
    script = failure.script(recipes.install_wheel(wheel.name), remedy=remedy)
    made = replace(own, job=Job(script, {wheel.name: wheel.read_bytes()}), devices=failure.devices)
    began, end, told, number = time.monotonic(), TIMEOUT, "", 0
    while True:
        number += 1
        console = folder / f"{number}/console"
        with machine.start(made, console.parent) as process:
            while process.poll() is None and (past := time.monotonic() - began) < end:
                said = told + console.read_bytes().decode("utf-8", "replace")
                if f"{guest.RC}{BROKEN}" in said:
                    break
                if not remedy and failure.stays in said:
                    end = min(end, past + failure.tail) if end == TIMEOUT else end
                time.sleep(0.5)
            was_reset = process.poll() is not None
        found = machine.outcome(console.parent, time.monotonic() - began)
        told += found.console
        if number == BOOTS or found.ended or not was_reset or SWITCHED_OFF in found.console:
            return replace(found, console=told)


def _ids(failure: Failure) -> str:
    return failure.name.replace(" ", "-")


@pytest.mark.parametrize("failure", FAILURES, ids=_ids)
def test_a_trial_that_fails_comes_back(failure: Failure, built_wheel: Path, results: Path, tmp_path: Path) -> None:
    found = run(failure, built_wheel, tmp_path, remedy=True)
    assert found.ended, found.told()
    assert failure.shows in found.console, found.told()
    if failure.devices:  # a watchdog asks no kernel
        assert RESTARTED not in found.console.partition(ON_TRIAL)[2], found.told()
    assert found.text("cmdline") == found.text("before")
    assert found.text("permanent") == found.text("permanent.before")
    trial = json.loads(found.text("status.json"))
    assert (trial["state"], found.text("left")) == ("returned", ""), found.told()
    assert trial["trial"]["reason"].startswith(failure.reason), trial
    told = f"{failure.name}: the default was up again {found.text('away').strip()} s after the reboot into the trial"
    (results / f"trial-failure-{_ids(failure)}.txt").write_text(f"{told}\n", encoding="utf-8")


@pytest.mark.parametrize("failure", [one for one in FAILURES if one.stays], ids=_ids)
def test_it_stays_away_without_its_remedy(failure: Failure, built_wheel: Path, results: Path, tmp_path: Path) -> None:
    found = run(failure, built_wheel, tmp_path, remedy=False)
    assert failure.stays in found.console, found.told()
    assert f"{guest.RC}{BROKEN}" not in found.marks, found.told()
    boots = found.console[found.console.index(failure.stays) :].count(guest.UP)
    assert (found.ended, boots) == (False, 0), found.told()
    told = f"{failure.name}, control: without its remedy it stayed away for the {failure.tail:.0f} s it was watched"
    (results / f"trial-failure-{_ids(failure)}-control.txt").write_text(f"{told}\n", encoding="utf-8")
