# SPDX-License-Identifier: Apache-2.0
"""What each module asks of iommuctl, and what it returns. The program is a table of answers."""

import json

import pytest
from ansible_collections.iommuctl.iommu.plugins.modules import host_info, profile, rollback, trial

PLAN = {"schema_version": 1, "changed": True, "files": [], "commands": [], "reboot_required": True}
NOTHING = {"code": 66, "kind": "not-found", "brief": "there is nothing to roll back", "details": [], "hint": "h"}
FINGERPRINT = "a" * 64


class EndedError(Exception):
    """The module is at its end."""


class Module:
    """Stands for AnsibleModule: parameters with their defaults, and answers by the words that ask for them."""

    def __init__(self, given, answers, path="/usr/bin/iommuctl", *, check_mode=False, tmpdir=""):
        self.given, self.answers, self.path = given, answers, path
        self.check_mode, self._diff, self.tmpdir = check_mode, True, tmpdir
        self.asked = []

    def __call__(self, options, **_):
        self.params = {name: self.given.get(name, one.get("default")) for name, one in options.items()}
        return self

    def get_bin_path(self, name, opt_dirs):
        return self.path

    def run_command(self, command, environ_update):
        words = " ".join(command[1:])
        self.asked.append(words)
        found = next(answer for start, answer in self.answers if words.startswith(start))
        if "brief" in found:
            return found["code"], "", json.dumps({"schema_version": 1, "error": found})
        return int(found.get("ok") is False), json.dumps(found), ""

    def exit_json(self, **result):
        self.result = result
        raise EndedError

    def fail_json(self, **result):
        self.result = dict(result, failed=True)
        raise EndedError


def run(monkeypatch, what, given, answers, **more):
    module = Module(given, answers, **more)
    monkeypatch.setattr(what, "AnsibleModule", module)
    with pytest.raises(EndedError):
        what.main()
    return module


@pytest.mark.parametrize(("check_mode", "last"), [(True, "--dry-run --json"), (False, "--yes --json")])
def test_a_profile_is_planned_in_check_mode_and_else_applied(monkeypatch, check_mode, last):
    given = {"name": "p", "fingerprint": FINGERPRINT, "root": "/tree"}
    done = run(monkeypatch, profile, given, [("apply", PLAN)], check_mode=check_mode)
    assert done.asked == ["apply p --expect {0} {1} --root /tree".format(FINGERPRINT, last)]
    assert done.result == {"changed": True, "report": PLAN, "reboot_required": True, "diff": []}


def test_an_error_fails_with_its_object(monkeypatch):
    stale = {"code": 75, "kind": "stale-plan", "brief": "b", "details": ["d"], "hint": None}
    done = run(monkeypatch, profile, {"name": "p", "root": "/"}, [("apply", stale)])
    assert done.result == {"failed": True, "msg": "b\n    d", "rc": 75, "error": stale}


@pytest.mark.parametrize(
    ("snapshots", "failed"),
    [
        ([], False),
        ([{"action": "apply", "state": "rolled_back"}, {"action": "rollback", "state": "applied"}], False),
        ([{"action": "apply", "state": "applied"}], True),
    ],
)
def test_a_rollback_of_nothing_changes_nothing(monkeypatch, snapshots, failed):
    answers = [("rollback", NOTHING), ("history", {"schema_version": 1, "snapshots": snapshots})]
    done = run(monkeypatch, rollback, {"root": "/"}, answers)
    assert (done.result.get("changed"), "failed" in done.result) == (None if failed else False, failed)


def test_a_rollback_of_a_snapshot_that_is_not_there_fails(monkeypatch):
    done = run(monkeypatch, rollback, {"root": "/", "snapshot": "x"}, [("rollback x", NOTHING)])
    assert done.result["failed"]


def test_a_survey_goes_on_past_what_is_refused(monkeypatch):
    answers = [("status", NOTHING), ("verify p", {"schema_version": 1, "ok": False})]
    given = {"gather": ["status", "verify"], "profile": "p", "root": "/"}
    result = run(monkeypatch, host_info, given, answers).result
    assert (result["status"], result["verify"]["ok"], result["error"]) == (None, False, NOTHING)
    assert result["errors"] == {"status": NOTHING}


def test_a_host_without_the_program_is_told(monkeypatch):
    result = run(monkeypatch, host_info, {"gather": ["status"], "executable": "x"}, [], path=None).result
    assert result["error"]["kind"] == "not-installed"


def state(name, **more):
    terms = {"confirm": "manual", "timeout": 900, "on_failure": "reboot"}
    trial_part = None if name == "none" else dict(terms, profile="p", reason="")
    return {
        "schema_version": 1,
        "changed": False,
        "state": name,
        "trial": trial_part,
        "plan": None,
        "permanent": None,
        "reboot_required": name == "armed",
        **more,
    }


PROMISE = "c" * 64  # the trial's own fingerprint, of the same permanent change
WOULD = {"changed": True, "plan": {"fingerprint": PROMISE, "files": []}, "permanent": {"fingerprint": FINGERPRINT}}
PLANNED = state("none", **WOULD)
ARMED = state("armed", **WOULD)


@pytest.mark.parametrize(
    ("wanted", "now", "check_mode", "last", "changed"),
    [
        ("armed", "none", False, "trial start p --confirm", True),
        ("armed", "none", True, "trial start p --confirm", True),
        ("armed", "armed", False, "trial status", False),
        ("armed", "running", False, "trial status", False),
        ("armed", "returned", False, "trial start p --confirm", True),
        ("confirmed", "running", False, "trial confirm", True),
        ("confirmed", "running", True, "trial status", True),
        ("confirmed", "confirmed", False, "trial status", False),
        ("confirmed", "returned", False, "trial status", None),
        ("absent", "armed", False, "trial cancel", True),
        ("absent", "armed", True, "trial status", True),
        ("absent", "failed", False, "trial cancel", True),
        ("absent", "confirmed", False, "trial status", False),
        ("absent", "none", False, "trial status", False),
    ],
)
def test_a_trial_comes_to_its_state_and_stays_there(monkeypatch, wanted, now, check_mode, last, changed):
    answers = [
        ("trial status", state(now)),
        ("trial confirm", state("confirmed", changed=True)),
        ("trial cancel", state("cancelled", changed=True)),
    ]
    planned = ("trial start p --confirm manual --timeout 900 --on-failure reboot --dry-run", PLANNED)
    given = {"name": "p", "state": wanted, "root": "/", "fingerprint": FINGERPRINT}
    done = run(monkeypatch, trial, given, [planned, ("trial start", ARMED), *answers], check_mode=check_mode)
    assert done.asked[-1].startswith(last)
    assert done.result.get("changed") is changed
    assert not (check_mode and any("--yes" in words for words in done.asked))


def test_what_is_armed_is_what_was_compared(monkeypatch):
    given = {"name": "p", "root": "/", "add": ["nosmt"], "why": "w", "fingerprint": FINGERPRINT}
    done = run(monkeypatch, trial, given, [("trial status", state("none")), ("trial start", ARMED)])
    start = "trial start p --confirm manual --timeout 900 --on-failure reboot --add nosmt --why w"
    assert done.asked[1:] == [start + " --dry-run --json", start + " --expect {0} --yes --json".format(PROMISE)]


@pytest.mark.parametrize("other", [{"name": "q"}, {"confirm": "auto"}, {"timeout": 600}, {"on_failure": "stay"}])
def test_a_trial_on_other_terms_is_not_taken_for_what_is_asked_for(monkeypatch, other):
    refused = {"code": 2, "kind": "usage", "brief": "a trial is armed", "details": [], "hint": "h"}
    given = dict({"name": "p", "root": "/"}, **other)
    done = run(monkeypatch, trial, given, [("trial status", state("armed")), ("trial start", refused)])
    assert done.result["error"] == refused


def test_a_trial_of_a_plan_that_nobody_approved_is_not_armed(monkeypatch):
    given = {"name": "p", "root": "/", "fingerprint": "b" * 64}
    done = run(monkeypatch, trial, given, [("trial status", state("none")), ("trial start", PLANNED)])
    assert done.result["error"]["kind"] == "stale-plan"
    assert not any("--yes" in words for words in done.asked)
