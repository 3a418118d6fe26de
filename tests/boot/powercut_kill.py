# SPDX-License-Identifier: Apache-2.0
"""Kill: a guest that applies and rolls back loses its power again and again, and tells after each boot what it finds.

The contract: `Lane(prepared, folder, chance).run(count, deadline)` cuts the power `count` times, at moments that
`chance` decides: a moment after a certain call that changes names, counted from the end of recover; every fourth time
at any time of a round instead, for generators run long between two such calls. The first boot runs one whole round
uncut, which tells the old and the new files, and how many calls and seconds a round has. `Lane.cuts` are the cuts with
what the boot after each found.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from subprocess import Popen
from typing import Any

from boot import machine
from boot.blocklog import cut_out
from boot.cutdisk import ESP, EXT4, Reader
from boot.powercut import Prepared

STATE, DONE, STEP, FAILED = "@@STATE ", "@@DONE ", "@@STEP", "@@FAILED "
# A machine that boots and recovers under emulation, with others next to it, needs a tenth of this.
_SILENCE_SECONDS = 300.0
_POLL_SECONDS = 0.002
_MOST_DELAY_SECONDS = 0.05
_BY_TIME = 4

Digests = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut, as the boot after it found it.

    `state` is that of the files after recover: `old`, `new`, or what they are instead; `ending` tells what recover did.
    """

    moment: str
    state: str
    ending: str
    faults: tuple[str, ...]


@dataclass(slots=True)
class Lane:
    """One guest with one disk, whose power is cut one time after the other."""

    prepared: Prepared
    folder: Path
    chance: random.Random
    cuts: list[Cut] = field(default_factory=list)
    stages: tuple[Digests, Digests] = field(default=({}, {}))
    steps: int = 0
    seconds: float = 0.0

    def run(self, count: int, deadline: float) -> None:
        """Cut the power `count` times; boot once more to see what the last one left."""
        own = self.prepared.machine(self.folder / "disks")
        assert own.cut is not None
        moment = ""
        faults: tuple[str, ...] = ()
        for number in range(count + 1):
            assert time.monotonic() < deadline, f"only {len(self.cuts)} of {count} cuts in time"
            folder = self.folder / f"boot-{number}"
            with machine.start(own, folder) as process:
                console = Console(folder / "console", process)
                told = console.wait(STATE)
                if moment:
                    self.cuts.append(self._judge(moment, faults, told))
                else:
                    self._measure(console, told)
                if number < count:
                    moment = self._wait(console)
            faults = self._look(own.cut)

    def _measure(self, console: "Console", told: Mapping[str, Any]) -> None:
        began, steps = time.monotonic(), console.steps
        after = [console.wait(DONE)["files"] for _ in ("apply", "rollback")]
        assert after[1] == told["files"], "a rollback gives the old files back"
        self.stages = (told["files"], after[0])
        self.steps, self.seconds = console.steps - steps, time.monotonic() - began

    def _wait(self, console: "Console") -> str:
        if self.chance.randrange(_BY_TIME) == 0:
            seconds = self.chance.uniform(0, self.seconds)
            console.watch(seconds)
            return f"{seconds:.2f} s"
        step, delay = self.chance.randint(1, self.steps), self.chance.uniform(0, _MOST_DELAY_SECONDS)
        console.wait_for_step(console.steps + step)
        time.sleep(delay)
        return f"call {step} and {delay * 1000:.0f} ms"

    def _look(self, disk: Path) -> tuple[str, ...]:
        """Return what is wrong with a disk as the cut left it: file systems, and files that a bootloader would read."""
        scratch = self.folder / f"scratch-{len(self.cuts)}"
        reader = Reader(scratch)
        moments = (
            reader.esp(cut_out(disk, ESP, scratch / "esp.raw")),
            reader.ext4(cut_out(disk, EXT4, scratch / "ext4.raw")),
        )
        found = {path: sha256(content).hexdigest() for one in moments for path, content in one.files.items()}
        old, new = self.stages
        torn = tuple(f"{path} is not whole" for path in old if found.get(path) not in (old[path], new[path]))
        return (*torn, *(complaint for one in moments for complaint in one.complaints))

    def _judge(self, moment: str, faults: tuple[str, ...], told: Mapping[str, Any]) -> Cut:
        names = {str(sorted(stage.items())): name for stage, name in zip(self.stages, ("old", "new"), strict=True)}
        state = names.get(str(sorted(told["files"].items())), f"neither: {told['files']}")
        further = [f"{path} is left" for path in told["left"]]
        if told["code"]:
            return Cut(moment, state, "failed", (*faults, *further, f"recover: {told['code']} {told['output']}"))
        recovered = json.loads(told["output"])
        ending = "nothing to do" if recovered["recovered"] is None else "closed" if recovered["completed"] else "undone"
        return Cut(moment, state, ending, (*faults, *further))


class Console:
    """What a guest says, line by line, while it runs."""

    def __init__(self, path: Path, process: Popen[bytes]) -> None:
        self.steps = 0
        self._process = process
        self._lines = _follow(path)
        self._said: list[str] = []

    def wait(self, mark: str) -> dict[str, Any]:
        """Wait for a line that begins with a mark; give the object after it."""
        for line in self._until(_SILENCE_SECONDS):
            if line.startswith(mark):
                told: dict[str, Any] = json.loads(line.removeprefix(mark))
                return told
        raise AssertionError(f"no {mark!r} from the guest, whose last words are {self._said[-5:]}")

    def wait_for_step(self, number: int) -> None:
        """Wait until so many calls have changed names since the start."""
        for _ in self._until(_SILENCE_SECONDS):
            if self.steps >= number:
                return
        raise AssertionError(f"no call {number} of the guest, whose last words are {self._said[-5:]}")

    def watch(self, seconds: float) -> None:
        """Let the guest go on for a while."""
        for _ in self._until(seconds):
            pass

    def _until(self, seconds: float) -> Iterator[str]:
        deadline = time.monotonic() + seconds
        for line in self._lines:
            if line is not None:
                self._said.append(line)
                self.steps += line.startswith(STEP)
                assert not line.startswith(FAILED), line
                yield line
            elif time.monotonic() > deadline:
                return
            else:
                assert self._process.poll() is None, f"the guest ended by itself: {self._said[-5:]}"
                time.sleep(_POLL_SECONDS)


def _follow(path: Path) -> Iterator[str | None]:
    """Return each whole line of a file that grows, and None where there is none yet."""
    rest = b""
    with path.open("rb") as file:
        while True:
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace").strip()
            yield None
