# SPDX-License-Identifier: Apache-2.0
"""Power cuts while a host applies and rolls back: what is left is whole, and recover makes all of it old or all new.

What this proves, for a GRUB host (ext4) and a systemd-boot host (Type #1 entries on vfat, the rest on ext4):

By replay, of every write that QEMU recorded during one apply and one rollback:
1. After each write, every configuration file has its old or its new content, generated ones too.
2. The same where the disk kept only some of the writes between two flushes.
3. The file systems are sound at each of these moments: e2fsck after the journal's replay; fsck.fat but for what a cut
   always leaves and nothing is lost by (clusters that no name leads to, the dirty bit, counts, the second table).
4. Of each different state of the files, the real `iommuctl recover` makes all old or all new, and a second finds
   nothing to do.
5. The replay sees the fault that it is there for: the usual recipe (fsync, rename, fsync of the directory) on vfat.

By killing QEMU, at least 50 times together with `--full` and a quarter as often without, at moments that a seed decides
(IOMMUCTL_CUT_SEED sets another):
6. As the cut left them, every configuration file is whole, and the file systems are sound.
7. The next boot mounts them without any repair; recover ends well, and every file is old, or every file is new.
8. Nothing temporary is left, and the host applies and rolls back again.
"""

import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from boot import machine, powercut, powercut_recipe
from boot.blocklog import Record, read_log
from boot.guest import Job
from boot.machine import Boot
from boot.powercut import GRUB, SYSTEMD_BOOT, Host, Prepared
from boot.powercut_kill import Lane
from boot.powercut_replay import survey

FULL = os.environ.get("IOMMUCTL_BOOT_FULL") == "1"
HOSTS = pytest.mark.parametrize("host", [GRUB, SYSTEMD_BOOT], ids=["grub-ext4", "systemd-boot-vfat"])
SEED = int(os.environ.get("IOMMUCTL_CUT_SEED", "20260101"))
# A round of the systemd-boot host is the shorter one, for it runs no generator.
ALL_CUTS = {GRUB: 14, SYSTEMD_BOOT: 38}
# The replays show more: each write, where a kill is one moment of many and loses nothing that QEMU was given.
CUTS = {host: number if FULL else number // 4 for host, number in ALL_CUTS.items()}
MOST_SECONDS = 1800.0

Prepare = Callable[[Host], Prepared]
Tell = Callable[[str, str], None]


@pytest.fixture
def prepare(built_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Return a host that is ready, the same to all processes of this run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    return lambda host: powercut.prepare(host, built_wheel, shared / f"powercut-{host.loader}")


@pytest.fixture
def tell(results: Path, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Say what was counted, here and among the results."""

    def say(name: str, text: str) -> None:
        (results / f"powercut-{name}.txt").write_text(f"{text}\n", encoding="utf-8")
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return say


def record(prepared: Prepared, job: Job, folder: Path) -> tuple[Boot, tuple[Record, ...]]:
    log = folder / "log"
    log.touch()
    booted = machine.run(prepared.machine(folder / "disks", job, log), folder / "boot")
    assert booted.ended, booted.told()
    return booted, read_log(log)


@HOSTS
def test_after_every_write_the_files_are_whole_and_recover_ends_in_old_or_new(
    host: Host, prepare: Prepare, tell: Tell, tmp_path: Path
) -> None:
    prepared = prepare(host)
    booted, records = record(prepared, powercut.driver_job(host), tmp_path)
    stages = powercut.read_stages(booted)
    assert stages.old == stages.back
    assert all(stages.old[path] != stages.new[path] for path in stages.old)
    found = survey(prepared.cut, records, stages.broken, tmp_path / "scratch")
    ends: Counter[str] = Counter()
    for tree, when in found.trees.items():
        try:
            state = powercut.recover(dict(tree), tmp_path / "tree", stages)
        except AssertionError as error:
            state = str(error)
        shutil.rmtree(tmp_path / "tree")
        ends[state] += 1
        if state not in ("old", "new"):
            found.faults.append(f"recover of {when}: {state}")
    tell(
        f"replay-{host.loader}",
        f"{host.loader}: {sum(found.moments.values())} moments of {len(records)} records ({_counts(found.moments)}), "
        f"{len(found.trees)} different states, which recover makes {_counts(ends)}",
    )
    assert found.faults == []
    assert set(ends) == {"old", "new"}


def test_the_usual_recipe_is_found_to_lose_files_on_vfat(prepare: Prepare, tell: Tell, tmp_path: Path) -> None:
    prepared = prepare(SYSTEMD_BOOT)
    program = Path(powercut_recipe.__file__).read_text(encoding="utf-8")
    _, records = record(prepared, powercut.recipe_job(program), tmp_path)
    whole = [powercut_recipe.content(number) for number in range(powercut_recipe.GENERATIONS)]
    path = str(powercut_recipe.ENTRY).lstrip("/")

    def judge(files: Mapping[str, bytes]) -> tuple[str, ...]:
        return (f"{path} is not whole",) if path in files and files[path] not in whole else ()

    found = survey(prepared.cut, records, judge, tmp_path / "scratch")
    losses = [fault for fault in found.faults if fault.startswith("vfat prefix") and fault.endswith("is not whole")]
    tell(
        "replay-usual",
        f"the usual recipe: {len(losses)} of {found.moments['vfat prefix']} moments have its file empty or torn",
    )
    assert losses


@HOSTS
def test_after_each_cut_recover_leaves_old_or_new(host: Host, prepare: Prepare, tell: Tell, tmp_path: Path) -> None:
    lane = Lane(prepare(host), tmp_path / "lane", random.Random(f"{SEED} {host.loader}"))
    lane.run(CUTS[host], time.monotonic() + MOST_SECONDS)
    states, endings = Counter(cut.state for cut in lane.cuts), Counter(cut.ending for cut in lane.cuts)
    tell(
        f"kill-{host.loader}",
        f"{host.loader}: {len(lane.cuts)} cuts (seed {SEED}), files {_counts(states)}; recover: {_counts(endings)}",
    )
    assert [cut for cut in lane.cuts if cut.faults or cut.state not in ("old", "new")] == []
    assert len(lane.cuts) == CUTS[host]


def test_there_are_at_least_fifty_cuts() -> None:
    assert sum(ALL_CUTS.values()) >= 50
    assert min(CUTS.values()) >= 3


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counter.items()))
