# SPDX-License-Identifier: Apache-2.0
"""Fleet play: the simulated hosts of the fleet lab, planned, converted in waves and rolled back by the collection.

The collection is the built one, the ansible-core a real one, with its local connection; a reboot is imitated. The trees
are held to what the lab holds them to, and the program's processor time is told from that of Ansible's modules on the
hosts, and both from the control machine's.
"""

import json
import re
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import fleetlab
import playbooks
from fleetlab import STATE, WAYS, Lab
from playbooks import Control
from project import PROJECT

from iommuctl.app.fleet.record import Record, Standing, read_records

# The role asks for room before it begins, where the script finds out by an apply that undoes itself.
_KINDS = {**WAYS, "full": "task-failed"}
_FORKS = 8
_ONCE_MORE = 100  # hosts
_TIMEOUT_SECONDS = 120  # a host
_WAVES = (1, 5, "25%")
_VARS = {
    "ansible_connection": "local",
    "ansible_python_interpreter": "{{ inventory_dir }}/../local/python",
    "convert_profile": fleetlab.PROFILE,
    "convert_executable": "{{ inventory_dir }}/../local/{{ inventory_hostname }}",
    "convert_reboot_tasks": "{{ inventory_dir }}/reboot.yml",
    "convert_drain_tasks": "{{ inventory_dir }}/drain.yml",
    "convert_undrain_tasks": "{{ inventory_dir }}/undrain.yml",
    "convert_lock_retries": 1,
    "convert_lock_delay": 0,
    "convert_verify_retries": 1,
    "convert_verify_delay": 0,
}
_SECONDS = re.compile(r"(\d+)m([0-9.]+)s (\d+)m([0-9.]+)s\n(\d+)m([0-9.]+)s (\d+)m([0-9.]+)s\n")


class Play:
    """A control machine over the hosts of a lab, and what its runs cost."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        collections = playbooks.install_collection(lab.stage.folder)
        self.control = Control(lab.stage, collections, playbooks.NEWEST)
        self.spent = lab.stage.folder / "spent"
        self.spent_on_hosts = lab.stage.folder / "spent-on-hosts"
        self.plans = self.control.work / "plans"
        self.rows: list[str] = []
        self._write()

    def run(self, name: str, *arguments: str, book: str = "waves") -> playbooks.Played:
        """Run a playbook; note what it cost."""
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        known = (*_told(self.spent), *_told(self.spent_on_hosts))
        words = ("-i", "hosts.json", f"{book}.json", "--forks", str(_FORKS), *arguments)
        done = self.control.play(*words, timeout=_TIMEOUT_SECONDS * len(self.lab.hosts))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        now = (*_told(self.spent), *_told(self.spent_on_hosts))
        runs, ours, _, hosts = (late - early for late, early in zip(now, known, strict=True))
        seconds = (time.monotonic() - start, whole, ours, hosts - ours, whole - hosts, after.ru_maxrss / 1024)
        self.rows.append(f"{name:<14}{runs:>7.0f}" + "".join(f"{one:>9.0f}" for one in seconds))
        return done

    def convert(self, name: str, hosts: list[str], aside: set[str]) -> playbooks.Played:
        """Run the waves on hosts, without those that are set aside."""
        (self.control.work / "reviewed.json").write_text(json.dumps({"convert_reviewed": self.reviewed(aside)}))
        return self.run(name, *self.limit(hosts), "-e", "@reviewed.json")

    def limit(self, hosts: list[str]) -> tuple[str, str]:
        """The words that leave other hosts out."""
        (self.control.work / "limit").write_text("".join(f"{host}\n" for host in hosts))
        return "--limit", "@limit"

    def reviewed(self, left_out: set[str]) -> dict[str, str]:
        """What is approved: what was planned, without the hosts that are set aside."""
        found = {}
        for host in self.lab.hosts:
            plan = self.plans / f"{host}.plan.json"
            is_in = plan.exists() and host not in left_out
            found[host] = json.loads(plan.read_text())["plan"]["fingerprint"] if is_in else ""
        return found

    def records(self) -> dict[str, Record]:
        """What the report says of each host."""
        return {one.name: one for one in read_records([self.plans])}

    def _write(self) -> None:
        for host in self.lab.hosts:
            path = self.control.wrap(host, self.lab.tree(host))
            seen = self.lab.environment(str(self.lab.tree(host)))
            exports = "".join(f"export {key}='{value}'\n" for key, value in seen.items())
            path.write_text(f"#!/bin/sh\n{exports}{_timed(f'{self.lab.stage.folder}/bin/iommuctl', self.spent)}")
        python = self.control.wrap("python")
        python.write_text(f"#!/bin/sh\n{_timed('/usr/bin/python3', self.spent_on_hosts)}")
        places = f"{PROJECT}/tests/support:{self.lab.environment()['PYTHONPATH']}"
        code = "import fleetlab, pathlib, sys; fleetlab.boot(pathlib.Path(sys.argv[1]))"
        tree = f"{self.control.work}/hosts/{{{{ inventory_hostname }}}}"
        self.control.add_tasks({"reboot": f"PYTHONPATH={places} {sys.executable} -c '{code}' {tree}"})
        hosts = {"all": {"hosts": dict.fromkeys(self.lab.hosts), "vars": _VARS}}
        role = "iommuctl.iommu.convert"
        entry = "{{ entry | default('main') }}"
        play = {
            "name": "Convert in waves",
            "hosts": "all",
            "gather_facts": False,
            "serial": _WAVES,
            "tasks": [{"name": "Convert", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}],
        }
        back = {
            "name": "Take it back",
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {"name": "Roll back", "ansible.builtin.import_role": {"name": role, "tasks_from": "rollback"}},
                {"name": "Reboot", "ansible.builtin.include_tasks": "reboot.yml"},
            ],
        }
        for name, content in {"hosts": hosts, "waves": [play], "rollback": [back]}.items():
            (self.control.work / f"{name}.json").write_text(json.dumps(content))


def simulate(directory: Path, count: int) -> str:
    """Take a fleet there and back; give its figures. Raises AssertionError where something that must hold does not."""
    with Lab(directory, count, _FORKS) as lab:
        lab.build()
        play = Play(lab)
        first = {host: lab.hash(host) for host in lab.hosts}
        done = play.run("plan", "-e", "entry=plan", "-e", '{"convert_reviewed": {}}')
        assert done.code == 0, done.text
        assert {host: lab.hash(host) for host in lab.hosts} == first, "a plan has written"
        lab.break_some()
        before = {host: lab.hash(host) for host in lab.hosts}
        aside: set[str] = set()
        left = [*lab.hosts]
        stops = 0
        while True:
            done = play.convert(f"convert {stops + 1}", left, aside)
            begun = Counter({host: what.count("reboot") for host, what in play.control.logged().items()})
            failed = {host for host, record in play.records().items() if record.trouble and host not in aside} - {
                host for host, way in lab.broken.items() if way == "refused"
            }
            assert {*+begun} <= {*lab.hosts} - {*lab.broken}, "a broken host was rebooted"
            lab.changes.update(begun)
            if done.code == 0:
                break
            assert done.code == 2, done.text
            assert failed, done.text
            assert failed <= {*lab.broken}, done.text
            assert f"this wave failed on {' '.join(sorted(failed))}; no further wave is begun" in done.text, done.text
            later = left[_wave_end(left.index(max(failed)), len(left)) :]
            assert not [host for host in later if lab.changes[host]], "a later wave has begun"
            aside |= failed
            left = [host for host in left if host not in aside and not lab.changes[host]]
            stops += 1
        converted = {*lab.hosts} - {*lab.broken}
        assert lab.changes == Counter(converted), "a host is lost, or was changed twice"
        assert {len([*(lab.tree(host) / STATE / "snapshots").iterdir()]) for host in converted} == {1}
        assert {host: lab.hash(host) for host in lab.broken} == {host: before[host] for host in lab.broken}
        records = play.records()
        assert {host: (records[host].standing, records[host].verdict) for host in converted} == dict.fromkeys(
            converted, (Standing.APPLIED, "active")
        )
        for host, way in lab.broken.items():
            trouble = records[host].trouble
            assert trouble is not None, host
            assert trouble.kind == _KINDS[way], f"{host}, {way}: {trouble}"
            assert way != "full" or "free" in trouble.brief, trouble
        done = play.convert("once more", [*lab.hosts[:_ONCE_MORE]], aside)
        assert (done.code, {*done.count("changed").values()}, play.control.logged()) == (0, {0}, {}), done.text
        done = play.run("rollback", *play.limit(sorted(converted)), book="rollback")
        assert (done.code, done.count("changed")) == (0, dict.fromkeys(converted, 1)), done.text
        assert {host: lab.hash(host) for host in converted} == {host: first[host] for host in converted}
        records = play.records()
        assert {records[host].standing for host in converted} == {Standing.ROLLED_BACK}
        ways = ", ".join(f"{number} {way}" for way, number in Counter(lab.broken.values()).items())
        return "\n".join(
            (
                f"{count} hosts, {len(converted)} converted and rolled back, {len(lab.broken)} broken ({ways})",
                f"ansible-core {playbooks.NEWEST}, {_FORKS} forks, {stops} runs stopped by a wave that failed",
                f"{'play':<14}{'runs':>7}{'wall s':>9}{'CPU s':>9}{'ours':>9}{'modules':>9}{'control':>9}{'MiB':>9}",
                *play.rows,
                "no host lost, none changed twice, each broken one named with its reason, no wave begun after a stop",
            )
        )


def _timed(program: str, spent: Path) -> str:
    """Lines of shell that run a program and note what it took, whatever it started included."""
    return f'{program} "$@"\ncode=$?\ntimes >>{spent}\nexit $code\n'


def _told(spent: Path) -> tuple[int, float]:
    """How many runs were noted, and their seconds of processor time."""
    times = _SECONDS.findall(spent.read_text()) if spent.exists() else []
    return len(times), sum(60 * float(row[i]) + float(row[i + 1]) for row in times for i in (4, 6))


def _wave_end(index: int, count: int) -> int:
    """The number of hosts in the waves up to that which has a host."""
    end = 0
    for size in (*_WAVES[:2], *([max(1, count // 4)] * count)):
        end += int(size)
        if end > index:
            break
    return end
