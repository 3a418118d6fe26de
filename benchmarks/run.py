# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the performance budgets, as ratios of whole processes that run in turn. Not a test.

Run it on an idle machine: `.venv/bin/python benchmarks/run.py`. CPU time (user and system) is compared, since other
work on the machine disturbs it least. Needs augtool (augeas-tools), grub-editenv (grub-common), bash and strace;
nothing outside a temporary directory is written. Bytecode is compiled beforehand, as an installation does.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from iommuctl.app.apply import Choices, plan_apply  # noqa: E402 - found by the line above
from iommuctl.app.host import Host  # noqa: E402
from iommuctl.facts import Platform  # noqa: E402
from iommuctl.plan import Regenerate  # noqa: E402

RUNS = 15
SHORT_RUNS = 5
PASSTHROUGH = "passthrough-perf"
OPTIONS = ("--platform", "intel", "--regenerate", "never")
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
ENTRIES = PurePosixPath("boot/loader/entries")
MANY = 1000
GRUBENV_SIZE = 1024  # bytes, always; grub-core/lib/envblk.c
# grubby is a bash script that Debian does not carry. This one starts about as many processes, so that the ratio is
# measured on this machine.
GRUBBY = PROJECT / "benchmarks" / "grubby-processes.bash"
WANTED = "intel_iommu=on iommu=pt"
_CHANGING = re.compile(r"\b(?:write|pwrite64|fsync|fdatasync|rename\w*|mkdir\w*|unlink\w*|execve)\(")
_OWN_OUTPUT = re.compile(r"\bwrite\([12],")


def run(argv: Sequence[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a command; give its CPU seconds, its peak memory in MiB and its wall time in seconds.

    Raises CalledProcessError where it fails.
    """
    start = time.monotonic()
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(argv), stderr=errors)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - start


def verdict(value: float, budget: float) -> str:
    """Say whether a budget is kept."""
    return f"budget {budget:g}: {'within' if value <= budget else 'OVER'}"


def iommuctl(*arguments: str) -> list[str]:
    """Return the command that runs this checkout."""
    return [sys.executable, "-m", "iommuctl", *arguments]


class Bench:
    """The measurements, in one scratch directory."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        unset = {"PYTHONDONTWRITEBYTECODE"}
        self._environment = {name: value for name, value in os.environ.items() if name not in unset}
        self._environment["PYTHONPYCACHEPREFIX"] = str(scratch / "bytecode")

    def compare(self, name: str, budget: float, ours: Sequence[str], theirs: Sequence[str]) -> None:
        """Print the median ratio of CPU time over pairs of runs, first ours, then theirs."""
        for argv in (ours, theirs):  # what is read for the first time is not what is measured
            run(argv, self._environment)
        pairs = [(run(ours, self._environment)[0], run(theirs, self._environment)[0]) for _ in range(RUNS)]
        ratio = statistics.median(mine / other for mine, other in pairs)
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}: {mine * 1000:.0f} ms / {other * 1000:.0f} ms = {ratio:.2f} ({verdict(ratio, budget)})")

    def start_up(self) -> None:
        """A GRUB host: the dry-run, and an apply that finds nothing to do."""
        fresh, applied = self._scratch / "fresh", self._scratch / "applied"
        for tree in (fresh, applied):
            shutil.copytree(PROJECT / "examples" / "debian-12", tree, symlinks=True)
        apply = iommuctl("apply", PASSTHROUGH, "--root", str(applied))
        run([*apply, "--yes"], self._environment)
        dry_run = iommuctl("apply", PASSTHROUGH, "--root", str(fresh), "--dry-run")
        self.compare("dry-run / augtool with autoload", 0.35, dry_run, ["augtool", "print", "/files/etc/default/grub"])
        self.compare("unchanged apply / dry-run", 1.3, apply, dry_run)
        memory = run(dry_run, self._environment)[1]
        print(f"peak memory of a dry-run: {memory:.0f} MiB ({verdict(memory, 45)})")
        print(f"unchanged apply: {self.changing(apply)} writes, fsyncs, renames and commands (budget 0)")

    def changing(self, argv: Sequence[str]) -> int:
        """How many calls of a run change something, by strace; its own start and output are not counted."""
        log = self._scratch / "trace"
        run(["strace", "-f", "-qq", "-o", str(log), "--", *argv], self._environment)
        lines = [line for line in log.read_text(errors="replace").splitlines() if _CHANGING.search(line)]
        return sum(not _OWN_OUTPUT.search(line) for line in lines) - 1

    def entries(self, count: int, runs: int) -> None:
        """An apply to entries, no two alike, in turn with what grubby does."""
        ours, theirs, memories = [], [], []
        for number in range(runs):
            tree = make_host(self._scratch / f"host-{count}-{number}", count)
            cpu, memory, wall = run(iommuctl("apply", PASSTHROUGH, "--root", str(tree), *OPTIONS), self._environment)
            ours.append((cpu, wall))
            memories.append(memory)
            tree = make_host(self._scratch / f"grubby-{count}-{number}", count)
            cpu, _, wall = run(["bash", str(GRUBBY), str(tree), WANTED], self._environment)
            theirs.append((cpu, wall))
        budget = 1.0 if count < MANY else 0.05
        for place, kind in enumerate(("CPU", "wall")):
            ratio = statistics.median(mine[place] / other[place] for mine, other in zip(ours, theirs, strict=True))
            mine, other = (statistics.median(one[place] for one in column) for column in (ours, theirs))
            print(
                f"apply to {count} entries / grubby's processes, {kind} time: "
                f"{mine:.2f} s / {other:.2f} s = {ratio:.3f} ({verdict(ratio, budget)})"
            )
        print(f"peak memory with {count} entries: {max(memories):.0f} MiB ({verdict(max(memories), 45)})")

    def plan(self) -> None:
        """The plan alone, in this process: the time of an entry, and whether it stays the same."""
        each = {}
        for count in (MANY // 2, MANY):
            tree = make_host(self._scratch / f"plan-{count}", count)
            choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
            times = []
            for _ in range(SHORT_RUNS):
                start = time.process_time()
                plan = plan_apply(Host.open(tree), PASSTHROUGH, choices)
                times.append(time.process_time() - start)
                assert len(plan.edits) == count + 2
            each[count] = statistics.median(times) / count * 1000
            print(f"plan of {count} entries: {each[count]:.2f} ms an entry ({verdict(each[count], 1.0)})")
        growth = each[MANY] / each[MANY // 2]
        print(f"an entry of {MANY} / an entry of {MANY // 2}: {growth:.2f} (1 is linear)")


def make_host(root: Path, count: int) -> Path:
    """Make a Fedora host with that many entries; each has another version and other options."""
    files = {
        "etc/machine-id": f"{MACHINE}\n",
        "etc/os-release": "ID=fedora\nVERSION_ID=42\n",
        "etc/default/grub": 'GRUB_CMDLINE_LINUX="rhgb quiet"\nGRUB_ENABLE_BLSCFG=true\n',
        "etc/kernel/cmdline": "root=UUID=0a3407de ro rhgb quiet\n",
        "boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "boot/grub2/grubenv": "# GRUB Environment Block\n".ljust(GRUBENV_SIZE, "#"),
    }
    for number in range(count):
        version = f"6.14.{number}-300.fc42.x86_64"
        files[f"{ENTRIES}/{MACHINE}-{version}.conf"] = (
            f"title Fedora Linux ({version}) 42\nversion {version}\nlinux /vmlinuz-{version}\n"
            f"initrd /initramfs-{version}.img $tuned_initrd\n"
            f"options root=UUID=0a3407de ro rhgb quiet debug{number} $tuned_params\n"
            "grub_users $grub_users\ngrub_arg --unrestricted\ngrub_class fedora\n"
        )
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def main() -> None:
    """Measure everything and print a line for each budget."""
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.start_up()
        bench.entries(3, runs=RUNS)
        bench.plan()
        bench.entries(MANY, runs=1)


if __name__ == "__main__":
    main()
