# SPDX-License-Identifier: Apache-2.0
"""A command that is struck at each of its write-side calls, and what may be there afterwards."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import crash
from program import PROFILE, UNDONE, Seen, debris, live
from smalltree import SmallTree, make_small_tree, require_root
from warm import IOMMUCTL

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.errors import ExecutionError
from iommuctl.host.root import Root
from iommuctl.plan import Regenerate
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.snapshot import Action, State
from iommuctl.transaction.store import Store

HOLDS = "the change holds: it is snapshot "
COMMANDS = {"apply": ("apply", PROFILE, "--yes"), "rollback": ("rollback", "--yes")}


History = list[tuple[Action, State]]


_APPLIED: History = [(Action.APPLY, State.APPLIED)]


# By command: the histories that an unchanged tree may have, and that of a changed one.
HISTORIES: dict[str, tuple[tuple[History, ...], History]] = {
    "apply": (([], [(Action.APPLY, State.UNDONE)]), _APPLIED),
    "rollback": (
        (_APPLIED, [(Action.ROLLBACK, State.UNDONE), *_APPLIED]),
        [(Action.ROLLBACK, State.APPLIED), (Action.APPLY, State.ROLLED_BACK)],
    ),
}


def in_process(tree: Path, command: str) -> None:
    """Run the command's use cases to the end, as the next run of the program does."""
    host = Host.open(tree)
    choices = Choices(regenerate=Regenerate.ALWAYS)
    plan = plan_apply(host, PROFILE, choices) if command == "apply" else plan_rollback(host, None, choices)
    carry_out(host, plan, progress=lambda _: nullcontext())


@dataclass(frozen=True)
class Lab:
    """A tree before a command, and what it is like before and after, times included before."""

    command: str
    pristine: Path
    old: Seen
    new: Seen
    histories: tuple[tuple[History, ...], History]
    points: tuple[crash.Point, ...]

    def arguments(self, tree: Path) -> tuple[str, ...]:
        return (*COMMANDS[self.command], "--root", str(tree), "--regenerate", "always")

    def trace(self, tree: Path) -> tuple[crash.Point, ...]:
        return crash.write_points(IOMMUCTL, self.arguments, crash.python_environment(), tree)

    def strike(self, scratch: Path, actions: tuple[str, ...]) -> int:
        """Strike each point with one of the actions, in turn."""
        check = self.judge_kill if actions == (crash.KILL,) else self.judge_error
        strikes = list(zip(self.points, cycle(actions), strict=False))
        environment = crash.python_environment()
        return crash.strike(IOMMUCTL, self.arguments, environment, self.pristine, scratch, strikes, check)

    def judge_kill(self, tree: Path, outcome: crash.Outcome) -> None:
        """Every file is whole; recovery ends in exactly old or new; the next run of the same command in new."""
        self.whole(tree)
        root = Root(tree)
        recover(root, Store(root))
        if self.settled(tree, outcome):
            return
        in_process(tree, self.command)
        assert live(tree, times=False) == self.new, "the next run did not end in the new state"

    def judge_error(self, tree: Path, outcome: crash.Outcome) -> None:
        """A refused call is told with exit code 74 and undone at once, or was only in the way of the end.

        What is left of that end (a journal, the staging directory) is for the next run to take away.
        """
        assert outcome.code in (0, ExecutionError.code), "a defect of ours"
        self.whole(tree)
        unclosed = "could not be closed" in outcome.stderr
        assert unclosed == (HOLDS in outcome.stderr), "not said whether the change holds"
        at_the_end = outcome.code == 0 or unclosed
        if not at_the_end:
            self.settled(tree, outcome)
        root = Root(tree)
        recover(root, Store(root))
        new = self.settled(tree, outcome)
        assert new == at_the_end, "what is said is not what is there"
        assert (UNDONE in outcome.stderr) <= (not new), "said to be undone, and it is not"

    def whole(self, tree: Path) -> None:
        for path, facts in live(tree, times=False).items():
            if not Path(path).name.startswith(".iommuctl-"):
                wholes = [one[path][3] for one in (self.old, self.new) if path in one]
                assert facts[3] in wholes, f"{path} is neither old nor new"

    def settled(self, tree: Path, outcome: crash.Outcome) -> bool:
        """Whether the tree is exactly new; else it is exactly old. The history says so too; nothing is left over."""
        old, new = live(tree) == self.old, live(tree, times=False) == self.new
        assert old != new, "neither old nor new"
        assert debris(tree) == set()
        found = [(one.action, one.state) for one in Store(Root(tree)).list().snapshots]
        olds, newest = self.histories
        assert (found == newest) if new else (found in olds), f"{found} after {outcome.action}"
        return new


def make_lab(folder: Path, command: str, prepare: Callable[[SmallTree], None]) -> Lab:
    crash.require_strace()
    require_root()
    tree = make_small_tree(folder / "pristine")
    prepare(tree)
    done = Path(shutil.copytree(tree.path, folder / "done", symlinks=True))
    lab = Lab(command, tree.path, live(tree.path), {}, HISTORIES[command], ())
    points = lab.trace(done)
    return replace(lab, new=live(done, times=False), points=points)
