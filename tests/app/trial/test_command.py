# SPDX-License-Identifier: Apache-2.0
"""The commands of trials as scripts and people call them: JSON by its schema, exit codes, and who is asked."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from devicetrees import MACHINES, Machine
from invoked import invoke, report
from pytest_mock import MockerFixture
from trialhosts import BEFORE, PROFILE, RELEASE, TrialHost, bls_host, entry_host, grub_host, live_in, uki_host

from iommuctl.app.host import Host
from iommuctl.app.look.overview import read_overview

TRY = ("trial", "start")
START = (*TRY, PROFILE)


@pytest.fixture
def host(tmp_path: Path, mocker: MockerFixture) -> TrialHost:
    made = grub_host(tmp_path / "host")
    live_in(made, mocker)
    return made


def test_a_dry_run_tells_both_plans(host: TrialHost) -> None:
    code, found = report(host.path, "trial", *START, "--dry-run")
    assert (code, found["state"], found["changed"], found["reboot_required"]) == (0, "none", True, False)
    plan, permanent = found["plan"], found["permanent"]
    assert isinstance(plan, dict)
    assert isinstance(permanent, dict)
    assert [one["path"] for one in plan["files"]][-1] == "/boot/grub/custom.cfg"
    assert [one["path"] for one in permanent["files"]] == ["/etc/default/grub"]
    assert not host.has("var/lib/iommuctl")


def test_the_states_of_a_trial_are_told(host: TrialHost) -> None:
    assert report(host.path, "trial", "trial", "status")[1]["trial"] is None
    code, armed = report(host.path, "trial", *START, "--yes")
    assert (code, armed["state"], armed["reboot_required"]) == (0, "armed", True)
    assert "trial" in invoke(host.path, "status")[1]
    code, status = report(host.path, "status", "status")
    assert isinstance(status["trial"], dict)
    assert (code, status["trial"]["state"]) == (0, "armed")
    host.reboot()
    assert report(host.path, "trial", "trial", "settle")[1]["state"] == "running"
    assert report(host.path, "trial", "trial", "confirm")[1]["state"] == "confirmed"
    assert report(host.path, "trial", "trial", "cancel")[1]["trial"] is None
    code, text = invoke(host.path, "trial", "status")
    assert (code, text.splitlines()[0].split(": ", 1)[1]) == (0, "confirmed: it was confirmed")
    code, text = invoke(host.path, *START, "--yes")
    assert (code, text.splitlines()[-1]) == (0, "unchanged")


def test_nobody_to_ask_is_no_consent(host: TrialHost) -> None:
    assert invoke(host.path, *START) == (2, "nobody can be asked, so nothing was written")
    assert invoke(host.path, *START, "--json") == (2, "nobody can be asked, so nothing was written")
    assert not host.has("boot/grub/custom.cfg")


def test_a_loader_that_was_not_booted_in_the_lab_needs_more_than_a_yes(tmp_path: Path, mocker: MockerFixture) -> None:
    host = bls_host(tmp_path / "host")
    live_in(host, mocker)
    code, text = invoke(host.path, *START, "--yes")
    assert (code, "lab" in text) == (2, True)
    assert invoke(host.path, *START, "--yes", "--force", "trial-unproven")[0] == 0


def blsuki_host(path: Path) -> TrialHost:
    """A host with GRUB 2.14's own reader of entries."""
    host = bls_host(path)
    host.write("boot/grub2/i386-pc/blsuki.mod", "")
    return host


@pytest.mark.parametrize(("make", "code"), [(entry_host, 0), (blsuki_host, 0), (bls_host, 2), (uki_host, 0)])
def test_a_loader_that_was_booted_in_the_lab_needs_a_yes_alone(
    make: Callable[[Path], TrialHost], code: int, tmp_path: Path, mocker: MockerFixture
) -> None:
    host = make(tmp_path / "host")
    live_in(host, mocker)
    assert invoke(host.path, *START, "--yes")[0] == code


def test_it_reboots_only_when_it_is_asked_to(host: TrialHost) -> None:
    assert invoke(host.path, *START, "--yes", "--reboot")[0] == 0
    assert host.ran[-1] == ("systemctl", "reboot")


@pytest.mark.parametrize("command", ["confirm"])
def test_without_a_trial_nothing_is_confirmed(host: TrialHost, command: str) -> None:
    assert invoke(host.path, "trial", command) == (2, "no trial runs")


@pytest.mark.parametrize("command", [("recover",), ("apply", PROFILE, "--yes")])
def test_any_command_that_writes_tidies_up_after_a_trial(host: TrialHost, command: tuple[str, ...]) -> None:
    assert invoke(host.path, *START, "--yes")[0] == 0
    assert invoke(host.path, *command)[0] == 0
    assert host.has("boot/grub/custom.cfg"), "it is armed still"
    host.reboot()
    host.reboot()
    assert invoke(host.path, *command)[0] == 0
    assert not host.has("boot/grub/custom.cfg")
    assert report(host.path, "trial", "trial", "status")[1]["state"] == "returned"


def test_what_is_asked_for_next_to_the_profile_is_tried_and_kept(host: TrialHost) -> None:
    more = ("--add", "nosmt", "--remove", "quiet", "--why", "the audit")
    assert invoke(host.path, *START, *more, "--yes")[0] == 0
    line = host.reboot().split()
    assert ("nosmt" in line, "quiet" in line) == (True, False)
    assert report(host.path, "trial", "trial", "confirm")[1]["state"] == "confirmed"
    line = host.reboot().split()
    assert ("nosmt" in line, "quiet" in line) == (True, False)
    status = report(host.path, "status", "status")[1]
    assert (status["added"], status["removed"]) == (["nosmt"], ["quiet"])
    snapshots = report(host.path, "history", "history")[1]["snapshots"]
    assert isinstance(snapshots, list)
    assert snapshots[0]["why"].endswith(": the audit")


def test_only_what_is_expected_is_tried(host: TrialHost) -> None:
    plan = report(host.path, "trial", *START, "--dry-run")[1]["plan"]
    assert isinstance(plan, dict)
    expected = ("--yes", "--expect", plan["fingerprint"])
    assert invoke(host.path, *START, "--yes", "--expect", "a fingerprint")[0] == 2
    assert invoke(host.path, *START, "--add", "nosmt", *expected)[0] == 75
    assert not host.has("boot/grub/custom.cfg")
    assert invoke(host.path, *START, *expected)[0] == 0


@pytest.fixture
def plan(host: TrialHost, tmp_path: Path) -> str:
    """The plan of a trial, as a file to approve."""
    path = tmp_path / "plan.json"
    assert invoke(host.path, *START, "--add", "nosmt", "--dry-run", "--out", str(path))[0] == 0
    return str(path)


def test_the_plan_of_a_trial_is_that_of_an_apply(host: TrialHost, plan: str, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    assert invoke(host.path, "apply", PROFILE, "--add", "nosmt", "--dry-run", "--out", str(other))[0] == 0
    first, second = (json.loads(Path(path).read_text()) for path in (plan, other))
    assert {**first, "created": ""} == {**second, "created": ""}
    assert invoke(host.path, "apply", "--plan", plan)[0] == 0


def test_an_approved_plan_is_tried_without_asking_and_confirmed(host: TrialHost, plan: str) -> None:
    assert invoke(host.path, *TRY, "--plan", plan, "--dry-run")[0] == 0
    assert not host.has("boot/grub/custom.cfg")
    assert report(host.path, "trial", *TRY, "--plan", plan)[1]["state"] == "armed"
    assert "nosmt" in host.reboot().split()
    assert report(host.path, "trial", "trial", "confirm")[1]["state"] == "confirmed"
    assert "nosmt" in host.reboot().split()
    assert invoke(host.path, *TRY, "--plan", plan)[1].splitlines()[-1] == "unchanged"


def test_a_plan_of_what_is_not_there_any_more_is_not_tried(host: TrialHost, plan: str) -> None:
    host.write("etc/default/grub", host.read("etc/default/grub") + "# changed\n")
    assert invoke(host.path, *TRY, "--plan", plan)[0] == 75
    assert not host.has("boot/grub/custom.cfg")


@pytest.mark.parametrize(
    ("made", "tried", "brief"),
    [
        (("rollback",), (), "is the plan of rollback"),
        (("apply", PROFILE, "--regenerate", "never"), (), "nothing permanent that boots"),
        (("apply", PROFILE), ("--set", "a=1"), "--set does not go with --plan"),
        (("apply", PROFILE), ("--device", "0000:01:00.0"), "--device goes with a profile"),
    ],
    ids=["a rollback", "sources alone", "more inputs", "devices"],
)
def test_what_no_trial_can_carry_out_of_a_plan_is_refused(
    host: TrialHost, tmp_path: Path, made: tuple[str, ...], tried: tuple[str, ...], brief: str
) -> None:
    path = str(tmp_path / "plan.json")
    if made == ("rollback",):
        assert invoke(host.path, "apply", PROFILE, "--yes")[0] == 0
    assert invoke(host.path, *made, "--dry-run", "--out", path)[0] == 0
    code, text = invoke(host.path, *TRY, "--plan", path, *tried)
    assert (code, brief in text) == (2, True), text
    assert not host.has("boot/grub/custom.cfg")


def test_a_plan_says_nothing_of_loaders_that_were_not_booted(tmp_path: Path, mocker: MockerFixture) -> None:
    host, path = bls_host(tmp_path / "host"), str(tmp_path / "plan.json")
    live_in(host, mocker)
    assert invoke(host.path, *START, "--dry-run", "--out", path)[0] == 0
    assert invoke(host.path, *TRY, "--plan", path)[0] == 2
    assert invoke(host.path, *TRY, "--plan", path, "--force", "trial-unproven")[0] == 0


def test_without_a_profile_or_a_plan_nothing_is_tried(host: TrialHost) -> None:
    assert invoke(host.path, *TRY, "--yes") == (2, "iommuctl trial start: PROFILE is missing")
    assert invoke(host.path, *START, "--out", str(host.path / "x"))[0] == 2


def test_a_device_is_tried_by_its_address_and_kept(host: TrialHost) -> None:
    MACHINES["gpu-with-usb-c"](Machine(host.path))
    host.started(f"BOOT_IMAGE=/boot/vmlinuz-{RELEASE} {BEFORE}")
    code, text = invoke(host.path, *TRY, "vfio-bind", "--device", "0000:01:00.0", "--yes")
    assert code == 0, text
    ids = "vfio-pci.ids=10de:1e07,10de:10f7,10de:1ad6,10de:1ad7"
    assert ids in host.reboot().split()
    assert report(host.path, "trial", "trial", "confirm")[1]["state"] == "confirmed"
    assert ids in host.reboot().split()
    code, text = invoke(host.path, *TRY, PROFILE, "--device", "0000:01:00.0")
    assert (code, text) == (2, f"profile {PROFILE!r} takes no devices")


def test_the_bare_command_tells_of_a_trial_until_something_else_is_applied(host: TrialHost) -> None:
    def told() -> tuple[str, str, str]:
        found = read_overview(Host.open(host.path))
        return re.sub(r" since \S+ \(\w+\)", " since", found.profile), found.waiting.partition(",")[0], found.next

    assert invoke(host.path, *START, "--yes")[0] == 0
    assert told() == ("none applied", "a trial boot (armed)", "iommuctl trial status")
    host.reboot()
    assert told() == ("none applied", "a trial boot (running)", "iommuctl trial status")
    host.reboot()
    assert told()[:2] == (f"none applied; a trial of {PROFILE} came back", "nothing")
    assert invoke(host.path, *START, "--yes")[0] == 0
    host.reboot()
    assert invoke(host.path, "trial", "confirm")[0] == 0
    host.reboot()
    assert told()[:2] == (f"{PROFILE} since; confirmed on trial", "nothing")
    assert invoke(host.path, "apply", "strict-isolation", "--yes")[0] == 0
    assert "trial" not in told()[0]


def test_a_rule_that_stops_nothing_is_wrong_usage(host: TrialHost) -> None:
    assert invoke(host.path, *START, "--yes", "--force", "trial-unprovn")[0] == 2
