# SPDX-License-Identifier: Apache-2.0
"""Kill, without a machine: what a guest says is followed, and what a boot finds after a cut is judged."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boot import powercut_kill
from boot.machine import Firmware, Iommu, Machine
from boot.powercut import SYSTEMD_BOOT, Prepared
from boot.powercut_kill import DONE, STATE, Console, Lane

OLD, NEW = {"a": "1", "b": "2"}, {"a": "3", "b": "4"}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is killed, as a machine does."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as running:
        yield running
        running.kill()


def console(tmp_path: Path, process: subprocess.Popen[bytes], *lines: str) -> Console:
    (tmp_path / "console").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return Console(tmp_path / "console", process)


def test_a_mark_gives_the_object_behind_it_and_calls_are_counted(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    said = console(tmp_path, process, "kernel: hello", "@@STEP", f'{STATE}{{"code": 0}}', "@@STEP", f'{DONE}{{"n": 1}}')
    assert (said.wait(STATE), said.steps) == ({"code": 0}, 1)
    assert (said.wait(DONE), said.steps) == ({"n": 1}, 2)


def test_half_a_line_is_waited_for(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    said = console(tmp_path, process, "@@STEP")
    said.wait_for_step(1)
    with (tmp_path / "console").open("ab") as more:
        more.write(STATE.encode() + b'{"co')
        more.flush()
        said.watch(0.05)
        more.write(b'de": 2}\n')
    assert said.wait(STATE) == {"code": 2}


@pytest.mark.parametrize("lines", [("@@FAILED [70]",), ("@@STEP",)])
def test_a_guest_that_fails_or_falls_silent_is_told(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...]
) -> None:
    monkeypatch.setattr(powercut_kill, "_SILENCE_SECONDS", 0.05)
    with pytest.raises(AssertionError, match=lines[0].split()[0]):
        console(tmp_path, process, *lines).wait(STATE)


def test_a_machine_that_ends_by_itself_is_told(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with pytest.raises(AssertionError, match="the guest ended by itself"):
        console(tmp_path, process, "Kernel panic").wait(STATE)


def told(
    files: dict[str, str], *, recovered: str | None = None, completed: bool = False, code: int = 0
) -> dict[str, Any]:
    output = json.dumps({"recovered": recovered, "completed": completed})
    return {"code": code, "output": output, "left": [], "files": files}


@pytest.mark.parametrize(
    ("found", "state", "ending", "faults"),
    [
        (told(OLD), "old", "nothing to do", 0),
        (told(NEW, recovered="x", completed=True), "new", "closed", 0),
        (told(OLD, recovered="x"), "old", "undone", 0),
        (told({**OLD, "a": "3"}), "neither: {'a': '3', 'b': '2'}", "nothing to do", 0),
        (told(OLD, code=78), "old", "failed", 1),
        ({**told(OLD), "left": ["/boot/.iommuctl-1.tmp"]}, "old", "nothing to do", 1),
    ],
)
def test_what_a_boot_finds_after_a_cut_is_judged(
    tmp_path: Path, found: dict[str, Any], state: str, ending: str, faults: int
) -> None:
    system = Machine(tmp_path / "none", Firmware.BIOS, Iommu.NONE, "GenuineIntel")
    lane = Lane(Prepared(SYSTEMD_BOOT, system, tmp_path / "none"), tmp_path, random.Random(1), stages=(OLD, NEW))
    cut = lane._judge("now", (), found)
    assert (cut.state, cut.ending, len(cut.faults)) == (state, ending, faults)
