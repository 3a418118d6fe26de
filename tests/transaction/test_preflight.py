# SPDX-License-Identifier: Apache-2.0
"""Preflight and locks: what stops a transaction before its first write."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from pytest_mock import MockerFixture
from transaction_bench import EDITS, GRUB, MAKE_GRUB, Bench

from iommuctl.errors import (
    BootConfigError,
    BusyError,
    ExecutionError,
    IommuctlError,
    StalePlanError,
)
from iommuctl.host.root import Root
from iommuctl.plan import FileClass, FileEdit
from iommuctl.transaction import locks
from iommuctl.transaction.snapshot import State

LOOK = "look at the new plan before you try again: --dry-run shows it"
HOLD_LOCK = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "root")


def refused(bench: Bench, error: type[IommuctlError], text: str, edits: tuple[FileEdit, ...] = EDITS) -> IommuctlError:
    before = bench.files()
    with pytest.raises(error, match=text) as caught:
        bench.begin(edits)
    assert bench.files() == before
    assert bench.states() == []
    return caught.value


def test_inputs_that_changed_since_the_plan(bench: Bench) -> None:
    with pytest.raises(StalePlanError, match="changed since the plan") as caught:
        bench.begin(changed=(GRUB,))
    assert caught.value.details == ("/etc/default/grub",)
    assert caught.value.hint == LOOK


@pytest.mark.parametrize("content", [b"edited", None])
def test_a_file_that_changed_since_the_plan(bench: Bench, content: bytes | None) -> None:
    path = bench.tree / "etc/default/grub"
    path.unlink() if content is None else path.write_bytes(content)
    assert refused(bench, StalePlanError, "'/etc/default/grub' changed since the plan").hint == LOOK


def test_a_file_with_a_second_name(bench: Bench) -> None:
    os.link(bench.tree / "etc/default/grub", bench.tree / "etc/other")
    error = refused(bench, BootConfigError, "2 names")
    path = bench.tree / "etc/default/grub"
    assert error.hint == f"give it a content of its own: cp -a {path} {path}.new && mv {path}.new {path}"


def test_one_file_under_two_paths(bench: Bench) -> None:
    (bench.tree / "etc/alias").symlink_to("default/grub")
    alias = FileEdit(PurePosixPath("/etc/alias"), FileClass.SOURCE, b"old grub", b"other", "")
    refused(bench, BootConfigError, "two names for '/etc/default/grub'", (MAKE_GRUB, alias))


@pytest.mark.parametrize("path", ["etc/default/grub", "etc/default", "boot"])
def test_an_immutable_file_or_folder(bench: Bench, path: str) -> None:
    if subprocess.run(["chattr", "+i", str(bench.tree / path)], capture_output=True, check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        error = refused(bench, ExecutionError, "may not be replaced: attribute \\+i")
        assert error.hint == f"chattr -i {bench.tree / path}"
    finally:
        subprocess.run(["chattr", "-i", str(bench.tree / path)], check=True)


def full(bench: Bench, monkeypatch: pytest.MonkeyPatch, **facts: int) -> None:
    """Make every file system of the bench look so."""
    real = os.fstatvfs

    class Facts:
        def __init__(self, descriptor: int) -> None:
            self._real = real(descriptor)

        def __getattr__(self, name: str) -> int:
            return facts[name] if name in facts else int(getattr(self._real, name))

    monkeypatch.setattr(os, "fstatvfs", Facts)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"f_flag": os.ST_RDONLY}, "read-only file system"),
        ({"f_bavail": 3}, "no space to write in"),
        ({"f_favail": 2, "f_files": 100}, "no inode left"),
    ],
)
def test_a_file_system_that_cannot_take_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, facts: dict[str, int], text: str
) -> None:
    full(bench, monkeypatch, **facts)
    refused(bench, ExecutionError, text)


def test_a_file_system_that_does_not_count_files(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    full(bench, monkeypatch, f_favail=0, f_files=0)
    assert bench.apply().snapshot.state is State.APPLIED


def test_more_than_a_snapshot_can_give_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iommuctl.transaction.preflight.READ_LIMIT", 5)
    refused(bench, ExecutionError, "more than 5")


def test_another_run_holds_the_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.2)
    with bench.begin(), pytest.raises(BusyError, match="another run of iommuctl"):
        bench.begin()


@pytest.fixture
def locked() -> Iterator[list[subprocess.Popen[bytes]]]:
    holders: list[subprocess.Popen[bytes]] = []
    yield holders
    for one in holders:
        one.kill()
        one.wait()
        if one.stdout:
            one.stdout.close()


@pytest.mark.parametrize(
    "path",
    [
        "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/lock",
        "usr/lib/sysimage/rpm/.rpm.lock",
        "var/lib/rpm/.rpm.lock",
    ],
)
def test_a_package_managers_lock_is_seen(bench: Bench, locked: list[subprocess.Popen[bytes]], path: str) -> None:
    lock = bench.tree / path
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert locks.package_manager_at_work(bench.root) is None
    holder = subprocess.Popen(["python3", "-S", "-c", HOLD_LOCK, str(lock)], stdout=subprocess.PIPE)
    locked.append(holder)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert locks.package_manager_at_work(bench.root) == f"/{path} is locked by process {holder.pid}"


def test_pacmans_lock_is_seen(bench: Bench) -> None:
    lock = bench.tree / "var/lib/pacman/db.lck"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert locks.package_manager_at_work(bench.root) == "/var/lib/pacman/db.lck is there"


@pytest.mark.parametrize("running", [False, True])
def test_a_package_manager_matters_to_the_running_system_alone(
    bench: Bench, mocker: MockerFixture, running: bool
) -> None:
    at_work = "iommuctl.transaction.transaction.package_manager_at_work"
    mocker.patch(at_work, autospec=True, return_value="/lock is locked by process 7")
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=running)
    if running:
        refused(bench, BusyError, "a package manager is at work")
    else:
        bench.apply()
