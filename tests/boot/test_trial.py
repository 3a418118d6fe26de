# SPDX-License-Identifier: Apache-2.0
"""Trial boots by real bootloaders: one that panics comes back to the old line, one that is confirmed stays.

Each host boots five times: it arms a trial that starts no program (1); that panics (2); the default boots, finds
that it came back, and arms one that works (3); that is confirmed (4); the default has its line (5). The machines run no
systemd, so the job does what the units of a trial would do.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from boot import machine
from boot.guest import Job
from boot.images import image
from boot.machine import Boot, Iommu, Machine
from boot.recipes import RECIPES, Loader, Recipe

HOSTS = (next(one for one in reversed(RECIPES) if one.loader is Loader.GRUB_BIOS),)
PROFILE = "passthrough-perf"
# What a trial may not change, and what it may not leave.
FUNCTIONS = """
permanent() {
    for file in /etc/default/grub /etc/kernel/cmdline /boot/grub/grub.cfg /boot/loader/entries/*.conf \\
        /boot/efi/loader/entries/*.conf \\
        /boot/efi/EFI/Linux/*.efi; do
        case $file in *iommuctl-trial*) continue ;; esac
        [ ! -f "$file" ] || sha256sum "$file"
    done
}
left() {
    grep -r -l 'iommuctl.trial' /boot /etc
    find /boot /etc -name '*iommuctl-trial*'
    [ ! -e /boot/grub/grubenv ] || grub-editenv /boot/grub/grubenv list | grep 'next_entry=.'
    ls /sys/firmware/efi/efivars/LoaderEntryOneShot-* 2>/dev/null
    return 0
}
told() {
    iommuctl trial "$@" --json >"/run/result/$1.json" || { echo "trial $*: exit code $?"; exit 3; }
}
mkdir -p /run/systemd/system
permanent >/run/result/permanent
"""
START = f"told start {PROFILE} --yes --force trial-unproven\npermanent >/run/result/permanent.after\n"
# What parameters may do to a host: no program starts, and the kernel by itself reads no such root.
BREAK = r"""
broken='s,^\([[:space:]]*\(linux\|options\)[[:space:]].*\)$,\1 rdinit=/nope,'
[ ! -f /boot/grub/custom.cfg ] || sed -i "/BEGIN iommuctl trial/,/END iommuctl trial/$broken" /boot/grub/custom.cfg
for entry in /boot/loader/entries/*iommuctl-trial*.conf /boot/efi/loader/entries/*iommuctl-trial*.conf; do
    [ ! -f "$entry" ] || sed -i "$broken" "$entry"
done
sync
"""


def report(boot: Boot, name: str) -> dict[str, object]:
    text = boot.text(f"{name}.json")
    assert text, boot.told()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def state_of(boot: Boot, name: str) -> object:
    return report(boot, name)["state"]


def line_of(boot: Boot) -> set[str]:
    return set(boot.text("cmdline").split())


@pytest.mark.parametrize("recipe", HOSTS, ids=lambda recipe: recipe.name)
def test_a_trial_comes_back_or_stays(recipe: Recipe, built_wheel: Path, tmp_path: Path) -> None:
    own = image(recipe).copy(tmp_path, Iommu.INTEL, "GenuineIntel")
    files = {built_wheel.name: built_wheel.read_bytes()}

    def boot(number: int, script: str, given: dict[str, bytes] | None = None) -> Boot:
        made: Machine = replace(own, job=Job(f"{FUNCTIONS}\n{script}\nexit 0\n", given or {}))
        return machine.run(made, tmp_path / str(number))

    first = boot(1, f"{recipe.install_wheel(built_wheel.name)}\n{START}{BREAK}", files)
    assert first.ended, first.told()
    assert state_of(first, "start") == "armed"
    assert first.text("permanent.after") == first.text("permanent")
    default = line_of(first)

    lost = boot(2, "")
    assert not lost.ended
    # The default's own line says panic=-1, which says nothing.
    assert "Rebooting in 10 seconds" in lost.console, lost.told()

    returned = boot(3, f"told settle\ntold status\nleft >/run/result/left\n{START}")
    assert returned.ended, returned.told()
    assert line_of(returned) == default
    assert (state_of(returned, "settle"), returned.text("left")) == ("returned", "")
    assert returned.text("permanent") == returned.text("permanent.after") == first.text("permanent")

    trial = boot(
        4, "told settle\nleft >/run/result/left\niommuctl verify passthrough-perf >/run/result/verify\ntold confirm"
    )
    assert trial.ended, trial.told()
    assert {"intel_iommu=on", "iommu=pt", "panic=10"} < line_of(trial)
    assert (state_of(trial, "settle"), state_of(trial, "confirm")) == ("running", "confirmed"), trial.told()
    assert "identity" in trial.text("groups")
    assert "next_entry" not in trial.text("left")
    assert "OneShot" not in trial.text("left")

    kept = boot(5, f"told settle\nleft >/run/result/left\niommuctl verify {PROFILE} >/run/result/verify || exit 5")
    assert kept.ended, kept.told()
    assert line_of(kept) - default == {"intel_iommu=on", "iommu=pt"}
    assert kept.text("left") == ""
    assert "identity" in kept.text("groups")
