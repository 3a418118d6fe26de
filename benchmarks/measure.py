# SPDX-License-Identifier: Apache-2.0
"""Whole processes, measured: CPU time (user and system), peak memory, wall time; ratios by pairs that run in turn."""

import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """One process: CPU and wall time in seconds, peak memory in MiB."""

    cpu: float
    memory: float
    wall: float


class Row(NamedTuple):
    """One line of the table. `budget` None is a figure that no budget is about."""

    work: str
    budget: float | None
    value: float
    unit: str
    detail: str

    def __str__(self) -> str:
        limit = "" if self.budget is None else f"{self.budget:g}{self.unit}"
        judged = "" if self.budget is None or self.value <= self.budget else ", **over**"
        return f"| {self.work} | {limit} | {self.value:.3g}{self.unit}{judged} | {self.detail} |"


# Linux counts what a process was before it became a program towards the program's peak (fs/exec.c, exec_mmap), so that
# one which the benchmarks start themselves is never smaller than they are. This one is 8 MiB.
_STARTER = """
import os, sys, time
null = os.open(os.devnull, os.O_RDWR)
start = time.monotonic()
quiet = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1)]
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet), 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss, time.monotonic() - start)
"""


def run(argv: Sequence[str], environment: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> Run:
    """Run a command. Raises CalledProcessError where it ends with another code than these."""
    starter = (sys.executable, "-I", "-S", "-c", _STARTER, *argv)
    done = subprocess.run(starter, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    code, cpu, memory, wall = done.stdout.split()
    if int(code) not in codes:
        raise subprocess.CalledProcessError(int(code), list(argv), stderr=done.stderr)
    return Run(float(cpu), int(memory) / 1024, float(wall))


def compare(
    work: str, budget: float | None, ours: Callable[[], Run], theirs: Callable[[], Run], *, runs: int, warm: bool = True
) -> Row:
    """Return the median ratio of CPU time over pairs of runs, first ours, then theirs."""
    if warm:  # what is read for the first time is not what is measured
        ours(), theirs()
    pairs = [(ours().cpu, theirs().cpu) for _ in range(runs)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / another for one, another in pairs)
    return Row(work, budget, ratio, "", f"{mine * 1000:.0f} ms / {other * 1000:.0f} ms, {runs} pairs")
