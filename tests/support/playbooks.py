# SPDX-License-Identifier: Apache-2.0
"""Playbooks: the built collection, run by a real ansible-core against hosts that are directories."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lacking import lacks
from project import PROJECT
from shownhosts import Stage

from iommuctl.app.fleet.record import Standing, read_records

# Which Python the controller of each runs on, first and last (scripts/ansible-env).
_CONTROLLERS = {"2.16": ((3, 10), (3, 12)), "2.19": ((3, 11), (3, 13)), "2.21": ((3, 12), (3, 14))}
VERSIONS = tuple(name for name, (first, last) in _CONTROLLERS.items() if first <= sys.version_info[:2] <= last)
NEWEST = VERSIONS[-1]
TIMEOUT_SECONDS = 900
_RECAP = re.compile(r"^(\w+) +: (.*)$", re.MULTILINE)

# Raw: a module would be sent, and Python started, for a line of shell.
_TASK = """\
- name: {name}
  ansible.builtin.raw: {command}
  changed_when: false
"""
_LOST = """

def _reach(self, *arguments, _execute=Connection.exec_command, **named):
    from pathlib import Path
    from ansible.errors import AnsibleConnectionFailure
    down = Path("{hosts}", self._play_context.remote_addr + ".down")
    if down.exists():
        left = int(down.read_text()) - 1
        down.write_text(str(left)) if left else down.unlink()
        raise AnsibleConnectionFailure("nobody answers")
    return _execute(self, *arguments, **named)


Connection.exec_command = _reach
"""
_HOSTS = """\
hypervisors:
  hosts:
    node1:
    node2:
    node3:
    node4:
  vars:
    ansible_connection: local
    convert_profile: passthrough-perf
    convert_executable: "{{ inventory_dir }}/../local/{{ inventory_hostname }}"
    convert_reboot_tasks: "{{ inventory_dir }}/reboot.yml"
    convert_drain_tasks: "{{ inventory_dir }}/drain.yml"
    convert_undrain_tasks: "{{ inventory_dir }}/undrain.yml"
    convert_verify_retries: 1
    convert_verify_delay: 0
"""
_WAVES = """\
- name: Convert in waves
  hosts: hypervisors
  gather_facts: false
  serial: [1, 2, 1]
  tasks:
    - name: Convert
      ansible.builtin.import_role:
        name: iommuctl.iommu.convert
        tasks_from: "{{ entry | default('main') }}"
"""


def program(name: str, version: str = NEWEST) -> str:
    path = PROJECT / "build/ansible" / version / "bin" / name
    return str(path) if path.is_file() else lacks(f"no {path}: scripts/ansible-env {version}")


def environment(home: Path) -> dict[str, str]:
    """What a run sees; whatever Ansible itself writes is below `home`."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "ANSIBLE_REMOTE_TEMP": str(home / ".ansible/tmp"),
        "ANSIBLE_NOCOLOR": "1",
    }


def install_collection(folder: Path) -> Path:
    """Build the tarball and install it without a network; return where collections are."""
    galaxy = [program("ansible-galaxy"), "collection"]
    for words in (
        ["build", "--output-path", str(folder), str(PROJECT / "ansible")],
        ["install", "--offline", "-p", str(folder), str(folder / "iommuctl-iommu-0.1.0.tar.gz")],
    ):
        subprocess.run([*galaxy, *words], env=environment(folder), check=True, capture_output=True, cwd=folder)
    return folder


@dataclass(frozen=True)
class Played:
    """What a run of ansible-playbook said; `recap` has the counts of each host that are not zero."""

    code: int
    text: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        found = _RECAP.findall(self.text[self.text.rfind("PLAY RECAP") :])
        counts = {host: dict(word.split("=") for word in line.split()) for host, line in found}
        return {
            host: {key: int(number) for key, number in one.items() if number != "0"} for host, one in counts.items()
        }

    def count(self, key: str) -> dict[str, int]:
        return {host: counts.get(key, 0) for host, counts in self.recap.items()}


@dataclass(frozen=True)
class Control:
    """A control machine: a directory with playbooks, an ansible-core, and the installed collection."""

    stage: Stage
    collections: Path
    version: str

    @classmethod
    def build(cls, folder: Path, collections: Path, version: str) -> "Control":
        made = cls(Stage.build(folder), collections, version)
        made.wrap("iommuctl")
        return made

    @property
    def work(self) -> Path:
        return self.stage.work

    def wrap(self, name: str, host: Path | None = None) -> Path:
        """Make a program in `local/`: iommuctl with the libraries of the tests, of a host that is a directory."""
        path = self.stage.folder / "local" / name
        path.parent.mkdir(exist_ok=True)
        said = self.stage.environment(str(host) if host else "")
        names = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", *(["SHOWN_HOST"] if host else []))
        exports = "".join(f"export {key}='{said[key]}'\n" for key in names)
        path.write_text(f'#!/bin/sh\n{exports}exec {self.stage.folder}/bin/iommuctl "$@"\n')
        path.chmod(0o755)
        return path

    def wrap_played(self, name: str, host: Path) -> Path:
        """Make a program in `local/`: iommuctl of a host for trials."""
        path = self.stage.folder / "local" / name
        said = self.stage.environment()
        places = os.pathsep.join((str(PROJECT / "tests/support"), said["PYTHONPATH"]))
        exports = f"export PYTHONPATH='{places}' PYTHONDONTWRITEBYTECODE=1\n"
        path.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} -m trialplay {host} "$@"\n')
        path.chmod(0o755)
        return path

    def add_tasks(self, commands: Mapping[str, str]) -> None:
        """Write task files that write down whom they drain, undrain and reboot, and then run a command."""
        for name in ("drain", "undrain", "reboot"):
            more = f" && {commands[name]}" if name in commands else ""
            command = f"echo {name} {{{{ inventory_hostname }}}} >>{self.work / 'log'}{more}"
            (self.work / f"{name}.yml").write_text(_TASK.format(name=name, command=command))

    def logged(self) -> dict[str, list[str]]:
        """What was done to each host, in order, since the last time."""
        log = self.work / "log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return {host: [what for what, whose in lines if whose == host] for _, host in lines}

    def add_connection_that_is_lost(self) -> None:
        """Make the connection `reached`: this version's local one, which finds nobody as often as HOST.down says."""
        where = "import ansible.plugins.connection.local as local; print(local.__file__)"
        named = [program("python", self.version), "-c", where]
        source = Path(subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip())
        plugins = self.work / "connection_plugins"
        plugins.mkdir()
        (plugins / "reached.py").write_text(source.read_text() + _LOST.format(hosts=self.work / "hosts"))

    def standings(self) -> dict[str, Standing]:
        """Where the report says that each host is."""
        return {one.name: one.standing for one in read_records([self.work / "plans"])}

    def play(self, *arguments: str, timeout: int = TIMEOUT_SECONDS) -> Played:
        """Run `ansible-playbook ARGUMENTS`."""
        said = environment(self.stage.folder)
        path = os.pathsep.join((str(self.stage.folder / "local"), said["PATH"]))
        done = subprocess.run(
            [program("ansible-playbook", self.version), *arguments],
            cwd=self.work,
            env={**said, "PATH": path, "ANSIBLE_COLLECTIONS_PATH": str(self.collections)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Played(done.returncode, done.stdout)


def trees(control: Control) -> dict[str, Path]:
    """Three hosts of one bootloader each, below `nodes/`."""
    sources = (
        "examples/debian-12",
        "tests/golden/bls/fedora-42/before",
        "tests/golden/systemd-boot/proxmox-8-zfs/before",
    )
    made = {f"node{number}": control.work / f"nodes/node{number}" for number in (1, 2, 3)}
    for path, source in zip(made.values(), sources, strict=True):
        shutil.copytree(PROJECT / source, path, symlinks=True)
    return made


def running_hosts(control: Control) -> dict[str, Path]:
    """Four hosts that run, and playbooks that write down whom they drain."""
    made = {f"node{number}": control.work / f"hosts/node{number}" for number in (1, 2, 3, 4)}
    for name, path in made.items():
        control.stage.running("host", path)
        control.wrap(name, path)
    reboot = f"SHOWN_HOST={control.work}/hosts/{{{{ inventory_hostname }}}} {control.stage.folder}/bin/reboot"
    control.add_tasks({"reboot": reboot})
    (control.work / "hosts.yml").write_text(_HOSTS)
    (control.work / "waves.yml").write_text(_WAVES)
    return made
