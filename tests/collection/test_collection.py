# SPDX-License-Identifier: Apache-2.0
"""The Ansible collection, from its tarball, under real ansible-core: check mode, waves, and the way back."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import crash
import documents
import playbooks
import pytest
from lacking import lacks
from playbooks import Control, running_hosts, trees
from program import live
from project import PROJECT

import iommuctl
from iommuctl.app.fleet.record import Standing

PAGE = (PROJECT / "docs/ansible.md").read_text()
PROFILE = "passthrough-perf"
README = (PROJECT / "ansible/README.md").read_text()
STEPS = ("plan", "apply", "rollback", "verify")
PLACES = ("/usr/local/bin", "/usr/local/sbin", "/usr/sbin")  # where modules look for the program before PATH
EVERY_VERSION = pytest.mark.parametrize("version", playbooks.VERSIONS)


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return playbooks.install_collection(tmp_path_factory.mktemp("collections"))


@pytest.fixture
def control(tmp_path: Path, collections: Path) -> Control:
    return Control.build(tmp_path / "control", collections, playbooks.NEWEST)


def test_the_collection_has_the_version_of_the_program() -> None:
    assert f"\nversion: {iommuctl.__version__}\n" in (PROJECT / "ansible/galaxy.yml").read_text()


def test_the_target_of_make_builds_it() -> None:
    words = ["make", "-n", "collection", "ANSIBLE_GALAXY=galaxy"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "galaxy collection build --force --output-path build/collection ansible" in done.stdout


def test_its_own_tests_pass(collections: Path) -> None:
    place = collections / "ansible_collections/iommuctl/iommu"
    done = subprocess.run(
        [playbooks.program("python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "tests/unit"],
        cwd=place,
        env={**playbooks.environment(collections), "PYTHONPATH": str(collections), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode, re.search(r"^\d+ passed", done.stdout, re.MULTILINE) is not None) == (0, True), done.stdout


def test_modules_and_role_are_documented(collections: Path) -> None:
    said = {**playbooks.environment(collections), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    modules = sorted(path.stem for path in (PROJECT / "ansible/plugins/modules").glob("*.py"))
    names = [f"iommuctl.iommu.{name}" for name in modules]
    asked = [["--json", *names], ["--json", "-t", "role", "iommuctl.iommu.convert"]]
    doc = playbooks.program("ansible-doc")
    told, role = (
        json.loads(subprocess.run([doc, *words], env=said, capture_output=True, text=True, check=True).stdout)
        for words in asked
    )
    assert sorted(told) == names
    assert all(one["doc"]["options"] and one["examples"] for one in told.values())
    del told["iommuctl.iommu.document"]  # it runs no program
    assert all(one["doc"]["options"]["executable"] and one["return"] for one in told.values())
    assert sorted(role["iommuctl.iommu.convert"]["entry_points"]) == ["main", "plan", "rollback"]


@pytest.mark.slow
@EVERY_VERSION
def test_the_playbooks_of_the_page_run_as_written(version: str, tmp_path: Path, collections: Path) -> None:
    control = Control.build(tmp_path / "control", collections, version)
    nodes = trees(control)
    for block in documents.blocks(PAGE):
        if block.note.startswith("as "):
            (control.work / block.note.removeprefix("as ")).write_text(block.text)
    (lines,) = (block.text for block in documents.blocks(PAGE) if block.text.startswith("ansible-playbook"))
    calls = [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("ansible-playbook")]
    before = {name: live(path) for name, path in nodes.items()}

    planned = control.play(*calls[0])
    assert (planned.code, planned.count("failed")) == (0, dict.fromkeys(nodes, 0)), planned.text
    checked = control.play(*calls[1])
    assert checked.code == 0, checked.text
    assert '+GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on iommu=pt"' in checked.text.splitlines()
    assert {name: live(path) for name, path in nodes.items()} == before
    assert not [path for path in nodes.values() if (path / "var/lib/iommuctl").exists()]
    assert not [*(control.work / "plans").glob("*.apply.json")]

    applied = control.play(*calls[2])
    assert (applied.code, applied.count("changed")) == (0, dict.fromkeys(nodes, 2)), applied.text
    assert all("iommu=pt" in (path / "etc/default/grub").read_text() for path in nodes.values())
    after = {name: live(path) for name, path in nodes.items()}
    again = control.play(*calls[3])
    assert (again.code, again.count("changed")) == (0, dict.fromkeys(nodes, 0)), again.text
    assert {name: live(path) for name, path in nodes.items()} == after

    back = control.play(*calls[4])
    assert (back.code, back.count("changed")) == (0, dict.fromkeys(nodes, 1)), back.text
    assert '-GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on iommu=pt"' in back.text.splitlines()
    sources = {name: (path / "etc/default/grub").read_bytes() for name, path in nodes.items()}
    assert not [name for name, text in sources.items() if b"iommu" in text]
    assert control.standings() == dict.fromkeys(nodes, Standing.ROLLED_BACK)


@pytest.mark.slow
def test_the_playbook_of_the_collection_runs_as_written(control: Control) -> None:
    if any(Path(place, "iommuctl").exists() for place in PLACES):
        lacks("no machine without an iommuctl of its own, which would act on it")
    (book,) = (block.text for block in documents.blocks(README) if block.language == "yaml")
    (control.work / "book.yml").write_text(book)
    host = control.stage.running("host", control.work / "node1")
    control.wrap("iommuctl", host)
    (control.work / "inventory.yml").write_text(
        "hypervisors: {hosts: {node1: {ansible_connection: local, ansible_become: false}}}\n"
    )
    for changes in (1, 0):
        done = control.play("-i", "inventory.yml", "book.yml")
        assert (done.code, done.count("changed")) == (0, {"node1": changes}), done.text
        assert "iommu=pt" in (host / "etc/default/grub").read_text()


TOLD = """\
- hosts: all
  gather_facts: false
  tasks:
    - iommuctl.iommu.document:
        directory: told/here
        name: "{{ inventory_hostname }}.{{ step | default('plan') }}"
        report: "{{ said.report | default({}, true) }}"
        error: "{{ said.error | default({}, true) }}"
"""


@EVERY_VERSION
def test_a_document_is_where_the_playbook_is_and_an_error_goes_with_the_next(
    version: str, tmp_path: Path, collections: Path
) -> None:
    control = Control.build(tmp_path / "control", collections, version)
    folder = control.work / "books"
    folder.mkdir()
    (folder / "told.yml").write_text(TOLD)
    report, error = {"hosts": [{"name": "<é>"}]}, {"kind": "locked"}
    rows: list[tuple[dict[str, object], dict[str, object]]] = [
        ({"report": report}, {"node1.plan.json": report}),
        (
            {"report": {"other": 1}, "error": error},
            {"node1.plan.json": report, "node1.plan.error.json": {"schema_version": 1, "error": error}},
        ),
        ({}, {"node1.plan.json": report}),
    ]
    for said, files in rows:
        given = json.dumps({"said": said, "ansible_connection": "local"})
        done = control.play("-i", "node1,", "books/told.yml", "-e", given, "--check")
        assert (done.code, done.count("changed")) == (0, {"node1": 0}), done.text
        assert {path.name: json.loads(path.read_text()) for path in (folder / "told/here").iterdir()} == files


def test_a_host_that_is_planned_or_done_has_no_error_of_an_earlier_campaign(control: Control) -> None:
    (control.work / "told.yml").write_text(TOLD)
    folder = control.work / "told/here"
    folder.mkdir(parents=True)
    files = [f"{host}.{step}.error.json" for host in ("node1", "node11") for step in STEPS]
    others = files[len(STEPS) :]
    for step, left in {
        "verify": [name for name in files if name != "node1.verify.error.json"],
        "rollback": [name for name in files if name != "node1.rollback.error.json"],
        "plan": others,
        "apply": others,
    }.items():
        for name in files:
            (folder / name).touch()
        given = json.dumps({"said": {"report": {"a": 1}}, "step": step, "ansible_connection": "local"})
        done = control.play("-i", "node1,", "told.yml", "-e", given)
        assert done.code == 0, done.text
        assert sorted(path.name for path in folder.glob("*.error.json")) == sorted(left)


@pytest.mark.slow
def test_a_wave_that_fails_is_finished_and_is_the_last(control: Control) -> None:
    hosts = running_hosts(control)
    play = ("-i", "hosts.yml", "waves.yml", "-e", "@plans/proposed.yml")
    planned = control.play("-i", "hosts.yml", "waves.yml", "-e", "entry=plan", "-e", '{"convert_reviewed": {}}')
    assert planned.code == 0, planned.text

    # On Monday they were approved. On Tuesday a kernel package came to one, and another does not do what it is told.
    entries = hosts["node2"] / "boot/loader/entries"
    old = next(entries.glob("*6.14.5*.conf"))
    new = old.with_name(old.name.replace("6.14.5", "6.14.9"))
    new.write_text(old.read_text().replace("6.14.5", "6.14.9"))
    after, kept = hosts["node3"].with_name("node3.after"), hosts["node3"].with_name("node3.kept")
    after.rename(kept)
    shutil.copytree(hosts["node3"], after, symlinks=True, ignore=lambda *_: ["boot", "etc", "usr", "var"])
    before = {name: live(path, times=False) for name, path in hosts.items()}
    done = control.play(*play)
    assert done.code == 2, done.text
    assert control.logged() == {
        "node1": ["drain", "reboot", "undrain"],
        "node3": ["drain", "reboot", "reboot", "undrain"],
    }
    assert "this wave failed on node2 node3; no further wave is begun" in done.text
    assert "iommu=pt" in (hosts["node1"] / "etc/default/grub").read_text()
    for name in ("node2", "node3", "node4"):
        assert live(hosts[name], times=False) == before[name], name
    error = json.loads((control.work / "plans/node2.apply.error.json").read_text())["error"]
    assert (error["code"], error["kind"]) == (75, "stale-plan")
    assert any("6.14.9" in fact for fact in error["details"]), error
    error = json.loads((control.work / "plans/node3.apply.error.json").read_text())["error"]
    assert error["brief"].startswith("Ask the kernel what it does: ")

    # The kernel goes, the other host does what it is told: the same plans are still the approved ones.
    new.unlink()
    shutil.rmtree(after, ignore_errors=True)
    kept.rename(after)
    done = control.play(*play)
    assert (done.code, done.count("changed")) == (0, {"node1": 0, "node2": 2, "node3": 2, "node4": 2}), done.text
    assert control.logged() == {name: ["drain", "reboot", "undrain"] for name in ("node2", "node3", "node4")}
    assert sorted(path.name for path in (control.work / "plans").glob("*error*")) == []
    verdicts = [json.loads(path.read_text())["verdict"] for path in (control.work / "plans").glob("*.verify.json")]
    assert verdicts == ["active"] * 4
    plan, applied = (json.loads((control.work / f"plans/node2.{name}.json").read_text()) for name in ("plan", "apply"))
    assert applied["fingerprint"] == plan["plan"]["fingerprint"]


def test_a_host_that_nobody_reviewed_stops_the_run_before_anything_is_done(control: Control) -> None:
    hosts = running_hosts(control)
    before = {name: live(path) for name, path in hosts.items()}
    done = control.play("-i", "hosts.yml", "waves.yml", "-e", json.dumps({"convert_reviewed": {"node1": "a" * 64}}))
    assert (done.code, control.logged()) == (2, {})
    assert "not reviewed: node2 node3 node4; nothing was done on any host" in done.text
    assert {name: live(path) for name, path in hosts.items()} == before


# What opens for writing, makes, moves or removes, with the paths of descriptors shown (strace -y).
WRITES = re.compile(
    r"^\d+ +(?:open(?:at2?)?\(.*O_(?:WRONLY|RDWR|CREAT|TRUNC)|(?:creat|rename\w*|unlink\w*|mkdir\w*|rmdir|mknod\w*"
    r"|link\w*|symlink\w*|chmod|fchmod\w*|chown|fchown\w*|lchown|truncate|ftruncate|utime\w*|setxattr|lsetxattr)\()"
)
CALLS = "%file,fchmod,fchown,ftruncate"


@pytest.mark.programs
def test_check_mode_writes_nothing_on_the_host(control: Control) -> None:
    crash.require_strace()
    tree = trees(control)["node1"]
    traces = control.stage.folder / "traces"
    scratch = control.stage.folder / "scratch"
    for path in (traces, scratch):
        path.mkdir()
    python = control.stage.folder / "local/traced-python"
    strace = f"strace -f -ff -y -qq -s 4096 -e trace={CALLS} -o {traces}/$$"
    python.write_text(
        f'#!/bin/sh\nexport TMPDIR={scratch} PYTHONDONTWRITEBYTECODE=1\nexec {strace} -- /usr/bin/python3 "$@"\n'
    )
    python.chmod(0o755)
    (control.work / "hosts.yml").write_text(
        f"all: {{hosts: {{node1: {{ansible_connection: local, ansible_python_interpreter: {python}}}}}}}\n"
    )
    task = "iommuctl.iommu.profile: {name: passthrough-perf, return_plan: true, root: " + f"'{tree}'" + "}"
    (control.work / "one.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n    - {task}\n")
    before = live(tree)

    def written() -> list[str]:
        lines = [f"1 {line}" for path in sorted(traces.iterdir()) for line in path.read_text().splitlines()]
        assert any("execve" in line and "iommuctl" in line for line in lines)
        own = (str(scratch), str(control.stage.folder / ".ansible"), "/dev/null", "/dev/tty", "/dev/shm")
        return [line for line in lines if WRITES.match(line) and not any(place in line for place in own)]

    done = control.play("-i", "hosts.yml", "one.yml", "--check", "--diff")
    assert (done.code, done.count("changed")) == (0, {"node1": 1}), done.text
    assert written() == []
    assert live(tree) == before
    # The same watch sees an apply.
    assert control.play("-i", "hosts.yml", "one.yml").code == 0
    assert any(str(tree) in line or "default" in line for line in written())


def test_a_profile_that_is_refused_fails_with_what_iommuctl_says(control: Control) -> None:
    tree = trees(control)["node1"]
    (control.work / "hosts.yml").write_text("all: {hosts: {node1: {ansible_connection: local}}}\n")
    task = f"iommuctl.iommu.profile: {{name: no-such, root: '{tree}'}}"
    (control.work / "one.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n    - {task}\n")
    done = control.play("-i", "hosts.yml", "one.yml")
    assert done.code == 2
    assert re.search(r"no profile 'no-such'.*hint: iommuctl profile list", done.text, re.DOTALL), done.text
