# SPDX-License-Identifier: Apache-2.0
"""The example for a fleet: one row a host, told by exit codes and JSON alone, and a stop at the first that fails."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from project import PROJECT
from shownhosts import Stage

PROFILE = "passthrough-perf"
UNREADABLE = 'if true; then\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nfi\n'


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage.build(tmp_path / "stage")


def trees(stage: Stage, *names: str) -> list[Path]:
    """Copies of the sample host in the directory where the script runs."""
    made = [stage.work / name for name in names]
    for path in made:
        shutil.copytree(PROJECT / "examples/debian-12", path, symlinks=True)
    return made


def fleet(
    stage: Stage, hosts: list[Path] | list[str], *arguments: str, **settings: str
) -> tuple[int, list[list[str]], str]:
    """Run the script; give the exit code, the cells of each row, and stderr."""
    done = subprocess.run(
        ["examples/fleet.sh", *arguments],
        cwd=stage.work,
        env={**stage.environment(), "FLEET_PAUSE": "0", **settings},
        input="".join(f"{host}\n" for host in hosts),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    rows = [[cell.strip() for cell in line.split("  ") if cell] for line in done.stdout.splitlines()]
    return done.returncode, [[cell.replace(f"{stage.work}/", "") for cell in row] for row in rows], done.stderr


def source(tree: Path) -> str:
    return (tree / "etc/default/grub").read_text()


def nodes(stage: Stage, *names: str) -> list[str]:
    """Hosts that are reached by ssh."""
    for name in names:
        stage.running("host", stage.work / "hosts" / name)
    return [*names]


def log_in_with(stage: Stage, line: str) -> None:
    """Have ssh run a line of shell before anything else."""
    ssh = stage.folder / "bin/ssh"
    ssh.write_text(f"#!/bin/sh\n{line}\n{ssh.read_text()}")


def answer_with(stage: Stage, line: str) -> None:
    """Have a line of shell answer on the hosts in place of iommuctl."""
    (stage.folder / "bin/sudo").write_text(f"#!/bin/sh\n{line}\n")


def kept(stage: Stage, *, ending: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in (stage.work / "fleet-reports").glob(f"*{ending}")}


def test_a_plan_writes_nothing_and_goes_on_past_a_host_that_fails(stage: Stage) -> None:
    hosts = trees(stage, "first", "second", "third")
    (hosts[1] / "etc/default/grub").write_text(UNREADABLE)
    before = [source(tree) for tree in hosts]
    code, rows, stderr = fleet(stage, hosts, "plan", PROFILE)
    assert (code, stderr) == (1, "")
    assert [row[:2] for row in rows] == [["would change", "first"], ["error 78", "second"], ["would change", "third"]]
    assert rows[1][2].startswith("/etc/default/grub:2: ")
    assert [source(tree) for tree in hosts] == before
    assert not [tree for tree in hosts if (tree / "var/lib/iommuctl").exists()]


def test_an_apply_stops_at_the_first_host_that_fails(stage: Stage) -> None:
    first, second, third = hosts = trees(stage, "first", "second", "third")
    (second / "etc/default/grub").write_text(UNREADABLE)
    code, rows, _ = fleet(stage, ["# a wave", "", *map(str, hosts)], "apply", PROFILE)
    assert (code, [row[:2] for row in rows]) == (1, [["changed", "first"], ["error 78", "second"]])
    assert "iommu=pt" in source(first)
    assert "iommu" not in source(second) + source(third)
    report = json.loads(next((stage.work / "fleet-reports").glob("*first.apply.json")).read_text())
    assert rows[0][2] == f"snapshot {report['snapshot']}"


def test_some_hosts_are_worked_on_at_a_time(stage: Stage) -> None:
    hosts = trees(stage, *(f"host{number}" for number in range(6)))
    code, rows, _ = fleet(stage, hosts, "plan", PROFILE, FLEET_PARALLEL="3")
    assert (code, sorted(rows)[5][:2], len(rows)) == (0, ["would change", "host5"], 6)
    (hosts[0] / "etc/default/grub").write_text(UNREADABLE)
    code, rows, _ = fleet(stage, hosts, "apply", PROFILE, FLEET_PARALLEL="2")
    assert (code, "error 78" in [row[0] for row in rows]) == (1, True)
    assert sum("iommu=pt" in source(tree) for tree in hosts) == len(rows) - 1


def test_plans_that_are_kept_are_carried_out_and_no_other(stage: Stage) -> None:
    first, second, third = hosts = trees(stage, "first", "second", "third")
    assert fleet(stage, hosts[:2], "plan", PROFILE)[0] == 0
    kept = {"FLEET_PLANS": "fleet-reports"}
    (second / "etc/default/grub").write_text(source(second) + "# since\n")
    code, rows, _ = fleet(stage, [first, second], "apply", PROFILE, **kept)
    assert (code, [row[:2] for row in rows]) == (1, [["changed", "first"], ["error 75", "second"]])
    assert fleet(stage, [third], "apply", PROFILE, **kept)[:2] == (1, [["not planned", "third"]])
    assert fleet(stage, [first], "apply", PROFILE, **kept)[:2] == (0, [["unchanged", "first"]])
    (report,) = (stage.work / "fleet-reports").glob("*first.apply.json*")
    assert json.loads(report.read_text())["changed"] is True, "what was done is not forgotten"
    assert "iommu" not in source(second) + source(third)


def test_a_busy_host_is_asked_again(stage: Stage) -> None:
    (host,) = trees(stage, "host")
    program = stage.folder / "bin/iommuctl"
    real = program.rename(program.with_name("iommuctl-itself"))
    busy = '{"schema_version":1,"error":{"code":75,"kind":"locked","brief":"at work","details":[],"hint":null}}'
    free = f'[ $(wc -l <calls) -gt 2 ] && exec {real} "$@"'
    program.write_text(f"#!/bin/sh\necho >>calls\n{free}\necho '{busy}' >&2\nexit 75\n")
    program.chmod(0o755)
    code, rows, _ = fleet(stage, [host], "apply", PROFILE)
    assert (code, [row[0] for row in rows]) == (0, ["changed"])
    (stage.work / "calls").write_text("")
    program.write_text(program.read_text().replace("-gt 2", "-gt 3"))
    assert fleet(stage, [host], "apply", PROFILE)[:2] == (1, [["error 75", "host", "at work"]])
    (stage.work / "calls").write_text("")
    program.write_text(program.read_text().replace("-gt 3", "-gt 2").replace('"locked"', '"stale-plan"'))
    assert fleet(stage, [host], "apply", PROFILE)[:2] == (1, [["error 75", "host", "at work"]])
    assert len((stage.work / "calls").read_text().splitlines()) == 1, "nobody has seen the new plan"


def test_hosts_are_reached_by_ssh(stage: Stage) -> None:
    hosts = [*nodes(stage, "node1", "node2"), "gone"]
    code, rows, _ = fleet(stage, hosts, "plan", "vfio-bind", "--set", "vfio-pci.ids=10de:1b80,10de:10f0")
    assert (code, [row[:2] for row in rows]) == (
        1,
        [["would change", "node1"], ["would change", "node2"], ["error 255", "gone"]],
    )
    assert rows[0][2] == rows[1][2], "the same files have the same fingerprint"
    assert rows[2][2] == "ssh: gone: no route"
    code, rows, _ = fleet(stage, ["node1"], "verify", PROFILE)
    assert (code, rows) == (1, [["not_applied", "node1", PROFILE]])
    assert list((stage.work / "hosts").glob("*/var/lib/iommuctl")) == []


def test_a_code_without_a_report_is_not_iommuctls(stage: Stage) -> None:
    hosts = nodes(stage, "node1")
    answer_with(stage, "echo 'sudo: a password is required' >&2; exit 1")
    code, rows, _ = fleet(stage, hosts, "plan", PROFILE)
    assert (code, rows) == (1, [["error 1", "node1", "no report: sudo: a password is required"]])


def test_a_change_that_is_not_reported_is_never_unchanged(stage: Stage) -> None:
    hosts = nodes(stage, "node1", "node2")
    log_in_with(stage, "echo Welcome")
    code, rows, _ = fleet(stage, hosts, "apply", PROFILE)
    assert (code, rows) == (1, [["error 0", "node1", "no report: Welcome"]])
    changed = [host for host in hosts if (stage.work / "hosts" / host / "var/lib/iommuctl").exists()]
    assert changed == ["node1"], "the script stops there"
    assert kept(stage, ending=".json") == {"node1.apply.error.json": "\nno report: Welcome \n"}
    assert '"changed": true' in kept(stage, ending=".stdout")["node1.apply.stdout"]


def test_what_is_no_report_takes_no_place_of_one(stage: Stage) -> None:
    hosts = nodes(stage, "node1")
    assert fleet(stage, hosts, "plan", PROFILE)[0] == 0
    assert fleet(stage, hosts, "apply", PROFILE)[0] == 0
    done = kept(stage, ending=".apply.json")
    log_in_with(stage, "echo Welcome")
    for action in ("plan", "verify", "apply"):
        code, rows, _ = fleet(stage, hosts, action, PROFILE)
        assert (code, rows[0][0][:6], rows[0][2]) == (1, "error ", "no report: Welcome")
    assert kept(stage, ending=".apply.json") == done
    assert kept(stage, ending=".plan.json") == {}, "no plan to carry out that cannot be made now"


@pytest.mark.parametrize("action", ["plan", "apply", "rollback", "verify"])
@pytest.mark.parametrize(
    "said",
    [
        '{"command":"lint"}',
        '{"command":"apply","dry_run":null,"changed":false}',
        '{"command":"apply","dry_run":false,"changed":null}',
        '{"command":"verify","ok":"yes"}',
        "[]",
    ],
)
def test_what_is_no_report_of_the_action_is_no_success(stage: Stage, action: str, said: str) -> None:
    hosts = nodes(stage, "node1")
    answer_with(stage, f"echo '{said}'")
    assert fleet(stage, hosts, action)[:2] == (1, [["error 0", "node1", f"no report: {said}"]])


def test_what_ssh_says_beside_a_report_is_no_error(stage: Stage) -> None:
    hosts = nodes(stage, "node1")
    log_in_with(stage, "echo \"Warning: Permanently added 'node1'\" >&2")
    for action, said in (
        ("plan", "would change"),
        ("apply", "changed"),
        ("apply", "unchanged"),
        ("verify", "not_applied"),
    ):
        assert fleet(stage, hosts, action, PROFILE)[1][0][0] == said
        assert kept(stage, ending=".error.json") == {}, said


@pytest.mark.parametrize(
    ("action", "left"),
    [("plan", []), ("apply", []), ("verify", ["apply", "plan", "rollback"])],
)
def test_a_success_removes_the_errors_that_it_answers(stage: Stage, action: str, left: list[str]) -> None:
    hosts = nodes(stage, "node1")
    reports = stage.work / "fleet-reports"
    reports.mkdir()
    for one in ("plan", "apply", "rollback", "verify"):
        (reports / f"node1.{one}.error.json").write_text("ssh: node1: no route\n")
    fleet(stage, hosts, action, PROFILE)
    assert sorted(kept(stage, ending=".error.json")) == [f"node1.{one}.error.json" for one in left]


def test_an_apply_that_fails_leaves_the_errors_of_others(stage: Stage) -> None:
    hosts = nodes(stage, "node1")
    answer_with(stage, "exit 69")
    fleet(stage, hosts, "plan", PROFILE)
    answer_with(stage, "echo gone >&2; exit 69")
    fleet(stage, hosts, "plan", PROFILE)
    fleet(stage, hosts, "apply", PROFILE)
    assert kept(stage, ending=".error.json") == {f"node1.{one}.error.json": "gone\n" for one in ("plan", "apply")}


@pytest.mark.parametrize(
    ("answer", "cells"),
    [
        (
            r"""printf '%s\n' '{"error":{"brief":"\u001b[2J\nunchanged     n9"}}' >&2; exit 69""",
            ["error 69", "node1", r"\x1b[2J\nunchanged", "n9"],
        ),
        (
            r"printf 'sudo:\033[2J\233\302\233\rn9 \303\266\n' >&2; exit 69",
            ["error 69", "node1", r"sudo:\x1b[2J\x9b\x9b\rn9 ö"],
        ),
        (
            r"""printf '%s\n' '{"command":"verify","ok":true,"verdict":"active\u202e\ud800","profile":"\n"}'""",
            [r"active\u202e\ud800", "node1", r"\n"],
        ),
    ],
)
def test_no_host_can_make_a_terminal_show_another_row(stage: Stage, answer: str, cells: list[str]) -> None:
    hosts = nodes(stage, "node1")
    answer_with(stage, answer)
    _, rows, stderr = fleet(stage, hosts, "verify")
    assert (rows, stderr) == ([cells], "")


@pytest.mark.parametrize(
    "fingerprint", [f"{'0a' * 32}; touch ran; id #", "0a" * 31, "0A" * 32, f"{'0a' * 32}\n", ["0a" * 32], None]
)
def test_a_plan_without_a_fingerprint_is_not_carried_out(stage: Stage, fingerprint: object) -> None:
    hosts = nodes(stage, "node1")
    (stage.work / "node1.plan.json").write_text(json.dumps({"fingerprint": fingerprint}))
    code, rows, _ = fleet(stage, hosts, "apply", PROFILE, FLEET_PLANS=".")
    assert (code, rows) == (1, [["not planned", "node1"]])
    assert not (stage.work / "ran").exists()


@pytest.mark.parametrize("hosts", [["/a/b", "c", "/a-b"], ["a-b", "/a/b"], ["/a/b", "/a/b"], ["node1", "node1"]])
def test_two_hosts_whose_documents_would_be_one_are_refused(stage: Stage, hosts: list[str]) -> None:
    code, rows, stderr = fleet(stage, hosts, "plan", PROFILE)
    assert (code, rows) == (2, [])
    assert stderr == f"fleet.sh: the documents of two would be one: {hosts[0]} and {hosts[-1]}\n"


@pytest.mark.parametrize(
    ("hosts", "arguments"),
    [
        ([], ()),
        ([], ("reboot",)),
        (["node1"], ("plan", PROFILE, "--set", "x=$(touch ran)")),
        (["node1"], ("plan", "a b")),
        (["-oProxyCommand=touch ran"], ("plan", PROFILE)),
        (["node1;touch ran"], ("plan", PROFILE)),
    ],
)
def test_what_a_shell_could_read_otherwise_is_refused(
    stage: Stage, hosts: list[str], arguments: tuple[str, ...]
) -> None:
    nodes(stage, "node1")
    code, rows, stderr = fleet(stage, hosts, *arguments)
    assert (code, rows) == (2, [])
    assert stderr.startswith(("fleet.sh: ", "usage: "))
    assert not (stage.work / "ran").exists()
