# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the performance budgets, as ratios of whole processes that run in turn. Not a test.

Run it on an idle machine: `.venv/bin/python benchmarks/run.py [PART…]`; it prints the table of docs/architecture.md.
CPU time (user and system) is compared, since other work on the machine disturbs it least; what a process does by itself
is told in milliseconds of the machine on which its budget was set, by what augtool takes at the same time. Needs
augtool (augeas-tools), bash and strace; Ansible's own comparison needs `ansible` on the PATH, and is left out without
it. Nothing outside a temporary directory is written. Bytecode is compiled beforehand, as an installation does.
"""

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

from hosts import ENTRIES, fedora  # noqa: E402 - found by the line above
from measure import Row, Run, compare, run  # noqa: E402

from iommuctl.app.change.apply import plan_apply  # noqa: E402
from iommuctl.app.change.planning import Choices  # noqa: E402
from iommuctl.app.host import Host  # noqa: E402
from iommuctl.facts import Platform  # noqa: E402
from iommuctl.plan import Regenerate  # noqa: E402

RUNS = 15
FEW = 5
PASSTHROUGH = "passthrough-perf"
OPTIONS = ("--platform", "intel", "--regenerate", "never", "--yes")
WANTED = "intel_iommu=on iommu=pt"
SNAPSHOTS = 50
ROOTS = 1000
MANY, MOST = 1000, 10_000  # entries
AUGTOOL = ("augtool", "print", "/files/etc/default/grub")
AUGTOOL_MS = 527  # where the budgets in milliseconds were set
# How many processes the real grubby starts on 3 entries, and how many of them run a program.
PROCESSES = (194, 88)
GRUBBY = PROJECT / "benchmarks" / "grubby-processes.bash"
_CHANGING = re.compile(r"\b(?:write|pwrite64|fsync|fdatasync|rename\w*|mkdir\w*|unlink\w*|execve)\(")
_OWN_OUTPUT = re.compile(r"\bwrite\([12],")
_AT_EXIT = """
import os, sys, time
from iommuctl.cli import main
sys.argv[1:] = sys.argv[2:]
try:
    main()
except SystemExit:
    pass
os.write(2, str(time.process_time()).encode())
"""

_MANY_ROOTS = """
import resource, sys, time
from pathlib import Path
from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

choices, count = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER), int(sys.argv[2])
start = time.process_time()
for number in range(count):
    plan_apply(Host.open(Path(sys.argv[1])), "passthrough-perf", choices)
    if number == count // 10:
        early = peak()
print((time.process_time() - start) / count * 1000, early, peak())
"""


def _scaled(work: str, budget: float | None, found: float, of: str, augtool: Sequence[float]) -> Row:
    """Return milliseconds as those of the machine on which the budgets were set."""
    here = statistics.median(augtool)
    detail = f"{of}, where augtool takes {AUGTOOL_MS} ms; {found:.3g} ms here, where it takes {here:.0f}"
    return Row(work, budget, found * AUGTOOL_MS / here, " ms", detail)


def iommuctl(*arguments: str) -> list[str]:
    """Return the command that runs this checkout."""
    return [sys.executable, "-m", "iommuctl", *arguments]


class Bench:
    """The measurements, in one scratch directory."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._number = 0
        unset = {"PYTHONDONTWRITEBYTECODE"}
        self._environment = {name: value for name, value in os.environ.items() if name not in unset}
        self._environment["PYTHONPYCACHEPREFIX"] = str(scratch / "bytecode")

    def _run(self, *argv: str, codes: tuple[int, ...] = (0,)) -> Run:
        return run(argv, self._environment, codes)

    def _place(self, name: str) -> Path:
        self._number += 1
        return self._scratch / f"{name}-{self._number}"

    def _debian(self) -> Path:
        return Path(shutil.copytree(PROJECT / "examples" / "debian-12", self._place("debian"), symlinks=True))

    def start(self) -> Iterator[Row]:
        """One host: a dry-run, an apply that finds nothing to do, the start of Python and of a completion."""
        fresh, applied = str(self._debian()), str(self._debian())
        apply = iommuctl("apply", PASSTHROUGH, "--root", applied, "--yes")
        self._run(*apply)
        dry_run = iommuctl("apply", PASSTHROUGH, "--root", fresh, "--dry-run")
        yield self._pair("dry-run / augtool with autoload", 0.25, dry_run, AUGTOOL)
        yield self._pair("unchanged apply / dry-run", 1.1, apply, dry_run)
        yield Row("unchanged apply", 0, self._changing(apply), "", "writes, fsyncs, renames, commands, by strace")
        yield Row("peak memory, one host", 34, self._run(*dry_run).memory, " MiB", "")
        python = [sys.executable, "-c", "pass"]
        yield self._pair("TAB after a command / Python", 7, self._tab("iommuctl apply pass"), python)
        yield self._pair("--version / Python", None, iommuctl("--version"), python)
        yield Row("exit after a dry-run", None, self._exit(dry_run), " ms", "CPU time after main, median")
        if shutil.which("ansible"):
            module = "path=/etc/default/grub regexp=^GRUB_CMDLINE_LINUX= line=GRUB_CMDLINE_LINUX="
            ansible = ["ansible", "localhost", "--check", "-m", "lineinfile", "-a", module]
            yield self._pair("dry-run / Ansible's lineinfile in check mode", None, dry_run, ansible, runs=FEW)

    def _augtool(self) -> float:
        return self._run(*AUGTOOL).cpu * 1000

    def _pair(
        self, work: str, budget: float | None, ours: Sequence[str], theirs: Sequence[str], *, runs: int = RUNS
    ) -> Row:
        codes = (0, 1)
        return compare(
            work, budget, lambda: self._run(*ours, codes=codes), lambda: self._run(*theirs, codes=codes), runs=runs
        )

    def _tab(self, line: str) -> list[str]:
        words = {"_IOMMUCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        program = str(Path(sys.executable).with_name("iommuctl"))
        return ["env", *(f"{name}={value}" for name, value in words.items()), program]

    def _exit(self, argv: Sequence[str]) -> float:
        after = []
        for _ in range(FEW):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, "-c", _AT_EXIT, "-", *argv[3:]],
                env={**self._environment, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            total = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
            after.append(total - float(done.stderr))
        return statistics.median(after) * 1000

    def _changing(self, argv: Sequence[str]) -> int:
        """How many calls of a run change something, by strace; its own start and output are not counted."""
        log = self._scratch / "trace"
        self._run("strace", "-f", "-qq", "-o", str(log), "--", *argv)
        lines = [line for line in log.read_text(errors="replace").splitlines() if _CHANGING.search(line)]
        return sum(not _OWN_OUTPUT.search(line) for line in lines) - 1

    def reading(self) -> Iterator[Row]:
        """What only looks, on a host with many snapshots."""
        tree = self._debian()
        host = Host.open(tree)
        self._snapshots(host)
        root = ("--root", str(tree))
        dry_run = iommuctl("apply", PASSTHROUGH, *root, "--dry-run")
        commands = {
            "status": ("status", *root),
            "lint": ("lint", *root),
            "history": ("history", *root),
            "history --json": ("history", "--json", *root),
            "explain": ("explain", "iommu=pt"),
            "verify": ("verify", PASSTHROUGH),
        }
        for name, arguments in commands.items():
            yield self._pair(f"{name} / dry-run, {SNAPSHOTS} snapshots", 1.1, iommuctl(*arguments), dry_run, runs=9)
        as_json = (iommuctl(*commands["history --json"]), (*dry_run, "--json"))
        yield self._pair(f"history --json / dry-run --json, {SNAPSHOTS} snapshots", None, *as_json, runs=9)

    def _snapshots(self, host: Host) -> None:
        for _ in range(SNAPSHOTS // 2):
            self._run(*iommuctl("apply", PASSTHROUGH, "--root", str(host.path), "--yes"))
            self._run(*iommuctl("rollback", "--root", str(host.path), "--yes"))

    def entries(self, count: int, runs: int, budget: float | None, memory: float | None) -> Iterator[Row]:
        """An apply to entries, no two alike, in turn with as many processes as grubby starts, and with sed."""
        peaks: list[float] = []

        def ours() -> Run:
            tree = fedora(self._place("host"), count)
            done = self._run(*iommuctl("apply", PASSTHROUGH, "--root", str(tree), *OPTIONS))
            peaks.append(done.memory)
            shutil.rmtree(tree)
            return done

        def grubby() -> Run:
            tree = fedora(self._place("grubby"), count)
            done = self._run("bash", str(GRUBBY), str(tree), WANTED)
            shutil.rmtree(tree)
            return done

        def sed() -> Run:
            tree = fedora(self._place("sed"), count)
            done = self._run("sh", "-c", f"cd {tree}/{ENTRIES} && exec sed -i 's|^options .*|& {WANTED}|' *.conf")
            shutil.rmtree(tree)
            return done

        warm = runs > 1
        yield compare(f"apply, {count} entries / grubby's processes", budget, ours, grubby, runs=runs, warm=warm)
        yield compare(f"apply, {count} entries / sed, no safety", None, ours, sed, runs=runs, warm=warm)
        yield Row(f"peak memory, {count} entries", memory, max(peaks), " MiB", "")

    def grubby(self) -> Iterator[Row]:
        """Whether the yardstick is what it says: the processes of grubby, by strace."""
        log, tree = self._scratch / "trace", fedora(self._place("grubby"), 3)
        calls = "trace=clone,clone3,fork,vfork,execve"
        self._run("strace", "-f", "-qq", "-e", calls, "-o", str(log), "bash", str(GRUBBY), str(tree), WANTED)
        lines = [line for line in log.read_text().splitlines() if "resumed" not in line]
        programs = sum("execve(" in line for line in lines) - 1
        found = (sum("clone" in line or "fork(" in line for line in lines), programs)
        assert found == PROCESSES, f"the yardstick starts {found} processes and programs, grubby {PROCESSES}"
        yield Row("the yardstick's processes on 3 entries", None, found[0], "", f"{found[1]} of them run a program")

    def plan(self) -> Iterator[Row]:
        """The plan alone, in this process: the time of an entry, and whether it stays the same."""
        each = {}
        for count in (MANY, MOST):
            tree = fedora(self._place("plan"), count)
            choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
            times, augtool = [], [self._augtool()]
            for _ in range(FEW if count == MANY else 1):
                start = time.process_time()
                plan = plan_apply(Host.open(tree), PASSTHROUGH, choices)
                times.append(time.process_time() - start)
                assert len(plan.steps.edits) == count + 2
                augtool.append(self._augtool())
            budget = 0.9 if count == MANY else None
            row = _scaled(
                f"plan, {count} entries", budget, statistics.median(times) / count * 1000, "an entry", augtool
            )
            each[count] = row.value
            yield row
        yield Row("an entry of 10,000 / an entry of 1000", 1.2, each[MOST] / each[MANY], "", "1 is linear")

    def roots(self) -> Iterator[Row]:
        """Many roots planned in one process, as a builder of images or a simulated fleet does."""
        for name, tree in (("GRUB2", self._debian()), ("3 BLS entries", fedora(self._place("bls"), 3))):
            argv = [sys.executable, "-c", _MANY_ROOTS, str(tree), str(ROOTS)]
            augtool = [self._augtool() for _ in range(FEW)]
            printed = subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=True).stdout
            each, early, late = map(float, printed.split())
            augtool += [self._augtool() for _ in range(FEW)]
            yield _scaled(f"{ROOTS} roots in one process, {name}", 16, each, "a root", augtool)
            yield Row(
                f"peak memory after {ROOTS} roots / after a tenth, {name}", 1.1, late / early, "", f"{late:.0f} MiB"
            )

    def rollback(self) -> Iterator[Row]:
        """The way back of many entries, an entry."""
        for count in (1000, 5000):
            tree = fedora(self._place("rollback"), count)
            self._run(*iommuctl("apply", PASSTHROUGH, "--root", str(tree), *OPTIONS))
            done = self._run(*iommuctl("rollback", "--root", str(tree), "--regenerate", "never", "--yes"))
            yield Row(
                f"rollback, {count} entries", None, done.cpu / count * 1000, " ms", f"an entry; {done.memory:.0f} MiB"
            )
            shutil.rmtree(tree)


def main() -> None:
    """Measure what is named, or everything, and print a row for each."""
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        parts = {
            "start": bench.start,
            "reading": bench.reading,
            "grubby": bench.grubby,
            "1": lambda: bench.entries(1, RUNS, None, 34),
            "3": lambda: bench.entries(3, RUNS, 1, 34),
            "50": lambda: bench.entries(50, FEW, None, None),
            "1000": lambda: bench.entries(1000, 1, 0.05, 46),
            "10000": lambda: bench.entries(10_000, 1, None, None),
            "plan": bench.plan,
            "roots": bench.roots,
            "rollback": bench.rollback,
        }
        print("| work | budget | measured | |\n|---|---|---|---|")
        for name in sys.argv[1:] or parts:
            for row in parts[name]():
                print(row, flush=True)


if __name__ == "__main__":
    main()
