# SPDX-License-Identifier: Apache-2.0
"""A trial's life on trees: armed, booted, confirmed, returned, cancelled; what is permanent stays byte for byte."""

import os
from collections.abc import Callable
from pathlib import Path

import crash
import pytest
from pytest_mock import MockerFixture
from trialhosts import (
    WANTED,
    TrialHost,
    armed,
    bls_host,
    entry_host,
    grub_host,
    live_in,
    nothing_left,
    planned,
    uki_host,
)

from iommuctl.app.host import Host
from iommuctl.app.trial import ending, state
from iommuctl.app.trial.settle import settle_trial
from iommuctl.app.trial.start import Wishes
from iommuctl.app.trial.units import HUNG
from iommuctl.host.commands import SystemRunner
from iommuctl.running.verdict import Verification
from iommuctl.transaction.trial import oneshot
from iommuctl.transaction.trial.record import ConfirmBy, OnFailure, Phase

HOSTS = {"grub": grub_host, "systemd-boot": entry_host, "bls": bls_host, "uki": uki_host}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> TrialHost:
    make: Callable[[Path], TrialHost] = HOSTS[request.param]
    return make(tmp_path / "host")


def phase_of(opened: Host) -> Phase | None:
    found = state.read_state(opened)
    return None if found is None else found.phase


@pytest.mark.parametrize("make", [grub_host, entry_host, bls_host, uki_host])
def test_a_trial_boots_once_and_comes_back(
    make: Callable[[Path], TrialHost], tmp_path: Path, mocker: MockerFixture
) -> None:
    host = make(tmp_path / "host")
    opened, before, old = live_in(host, mocker), host.permanent(), host.read("proc/cmdline")
    record = armed(opened)
    assert (record.phase, phase_of(opened)) == (Phase.ARMED, Phase.ARMED)
    assert host.permanent() == before
    line = host.reboot().split()
    assert f"iommuctl.trial={record.id}" in line
    assert {"panic=10", "systemd.crash_reboot=1"} < set(line)
    assert set(WANTED) < set(line)
    assert phase_of(opened) is Phase.RUNNING
    host.reboot()
    assert host.read("proc/cmdline").split()[-3:] == old.split()[-3:]
    assert phase_of(opened) is Phase.RETURNED
    over = settle_trial(opened)
    assert over is not None
    assert (over.phase, over.reason) == (Phase.RETURNED, state.NO_WORD)
    assert host.permanent() == before
    nothing_left(host)
    assert not host.ordered_reboot()


def test_a_confirmed_trial_is_permanent(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    armed(opened)
    host.reboot()
    settled = settle_trial(opened)
    assert settled is not None
    assert (settled.phase, settled.is_checked) == (Phase.RUNNING, True)
    over = ending.confirm_trial(opened)
    assert over.phase is Phase.CONFIRMED
    nothing_left(host)
    made = opened.store.list().snapshots[0].origin
    assert (made.command, made.why) == (opened.root.command("trial", "confirm"), f"trial {over.id}")
    assert host.has("run/iommuctl/trial-kept")
    line = host.reboot().split()
    assert set(WANTED) < set(line)
    assert not [token for token in line if token.startswith(("iommuctl", "panic", "rd.", "systemd.w"))]
    assert settle_trial(opened) == over


def test_a_dry_run_writes_nothing(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    before = crash.observe(host.path, without="nothing", times=True)
    plan = planned(opened)
    assert plan.entry is not None
    assert crash.observe(host.path, without="nothing", times=True) == before
    assert host.ran == []


@pytest.mark.parametrize("booted", [False, True])
def test_a_cancelled_trial_leaves_nothing(host: TrialHost, mocker: MockerFixture, booted: bool) -> None:
    opened, before = live_in(host, mocker), host.permanent()
    armed(opened)
    if booted:
        host.reboot()
        settle_trial(opened)
    over = ending.cancel_trial(opened)
    assert over is not None
    assert over.phase is Phase.CANCELLED
    assert host.permanent() == before
    nothing_left(host)
    assert ending.cancel_trial(opened) is None
    assert "iommuctl" not in host.reboot()


def verified(mocker: MockerFixture, *, active: bool) -> None:
    found = mocker.Mock(spec=Verification, is_active=active, verdict="active", sentence="every group is identity")
    mocker.patch("iommuctl.app.trial.settle.verify_host", return_value=found)


AUTO = Wishes(confirm=ConfirmBy.AUTO)


def test_checks_that_pass_confirm_by_themselves(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    host.add_check("10-reach-default-route", "192.0.2.1 answers\n")
    verified(mocker, active=True)
    armed(opened, AUTO)
    host.reboot()
    over = settle_trial(opened)
    assert over is not None
    assert over.phase is Phase.CONFIRMED
    assert [(one.name, one.result, one.detail) for one in over.checks][1:] == [
        ("10-reach-default-route", "pass", "192.0.2.1 answers"),
        ("verify", "pass", "active: every group is identity"),
    ]
    nothing_left(host)


def test_what_verify_does_not_see_stays_up_unconfirmed(host: TrialHost, mocker: MockerFixture) -> None:
    opened, before = live_in(host, mocker), host.permanent()
    host.add_check("10-reach-default-route")
    verified(mocker, active=False)
    armed(opened, AUTO)
    host.reboot()
    kept = settle_trial(opened)
    assert kept is not None
    assert (kept.phase, host.ordered_reboot()) == (Phase.KEPT, False)
    assert host.has("run/iommuctl/trial-kept")
    assert {path: text for path, text in host.permanent().items() if "confirm.d" not in path} == before


@pytest.mark.parametrize(
    ("uptime", "on_failure", "expected", "reboots"),
    [
        (60, OnFailure.REBOOT, Phase.RUNNING, False),
        (301, OnFailure.REBOOT, Phase.FAILED, True),
        (301, OnFailure.STAY, Phase.KEPT, False),
    ],
    ids=["still coming up", "failed", "failed, to stay"],
)
def test_a_check_that_fails_ends_the_trial(
    host: TrialHost, mocker: MockerFixture, uptime: float, on_failure: OnFailure, expected: Phase, reboots: bool
) -> None:
    opened = live_in(host, mocker)
    host.add_check("50-storage", None)
    armed(opened, Wishes(on_failure=on_failure))
    host.reboot(uptime=uptime)
    found = settle_trial(opened)
    assert found is not None
    assert (found.phase, host.ordered_reboot()) == (expected, reboots)
    if reboots:
        assert host.ran[-2:] == [("systemctl", "start", HUNG), ("systemctl", "reboot", "--no-block")]
        host.ran.clear()
        host.reboot()
        over = settle_trial(opened)
        assert over is not None
        assert over.phase is Phase.RETURNED
        assert over.reason.startswith("check 50-storage failed: ")
        assert not host.ordered_reboot()
        nothing_left(host)


def test_an_image_of_a_confirmation_that_was_cut_off_is_made_anew(tmp_path: Path, mocker: MockerFixture) -> None:
    host = uki_host(tmp_path / "host")
    opened, before = live_in(host, mocker), host.permanent()
    armed(opened)
    host.reboot()
    settle_trial(opened)
    made = host.run

    def die(command: tuple[str, ...]) -> None:
        made(command)
        os._exit(9)

    if (child := os.fork()) == 0:
        mocker.patch.object(SystemRunner, "run", lambda _, command, **__: die(command))
        ending.confirm_trial(opened)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert set(WANTED) < set(host.reboot().split()), "the image has the new line"
    over = settle_trial(opened)
    assert over is not None
    assert over.phase is Phase.RETURNED
    assert host.permanent() == before
    assert not set(WANTED) & set(host.reboot().split())
    nothing_left(host)


def test_a_kernel_that_came_meanwhile_is_not_confirmed_by_itself(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    host.add_check("10-reach-default-route")
    verified(mocker, active=True)
    armed(opened, AUTO)
    host.reboot()
    host.write("boot/vmlinuz-6.12.200+deb13-amd64", "kernel")
    found = settle_trial(opened)
    assert found is not None
    assert (found.phase, host.ordered_reboot()) == (Phase.FAILED, True)
    assert "not what was planned" in found.reason


def test_a_token_alone_is_no_trial(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    record = armed(opened)
    host.boots += 1
    host.started(f"{host.read('proc/cmdline').strip()} iommuctl.trial={record.id}")
    found = settle_trial(opened)
    assert found is not None
    assert found.phase is Phase.FAILED
    assert "it is not the trial" in found.reason


def test_a_loader_that_does_not_clear_the_choice_boots_it_no_third_time(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    record = armed(opened)
    line = host.reboot()
    oneshot.arm(opened.root, record.choice, record.files[-1].temporary)  # as if it had stayed
    settle_trial(opened)
    assert not oneshot.is_armed(opened.root, record.choice)
    assert "iommuctl.trial" in line


def test_what_is_not_booted_yet_is_left_alone(host: TrialHost, mocker: MockerFixture) -> None:
    opened = live_in(host, mocker)
    record = armed(opened)
    assert settle_trial(opened) == record
    assert phase_of(opened) is Phase.ARMED


def test_an_administrators_custom_cfg_gets_back_every_byte(tmp_path: Path, mocker: MockerFixture) -> None:
    for number, text in enumerate(("# mine\nmenuentry 'x' {\n  true\n}", "", "# no end of line at all")):
        host = grub_host(tmp_path / str(number))
        host.write("boot/grub/custom.cfg", text, 0o600)
        opened = live_in(host, mocker)
        armed(opened)
        assert host.read("boot/grub/custom.cfg").startswith(text)
        host.reboot()
        host.reboot()
        settle_trial(opened)
        assert host.read("boot/grub/custom.cfg") == text
        assert (host.path / "boot/grub/custom.cfg").stat().st_mode & 0o777 == 0o600
