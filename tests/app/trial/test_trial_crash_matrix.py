# SPDX-License-Identifier: Apache-2.0
"""Each step of a trial, killed at every write-side call: no armed trial without its entry, no default that is one.

What is left is then met by a power cut, that is the next boot, and by the next run in the same boot.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import crash
import pytest
import trial_driver as driver
import trialhosts
from trialhosts import WANTED, TrialHost, bls_host, entry_host, grub_host, nothing_left, uki_host
from warm import Program

from iommuctl.app.change.recover import recover_host
from iommuctl.app.host import Host
from iommuctl.app.trial import ending, state
from iommuctl.app.trial.settle import settle_trial
from iommuctl.host.commands import SystemRunner
from iommuctl.host.root import Root
from iommuctl.transaction.trial.record import Phase

pytestmark = [pytest.mark.slow, pytest.mark.programs]

DRIVER = Program("driver", "trial_driver:main")
MAKE: dict[str, Callable[[Path], TrialHost]] = {
    "grub": grub_host,
    "systemd-boot": entry_host,
    "bls": bls_host,
    "uki": uki_host,
}
# The steps that come before the one that is struck; `boot` is a boot.
BEFORE = {
    "start": (),
    "cancel": ("start",),
    "confirm": ("start", "boot", "settle"),
    "settle": ("start", "boot", "settle", "boot"),
}


@pytest.fixture(autouse=True)
def seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what the driver replaces in this process put back."""
    monkeypatch.setattr(Root, "is_running_system", Root.is_running_system)
    monkeypatch.setattr(SystemRunner, "run", SystemRunner.run)
    monkeypatch.setattr("iommuctl.app.trial.start.volume_of", trialhosts.on("ext4"))


@dataclass(frozen=True)
class Lab:
    kind: str
    step: str
    pristine: Path
    old: dict[str, bytes]
    new: dict[str, bytes]
    points: tuple[crash.Point, ...]

    def judge(self, tree: Path, outcome: crash.Outcome) -> None:
        for each in (self.next_boot, self.same_boot):
            copy = Path(shutil.copytree(tree, f"{tree}.{each.__name__}", symlinks=True))
            host = TrialHost.of(copy, boots=9)
            opened = driver.live(host)
            self.whole(host, opened)
            each(host, opened)
            shutil.rmtree(copy)

    def whole(self, host: TrialHost, opened: Host) -> None:
        """What is armed has its entry, and nothing permanent is half."""
        for path, content in host.permanent().items():
            if not path.endswith(".tmp"):
                assert content in (self.old.get(path), self.new.get(path)), path
        found = state.read_state(opened)
        if found is not None and found.is_armed:
            entry = found.record.files[-1]
            content = (host.path / str(entry.path).lstrip("/")).read_bytes()
            assert entry.content in content, "armed without its entry"

    def next_boot(self, host: TrialHost, opened: Host) -> None:
        line = host.reboot()
        recover_host(opened)
        settle_trial(opened)
        if "iommuctl.trial" in line:
            line = host.reboot()
            recover_host(opened)
            settle_trial(opened)
        assert "iommuctl.trial" not in line, "the trial became the default"
        self.over(host, opened)
        assert (set(WANTED) <= set(host.reboot().split())) == (host.permanent() == self.new != self.old)

    def same_boot(self, host: TrialHost, opened: Host) -> None:
        """The next run of the same step, as a user who tries again."""
        recover_host(opened)
        ending.end_what_is_over(opened)
        found = state.read_state(opened)
        is_done = (
            found is not None and found.phase in (Phase.ARMED, Phase.CONFIRMED) and self.step in ("start", "confirm")
        )
        if not is_done:
            driver.step(host, self.step)
        found = state.read_state(opened)
        assert found is not None
        assert (
            found.phase
            is {
                "start": Phase.ARMED,
                "cancel": Phase.CANCELLED,
                "confirm": Phase.CONFIRMED,
                "settle": Phase.RETURNED,
            }[self.step]
        )
        if self.step != "start":
            self.over(host, opened)

    def over(self, host: TrialHost, opened: Host) -> None:
        found = state.read_state(opened)
        if found is None:
            assert host.permanent() == self.old
            return
        assert found.phase.is_over
        assert host.permanent() == (self.new if found.phase is Phase.CONFIRMED else self.old)
        nothing_left(host)


def make_lab(folder: Path, kind: str, step: str) -> Lab:
    crash.require_strace()
    host = MAKE[kind](folder / "pristine")
    for each in BEFORE[step]:
        if each == "boot":
            host.reboot()
        else:
            driver.step(host, each)
    old = host.permanent()
    done = TrialHost.of(Path(shutil.copytree(host.path, folder / "done", symlinks=True)))
    points = crash.write_points(DRIVER, lambda tree: (step, str(tree)), crash.python_environment(), done.path)
    return Lab(kind, step, host.path, old, done.permanent(), points)


RUNS = [(kind, step) for kind in MAKE for step in BEFORE]


@pytest.mark.parametrize(("kind", "step"), RUNS)
def test_a_kill_at_any_point_leaves_a_host_that_comes_back(kind: str, step: str, tmp_path: Path) -> None:
    lab = make_lab(tmp_path, kind, step)
    assert len(lab.points) > 10, "the trace is too short to be true"
    (tmp_path / "struck").mkdir()
    strikes = [(point, crash.KILL) for point in lab.points]
    count = crash.strike(
        DRIVER,
        lambda tree: (step, str(tree)),
        crash.python_environment(),
        lab.pristine,
        tmp_path / "struck",
        strikes,
        lab.judge,
    )
    sys.stdout.write(f"{kind}, {step}: struck at {count} points\n")
