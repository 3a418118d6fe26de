# SPDX-License-Identifier: Apache-2.0
"""The files of a report: which are read, of which host each is, and what becomes of one that cannot be read."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import documents
import pytest
from console import in_process
from hostdocuments import done, error, plan, plan_file, write
from project import PACKAGE

from iommuctl.app.fleet.files import BESIDE_THE_POINT, TELLING
from iommuctl.app.fleet.record import Standing, read_records

WARNING = "Warning: Permanently added 'node1' (ED25519) to the list of known hosts."


# What cannot be read


def unreadable(directory: Path) -> None:
    """Put what is no readable document into a directory, each under a name of its own."""
    os.mkfifo(directory / "fifo.json")
    (directory / "dangling.json").symlink_to("none")
    (directory / "loop.json").symlink_to("loop.json")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(directory / "socket.json"))


def test_a_file_of_a_directory_that_cannot_be_read_is_the_trouble_of_one_host(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    unreadable(tmp_path)
    (tmp_path / "directory.json").mkdir()
    (tmp_path / "to-directory.json").symlink_to("directory.json")
    found = {one.name: (one.standing, one.trouble.brief if one.trouble else "") for one in read_records([tmp_path])}
    assert found == {
        "one": (Standing.PLANNED, ""),
        "fifo": (Standing.UNREADABLE, "'fifo.json' cannot be read: no regular file of at most 67108864 bytes"),
        "dangling": (Standing.UNREADABLE, "'dangling.json' cannot be read: No such file or directory"),
        "loop": (Standing.UNREADABLE, "'loop.json' cannot be read: Too many levels of symbolic links"),
        "socket": (Standing.UNREADABLE, "'socket.json' cannot be read: No such device or address"),
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("none.json", 66),
        ("dangling.json", 66),
        ("fifo.json", 2),
        ("loop.json", 2),
        ("socket.json", 2),
        ("one.json/x.json", 2),
        ("x" * 300, 2),
    ],
)
def test_a_path_that_is_named_and_cannot_be_read_is_an_error(name: str, code: int, tmp_path: Path) -> None:
    write(tmp_path, "one.json", plan())
    unreadable(tmp_path)
    told = in_process("report", str(tmp_path / name))
    assert (told.returncode, told.stderr.splitlines()[-1]) == (code, "hint: iommuctl report --help")


@pytest.mark.parametrize("document", [plan(), error(75, "locked"), plan_file("2026-01-01T08:00:00Z")])
def test_a_document_of_another_version_is_not_taken_for_one_of_this(
    document: dict[str, object], tmp_path: Path
) -> None:
    write(tmp_path, "one.json", document | {"schema_version": 1})
    write(tmp_path, "two.json", document | {"schema_version": 9})
    write(tmp_path, "two.status.json", {"command": "status"})
    one, two = read_records([tmp_path])
    assert (one.standing is not Standing.UNREADABLE, two.standing) == (True, Standing.UNREADABLE)
    assert two.trouble is not None
    assert two.trouble.brief == "a document of schema version 9, not 1"


# Whose a file is


def of_machine(letter: str, **more: object) -> dict[str, object]:
    return plan_file("2026-01-01T08:00:00Z", **more) | {"host": {"name": "node1", "id": letter * 64}}


def test_two_machines_of_one_name_are_two_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("site-a"), "node1.plan.json", of_machine("a", profile="a"))
    write(Path("site-a"), "node1.apply.json", done("apply", "20260102", profile="a"))
    write(Path("site-b"), "node1.plan.json", of_machine("b", profile="b"))
    write(Path("status"), "node1.json", {"command": "status", "profile": "?"})
    for order in ("site-a", "site-b", "status"), ("status", "site-b", "site-a"):
        found = [(one.name, one.standing, one.profile) for one in read_records(map(Path, order))]
        assert found == [
            ("site-a/node1", Standing.APPLIED, "a"),
            ("site-b/node1", Standing.PLANNED, "b"),
            ("status/node1", Standing.SEEN, "?"),
        ]


@pytest.mark.parametrize("other", [{"command": "status"}, of_machine("a"), plan()])
def test_what_several_directories_have_of_one_machine_is_one_host(other: Mapping[str, object], tmp_path: Path) -> None:
    write(tmp_path / "plans", "node1.plan.json", of_machine("a"))
    write(tmp_path / "status", "node1.status.json", other)
    assert [one.name for one in read_records([tmp_path / "plans", tmp_path / "status"])] == ["node1"]


# What is beside the point


def test_every_command_with_json_is_known() -> None:
    schemas = [json.loads(path.read_text()) for path in (PACKAGE / "documents" / "schemas").iterdir()]
    told = [schema["properties"].get("command", {}) for schema in schemas]
    assert {name for one in told for name in one.get("enum", [one.get("const")])} - {None} == {
        *TELLING,
        *BESIDE_THE_POINT,
    }
    with_json = {
        words.split()[0]
        for words, command in documents.leaves().items()
        if any("--json" in one.opts for one in vars(command)["params"])
    }
    assert with_json == {name.split()[0] for name in (*TELLING, *BESIDE_THE_POINT)}


@pytest.mark.parametrize("command", BESIDE_THE_POINT)
def test_what_says_nothing_of_where_a_host_is_makes_no_host_and_hides_none(command: str, tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    write(tmp_path, f"one.{command.split(maxsplit=1)[0]}.json", {"command": command})
    assert [(one.name, one.standing) for one in read_records([tmp_path])] == [("one", Standing.PLANNED)]


# What was said on stderr


@pytest.mark.parametrize("end", [".apply.stderr.json", ".apply.stderr", ".stderr"])
def test_what_another_program_said_is_a_finding_beside_a_document(end: str, tmp_path: Path) -> None:
    write(tmp_path, "one.apply.json", plan(dry_run=False, findings=[]))
    write(tmp_path, f"one{end}", f"{WARNING}\n")
    (record,) = read_records(sorted(tmp_path.iterdir()))
    assert (record.standing, record.trouble, record.findings) == (Standing.APPLIED, None, (f"stderr: {WARNING}",))


def test_what_was_kept_as_an_error_is_one_whatever_it_says(tmp_path: Path) -> None:
    write(tmp_path, "one.apply.json", plan(dry_run=False))
    write(tmp_path, "one.plan.error.json", "ssh: connect to host one: No route to host\n")
    (record,) = read_records([tmp_path])
    assert record.standing is Standing.UNREADABLE
    assert record.trouble is not None
    assert record.trouble.brief == "ssh: connect to host one: No route to host"


@pytest.mark.parametrize(
    ("beside", "standing"),
    [
        ({}, Standing.UNREADABLE),
        ({".lint.json": {"command": "lint"}}, Standing.UNREADABLE),
        ({".plan.error.json": error(75, "locked")}, Standing.BUSY),
    ],
)
def test_what_another_program_said_is_all_that_is_known_where_nothing_else_tells(
    beside: Mapping[str, object], standing: Standing, tmp_path: Path
) -> None:
    write(tmp_path, "one.apply.stderr.json", WARNING)
    for end, document in beside.items():
        write(tmp_path, f"one{end}", document)
    (record,) = read_records([tmp_path])
    assert record.standing is standing


def test_a_document_that_was_cut_short_stands(tmp_path: Path) -> None:
    write(tmp_path, "one.plan.json", plan())
    write(tmp_path, "one.apply.json", '{"command": "app')
    (record,) = read_records([tmp_path])
    assert record.standing is Standing.UNREADABLE
