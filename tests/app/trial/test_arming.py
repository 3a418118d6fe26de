# SPDX-License-Identifier: Apache-2.0
"""What goes wrong while a trial is armed: it is told, and nothing of the trial is left."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import crash
import pytest
from pytest_mock import MockerFixture
from trialhosts import FORCED, TrialHost, armed, bls_host, entry_host, grub_host, live_in, nothing_left, planned

from iommuctl.app.trial import ending, start, state
from iommuctl.errors import BusyError, ConflictError, ExecutionError, IommuctlError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.host.commands import Completed
from iommuctl.host.root import Root
from iommuctl.host.signals import InterruptedRun
from iommuctl.transaction.trial import arming, oneshot
from iommuctl.transaction.trial.record import Phase


def failing(host: TrialHost, mocker: MockerFixture, words: tuple[str, ...], stdout: str | None) -> None:
    """Have one program of the host print something else, or fail."""
    run = host.run

    def instead(command: tuple[str, ...]) -> Completed:
        if command[: len(words)] != words:
            return run(command)
        return Completed(command, int(stdout is None), stdout or "", "no such thing\n").check()

    mocker.patch.object(TrialHost, "run", lambda _, command: instead(command))


@pytest.mark.parametrize(
    ("make", "words", "stdout", "told"),
    [
        (grub_host, ("grub-script-check",), None, "'grub-script-check' failed"),
        (grub_host, ("grub-editenv",), "", "does not show the choice"),
        (grub_host, ("grub-editenv",), None, "'grub-editenv' failed"),
        (bls_host, ("grub-editenv",), "next_entry=other\n", "does not show the choice"),
        (entry_host, ("bootctl", "list"), "id: other.conf\n", "bootctl does not list"),
        (entry_host, ("bootctl", "list"), None, "'bootctl' failed"),
    ],
)
def test_what_the_loaders_own_reader_does_not_see_is_not_armed(
    make: Callable[[Path], TrialHost],
    words: tuple[str, ...],
    stdout: str | None,
    told: str,
    tmp_path: Path,
    mocker: MockerFixture,
) -> None:
    host = make(tmp_path / "host")
    opened, before = live_in(host, mocker), host.permanent()
    failing(host, mocker, words, stdout)
    with pytest.raises(ExecutionError) as stopped:
        armed(opened)
    assert told in stopped.value.brief
    assert stopped.value.details[-1] == arming.UNDONE
    found = state.read_state(opened)
    assert found is not None
    assert (found.phase, host.permanent()) == (Phase.CANCELLED, before)
    nothing_left(host)


def test_a_choice_of_somebody_else_in_the_meantime_stays(tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    opened = live_in(host, mocker)
    plan = planned(opened)
    ask = start._ask_script_check

    def meanwhile(*arguments: object) -> None:
        block = GrubEnv.parse(PurePosixPath("/b"), (host.path / "boot/grub/grubenv").read_bytes())
        host.write("boot/grub/grubenv", block.set("next_entry", "other").block)
        ask(*arguments)  # type: ignore[arg-type]  # what it was called with

    mocker.patch.object(start, "_ask_script_check", meanwhile)
    with pytest.raises(ConflictError, match="'other' is chosen"):
        start.start_trial(opened, plan, FORCED)
    assert "next_entry=other" in host.read("boot/grub/grubenv")
    nothing_left(host)


@pytest.mark.parametrize("path", ["etc/default/grub", "boot/grub/grub.cfg", "boot/grub/custom.cfg"])
def test_files_that_changed_since_the_plan_are_not_written(path: str, tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    opened = live_in(host, mocker)
    plan = planned(opened)
    host.write(path, f"{host.read(path) if host.has(path) else ''}\n# changed\n")
    before = crash.observe(host.path, without="var", times=True)
    with pytest.raises(BusyError):
        start.start_trial(opened, plan, FORCED)
    assert crash.observe(host.path, without="var", times=True) == before
    assert state.read_state(opened) is None


def test_a_signal_takes_it_away_again(tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    opened = live_in(host, mocker)
    mocker.patch.object(start, "_ask_script_check", side_effect=InterruptedRun(15))
    with pytest.raises(InterruptedRun) as ended:
        armed(opened)
    assert ended.value.outcome == arming.UNDONE
    nothing_left(host)


def test_an_undo_that_fails_says_so_and_cancel_ends_it(tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    opened = live_in(host, mocker)
    mocker.patch.object(start, "_ask_script_check", side_effect=ExecutionError("no"))
    withdraw = mocker.patch.object(arming, "withdraw", side_effect=ExecutionError("the disk is gone"))
    with pytest.raises(IommuctlError, match="could not be taken away: the disk is gone") as stopped:
        armed(opened)
    assert stopped.value.hint == "iommuctl trial cancel"
    mocker.stop(withdraw)
    over = ending.cancel_trial(opened)
    assert over is not None
    assert over.phase is Phase.CANCELLED
    nothing_left(host)


def test_a_choice_that_cannot_be_taken_back_is_not_called_gone(tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    opened = live_in(host, mocker)
    record = armed(opened)
    mocker.patch.object(oneshot, "is_armed", return_value=False)
    with pytest.raises(ExecutionError, match="still names the trial"):
        ending.cancel_trial(opened)
    assert host.has("boot/grub/custom.cfg"), "armed without its entry"
    assert record.choice.value in host.read("boot/grub/grubenv")


def test_a_block_that_somebody_edited_goes_all_the_same(tmp_path: Path, mocker: MockerFixture) -> None:
    host = grub_host(tmp_path / "host")
    host.write("boot/grub/custom.cfg", "# mine\n")
    opened = live_in(host, mocker)
    armed(opened)
    host.write("boot/grub/custom.cfg", host.read("boot/grub/custom.cfg").replace("panic=10", "panic=20") + "# more\n")
    ending.cancel_trial(opened)
    assert host.read("boot/grub/custom.cfg") == "# mine\n# more\n"


def test_an_empty_variable_is_of_a_run_that_was_cut_off(tmp_path: Path, mocker: MockerFixture) -> None:
    host = entry_host(tmp_path / "host")
    host.write("sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", b"")
    opened = live_in(host, mocker)
    record = armed(opened)
    assert oneshot.is_armed(Root(host.path), record.choice)
