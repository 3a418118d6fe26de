# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the budgets of docs/architecture.md, as ratios of whole processes that run in turn. Not a test.

Run it on an idle machine: `.venv/bin/python benchmarks/run.py`. CPU time (user and system) is compared, since other
work on the machine disturbs it least. Needs augtool (augeas-tools); nothing outside a temporary folder is written.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
RUNS = 15
PASSTHROUGH = "passthrough-perf"


def run(argv: Sequence[str]) -> tuple[float, float]:
    """Run a command; give its CPU seconds and its peak memory in MiB. Raises CalledProcessError where it fails."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(argv), stderr=errors)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(name: str, budget: float, ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Print the median ratio of CPU time over pairs of runs, first ours, then theirs."""
    run(ours), run(theirs)  # what is read for the first time is not what is measured
    pairs = [(run(ours)[0], run(theirs)[0]) for _ in range(RUNS)]
    ratio = statistics.median(mine / other for mine, other in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    verdict = "within" if ratio <= budget else "OVER"
    print(f"{name}: {mine * 1000:.0f} ms / {other * 1000:.0f} ms = {ratio:.2f} (budget {budget}: {verdict})")


def iommuctl(*arguments: str) -> list[str]:
    """Give the command that runs this checkout."""
    return [sys.executable, "-m", "iommuctl", *arguments]


def main() -> None:
    """Measure everything and print a line for each budget."""
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory() as folder:
        fresh, applied = Path(folder) / "fresh", Path(folder) / "applied"
        for tree in (fresh, applied):
            shutil.copytree(PROJECT / "examples" / "debian-12", tree, symlinks=True)
        apply = iommuctl("apply", PASSTHROUGH, "--root", str(applied))
        run([*apply, "--yes"])
        dry_run = iommuctl("apply", PASSTHROUGH, "--root", str(fresh), "--dry-run")
        compare("dry-run / augtool with autoload", 0.35, dry_run, ["augtool", "print", "/files/etc/default/grub"])
        compare("unchanged apply / dry-run", 1.3, apply, dry_run)
        print(f"peak memory of a dry-run: {run(dry_run)[1]:.0f} MiB (budget 45)")


if __name__ == "__main__":
    main()
