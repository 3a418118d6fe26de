# SPDX-License-Identifier: Apache-2.0
"""Feed one target with a number of inputs that are made from a seed alone: the same in every run, on every machine.

`python blind.py TARGET RUNS SEED DIRECTORY` keeps in the directory a file for each input that broke a promise, took
more than SECONDS or more than MEBIBYTES, or ended the process. Ends with 0 where there is none. Time is the
processor's, never a clock's on the wall, so that a machine that is busy changes nothing.
"""

import gc
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parent.parent)]

from inputs import Inputs  # noqa: E402 - found by the line above
from targets import TARGETS, Target, takes  # noqa: E402

SECONDS = 2.0  # of the processor, for one input: what a file at its limit may take
ENDLESS = 5  # seconds of the processor after which an input is taken to have no end
MEBIBYTES = 300  # of the process, what it holds at its start included
_ADDRESSES = 4 << 30  # bytes: beyond this an allocation fails
_STATE = struct.Struct("QQQd")  # the next input's number, how many were taken, the peak in KiB, the slowest in seconds


class Outcome(NamedTuple):
    """What a number of inputs came to; `found` are the files of those that broke a promise."""

    inputs: int
    taken: int
    slowest: float
    peak: int
    seconds: float
    found: tuple[Path, ...]

    def text(self, name: str) -> str:
        """Return it as a line."""
        return (
            f"{name}: {self.inputs} inputs, {self.taken} taken, {self.inputs - self.taken} refused; "
            f"slowest {self.slowest * 1000:.0f} ms; peak {self.peak} MiB; {self.seconds:.0f} s of the processor"
        )


def run(target: Target, runs: int, make: Callable[[int], bytes], place: Path) -> Outcome:
    """Feed a target in a process of its own; where an input ends that, in another one from the next input on."""
    place.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    doubted = -1
    with mmap.mmap(-1, _STATE.size) as shared:
        while _STATE.unpack_from(shared)[0] < runs:
            if (child := os.fork()) == 0:
                _feed_all(target, runs, make, place, shared)
            _, status = os.waitpid(child, 0)
            number, taken, peak, slowest = _STATE.unpack_from(shared)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU and number != doubted:
                # The limit counts ticks, and on a busy machine one process is charged with those of others: once more,
                # in a process that has used none yet.
                doubted = number
            elif os.WIFSIGNALED(status):
                _keep(place, make(number), f"it ends the process by {signal.Signals(os.WTERMSIG(status)).name}")
                _STATE.pack_into(shared, 0, number + 1, taken, peak, slowest)
            elif status:
                raise RuntimeError(f"the process that feeds ended with {os.waitstatus_to_exitcode(status)}")
        _, taken, peak, slowest = _STATE.unpack_from(shared)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(runs, taken, slowest, peak // 1024, seconds, tuple(sorted(place.glob("found-*"))))


def _feed_all(target: Target, runs: int, make: Callable[[int], bytes], place: Path, shared: mmap.mmap) -> NoReturn:
    """Feed from the input on that is next; end with 0 after the last, or after one that took too much memory."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        gc.freeze()  # what is there before the first input is no garbage
        number, taken, peak, slowest = _STATE.unpack_from(shared)
        allowed = 0.0
        while number < runs:
            data = make(number)
            start = time.process_time()
            if start + ENDLESS > allowed:
                allowed = start + 2 * ENDLESS
                resource.setrlimit(resource.RLIMIT_CPU, (int(allowed), resource.RLIM_INFINITY))
            try:
                taken += takes(target, data)
            except Exception:  # noqa: BLE001 - any at all is what is looked for
                _keep(place, data, traceback.format_exc())
            needed = time.process_time() - start
            slowest = max(slowest, needed)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            number += 1
            _STATE.pack_into(shared, 0, number, taken, peak, slowest)
            if needed > SECONDS:
                _keep(place, data, f"it takes {needed:.1f} s of the processor")
            if peak > MEBIBYTES * 1024:
                _keep(place, data, f"with it the process has {peak // 1024} MiB")
                break
        status = 0
    except BaseException:  # noqa: BLE001 - it ends here, and says why
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def _keep(place: Path, data: bytes, what: str) -> None:
    names = (place / f"found-{number}" for number in range(1, sys.maxsize))
    path = next(path for path in names if not path.exists())
    path.write_bytes(data)
    sys.stderr.write(f"{path}: {what}\n")


def main() -> None:
    """Feed one target, and print what came of it."""
    name, runs, seed, directory = sys.argv[1:5]
    target = TARGETS[name]
    inputs = Inputs(name, int(seed), tuple(target.seeds()), target.words)
    outcome = run(target, int(runs), inputs.__getitem__, Path(directory))
    sys.stdout.write(f"{outcome.text(name)}\n")
    sys.exit(bool(outcome.found))


if __name__ == "__main__":
    main()
