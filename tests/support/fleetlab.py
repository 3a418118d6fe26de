# SPDX-License-Identifier: Apache-2.0
"""Fleet lab: many simulated hosts, planned, converted in waves, rebooted, verified, rolled back by examples/fleet.sh.

A host is a tree that stands for a running one; ssh, sudo and the reboot are imitated, the program is real. One host in
fifty is broken on purpose, each way at least once. What is held against the trees: no host is lost, none is changed
twice, each broken one is named with its reason, and every other is in the end as it was.
"""

import argparse
import fcntl
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from kernelhosts import INTEL, started
from project import PROJECT
from shownhosts import Stage

from iommuctl.app.fleet.record import Record, read_records
from iommuctl.app.fleet.summary import summarize
from iommuctl.cli.output.markdown import markdown

PROFILE = "passthrough-perf"
ONE_IN = 50
STATE = "var/lib/iommuctl"
ROOM = 1024 * 1024  # bytes of the file system of a host whose disk gets full
FIRST_WAVES = (1, 5)  # hosts; then a tenth of all at a time
GOLDEN = ("bls/fedora-42", "bls/rhel-9")
REFUSED = "tests/fixtures/refused/arch-refind/before"
# How a host is broken, and the word for it in its error.
WAYS = {"refused": "by-hand", "drifted": "stale-plan", "locked": "locked", "full": "execution"}
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class Step:
    """What one step cost: seconds of the clock and of processors, and the MiB of the largest process until then."""

    name: str
    runs: int
    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        each = self.cpu / max(self.runs, 1)
        return f"{self.name:<14}{self.runs:>7}{self.wall:>9.0f}{self.cpu:>9.0f}{each:>9.2f}{self.memory:>9.0f}"


class Lab:
    """Hosts in a directory, what was done with them, and what that cost."""

    def __init__(self, directory: Path, count: int, parallel: int) -> None:
        self.stage = Stage.build(directory / "stage")
        self.parallel = parallel
        self.hosts = tuple(f"node{number:05}" for number in range(count))
        ways = [way for way in WAYS if way != "full" or os.geteuid() == 0]  # only root can mount
        number = max(len(ways), count // ONE_IN)
        self.broken = {
            self.hosts[(2 * one + 1) * count // (2 * number)]: ways[one % len(ways)] for one in range(number)
        }
        self.steps: list[Step] = []
        self.stops = 0
        self.changes: Counter[str] = Counter()
        self._mounted: list[Path] = []
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        for tree in self._mounted:
            subprocess.run(["umount", "--lazy", str(tree)], check=False)

    def build(self) -> None:
        """Make the hosts, two kinds in turn, and those of a loader that is refused."""
        for number, host in enumerate(self.hosts):
            golden = f"tests/golden/{GOLDEN[number % len(GOLDEN)]}/before"
            self._build(host, PROJECT / (REFUSED if self.broken.get(host) == "refused" else golden))

    def tree(self, host: str) -> Path:
        return self.stage.work / "hosts" / host

    def hash(self, host: str) -> str:
        return _hash(self.tree(host))

    def environment(self, host: str = "") -> dict[str, str]:
        """What the script and programs see. Byte code is kept, in the lab, as it is where the program is installed."""
        seen = self.stage.environment(host)
        del seen["PYTHONDONTWRITEBYTECODE"]
        return {**seen, "PYTHONPYCACHEPREFIX": str(self.stage.folder / "bytecode")}

    def run(self, name: str, hosts: Iterable[str], *arguments: str, **settings: str) -> tuple[int, Rows]:
        """Run the script on hosts; give its exit code and the cells of each host's row after its name."""
        names = [*hosts]
        with _Measured(self.steps, name, len(names)):
            done = subprocess.run(
                [str(PROJECT / "examples/fleet.sh"), *arguments],
                cwd=self.stage.work,
                env={
                    **self.environment(),
                    "FLEET_PARALLEL": str(self.parallel),
                    "FLEET_TRIES": "1",
                    **settings,
                },
                input="".join(f"{host}\n" for host in names),
                capture_output=True,
                text=True,
                check=False,
            )
        cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in done.stdout.splitlines()]
        rows = {host: [what, *rest] for what, host, *rest in cells}
        assert len(rows) == len(cells), "a host has two rows"
        self.changes.update(host for host, row in rows.items() if row[0] == "changed")
        return done.returncode, rows

    def break_some(self) -> None:
        """Break hosts after their plan was made."""
        for host, way in self.broken.items():
            tree = self.tree(host)
            if way == "drifted":
                entry = _entry(tree)
                entry.write_text(f"{entry.read_text()}# somebody was here\n")
            elif way == "locked":
                (tree / STATE).mkdir(mode=0o700)
                lock = self._held.enter_context((tree / STATE / "lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            elif way == "full":
                facts = os.statvfs(tree)
                with (tree / "var/filled").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, facts.f_bavail * facts.f_frsize)

    def convert(self, planned: list[str]) -> list[str]:
        """Convert hosts in waves; give those that are. One that failed is set aside, and its wave run again."""
        converted: list[str] = []
        for wave in _waves(planned, max(1, len(self.hosts) // 10)):
            left = [*wave]
            while left:
                code, rows = self.run("apply", left, "apply", PROFILE, FLEET_PLANS="fleet-reports")
                failed = [host for host, row in rows.items() if row[0] not in ("changed", "unchanged")]
                assert (code, bool(failed)) in ((0, False), (1, True)), rows
                if not failed:
                    assert set(rows) == set(left), "a host is lost"
                    break
                self.stops += 1
                left = [host for host in left if host not in failed]
                later = planned[planned.index(wave[-1]) + 1 :]
                assert not [host for host in later if self.changes[host]], "a later wave has begun"
            for host in left:
                boot(self.tree(host))
            assert self.run("verify", left, "verify")[1] == {host: ["active", PROFILE] for host in left}
            converted += left
        return converted

    def records(self) -> dict[str, Record]:
        """What the report says of each host."""
        return {one.name: one for one in read_records([self.stage.work / "fleet-reports"])}

    def _build(self, host: str, golden: Path) -> None:
        tree = self.tree(host)
        tree.mkdir(parents=True)
        if self.broken.get(host) == "full":
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(tree)], check=True)
            self._mounted.append(tree)
        shutil.copytree(golden, tree, symlinks=True, dirs_exist_ok=True)
        for name in ("var/lib", "etc"):
            (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / "etc/hostname").write_text(f"{host}\n")
        boot(tree)


class _Measured:
    """Adds what was spent in a block to the step of that name."""

    def __init__(self, steps: list[Step], name: str, runs: int) -> None:
        self._steps, self._name, self._runs = steps, name, runs

    def __enter__(self) -> None:
        self._start = time.monotonic(), _spent()

    def __exit__(self, *_: object) -> None:
        before = next((one for one in self._steps if one.name == self._name), Step(self._name, 0, 0.0, 0.0, 0.0))
        now = Step(
            self._name,
            before.runs + self._runs,
            before.wall + time.monotonic() - self._start[0],
            before.cpu + _spent() - self._start[1],
            resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        )
        self._steps[:] = [one for one in self._steps if one.name != self._name] + [now]


def boot(tree: Path) -> None:
    """Have the kernel of a host run with the line of its newest entry: what it shows follows from that alone."""
    for name in ("proc", "sys"):
        shutil.rmtree(tree / name, ignore_errors=True)
    if not (tree / "boot/loader").exists():  # a loader that nobody edits
        replace(INTEL, files={"sys/firmware/efi/fw_platform_size": "64\n"}).write(tree)
        return
    entry = _entry(tree)
    keys = dict(line.split(None, 1) for line in entry.read_text().splitlines() if " " in line)
    line = " ".join(word for word in keys["options"].split() if not word.startswith("$"))
    started(f"BOOT_IMAGE=(hd0,gpt2){keys['linux']} {line}", keys["version"]).write(tree)


def simulate(directory: Path, count: int, parallel: int) -> str:
    """Take a fleet there and back; give its figures. Raises AssertionError where something that must hold does not."""
    with Lab(directory, count, parallel) as lab:
        lab.build()
        first = {host: lab.hash(host) for host in lab.hosts}
        code, rows = lab.run("plan", lab.hosts, "plan", PROFILE)
        assert set(rows) == set(lab.hosts), "a host is lost"
        assert {host: lab.hash(host) for host in lab.hosts} == first, "a plan has written"
        planned = [host for host in lab.hosts if rows[host][0] == "would change"]
        assert {host for host in lab.hosts if host not in planned} == {
            host for host, way in lab.broken.items() if way == "refused"
        }
        lab.break_some()
        before = {host: lab.hash(host) for host in lab.hosts}
        converted = lab.convert(planned)
        assert {*converted} == {*lab.hosts} - {*lab.broken}
        _hold_report(lab, dict.fromkeys(converted, ("changed", "active")))
        assert lab.changes == Counter(converted), "a host was changed twice"
        assert {len([*(lab.tree(host) / STATE / "snapshots").iterdir()]) for host in converted} == {1}
        assert {host: lab.hash(host) for host in lab.broken} == {host: before[host] for host in lab.broken}
        shown = markdown(summarize(lab.records().values()))
        (lab.stage.work / "report.md").write_text(shown)
        code, rows = lab.run("rollback", converted, "rollback")
        assert (code, {row[0] for row in rows.values()}, len(rows)) == (0, {"changed"}, len(converted))
        for host in converted:
            boot(lab.tree(host))
        assert {host: lab.hash(host) for host in converted} == {host: first[host] for host in converted}
        _hold_report(lab, dict.fromkeys(converted, ("rolled back", "active")))
        _alone(lab, planned[: max(1, count // 10)])
        return _figures(lab, len(converted))


def _hold_report(lab: Lab, others: Mapping[str, tuple[str, str]]) -> None:
    """Hold the report against what was done: every host is in it, and a broken one has its reason and a way on."""
    records = lab.records()
    assert set(records) == set(lab.hosts), "a host is lost"
    assert {host: (records[host].standing.value, records[host].verdict) for host in others} == others
    for host, way in lab.broken.items():
        trouble = records[host].trouble
        assert trouble is not None, host
        assert trouble.kind == WAYS[way], f"{host}, {way}: {trouble}"
        assert trouble.brief, f"{host}, {way}: {trouble}"


def _alone(lab: Lab, hosts: list[str]) -> None:
    """Measure the program without the script and what that starts, on hosts that are as they were."""
    words = (str(lab.stage.folder / "bin/iommuctl"), "apply", PROFILE, "--dry-run", "--json")
    with _Measured(lab.steps, "program alone", len(hosts)):
        for host in hosts:
            environment = lab.environment(str(lab.tree(host)))
            subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _figures(lab: Lab, converted: int) -> str:
    ways = ", ".join(f"{count} {way}" for way, count in Counter(lab.broken.values()).items())
    head = f"{'step':<14}{'runs':>7}{'wall s':>9}{'CPU s':>9}{'each':>9}{'MiB':>9}"
    spent = sum(step.cpu for step in lab.steps)
    plan, alone = (next(one for one in lab.steps if one.name == name) for name in ("plan", "program alone"))
    part = 100 * (alone.cpu / alone.runs) / (plan.cpu / plan.runs)
    return "\n".join(
        (
            f"{len(lab.hosts)} hosts, {converted} converted and rolled back, {len(lab.broken)} broken ({ways})",
            f"{lab.parallel} at a time, {lab.stops} runs stopped by a host that failed",
            head,
            *map(str, lab.steps),
            f"CPU of all steps {spent:.0f} s; of a plan by the script the program is {part:.0f} %",
            "no host lost, none changed twice, each broken one named with its reason, all others as they were",
        )
    )


def _waves(hosts: list[str], size: int) -> Iterator[list[str]]:
    at = 0
    for length in (*FIRST_WAVES, *([size] * len(hosts))):
        if at >= len(hosts):
            return
        yield hosts[at : at + length]
        at += length


def _entry(tree: Path) -> Path:
    """The newest entry that is no rescue entry."""
    return max(path for path in tree.glob("boot/loader/entries/*.conf") if "-0-rescue" not in path.name)


def _hash(tree: Path) -> str:
    """A digest of every file of a host but what its kernel shows and our own state."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        inside = path.relative_to(tree)
        if inside.parts[0] in ("proc", "sys") or inside.is_relative_to(STATE) or inside == Path("var/filled"):
            continue
        status = path.lstat()
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        digest.update(f"{inside} {status.st_mode:o} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Simulate a fleet of the size that is asked for."""
    parser = argparse.ArgumentParser(prog="fleet-simulation", description="Convert and roll back simulated hosts.")
    parser.add_argument("count", type=int, nargs="?", default=1000, help="hosts (default: 1000)")
    parser.add_argument("--parallel", type=int, default=2 * (os.cpu_count() or 1), help="at a time")
    parser.add_argument("--ansible", action="store_true", help="by the Ansible collection")
    parser.add_argument("--keep", type=Path, help="leave hosts and documents in this directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = (options.keep or Path(directory)).resolve()
        if options.ansible:
            from fleetplay import simulate as play  # noqa: PLC0415 - it needs an ansible-core, and this module

            figures = play(place, options.count)
        else:
            figures = simulate(place, options.count, options.parallel)
        sys.stdout.write(f"{figures}\n")


if __name__ == "__main__":
    main()
