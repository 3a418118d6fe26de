# SPDX-License-Identifier: Apache-2.0
"""A transaction stopped at any write-side system call ends exactly as it began, or exactly as it was meant to."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import crash
import pytest
import transaction_driver as driver
from warm import Program

from iommuctl.errors import ExecutionError
from iommuctl.host.root import Root
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.snapshot import State
from iommuctl.transaction.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.programs]

STATE = "var/lib/iommuctl"
ERRORS = ("error=ENOSPC", "error=EIO", "error=EROFS")

Seen = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class Lab:
    """A tree before, and what it is to look like before (times included) and after."""

    pristine: Path
    old: Seen
    new: Seen
    points: tuple[crash.Point, ...]

    def judge(self, tree: Path, outcome: crash.Outcome) -> None:
        """Every live file is whole; then recovery leads to exactly old or new, and leaves nothing of ours after."""
        for path, (*_, content, _, _) in self.live(tree).items():
            wholes = {facts[3] for facts in (self.old.get(path), self.new.get(path)) if facts is not None}
            assert content in wholes, f"{path} is neither old nor new"
        root = Root(tree)
        recover(root, Store(root))
        self.settled(tree)
        assert recover(root, Store(root)) is None
        if outcome.code == 0:
            assert self.is_new(tree), "said to be done, and it is not"

    def judge_error(self, tree: Path, outcome: crash.Outcome) -> None:
        """One refused call is told as such, and leaves nothing to recover but a journal that would not go away."""
        assert outcome.code in (0, ExecutionError.code), "a defect of ours"
        if outcome.code:
            if "could not be closed" in outcome.stderr:
                assert self.is_new(tree)
            else:
                self.settled(tree)
        self.judge(tree, outcome)

    def settled(self, tree: Path) -> None:
        """The tree is exactly old or new, its state directory says which, and nothing is left over."""
        old = crash.observe(tree, without=STATE, times=True) == self.old
        new = self.is_new(tree)
        assert old != new, f"neither old nor new: {sorted(self.live(tree))}"
        root = Root(tree)
        states = [one.state for one in Store(root).list().snapshots]
        assert states in ([[State.APPLIED]] if new else [[], [State.UNDONE]])
        names = {path.name for path in tree.rglob("*")}
        assert not {name for name in names if re.search(r"^\.iommuctl-|\.partial$|^journal|^staging$", name)}

    def is_new(self, tree: Path) -> bool:
        return crash.observe(tree, without=STATE, times=False) == self.new

    def live(self, tree: Path) -> Seen:
        seen = crash.observe(tree, without=STATE, times=False)
        return {path: facts for path, facts in seen.items() if not Path(path).name.startswith(".iommuctl-")}


DRIVER = Program("driver", "transaction_driver:main")


def write_points(action: str, tree: Path) -> tuple[crash.Point, ...]:
    return crash.write_points(DRIVER, lambda tree: (action, str(tree)), crash.python_environment(), tree)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    crash.require_strace()
    folder = tmp_path_factory.mktemp("lab")
    pristine = folder / "pristine"
    driver.make_tree(pristine)
    done = folder / "done"
    shutil.copytree(pristine, done, symlinks=True)
    points = write_points("apply", done)
    return Lab(
        pristine,
        crash.observe(pristine, without=STATE, times=True),
        crash.observe(done, without=STATE, times=False),
        points,
    )


def strike(lab: Lab, action: str, pristine: Path, scratch: Path, strikes: list[tuple[crash.Point, str]]) -> None:
    check = lab.judge if strikes[0][1] == crash.KILL else lab.judge_error
    count = crash.strike(
        DRIVER, lambda tree: (action, str(tree)), crash.python_environment(), pristine, scratch, strikes, check
    )
    sys.stdout.write(f"{action} struck at {count} points with {strikes[0][1]}\n")


def test_a_kill_at_any_point_of_an_apply_is_all_or_nothing(lab: Lab, tmp_path: Path) -> None:
    assert len(lab.points) > 50, "the trace is too short to be true"
    strike(lab, "apply", lab.pristine, tmp_path, [(point, crash.KILL) for point in lab.points])


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_any_point_of_an_apply_is_undone_at_once(lab: Lab, tmp_path: Path, error: str) -> None:
    strike(lab, "apply", lab.pristine, tmp_path, [(point, error) for point in lab.points])


def test_a_kill_at_any_point_of_a_recovery_is_recovered(lab: Lab, tmp_path: Path) -> None:
    cut = cut_before_commit(lab, tmp_path)
    traced = tmp_path / "traced"
    shutil.copytree(cut, traced, symlinks=True)
    points = write_points("recover", traced)
    assert crash.observe(traced, without=STATE, times=True) == lab.old
    (tmp_path / "struck").mkdir()
    strike(lab, "recover", cut, tmp_path / "struck", [(point, crash.KILL) for point in points])


def cut_before_commit(lab: Lab, scratch: Path) -> Path:
    """Return a tree whose live files are all new, though nothing is committed: the longest way back."""
    commit = [point for point in lab.points if "rename" in point.call and '"manifest.json"' in point.shown][-1]
    found: list[Path] = []

    def keep(tree: Path, outcome: crash.Outcome) -> None:
        assert lab.is_new(tree)
        found.append(shutil.copytree(tree, scratch / "cut", symlinks=True))

    strikes = [(commit, crash.KILL)]
    crash.strike(
        DRIVER, lambda tree: ("apply", str(tree)), crash.python_environment(), lab.pristine, scratch, strikes, keep
    )
    return found[0]
