# SPDX-License-Identifier: Apache-2.0
"""Whole processes, measured: CPU time (user and system), peak memory, wall time; ratios by pairs that run in turn."""

import os
import statistics
import subprocess
import time
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


def run(argv: Sequence[str], environment: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> Run:
    """Run a command. Raises CalledProcessError where it ends with another code than these."""
    start = time.monotonic()
    process = subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise subprocess.CalledProcessError(process.returncode, list(argv), stderr=errors)
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - start)


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
