# SPDX-License-Identifier: Apache-2.0
"""A short run of the fuzzer on every target, whose inputs are the same everywhere; and that it finds what it is for."""

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from blind import run
from project import PROJECT
from pytest_mock import MockerFixture
from targets import TARGETS, Target

from iommuctl.errors import BootConfigError

BLIND = PROJECT / "tests/fuzz/blind.py"
# Inputs of each: two seconds of the processor for most, less for what reads a few bytes.
RUNS = {
    **dict.fromkeys(("cmdline", "shell", "menu"), 2000),
    **dict.fromkeys(("block", "entry", "kernel-cmdline", "image", "kernelstub", "seals", "index"), 10_000),
    **dict.fromkeys(("profile", "facts", "running", "state"), 3000),
    **dict.fromkeys(("backend-bls", "backend-grub", "plan", "plan-entries"), 100),
    "backend-systemd-boot": 300,
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str, tmp_path: Path) -> None:
    if TARGETS[name].is_whole_plan and os.geteuid() != 0:
        pytest.skip("only root can confine the shell that evaluates")
    argv = [sys.executable, str(BLIND), name, str(RUNS[name]), "1", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, errors="backslashreplace", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: {RUNS[name]} inputs, ")


def refuses(_data: bytes) -> None:
    raise BootConfigError(PurePosixPath("/x"), 1, "no")


def loops(data: bytes) -> None:
    while data == b"1":
        pass


def aborts(data: bytes) -> None:
    if data == b"1":
        faulthandler.disable()  # its report would look like that of a test run that crashed
        os.kill(os.getpid(), signal.SIGABRT)


def hoards(data: bytes) -> None:
    if data == b"1":
        bytearray(400 << 20)


def fails(data: bytes) -> None:
    assert data != b"1", "a promise"


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (fails, "AssertionError: a promise"),
        (aborts, "it ends the process by SIGABRT"),
        (hoards, "with it the process has "),
        (loops, "it ends the process by SIGXCPU"),
    ],
)
def test_one_input_in_three_that_breaks_a_promise_is_kept(
    feed: Callable[[bytes], None], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], mocker: MockerFixture
) -> None:
    mocker.patch("blind.ENDLESS", 1)
    outcome = run(Target(feed, lambda: iter(())), 3, lambda number: str(number).encode(), tmp_path)
    assert [path.read_bytes() for path in outcome.found] == [b"1"]
    assert said in capfd.readouterr().err


def test_what_is_refused_by_an_error_of_ours_is_no_finding(tmp_path: Path) -> None:
    outcome = run(Target(refuses, lambda: iter(())), 3, lambda number: str(number).encode(), tmp_path)
    assert (outcome.inputs, outcome.taken, outcome.found) == (3, 0, ())
