# SPDX-License-Identifier: Apache-2.0
"""Trials by the role: armed, booted, waited for; confirmed, returned, kept and cut off, each with its way on."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import playbooks
import pytest
from playbooks import Control
from trialplay import PlayedHost

PROFILE = "passthrough-perf"
WORDS = ("intel_iommu=on", "iommu=pt")
HOSTS = """\
hypervisors:
  hosts:
    {hosts}
  vars:
    ansible_connection: reached
    ansible_python_interpreter: /usr/bin/python3
    convert_profile: passthrough-perf
    convert_boot: trial
    convert_add: [nosmt]
    convert_executable: "{{{{ inventory_dir }}}}/../local/{{{{ inventory_hostname }}}}"
    convert_reboot_tasks: "{{{{ inventory_dir }}}}/reboot.yml"
    convert_drain_tasks: "{{{{ inventory_dir }}}}/drain.yml"
    convert_undrain_tasks: "{{{{ inventory_dir }}}}/undrain.yml"
    convert_post_reboot_delay: 0
    convert_trial_delay: 1
    convert_trial_timeout: 120
    convert_verify_retries: 1
    convert_verify_delay: 0
"""
PLAY = """\
- name: Convert in waves
  hosts: hypervisors
  gather_facts: false
  serial: [1, "100%"]
  tasks:
    - name: Convert
      ansible.builtin.import_role:
        name: iommuctl.iommu.convert
        tasks_from: "{{ entry | default('main') }}"
"""


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return playbooks.install_collection(tmp_path_factory.mktemp("collections"))


def control_of(
    tmp_path: Path, collections: Path, version: str, hosts: Mapping[str, Sequence[Sequence[str]]]
) -> tuple[Control, dict[str, PlayedHost]]:
    """A control machine and its hosts by name, each with what was done on it before, planned."""
    control = Control.build(tmp_path / "control", collections, version)
    played = {}
    for name, commands in hosts.items():
        played[name] = PlayedHost.build(control.work / "hosts" / name)
        called = str(control.wrap_played(name, played[name].path))
        for words in commands:
            subprocess.run((called, *words), check=True, stdout=subprocess.DEVNULL)
    control.add_connection_that_is_lost()
    control.add_tasks({"reboot": f"{control.stage.folder}/local/{{{{ inventory_hostname }}}} reboot"})
    (control.work / "hosts.yml").write_text(HOSTS.format(hosts="\n    ".join(f"{name}:" for name in hosts)))
    (control.work / "waves.yml").write_text(PLAY)
    done = control.play("-i", "hosts.yml", "waves.yml", "-e", "entry=plan", "-e", '{"convert_reviewed": {}}')
    assert (done.code, control.logged()) == (0, {}), done.text
    return control, played


def convert(control: Control, *more: str) -> playbooks.Played:
    return control.play("-i", "hosts.yml", "waves.yml", "-e", "@plans/proposed.yml", *more)


def document(control: Control, name: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads((control.work / "plans" / name).read_text())


def is_kept(host: PlayedHost) -> bool:
    """Whether what every next boot has is the profile's, with nothing of the trial."""
    settings = host.host.read("etc/default/grub")
    assert "iommuctl.trial" not in settings
    return all(word in settings for word in (*WORDS, "nosmt"))


def runs(host: PlayedHost) -> tuple[bool, bool]:
    """Whether the running kernel has the parameters, and whether it is a trial's."""
    line = host.host.read("proc/cmdline")
    return WORDS[0] in line, "iommuctl.trial" in line


@pytest.mark.slow
def test_a_trial_is_kept_or_comes_back(tmp_path: Path, collections: Path) -> None:
    control, hosts = control_of(tmp_path, collections, playbooks.NEWEST, {"node1": (), "node2": ()})
    hosts["node2"].fail_check()
    before = hosts["node2"].host.permanent()
    done = convert(control)
    assert done.code == 2, done.text
    assert control.logged() == {name: ["drain", "reboot", "undrain"] for name in hosts}
    assert (is_kept(hosts["node1"]), runs(hosts["node1"])) == (True, (True, True)), done.text
    applied, plan = document(control, "node1.apply.json"), document(control, "node1.plan.json")["plan"]
    assert (applied["changed"], applied["dry_run"], applied["fingerprint"]) == (True, False, plan["fingerprint"])
    assert applied["snapshot"]
    assert document(control, "node1.verify.json")["verdict"] == "active"
    # The other came back by itself; while it did so nobody answered.
    assert "nobody answers" in done.text
    assert not hosts["node2"].beside("down").exists()
    assert (hosts["node2"].host.permanent(), runs(hosts["node2"])) == (before, (False, False))
    brief = document(control, "node2.apply.error.json")["error"]["brief"]
    assert "the trial is returned: check 10-reach-the-world failed" in brief
    assert "this wave failed on node2" in done.text


@pytest.mark.slow
def test_a_trial_without_effect_is_taken_away(tmp_path: Path, collections: Path) -> None:
    """The checks pass and the kernel does not what it is told: the trial stays up until the role ends it."""
    control, hosts = control_of(tmp_path, collections, playbooks.NEWEST, {"node1": ()})
    host = hosts["node1"]
    before = host.host.permanent()
    checked = convert(control, "--check", "--diff")
    assert (checked.code, control.logged()) == (0, {}), checked.text
    assert "iommuctl-trial" in checked.text
    assert not host.host.has("var/lib/iommuctl")

    host.beside("weak").touch()
    done = convert(control)
    assert done.code == 2, done.text
    assert control.logged() == {"node1": ["drain", "reboot", "reboot", "undrain"]}
    assert (host.host.permanent(), runs(host)) == (before, (False, False))
    brief = document(control, "node1.apply.error.json")["error"]["brief"]
    assert "the trial is kept: the checks pass, and verify does not" in brief

    # The same, and nothing is to be taken back: then no guest comes to a host on trial.
    done = convert(control, "-e", "convert_rollback=false")
    assert (done.code, control.logged(), runs(host)) == (2, {"node1": ["drain", "reboot"]}, (True, True)), done.text


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_where_the_trial_is(tmp_path: Path, collections: Path) -> None:
    start = ("trial", "start", PROFILE, "--add", "nosmt", "--confirm", "auto", "--timeout", "120", "--yes")
    other = ("trial", "start", "strict-isolation", "--confirm", "auto", "--yes")  # somebody else's: it is left alone
    done_before = {"node1": (start,), "node2": (start, ("reboot",)), "node3": (other,)}
    control, hosts = control_of(tmp_path, collections, playbooks.NEWEST, done_before)
    done = convert(control)
    assert done.code == 2, done.text
    # The one that is armed is booted, that which runs is waited for.
    assert control.logged() == {
        "node1": ["drain", "reboot", "undrain"],
        "node2": ["drain", "undrain"],
        "node3": ["drain", "undrain"],
    }
    assert [is_kept(hosts[name]) for name in hosts] == [True, True, False]
    assert document(control, "node2.apply.json")["snapshot"]
    assert hosts["node3"].host.has("boot/grub/custom.cfg")
    assert "this wave failed on node3" in done.text


@pytest.mark.slow
def test_a_trial_that_was_kept_and_then_fails_is_rolled_back(tmp_path: Path, collections: Path) -> None:
    """What is gone back to is what was there before the trial, not what was before an apply of long ago."""
    done_before = {"node1": (("apply", "translated-lazy", "--yes"), ("reboot",))}
    control, hosts = control_of(tmp_path, collections, playbooks.NEWEST, done_before)
    host = hosts["node1"]
    before = host.host.permanent()
    host.beside("fades").touch()
    done = convert(control)
    assert done.code == 2, done.text
    assert control.logged() == {"node1": ["drain", "reboot", "reboot", "undrain"]}, done.text
    assert host.host.permanent() == before
    brief = document(control, "node1.apply.error.json")["error"]["brief"]
    assert brief.startswith("Ask the kernel what it does: ")
