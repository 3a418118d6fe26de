# SPDX-License-Identifier: Apache-2.0
"""The report of many hosts: none is lost, each is where it is, and what a host says is text and nothing else."""

import hashlib
import importlib.util
import json
import re
import sys
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from browser import browser
from console import in_process
from hostdocuments import SHAPE, done, error, plan, plan_file, write
from lacking import lacks
from pytest_mock import MockerFixture

from iommuctl.app.fleet.record import Record, Standing, read_records
from iommuctl.app.fleet.summary import summarize
from iommuctl.cli.output.markdown import markdown
from iommuctl.cli.output.page import page

HOSTILE = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>|`x`\u202e\x1b[31m"


@pytest.fixture(autouse=True)
def _templates() -> None:
    if importlib.util.find_spec("jinja2") is None:
        lacks("no jinja2 here")


STATUS = {
    "command": "status",
    "backend": "bls",
    "platform": "amd",
    "profile": "strict-isolation",
    "reboot_required": True,
    "entries": [{"default": True, "kernel_release": "5.14.0-503.el9.x86_64"}],
    "drift": [{"where": "/etc/kernel/cmdline", "expected": "iommu=pt", "found": "none"}],
    "effective": {"verdict": "not_applied"},
}
CHECK = {
    "command": "check",
    "sentence": "not yet",
    "items": [{"name": "units", "result": "fail", "evidence": "no IOMMU"}, {"name": "space", "result": "pass"}],
}


SAME = {"command": "verify", "profile": "passthrough-perf", "verdict": "active"}
# The documents of one host, and whether it waits for a reboot.
REBOOTS: list[tuple[tuple[Mapping[str, object], ...], bool]] = [
    ((plan(reboot_required=True),), False),
    ((plan(reboot_required=True, changed=False),), True),
    ((STATUS,), True),
    ((done("apply", "20260101"),), True),
    ((done("apply", "20260101"), STATUS | {"profile": "passthrough-perf", "reboot_required": False}), False),
    ((done("apply", "20260101"), STATUS | {"profile": None, "reboot_required": False}), True),
    ((done("apply", "20260101"), SAME | {"by": "command_line"}), False),
    ((done("apply", "20260101"), SAME | {"by": "kernel_default"}), True),
    ((done("apply", "20260101"), done("rollback", "20260102"), SAME | {"by": "command_line"}), True),
    ((done("rollback", "20260101", reboot_required=False),), False),
    ((done("apply", "20260101"), plan_file("2026-01-02T08:00:00+00:00", fingerprint="b")), True),
    ((done("rollback", "20260101", reboot_required=False), plan_file("2026-01-02T08:00:00Z", fingerprint="b")), False),
]
# The files of one host, by the end of their names, and where the host is.
ROWS: list[tuple[Mapping[str, object], Standing]] = [
    ({".plan.json": plan()}, Standing.PLANNED),
    ({".json": plan(changed=False)}, Standing.UNCHANGED),
    ({".plan.json": plan(), ".apply.json": plan(dry_run=False)}, Standing.APPLIED),
    ({".rollback.json": plan(command="rollback", dry_run=False)}, Standing.ROLLED_BACK),
    ({".json": {"command": "plan", "basis": [], "plan": plan()}}, Standing.PLANNED),
    ({".status.json": STATUS}, Standing.SEEN),
    ({".plan.json": plan(), ".apply.error.json": error(75, "stale-plan")}, Standing.STALE),
    ({".apply.error.json": error(75, "locked")}, Standing.BUSY),
    ({".plan.error.json": error(69, "by-hand")}, Standing.REFUSED),
    ({".apply.error.json": error(74, "execution")}, Standing.FAILED),
    ({".plan.error.json": "ssh: connect to host: no route"}, Standing.UNREADABLE),
    ({".json": ""}, Standing.UNREADABLE),
    ({".json": {"command": "lint"}}, Standing.UNREADABLE),
    ({".lint.json": {"command": "lint"}, ".plan.json": plan()}, Standing.PLANNED),
    ({".check.json": CHECK}, Standing.SEEN),
    ({".apply.json": done("apply", "20260102"), ".rollback.json": done("rollback", "20260101")}, Standing.APPLIED),
    ({".apply.json": done("apply", "20260101"), ".rollback.json": done("rollback", "20260102")}, Standing.ROLLED_BACK),
]


CHANGE = done("apply", "20260102", fingerprint="a")
# A plan and a change, each with the second in which its file was modified, and where the host is.
ORDERS: list[tuple[Mapping[str, object], int, Mapping[str, object], int, Standing]] = [
    # The plan that was carried out, by a clock that was put back since.
    (plan_file("2026-01-03T08:00:00+00:00", fingerprint="a"), 2, CHANGE, 1, Standing.APPLIED),
    # Both tell their time, whatever became of the files.
    (plan_file("2026-01-02T08:00:01+00:00", fingerprint="b"), 1, CHANGE, 2, Standing.PLANNED),
    (plan_file("2026-01-02T07:59:59Z", fingerprint="b"), 2, CHANGE, 1, Standing.APPLIED),
    # A dry-run tells no time, nor does what is none.
    (plan(fingerprint="b"), 2, CHANGE, 1, Standing.PLANNED),
    (plan(fingerprint="b"), 1, CHANGE, 2, Standing.APPLIED),
    (plan(fingerprint="b"), 1, CHANGE, 1, Standing.PLANNED),
    (plan_file("tomorrow", fingerprint="b"), 1, CHANGE, 2, Standing.APPLIED),
    # An apply that found nothing left to do took no snapshot.
    (
        plan_file("2026-01-02T08:00:00+00:00", fingerprint="b"),
        1,
        plan(dry_run=False, changed=False, fingerprint="a"),
        2,
        Standing.UNCHANGED,
    ),
]


@pytest.mark.parametrize(("documents", "standing"), ROWS, ids=[f"{[*row[0]]} {row[1]}" for row in ROWS])
def test_a_host_is_where_its_documents_say(documents: Mapping[str, object], standing: Standing, tmp_path: Path) -> None:
    for end, document in documents.items():
        write(tmp_path, f"node1.example{end}", document)
    (record,) = read_records([tmp_path])
    assert (record.name, record.standing) == ("node1.example", standing)


@pytest.mark.parametrize(("planned", "when", "change", "then", "standing"), ORDERS)
def test_of_a_plan_and_a_change_the_later_stands(
    planned: Mapping[str, object],
    when: int,
    change: Mapping[str, object],
    then: int,
    standing: Standing,
    tmp_path: Path,
) -> None:
    write(tmp_path, "one.plan.json", planned, when)
    write(tmp_path, "one.apply.json", change, then)
    (record,) = read_records([tmp_path])
    assert (record.standing, record.fingerprint) == (standing, "b" if standing is Standing.PLANNED else "a")


def test_a_plan_that_is_made_again_after_the_way_back_stands(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan_file("2026-01-03T08:00:00+00:00", fingerprint="a"))
    write(tmp_path, "one.apply.json", done("apply", "20260101", fingerprint="a"))
    write(tmp_path, "one.rollback.json", done("rollback", "20260102", fingerprint="c"))
    (record,) = read_records([tmp_path])
    assert (record.standing, record.fingerprint) == (Standing.PLANNED, "a")


def test_of_two_plans_the_later_stands(tmp_path: Path) -> None:
    write(tmp_path, "one.json", plan_file("2026-01-02T08:00:00+00:00", fingerprint="b"), 1)
    write(tmp_path, "one.plan.json", plan_file("2026-01-01T08:00:00+00:00", fingerprint="a"), 2)
    (record,) = read_records([tmp_path])
    assert (record.standing, record.fingerprint) == (Standing.PLANNED, "b")


@pytest.mark.parametrize(("documents", "waits"), REBOOTS)
def test_a_host_waits_for_a_reboot_where_something_was_written(
    documents: tuple[Mapping[str, object], ...], waits: bool, tmp_path: Path
) -> None:
    for number, document in enumerate(documents):
        write(tmp_path / str(number), "one.json", document)
    (record,) = read_records(sorted(tmp_path.iterdir()))
    assert record.reboot_required is waits


def test_a_check_that_failed_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, "one.json", CHECK)
    (record,) = read_records([tmp_path])
    assert (record.findings, record.sentence) == (("check[units] no IOMMU",), "not yet")


def test_a_stale_menu_alone_is_a_change_and_a_command_that_is_left_out_is_none(tmp_path: Path) -> None:
    write(tmp_path, "stale.json", plan(files=[]))
    write(tmp_path, "pending.json", plan(files=[], changed=False))
    summary = summarize(read_records([tmp_path]))
    assert [[one.name for one in group.records] for group in summary.groups] == [["stale"]]
    assert "```diff" not in markdown(summary)
    assert "grub-mkconfig" in markdown(summary)


def test_what_documents_say_is_put_together(tmp_path: Path) -> None:
    write(tmp_path, "one.status.json", STATUS)
    write(tmp_path, "one.verify.json", {"command": "verify", "verdict": "active", "sentence": "all is well"})
    write(tmp_path, "one.apply.error.json", "a notice\n" + json.dumps(error(78, "conflict")))
    (one,) = read_records([tmp_path])
    assert (one.backend, one.line, one.verdict, one.sentence, one.reboot_required) == (
        "bls",
        "el9",
        "active",
        "all is well",
        True,
    )
    assert one.drift == ("/etc/kernel/cmdline: has none, not iommu=pt",)
    assert one.trouble is not None
    assert (one.trouble.code, one.trouble.kind, one.trouble.details) == (78, "conflict", ("fact",))


@pytest.mark.parametrize("value", [None, 1, "x", [], [1, None, "x"], {}, {"a": [{}]}, [[[]]], True, "\ud800"])
def test_no_document_stops_a_report(value: object, tmp_path: Path) -> None:
    for document in (plan(), STATUS, error(69, "by-hand"), {"command": "verify"}, {"command": "plan", "plan": plan()}):
        for key in document:
            write(tmp_path, f"{document.get('command', 'error')}-{key}.json", document | {key: value})
    write(tmp_path, "deep.json", "[" * 100_000)
    (tmp_path / "bytes.json").write_bytes(b"\xff\x00{")
    count = len([*tmp_path.iterdir()])
    out = tmp_path / "out"
    out.mkdir()
    done = in_process("report", str(tmp_path), "--html", str(out / "r.html"), "--markdown", str(out / "r.md"))
    assert done.returncode == 0, done.stderr
    assert f"{count} hosts, " in (out / "r.md").read_text()


def test_hosts_that_change_alike_are_one_group(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path, f"node{number}.plan.json", plan(shape=SHAPE if number < 5 else "cd" * 32))
    summary = summarize(read_records([tmp_path]))
    assert [len(group.records) for group in summary.groups] == [5, 2]
    assert dict(summary.counts)["backend"] == (("grub2", 7),)


def test_a_page_needs_nothing_and_lets_nothing_in(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    assert in_process("report", str(tmp_path), "--html", str(tmp_path / "r.html")).returncode == 0
    text = (tmp_path / "r.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"https?:|//[a-z]|<link|\bsrc=|url\(|@import|\bon[a-z]+=|style=", text)
    assert set(re.findall(r'href="([^"]*)"', text)) == {"#counts", "#groups", "#stopped", "#waiting", "#hosts"}


def test_a_hostile_text_is_no_sign_of_markdown() -> None:
    fence = "```\n# a heading\n````"
    text = markdown(summarize([Record(HOSTILE, Standing.PLANNED, profile="[x](y)", shape=SHAPE, diff=f"{fence}\n")]))
    assert "<" not in text
    assert "\u202e" not in text
    assert "\\[x\\]\\(y\\)" in text
    assert f"`````diff\n{fence}\n`````\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "hacked" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8]


@pytest.mark.parametrize("said", ["\u0663" * 40_000, ("1" * 31 + "\n") * 4000, "1.1" * 40_000, "a" * 40_000])
def test_a_diff_that_is_long_takes_no_time_of_its_own(said: str) -> None:
    begun = time.process_time()
    text = page(summarize([Record("one", Standing.PLANNED, shape=SHAPE, diff=f"+{said}\n")]))
    assert time.process_time() - begun < 1
    (data,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    found = json.loads(data)
    template, *own = found["hosts"][0]["diff"]
    parts = [piece for pair in zip(found["templates"][template], [*own, ""], strict=True) for piece in pair]
    assert "".join(parts) == f"+{said}"


def test_a_release_longer_than_one_of_a_kernel_is_none(tmp_path: Path) -> None:
    entry = {"default": True, "kernel_release": f"5.14.0{'.fc1.' * 20_000}\n"}
    write(tmp_path, "one.status.json", STATUS | {"entries": [entry]})
    begun = time.process_time()
    (record,) = read_records([tmp_path])
    assert (record.line, time.process_time() - begun < 1) == ("", True)


def test_one_file_is_not_asked_for_twice(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    (tmp_path / "sub").mkdir()
    twice = ("--html", str(tmp_path / "r"), "--markdown", str(tmp_path / "sub" / ".." / "r"))
    assert in_process("report", str(tmp_path), *twice).returncode == 2
    assert not (tmp_path / "r").exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    (tmp_path / "r.html").write_text("mine")
    words = ("report", str(tmp_path / "one.plan.json"), "--html", str(tmp_path / "r.html"))
    assert (in_process(*words).returncode, (tmp_path / "r.html").read_text()) == (2, "mine")
    assert in_process(*words, "--overwrite").returncode == 0


def test_a_machine_without_the_library_is_told_what_to_install(tmp_path: Path, mocker: MockerFixture) -> None:
    write(tmp_path, "one.plan.json", plan())
    mocker.patch.dict(sys.modules, {"jinja2": None})
    done = in_process("report", str(tmp_path), "--html", str(tmp_path / "r.html"))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (69, "hint: pip install 'iommuctl[report]'")
    done = in_process("report", str(tmp_path))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "# IOMMU on the hosts")


@pytest.mark.slow
@pytest.mark.programs
def test_a_browser_shows_ten_thousand_hosts_without_a_request(tmp_path: Path) -> None:
    plans, page = tmp_path / "plans", tmp_path / "r.html"
    for number in range(10_000):
        kind = number % 3
        write(plans, f"node{number:05}.plan.json", plan(shape=f"{kind}b" * 32) if kind else error(69, "by-hand"))
    write(plans, f"{HOSTILE.replace('/', '_')}.plan.json", plan(profile=HOSTILE, backend=HOSTILE))
    assert in_process("report", str(plans), "--html", str(page)).returncode == 0
    with browser(tmp_path / "profile") as shown:
        shown.open(page)
        assert shown.value("document.querySelectorAll('#rows tr').length") == 200
        shown.press("/")
        shown.type("node07777")
        assert shown.value("document.getElementById('found').textContent") == "1 of 10001"
        shown.press("ArrowDown")
        shown.press("Enter")
        opened = shown.value("document.getElementById('host').innerText")
        assert opened.startswith("node07777")
        assert "+quiet iommu=pt" in opened
        assert "grub-mkconfig -o x" in opened
        shown.press("Escape")
        shown.type("onerror")
        shown.press("Enter")
        assert shown.value("document.getElementById('host').innerText").startswith("<img src=x onerror=")
        assert shown.value("[window.hacked, document.images.length, document.scripts.length]") == [None, 0, 2]
        assert shown.methods("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []
        requests = [event["request"]["url"] for event in shown.methods("Network.requestWillBeSent")]
        assert [url for url in requests if url != page.as_uri()] == []
