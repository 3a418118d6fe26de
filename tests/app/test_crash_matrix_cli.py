# SPDX-License-Identifier: Apache-2.0
"""The program itself, stopped at every write-side call of an apply and of a rollback, the generator included.

Every point is struck with a kill, and with one of three errors in turn; `scripts/test --every-error` takes each.
At each point of a transaction, tests/transaction has each anyway.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import crash
import pytest
from smalltree import SmallTree
from strikelab import Lab, in_process, make_lab

pytestmark = [pytest.mark.slow, pytest.mark.programs]

ACTIONS = {"a kill": (crash.KILL,), "an error": ("error=ENOSPC", "error=EIO", "error=EROFS")}


def kernel_came(tree: SmallTree) -> None:
    """Make the menu another one than the apply left, so that a rollback generates it instead of putting it back."""
    in_process(tree.path, "apply")
    tree.add_kernel("6.1.0-51-amd64")
    tree.generate()


LABS: dict[str, tuple[str, Callable[[SmallTree], None]]] = {
    "apply": ("apply", lambda _: None),
    "rollback": ("rollback", lambda tree: in_process(tree.path, "apply")),
    "rollback after a kernel came": ("rollback", kernel_came),
}


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("lab"), *LABS[request.param])


@pytest.mark.parametrize("action", ACTIONS)
def test_a_strike_at_any_point_ends_in_old_or_new(
    lab: Lab, tmp_path: Path, action: str, request: pytest.FixtureRequest
) -> None:
    assert len(lab.points) > 40, "the trace is too short to be true"
    actions = ACTIONS[action]
    rounds = [(one,) for one in actions] if request.config.getoption("--every-error") else [actions]
    count = sum(lab.strike(tmp_path, one) for one in rounds)
    sys.stdout.write(f"{request.node.name}: {count} strikes at {len(lab.points)} points\n")
