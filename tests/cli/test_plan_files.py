# SPDX-License-Identifier: Apache-2.0
"""Plan files and expected fingerprints: the plan that was approved is carried out, or nothing is."""

import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console import NEVER, in_process, needs_root, run, run_as_nobody, tree
from jsonschema import Draft202012Validator
from project import PACKAGE, PROJECT
from pytest_mock import MockerFixture

PROFILE = "passthrough-perf"
SETTINGS = "etc/default/grub"
WRONG = "0" * 64
NEW_KERNEL = "6.1.0-99-amd64"
FILES_OF_IT = f"(/boot/vmlinuz-{NEW_KERNEL}, /lib/modules/{NEW_KERNEL} or an entry of it)"
Document = dict[str, Any]


@pytest.fixture
def plan(sample_host: Path, tmp_path: Path) -> Path:
    """The plan of an apply on the sample host, as a file."""
    path = tmp_path / "plan.json"
    done = in_process("apply", PROFILE, "--root", str(sample_host), "--dry-run", "--out", str(path))
    assert done.returncode == 0, done.stderr
    return path


def carried_out(host: Path, plan: Path, *more: str, command: str = "apply") -> tuple[int, Document]:
    """Carry out a plan; give the exit code and the JSON of the result or of the error."""
    done = in_process(command, *more, "--root", str(host), "--plan", str(plan), "--json")
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


def write_new(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)


def append(path: Path, text: bytes) -> None:
    path.write_bytes(path.read_bytes() + text)


@pytest.mark.parametrize("more", [(), ("--verbose",), ("--json",)], ids=["text", "verbose", "json"])
@pytest.mark.parametrize("name", ["examples/debian-12", "tests/golden/bls/fedora-42/before"])
def test_a_plan_file_is_shown_as_its_dry_run_was(tmp_path: Path, name: str, more: tuple[str, ...]) -> None:
    host = Path(shutil.copytree(PROJECT / name, tmp_path / "h\udce9", symlinks=True))
    append(host / SETTINGS, b"# caf\xc3\xa9 \x1b[31m\n")
    plan = tmp_path / "plan.json"
    for words in (("apply", PROFILE, "--add", "hugepages=16", "--remove", "quiet"), ("rollback",)):
        dry = in_process(*words, "--root", str(host), "--dry-run", "--out", str(plan), "--overwrite", *more)
        shown = in_process("plan", "show", str(plan), *more)
        assert (dry.returncode, shown.returncode) == (0, 0), dry.stderr + shown.stderr
        assert shown.stdout == dry.stdout
        assert carried_out(host, plan, command=words[0])[0] == 0


def test_a_plan_file_is_what_its_schema_says(plan: Path) -> None:
    schema = json.loads((PACKAGE / "documents/schemas/plan.json").read_text())
    document = json.loads(plan.read_text())
    Draft202012Validator(schema).validate(document)
    assert (document["asked"], document["unreadable"], document["needs_root"]) == (PROFILE, [], [])
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600


def test_a_plan_is_carried_out_as_it_was_approved_and_once(sample_host: Path, plan: Path) -> None:
    approved = json.loads(plan.read_text())["plan"]
    code, done = carried_out(sample_host, plan)
    same = ("changes", "files", "fingerprint", "shape", "backend", "profile")
    assert (code, done["dry_run"], {key: done[key] for key in same}) == (0, False, {key: approved[key] for key in same})
    after = tree(sample_host)
    assert carried_out(sample_host, plan)[1]["changed"] is False
    assert tree(sample_host) == after


CHANGES: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("a comment", lambda host: append(host / SETTINGS, b"# later\n"), ["/etc/default/grub: changed"]),
    (
        "a kernel package",
        lambda host: (host / f"boot/vmlinuz-{NEW_KERNEL}").touch(),
        [f"kernel {NEW_KERNEL}: installed since {FILES_OF_IT}"],
    ),
    (
        "another system",
        lambda host: (host / "etc/os-release").write_text("ID=debian\nVERSION_ID=13\n"),
        ["distribution: debian 12 in the plan, debian 13 now"],
    ),
    (
        "a new file",
        lambda host: write_new(host / "etc/kernel/cmdline", "quiet\n"),
        ["/etc/kernel/cmdline: new"],
    ),
]


@pytest.mark.parametrize(("what", "happens", "facts"), CHANGES, ids=[row[0] for row in CHANGES])
def test_what_changed_since_stops_a_plan_and_is_named(
    what: str, happens: Callable[[Path], object], facts: list[str], sample_host: Path, plan: Path
) -> None:
    happens(sample_host)
    before = tree(sample_host)
    code, document = carried_out(sample_host, plan)
    assert (code, document["error"]["kind"], document["error"]["details"]) == (75, "stale-plan", facts)
    assert document["error"]["hint"].endswith(f"iommuctl apply {PROFILE} --dry-run --root {sample_host}")
    assert tree(sample_host) == before


def test_a_profile_that_reads_otherwise_and_another_program_are_named(
    sample_host: Path, tmp_path: Path, mocker: MockerFixture
) -> None:
    plan, profile = tmp_path / "plan.json", tmp_path / "mine.toml"
    text = 'name = "mine"\nsummary = "mine"\n[[set]]\nparameter = "iommu=pt"\nreason = "speed"\n'
    profile.write_text(text)
    apply = ("apply", str(profile), "--root", str(sample_host))
    done = in_process(*apply, "--dry-run", "--out", str(plan))
    assert done.returncode == 0, done.stderr
    code, document = carried_out(sample_host, plan)
    assert (code, document["error"]["hint"]) == (
        2,
        f"iommuctl apply {profile} --plan {plan} --root {sample_host}",
    )
    mocker.patch("iommuctl.__version__", "9.9.9")
    profile.write_text(text.replace("iommu=pt", "iommu=nopt"))
    code, document = carried_out(sample_host, plan, str(profile))
    assert (code, document["error"]["details"]) == (
        75,
        [
            "present 001: iommu=pt in the plan, iommu=nopt now",
            "profile 'mine' does not read as it did",
            "iommuctl 0.1.0 made the plan, this is 9.9.9",
        ],
    )
    profile.write_text(text.replace("speed", "because"))
    assert carried_out(sample_host, plan, str(profile))[0] == 0, "the same plan, told in other words"


def edited(plan: Path, change: Callable[[Document], object]) -> None:
    document = json.loads(plan.read_text())
    change(document)
    plan.write_text(json.dumps(document))


def set_in(document: Document, path: str, value: object) -> None:
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value


# What somebody made of a plan file, and the exit code.
DOCTORED: list[tuple[str, object, int]] = [
    ("plan.files.0.diff", "--- a\n+++ b\n", 75),
    ("plan.files.0.path", "/etc/passwd", 75),
    ("plan.files.0.after_sha256", WRONG, 75),
    ("plan.files", [], 75),
    ("plan.commands", [], 75),
    ("plan.commands.0.argv", ["rm", "-r", "/"], 75),
    ("plan.changes.0.after", "init=/bin/sh", 75),
    ("plan.changed", False, 75),
    ("plan.backend", "bls", 75),
    ("plan.fingerprint", WRONG, 75),
    ("host.id", WRONG, 75),
    ("asked", "strict-isolation", 75),
    ("asked", "no-such", 66),
    ("choices.inputs", {"no.such": "1"}, 65),
    ("choices.added", ["init=/bin/sh"], 65),
    ("choices.added", ["a b"], 65),
    ("choices.added", ["quiet"], 75),
    ("plan.added", ["quiet"], 75),
    ("choices.force", ["boot-critical"], 2),
    ("choices.regenerate", "always", 2),
    ("choices.backend", "lilo", 2),
    ("choices.why", "t\0", 65),
    ("choices.why", "two\nlines", 65),
    ("choices.why", "x" * 501, 65),
    ("plan.shape", WRONG, 75),
    ("schema_version", 2, 65),
    ("more", 1, 65),
    ("basis", "x", 65),
    ("plan.raw", {"profile": "zz"}, 65),
    ("plan.raw", {"added[-1]": "61"}, 65),
    ("plan.raw", {"added[0]": "61"}, 65),
    ("plan.command", "rollback", 2),
]


@pytest.mark.parametrize(("path", "value", "code"), DOCTORED, ids=[f"{row[0]} {row[1]!r:.40}" for row in DOCTORED])
def test_a_plan_file_that_was_changed_is_never_obeyed(
    path: str, value: object, code: int, sample_host: Path, plan: Path
) -> None:
    edited(plan, lambda document: set_in(document, path, value))
    before = tree(sample_host)
    assert carried_out(sample_host, plan)[0] == code
    assert tree(sample_host) == before


@pytest.mark.parametrize("asked", ["kernel-default", "strict-isolation"])
def test_a_plan_file_that_asks_for_what_is_there_already_is_not_the_approved_one(
    asked: str, sample_host: Path, plan: Path
) -> None:
    """The host has what the doctored file asks for, and not what it shows: nothing to do would be no answer."""
    assert in_process("apply", asked, "--root", str(sample_host), "--yes", *NEVER).returncode == 0
    edited(plan, lambda document: set_in(document, "asked", asked))
    code, document = carried_out(sample_host, plan)
    assert (code, document["error"]["kind"]) == (75, "stale-plan")
    assert f"profile: {PROFILE} in the plan, {asked} now" in document["error"]["details"]


def test_why_a_plan_was_made_is_shown_to_who_approves_it(sample_host: Path, plan: Path) -> None:
    edited(plan, lambda document: set_in(document, "choices.why", "ticket 7"))
    assert "why: ticket 7" in in_process("plan", "show", str(plan)).stderr
    assert carried_out(sample_host, plan)[0] == 0
    history = json.loads(in_process("history", "--root", str(sample_host), "--json").stdout)
    assert history["snapshots"][0]["why"] == "ticket 7"


def test_a_dry_run_whose_plan_cannot_be_written_prints_nothing(sample_host: Path, tmp_path: Path) -> None:
    dry = ("apply", PROFILE, "--root", str(sample_host), "--dry-run", "--json", "--out", str(tmp_path / "no/such"))
    done = in_process(*dry)
    assert (done.returncode, done.stdout) == (74, "")


def test_an_input_may_have_the_name_that_bytes_have_elsewhere(sample_host: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'name = "own"\nsummary = "s"\n[[input]]\nname = "raw"\ntype = "string"\npattern = "[a-z]{1,9}"\n'
        'required = true\ndescription = "d"\n[[set]]\nparameter = "own.word"\nvalue_from = "raw"\nreason = "r"\n'
    )
    plan, own = tmp_path / "plan.json", str(tmp_path / "own.toml")
    asked = ("apply", own, "--set", "raw=ab", "--root", str(sample_host), "--dry-run", "--out", str(plan))
    assert in_process(*asked).returncode == 0
    assert in_process("plan", "show", str(plan)).returncode == 0
    assert carried_out(sample_host, plan, own)[0] == 0
    assert "own.word=ab" in (sample_host / SETTINGS).read_text()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 100_000, b"9" * 10_000, b'{"schema_version": []}', b'{"raw": 1}'],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_plan_file_is_told(content: bytes, sample_host: Path, plan: Path) -> None:
    plan.write_bytes(content)
    assert carried_out(sample_host, plan)[0] == 65
    assert in_process("plan", "show", str(plan)).returncode == 65


def test_what_is_no_file_is_not_read(sample_host: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name, code in (("pipe", 65), ("large", 65), (".", 65), ("none", 66)):
        assert carried_out(sample_host, tmp_path / name)[0] == code, name


def test_a_plan_is_not_written_onto_what_is_there(sample_host: Path, tmp_path: Path) -> None:
    taken, link, target = tmp_path / "taken", tmp_path / "link", tmp_path / "target"
    taken.write_text("mine")
    target.write_text("mine")
    link.symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    dry = ("apply", PROFILE, "--root", str(sample_host), "--dry-run", "--out")
    rows = [(taken, (), 2), (link, (), 2), (link, ("--overwrite",), 2), (tmp_path / "pipe", ("--overwrite",), 2)]
    rows += [(tmp_path / "no/such", (), 74), (Path("/dev/null"), ("--overwrite",), 2), (tmp_path, ("--overwrite",), 2)]
    for path, more, code in rows:
        assert in_process(*dry, str(path), *more).returncode == code, path
    assert (taken.read_text(), target.read_text()) == ("mine", "mine")
    assert in_process(*dry, str(taken), "--overwrite").returncode == 0
    assert json.loads(taken.read_text())["command"] == "plan"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {"link", "pipe", "taken", "target"} | ({sample_host.name} if sample_host.parent == tmp_path else set())
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply",),
        ("apply", PROFILE, "--out", "x"),
        ("apply", PROFILE, "--dry-run", "--overwrite"),
        ("apply", PROFILE, "--expect", "315f7b6162b2"),
        ("apply", "strict-isolation", "--plan", "PLAN"),
        ("apply", "--plan", "PLAN", "--set", "a=1"),
        ("apply", "--plan", "PLAN", "--platform", "intel"),
        ("apply", "--plan", "PLAN", "--add", "quiet"),
        ("apply", "--plan", "PLAN", "--force", "myth"),
        ("apply", "--plan", "PLAN", "--regenerate", "never"),
        ("rollback", "--plan", "PLAN"),
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(arguments: tuple[str, ...], sample_host: Path, plan: Path) -> None:
    before = tree(sample_host)
    words = [str(plan) if word == "PLAN" else word for word in arguments]
    assert in_process(*words, "--root", str(sample_host)).returncode == 2
    assert tree(sample_host) == before


def test_what_lifts_a_protection_is_said_again(sample_host: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    apply = ("apply", PROFILE, "--root", str(sample_host), "--yes", *NEVER)
    assert in_process(*apply).returncode == 0
    append(sample_host / SETTINGS, b"# mine\n")
    force = ("--force", "changed-since-snapshot")
    done = in_process("rollback", "--root", str(sample_host), *force, "--dry-run", "--out", str(plan))
    assert done.returncode == 0, done.stderr
    code, document = carried_out(sample_host, plan, command="rollback")
    again = f"iommuctl rollback --plan {plan} --force changed-since-snapshot --root {sample_host}"
    assert (code, document["error"]["hint"]) == (2, again)
    assert carried_out(sample_host, plan, *force, command="rollback")[0] == 0


def test_a_fingerprint_that_is_expected_lets_its_plan_through_alone(sample_host: Path, plan: Path) -> None:
    expected = json.loads(plan.read_text())["plan"]["fingerprint"]
    apply = ("apply", PROFILE, "--root", str(sample_host), "--yes", "--json", "--expect")
    before = tree(sample_host)
    for more in ((), ("--dry-run",)):
        done = in_process(*apply, WRONG, *more)
        assert (done.returncode, done.stdout) == (75, "")
        assert json.loads(done.stderr)["error"]["kind"] == "stale-plan"
    assert tree(sample_host) == before
    assert json.loads(in_process(*apply, expected).stdout)["changed"] is True
    assert json.loads(in_process(*apply, expected).stdout)["changed"] is False


def test_nobody_is_asked_for_what_was_approved(sample_host: Path, plan: Path) -> None:
    done = run("apply", "--root", str(sample_host), "--plan", str(plan))
    assert (done.returncode, done.stderr) == (0, "")
    assert "iommu=pt" in (sample_host / SETTINGS).read_text()


def test_a_plan_made_without_the_rights_says_which_of_its_claims_need_them(sample_host: Path, tmp_path: Path) -> None:
    needs_root()
    for path in (sample_host, *sample_host.parents):
        if path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    (sample_host / "boot/grub/grub.cfg").chmod(0o600)
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    plan = out / "plan.json"
    done = run_as_nobody("apply", PROFILE, "--root", str(sample_host), "--dry-run", "--out", str(plan))
    claims = ["what /boot/grub/grub.cfg holds", "that /etc/default/grub can be written"]
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^  (.*)$", done.stderr, re.MULTILINE) == claims
    document = json.loads(plan.read_text())
    assert (document["unreadable"], document["needs_root"]) == (["/boot/grub/grub.cfg"], claims)
    code, answer = carried_out(sample_host, plan)
    assert code == 75
    assert "/boot/grub/grub.cfg could not be read when the plan was made" in answer["error"]["details"]
