# SPDX-License-Identifier: Apache-2.0
"""What is made of iommuctl's exit code, its JSON, and its errors."""

import json

import pytest
from ansible_collections.iommuctl.iommu.plugins.module_utils import program

LOCKED = {"code": 75, "kind": "locked", "brief": "at work", "details": ["by 12"], "hint": "wait"}


def told(error):
    return json.dumps({"schema_version": 1, "error": error})


@pytest.mark.parametrize(
    ("code", "stdout", "allowed"),
    [(0, '{"schema_version": 1, "ok": true}', (0,)), (1, '{"schema_version": 1, "ok": false}', (0, 1))],
)
def test_a_report_is_read(code, stdout, allowed):
    assert program.read_report(code, stdout, "", allowed) == json.loads(stdout)


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "kind", "brief"),
    [
        (75, "", told(LOCKED), "locked", "at work"),
        (75, "", "a warning of the interpreter\n" + told(LOCKED) + "\n", "locked", "at work"),
        (1, "", "sudo: no\n", "no-report", "sudo: no"),
        (139, "", "", "no-report", "iommuctl ended with 139 and told nothing"),
        (0, "", "", "no-report", "iommuctl ended with 0 and told nothing"),
        (0, "hello", "", "no-report", "what iommuctl printed is no JSON object"),
        (0, "[]", "", "no-report", "what iommuctl printed is no JSON object"),
        (2, "", '{"error": []}', "no-report", '{"error": []}'),
        (
            *(0, '{"schema_version": 2}', "", "schema-version"),
            "iommuctl speaks version 2 of its JSON, this collection version 1",
        ),
        (1, '{"schema_version": 1}', "no", "no-report", "no"),
    ],
)
def test_what_is_no_report_is_an_error(code, stdout, stderr, kind, brief):
    with pytest.raises(program.ProgramError) as raised:
        program.read_report(code, stdout, stderr)
    assert (raised.value.error["kind"], raised.value.error["brief"]) == (kind, brief)


def test_an_error_is_told_with_its_facts_and_the_next_command():
    assert program.message(LOCKED) == "at work\n    by 12\nhint: wait"


def test_choices_that_were_not_made_are_left_to_iommuctl():
    assert program.choice_words({"platform": "auto", "regenerate": "auto", "set": {}, "force": [], "add": []}) == []


def test_choices_are_words():
    params = {
        "platform": "amd",
        "backend": "bls",
        "set": {"b": ["1", 2], "a": True},
        "add": ["quiet"],
        "remove": ["splash"],
        "why": "two words",
        "regenerate": "never",
        "force": ["x"],
    }
    assert program.choice_words(params) == [
        *("--platform", "amd", "--backend", "bls", "--set", "a=true", "--set", "b=1,2", "--add", "quiet"),
        *("--remove", "splash", "--why", "two words", "--regenerate", "never", "--force", "x"),
    ]


def test_a_plan_is_shown_by_file_and_then_by_command():
    report = {
        "files": [{"path": "/a", "diff": "--- a\n", "reason": "r"}, {"path": "/b", "diff": "", "reason": "built anew"}],
        "commands": [
            {"argv": ["grub-mkconfig", "-o", "x"], "reason": "why", "left_out": False},
            {"argv": ["later"], "reason": "why", "left_out": True},
        ],
    }
    shown = [one["prepared"] for one in program.plan_diff(report)]
    assert shown == ["--- a\n", "/b: built anew\n", "command: grub-mkconfig -o x\n    why\n"]
