# SPDX-License-Identifier: Apache-2.0
"""A full disk: whatever fills it, and whenever, an apply is all or nothing, and what was cut off is undone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import crash
import pytest
import transaction_driver as driver
from smalldisk import small_disk
from warm import Program

from iommuctl.errors import ExecutionError
from iommuctl.host.root import Root
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.snapshot import State
from iommuctl.transaction.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.programs]

SIZE = 1024 * 1024  # bytes
BLOCK = 4096
FILLED = "var/filled"
STATE = "var/lib/iommuctl"
DRIVER = Program("driver", "transaction_driver:main")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    with small_disk(tmp_path / "disk", SIZE) as folder:
        yield folder


def fill(tree: Path, keep: int) -> None:
    """Fill the disk but for so many blocks."""
    with (tree / FILLED).open("wb") as file:
        facts = os.statvfs(tree)
        os.posix_fallocate(file.fileno(), 0, max(facts.f_bavail - keep, 1) * facts.f_frsize)


def live(tree: Path) -> dict[str, tuple[object, ...]]:
    seen = crash.observe(tree, without=STATE, times=False)
    return {path: facts for path, facts in seen.items() if path != FILLED}


def refused(tree: Path) -> ExecutionError | None:
    try:
        driver.apply(tree)
    except ExecutionError as error:
        return error
    return None


def test_at_any_room_an_apply_is_all_or_nothing(disk: Path) -> None:
    tree = disk / "tree"
    driver.make_tree(tree)
    (tree / "var").mkdir(exist_ok=True)
    old = live(tree)
    outcomes: set[bool] = set()
    for room in range(0, 140, 2):
        fill(tree, room)
        failed = refused(tree)
        outcomes.add(failed is None)
        if failed is not None:
            assert ("undo failed" in failed.brief, live(tree) == old) == (False, True), (room, failed)
        root = Root(tree)
        assert recover(root, Store(root)) is None
        states = [one.state for one in Store(root).list().snapshots]
        assert State.APPLIED not in states or live(tree) != old
        (tree / FILLED).unlink()
        if live(tree) != old:
            shutil.rmtree(tree)
            driver.make_tree(tree)
    assert outcomes == {True, False}


def test_a_kill_at_any_point_is_undone_on_a_disk_that_is_full_by_then(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash.require_strace()
    pristine, done = tmp_path / "pristine", tmp_path / "done"
    driver.make_tree(pristine)
    shutil.copytree(pristine, done, symlinks=True)
    points = crash.write_points(DRIVER, lambda tree: ("apply", str(tree)), crash.python_environment(), done)
    old = crash.observe(pristine, without=STATE, times=True)
    new = crash.observe(done, without=STATE, times=False)
    struck: list[str] = []

    def judge(tree: Path, outcome: crash.Outcome) -> None:
        """Bring what the kill left onto the small disk, fill that to the last block, and recover."""
        small = disk / "tree"
        shutil.rmtree(small, ignore_errors=True)
        subprocess.run(["cp", "-a", str(tree), str(small)], check=True)
        fill(small, 0)
        root = Root(small)
        recover(root, Store(root))
        (small / FILLED).unlink()
        undone = crash.observe(small, without=STATE, times=True) == old
        assert undone or crash.observe(small, without=STATE, times=False) == new
        assert not list(small.rglob(".iommuctl-*"))
        struck.append(str(outcome))

    strikes = [(point, crash.KILL) for point in points]
    monkeypatch.setattr(crash, "WORKERS", 1)  # one small disk
    environment = crash.python_environment()
    crash.strike(DRIVER, lambda tree: ("apply", str(tree)), environment, pristine, tmp_path, strikes, judge)
    assert len(struck) == len(points)
