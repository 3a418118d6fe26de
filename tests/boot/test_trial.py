# SPDX-License-Identifier: Apache-2.0
"""Trial boots by real bootloaders: whatever becomes of one, the host ends on the old line, or on the confirmed one.

Each host of a run boots these, one after the other, on one disk:
1. The default arms a trial, whose line shows the kernel's first words.
2. The power fails at these: the loader has just handed over. By GRUB and BIOS it fails three times more, for which the
   default that is back arms a trial each: in the initramfs, in userspace, and while a confirmation writes. (`--full`)
3. The default is back, says so, and arms a trial that starts no program.
4. It panics, and would reboot by itself.
5. The default is back, says so, and arms one that works.
6. That runs, and a kernel package is installed meanwhile: a confirmation is refused, and nothing of the trial is on the
   new kernel's line. (`--full`)
7. The default is back, says so, and arms one that works. (`--full`)
8. That runs, is what the profile promises, and is confirmed.
9. The default has its line, and nothing of a trial is left.
The machines run no systemd, so the job does what the units of a trial would do.
"""

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from boot import guest, machine
from boot.archive import Archive
from boot.guest import Job
from boot.images import image
from boot.machine import Boot, Iommu, Machine
from boot.recipes import RECIPES, Loader, Recipe, Suite, install_wheel
from boot.traces import TRACES

FULL = os.environ.get("IOMMUCTL_BOOT_FULL") == "1"
LOADERS = (Loader.GRUB_BIOS, Loader.GRUB_UEFI, Loader.GRUB_BLS, Loader.SD_BOOT, Loader.SD_BOOT_UKI)
USUAL = (Loader.GRUB_BIOS,)
HOSTS = tuple(next(one for one in reversed(RECIPES) if one.loader is loader) for loader in (LOADERS if FULL else USUAL))
# The same host by the systemd-boot of the stable suite; the rest of the lab boots that of sid.
OLDER = tuple(replace(one, suite=Suite.TRIXIE) for one in HOSTS if one.loader is Loader.SD_BOOT)
PROFILE = "passthrough-perf"
WANTED = {"intel_iommu=on", "iommu=pt"}
# What the loader adds by itself.
ADDED = ("BOOT_IMAGE=", "initrd=")
FUNCTIONS = f"""{TRACES}
told() {{
    iommuctl trial "$@" --json >"/run/result/$1.json" || {{ echo "trial $*: exit code $?"; exit 3; }}
}}
alter() {{
    menu=/boot/grub/custom.cfg
    change="s#^[[:space:]]*linux[[:space:]].*#& $1#"
    [ ! -f "$menu" ] || sed -i "/BEGIN iommuctl trial/,/END iommuctl trial/$change" "$menu"
    for entry in /boot/loader/entries/*iommuctl-trial*.conf /boot/efi/loader/entries/*iommuctl-trial*.conf; do
        [ ! -f "$entry" ] || sed -i "s#^options[[:space:]].*#& $1#" "$entry"
    done
    sync
}}
mkdir -p /run/systemd/system
permanent >/run/result/permanent
"""
START = f"told start {PROFILE} --yes --force trial-unproven\npermanent >/run/result/permanent.after\n"
RETURN = "told settle\nleft >/run/result/left\n"
# What parameters may do to a host: no program starts, and the kernel by itself reads no such root.
BREAK = "alter rdinit=/nope\n"
TALK = "alter 'earlyprintk=serial,ttyS0 ignore_loglevel'\n"
# Of what is said by then, the first that a kernel says on a console that shows everything.
FIRST_WORDS = "ignoring loglevel setting"
PACKAGE = """
DEBIAN_FRONTEND=noninteractive dpkg --install ./linux-*.deb || exit 4
iommuctl trial confirm --json >/run/result/refused.json
echo $? >/run/result/refused.code
"""
CONFIRM = f"told settle\niommuctl verify {PROFILE} >/run/result/verify\ntold confirm\nleft >/run/result/left\n"

CONFIRMING = "@@CONFIRMING"
JOB_OF_CUT = f"""
told settle
iommuctl trial confirm &
until [ -e /var/lib/iommuctl/journal.json ]; do sleep 0.1; done
echo {CONFIRMING} >/dev/console
sleep 600
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the power of a trial fails: once its console shows these words. It has this job."""

    where: str
    words: str
    job: str = ""


CUTS = (Cut("at the loader", FIRST_WORDS),)
# Once the kernel has started, one loader is as any other.
FURTHER = (
    Cut("in the initramfs", "Run /init as init process"),  # init/main.c
    Cut("in userspace", guest.UP),
    Cut("during the confirmation", CONFIRMING, JOB_OF_CUT),
)


@dataclass
class Host:
    """One machine from boot to boot."""

    own: Machine
    folder: Path
    number: int = field(default=0)

    def prepared(self, script: str, given: dict[str, bytes] | None) -> tuple[Machine, Path]:
        self.number += 1
        job = Job(f"{FUNCTIONS}\n{script}\nexit 0\n", given or {})
        return replace(self.own, job=job), self.folder / str(self.number)

    def boot(self, script: str, given: dict[str, bytes] | None = None) -> Boot:
        return machine.run(*self.prepared(script, given))

    def cut(self, at: Cut) -> Boot:
        """Boot until the console shows that it is there, then cut the power."""
        made, folder = self.prepared(at.job, None)
        began = time.monotonic()
        with machine.start(made, folder) as process:
            while at.words.encode() not in (folder / "console").read_bytes():
                assert process.poll() is None, machine.outcome(folder, 0).told()
                assert time.monotonic() - began < made.timeout, machine.outcome(folder, 0).told()
                time.sleep(0.05)
        return machine.outcome(folder, time.monotonic() - began)


def report(boot: Boot, name: str) -> dict[str, object]:
    text = boot.text(f"{name}.json")
    assert text, boot.told()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def state_of(boot: Boot, name: str) -> object:
    return report(boot, name)["state"]


def line_of(boot: Boot) -> set[str]:
    return {word for word in boot.text("cmdline").split() if not word.startswith(ADDED)}


@pytest.mark.parametrize("recipe", [*HOSTS, *OLDER], ids=lambda recipe: recipe.name)
def test_a_trial_comes_back_or_stays(recipe: Recipe, built_wheel: Path, results: Path, tmp_path: Path) -> None:
    host = Host(image(recipe).copy(tmp_path, Iommu.INTEL, "GenuineIntel"), tmp_path)
    cuts = ((*CUTS, *FURTHER) if recipe.loader is Loader.GRUB_BIOS else CUTS) if FULL else ()
    wheel = {built_wheel.name: built_wheel.read_bytes()}
    first = host.boot(f"{install_wheel(built_wheel.name)}\n{START}{TALK if cuts else BREAK}", wheel)
    assert first.ended, first.told()
    assert state_of(first, "start") == "armed"
    assert first.text("permanent.after") == first.text("permanent")
    default, sources = line_of(first), first.text("permanent")

    def returned(script: str) -> Boot:
        found = host.boot(f"{RETURN}{script}")
        assert found.ended, found.told()
        assert line_of(found) == default
        assert (state_of(found, "settle"), found.text("left")) == ("returned", ""), found.told()
        assert found.text("permanent.after") == found.text("permanent")
        return found

    for number, at in enumerate(cuts, start=1):
        cut = host.cut(at)
        assert "iommuctl.trial=" in cut.console or not cut.marks, cut.told()
        again = returned(f"{START}{TALK if number < len(cuts) else BREAK}")
        assert again.text("permanent") == sources
    lost = host.boot("")
    assert not lost.ended
    # The default's own line says panic=-1, which says nothing.
    assert "Rebooting in 10 seconds" in lost.console, lost.told()
    assert returned(START).text("permanent") == sources
    if FULL:
        _install_a_kernel(recipe, host)
        returned(START)

    trial = host.boot(CONFIRM)
    assert trial.ended, trial.told()
    assert {*WANTED, "panic=10"} < line_of(trial)
    assert (state_of(trial, "settle"), state_of(trial, "confirm")) == ("running", "confirmed"), trial.told()
    assert trial.text("left") == ""
    assert "identity" in trial.text("groups")

    kept = host.boot(f"told settle\nleft >/run/result/left\niommuctl verify {PROFILE} >/run/result/verify || exit 5")
    assert kept.ended, kept.told()
    assert line_of(kept) - default == WANTED
    assert kept.text("left") == ""
    assert "identity" in kept.text("groups")
    failed = [f"a power cut {at.where}" for at in cuts]
    came_back = f"{', '.join(failed)}, a panic and a kernel package that came meanwhile" if FULL else "a panic"
    told = f"{recipe.name}, {host.number} boots: it came back from {came_back}; what worked was confirmed, and stayed"
    (results / f"trial-{recipe.name}.txt").write_text(f"{told}\n", encoding="utf-8")


def _install_a_kernel(recipe: Recipe, host: Host) -> None:
    """Have dpkg and its hooks install a kernel while a trial runs."""
    added = Archive(recipe.suite).kernel("linux-image-cloud-amd64")
    packages = {path.name: path.read_bytes() for path in Archive(recipe.suite).slim(added)}
    running = host.boot(f"told settle\nleft >/run/result/before\n{PACKAGE}left >/run/result/left\n", packages)
    assert running.ended, running.told()
    assert line_of(running) > WANTED
    assert state_of(running, "settle") == "running"
    assert running.text("refused.code").strip() == "75", running.told()
    assert running.text("left") == running.text("before")
