# SPDX-License-Identifier: Apache-2.0
"""Hosts that answer nobody, or on which no module runs: each is written down with its reason, whenever it is lost."""

import json
from pathlib import Path

import playbooks
import pytest
from playbooks import Control, running_hosts
from program import live

from iommuctl.app.fleet.record import Standing

EVERY_VERSION = pytest.mark.parametrize("version", playbooks.VERSIONS)
PLAN = ("-i", "hosts.yml", "waves.yml", "-e", "entry=plan", "-e", '{"convert_reviewed": {}}')
CONVERT = ("-i", "hosts.yml", "waves.yml", "-e", "@plans/proposed.yml")
FOR_EVER = "99"  # connections


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return playbooks.install_collection(tmp_path_factory.mktemp("collections"))


def control_of(tmp_path: Path, collections: Path, version: str) -> tuple[Control, dict[str, Path]]:
    """A control machine, and hosts that are lost after a step as often as HOST.lost-after-STEP says."""
    control = Control.build(tmp_path / "control", collections, version)
    hosts = running_hosts(control)
    control.add_connection_that_is_lost()
    reach = {"ansible_connection": "reached", "ansible_python_interpreter": "/usr/bin/python3"}
    (control.work / "group_vars").mkdir()
    (control.work / "group_vars/hypervisors.json").write_text(json.dumps(reach))
    for name in ("drain", "reboot"):
        tasks = control.work / f"{name}.yml"
        tasks.write_text(tasks.read_text() + "".join(_losing(control, f"{when}-{name}") for when in ("in", "after")))
    return control, hosts


def _losing(control: Control, when: str) -> str:
    host = f"{control.work}/hosts/{{{{ inventory_hostname }}}}"
    return f"- ansible.builtin.raw: test ! -e {host}.lost-{when} || mv {host}.lost-{when} {host}.down\n"


def lose(host: Path, when: str, connections: str = FOR_EVER) -> None:
    host.with_name(f"{host.name}.{when}").write_text(connections)


def error(control: Control, name: str) -> tuple[str, str]:
    """The kind and the brief of an error that was written down."""
    told = json.loads((control.work / f"plans/{name}.error.json").read_text())["error"]
    assert told["code"] is None
    return told["kind"], told["brief"]


@pytest.mark.slow
@EVERY_VERSION
def test_a_plan_tells_of_each_host_that_it_was_not_made_on(version: str, tmp_path: Path, collections: Path) -> None:
    control, hosts = control_of(tmp_path, collections, version)
    (control.work / "host_vars").mkdir()
    python = control.work / "host_vars/node1.yml"
    python.write_text("ansible_python_interpreter: /no/such/python\n")
    lose(hosts["node2"], "down")
    done = control.play(*PLAN)
    assert (done.code, done.count("failed")) == (0, dict.fromkeys(hosts, 0)), done.text
    kind, brief = error(control, "node1.plan")
    assert (kind, brief.startswith("Plan: ")) == ("task-failed", True)
    kind, lost = error(control, "node2.plan")
    assert (kind, lost.startswith("Nobody answers: ")) == ("unreachable", True)
    assert control.standings() == {
        "node1": Standing.FAILED,
        "node2": Standing.FAILED,
        "node3": Standing.PLANNED,
        "node4": Standing.PLANNED,
    }
    proposed = (control.work / "plans/proposed.yml").read_text()
    for name, why in {"node1": brief, "node2": lost}.items():
        assert f'  # {json.dumps(why)}\n  "{name}": ""\n' in proposed

    # They come again, and the next plan says nothing of it any more.
    python.unlink()
    hosts["node2"].with_name("node2.down").unlink()
    assert control.play(*PLAN).code == 0
    assert control.standings() == dict.fromkeys(hosts, Standing.PLANNED)

    # One that is lost now is not drained, and its wave is the last.
    before = {name: live(path) for name, path in hosts.items()}
    lose(hosts["node1"], "down")
    done = control.play(*CONVERT)
    assert (done.code, control.logged()) == (2, {}), done.text
    assert "this wave failed on node1; no further wave is begun" in done.text
    assert error(control, "node1.apply") == ("unreachable", lost)
    assert {name: live(path) for name, path in hosts.items()} == before


@pytest.mark.slow
@EVERY_VERSION
def test_a_host_that_is_lost_on_the_way_is_written_down(version: str, tmp_path: Path, collections: Path) -> None:
    control, hosts = control_of(tmp_path, collections, version)
    assert control.play(*PLAN).code == 0
    lose(hosts["node1"], "lost-after-drain")  # the apply is lost: it is not known what is to be taken back
    lose(hosts["node2"], "lost-in-reboot")  # in a task file of somebody else's
    lose(hosts["node3"], "lost-after-reboot", "1")  # and answers again, when it is to be taken back
    before = live(hosts["node3"], times=False)
    done = control.play(*CONVERT, "-e", "convert_allowed_failures=2")
    assert done.code == 4, done.text
    assert control.logged() == {
        "node1": ["drain"],
        "node2": ["drain", "reboot"],
        "node3": ["drain", "reboot", "reboot", "undrain"],
        "node4": ["drain", "reboot", "undrain"],
    }
    assert live(hosts["node3"], times=False) == before
    lost = {name: error(control, f"{name}.apply")[0] for name in ("node1", "node2", "node3")}
    assert lost == dict.fromkeys(lost, "unreachable")
    assert control.standings() == {**dict.fromkeys(lost, Standing.FAILED), "node4": Standing.APPLIED}

    # They answer again, and the same command goes on.
    for name in lost:
        hosts[name].with_name(f"{name}.down").unlink(missing_ok=True)
    done = control.play(*CONVERT)
    assert done.code == 0, done.text
    assert control.logged() == {name: ["drain", "reboot", "undrain"] for name in ("node1", "node3")}
    assert control.standings() == dict.fromkeys(hosts, Standing.APPLIED)


@pytest.mark.slow
def test_a_host_whose_guests_cannot_come_again_stops_the_run_after_its_wave(tmp_path: Path, collections: Path) -> None:
    control, _ = control_of(tmp_path, collections, playbooks.NEWEST)
    assert control.play(*PLAN).code == 0
    undrain = control.work / "undrain.yml"
    undrain.write_text(undrain.read_text() + "- ansible.builtin.raw: test {{ inventory_hostname }} != node2\n")
    done = control.play(*CONVERT)
    assert "this wave failed on node2; no further wave is begun" in done.text
    assert (done.code, control.logged()) == (
        2,
        {name: ["drain", "reboot", "undrain"] for name in ("node1", "node2", "node3")},
    )
    assert control.standings() == {
        **dict.fromkeys(("node1", "node2", "node3"), Standing.APPLIED),
        "node4": Standing.PLANNED,
    }


@pytest.mark.slow
def test_a_host_that_is_lost_before_it_is_taken_back_stays_drained(tmp_path: Path, collections: Path) -> None:
    control, hosts = control_of(tmp_path, collections, playbooks.NEWEST)
    assert control.play(*PLAN).code == 0
    lose(hosts["node1"], "lost-after-reboot")
    done = control.play(*CONVERT)
    assert (done.code, control.logged()) == (2, {"node1": ["drain", "reboot"]}), done.text
    assert [error(control, f"node1.{step}")[0] for step in ("apply", "rollback")] == ["unreachable"] * 2
