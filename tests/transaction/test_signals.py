# SPDX-License-Identifier: Apache-2.0
"""Signals, rivals and edits while a run is at work: undone and said so, or refused; never mixed."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import crash
import pytest
from program import (
    ENVIRONMENT,
    PROFILE,
    STATE,
    UNDONE,
    WANTED,
    Run,
    command_line,
    debris,
    ended,
    iommuctl,
    live,
    start,
    states,
)
from pytest_mock import MockerFixture
from smalltree import MENU, SOURCE, SmallTree, processes_in, small_host
from warm import IOMMUCTL

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.errors import BusyError
from iommuctl.host.commands import SystemRunner
from iommuctl.host.root import Root
from iommuctl.host.signals import InterruptedRun, Interrupts
from iommuctl.plan import Regenerate

__all__ = ["small_host"]  # the fixture
pytestmark = pytest.mark.programs

WAIT_SECONDS = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BLOCK = ": >/started; read answer </gate\n"


def arguments(host: SmallTree, profile: str = PROFILE) -> tuple[str, ...]:
    return ("apply", profile, "--root", str(host.path), "--regenerate", "always")


def block_generator(host: SmallTree, hook: str = BLOCK) -> None:
    """Have the generator wait until somebody writes into /gate."""
    os.mkfifo(host.path / "gate")
    host.write("hook", hook)


def open_gate(host: SmallTree) -> None:
    (host.path / "hook").unlink()
    (host.path / "gate").write_text("go on\n")


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def assert_undone(host: SmallTree, before: dict[str, tuple[object, ...]], run: Run, number: signal.Signals) -> None:
    assert run.code == 128 + number, run.stderr
    assert run.stderr.splitlines()[:2] == [f"iommuctl: error: interrupted by {number.name}", f"    {UNDONE}"]
    assert live(host.path) == before
    assert (debris(host.path), states(host.path)) == (set(), [("apply", "undone")])
    until(lambda: not processes_in(host.path))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_generator_runs_is_undone_and_said(small_host: SmallTree, number: signal.Signals) -> None:
    before = live(small_host.path)
    block_generator(small_host)
    process = start(*arguments(small_host))
    until((small_host.path / "started").exists)
    assert WANTED in small_host.read(SOURCE)
    assert processes_in(small_host.path) != []
    process.send_signal(number)
    assert_undone(small_host, before, ended(process), number)


def test_a_generator_that_ignores_signals_is_killed(small_host: SmallTree) -> None:
    before = live(small_host.path)
    block_generator(small_host, f"trap '' INT TERM HUP; {BLOCK}")
    process = start(*arguments(small_host))
    until((small_host.path / "started").exists)
    for _ in range(5):  # an impatient administrator
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert_undone(small_host, before, ended(process), signal.SIGINT)


def test_a_signal_at_the_start_of_the_generator_ends_it(small_host: SmallTree, monkeypatch: pytest.MonkeyPatch) -> None:
    class Struck(subprocess.Popen[bytes]):
        """A process that is there, while nobody has been told of it yet."""

        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]  # passed on as they came
            until((small_host.path / "started").exists)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("iommuctl.host.commands.subprocess.Popen", Struck)
    block_generator(small_host)
    with pytest.raises(InterruptedRun), Interrupts() as interrupts:  # noqa: PT012 - listening is part of it
        interrupts.listen()
        SystemRunner(small_host.path).run(("grub-mkconfig", "-o", "/menu"))
    until(lambda: not processes_in(small_host.path))


def test_an_interruption_is_json_too(small_host: SmallTree) -> None:
    block_generator(small_host)
    process = start(*arguments(small_host), "--json")
    until((small_host.path / "started").exists)
    process.send_signal(signal.SIGTERM)
    run = ended(process)
    assert (run.code, run.stdout) == (143, "")
    assert '"code":143,"kind":"interrupted","brief":"interrupted by SIGTERM"' in run.stderr


def test_a_run_that_was_told_to_ignore_signals_goes_on(small_host: SmallTree) -> None:
    block_generator(small_host)
    process = subprocess.Popen(
        ("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command_line(*arguments(small_host))),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    until((small_host.path / "started").exists)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    open_gate(small_host)
    assert process.wait(WAIT_SECONDS) == 0
    assert WANTED in small_host.read()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_write_is_undone_or_too_late(
    small_host: SmallTree, tmp_path: Path, number: signal.Signals
) -> None:
    crash.require_strace()
    before = live(small_host.path)
    done = tmp_path / "done"
    shutil.copytree(small_host.path, done, symlinks=True)
    environment = crash.python_environment()

    def arguments(tree: Path) -> tuple[str, ...]:
        return ("apply", PROFILE, "--root", str(tree), "--regenerate", "always", "--yes")

    points = crash.write_points(IOMMUCTL, arguments, environment, done)
    after = live(done, times=False)
    told: list[str] = []

    def judge(tree: Path, outcome: crash.Outcome) -> None:
        assert outcome.code == 128 + number
        said = outcome.stderr.splitlines()[1].strip()
        old, new = live(tree) == before, live(tree, times=False) == after
        assert (old, new) == ((False, True) if "brought to its end" in said and not old else (True, False))
        assert debris(tree) == set()
        told.append(said)

    strikes = [(point, f"signal={number.name.removeprefix('SIG')}") for point in points]
    crash.strike(IOMMUCTL, arguments, environment, small_host.path, tmp_path, strikes, judge)
    sys.stdout.write(f"{number.name} at {len(points)} points: {dict(Counter(told))}\n")
    assert told.count(UNDONE) > 10


def test_a_rival_waits_and_goes_on_from_there(small_host: SmallTree, tmp_path: Path) -> None:
    alone = SmallTree(tmp_path / "alone")
    shutil.copytree(small_host.path, alone.path, symlinks=True)
    for profile in (PROFILE, "strict-isolation"):
        assert iommuctl(*arguments(alone, profile)).code == 0
    block_generator(small_host)
    first = start(*arguments(small_host))
    until((small_host.path / "started").exists)
    second = start(*arguments(small_host, "strict-isolation"))
    time.sleep(1)
    assert second.poll() is None
    open_gate(small_host)
    assert [ended(first).code, ended(second).code] == [0, 0]
    assert (small_host.read(SOURCE), small_host.read()) == (alone.read(SOURCE), alone.read())
    assert states(small_host.path) == [("apply", "applied")] * 2


def test_a_rival_gives_up_in_the_end(small_host: SmallTree) -> None:
    block_generator(small_host)
    first = start(*arguments(small_host))
    until((small_host.path / "started").exists)
    run = iommuctl(*arguments(small_host, "strict-isolation"))
    assert (run.code, run.stderr.splitlines()[0]) == (75, "iommuctl: error: another run of iommuctl is at work")
    open_gate(small_host)
    assert ended(first).code == 0
    assert WANTED in small_host.read()


def test_rivals_on_a_host_without_a_state_folder(small_host: SmallTree) -> None:
    crash.require_strace()
    # Each finds no directory, and is then held up until the others have found none either.
    delay = "inject=mkdirat:delay_enter=1000000:when=1"
    slow = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", delay)
    runs = [
        subprocess.Popen(
            (*slow, *command_line(*arguments(small_host))), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [run.communicate(timeout=WAIT_SECONDS)[1] for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert codes in ([0, 0], [0, 75]), told
    assert small_host.read().count(WANTED) == 2
    assert (debris(small_host.path), states(small_host.path)) == (set(), [("apply", "applied")])


def edit_source(host: SmallTree) -> None:
    host.write(SOURCE, host.read(SOURCE).replace("TIMEOUT=5", "TIMEOUT=9"))


EDITS: dict[str, tuple[Callable[[SmallTree], object], str]] = {
    "a source": (edit_source, f"/{SOURCE}"),
    "the menu": (lambda host: host.write(MENU, host.read() + "# since\n"), f"/{MENU}"),
    "a drop-in appears": (lambda host: host.write("etc/default/grub.d/x.cfg", "A=1\n"), "/etc/default/grub.d"),
    "a kernel appears": (lambda host: host.add_kernel("6.1.0-51-amd64"), "/boot"),
    "another distribution": (lambda host: host.write("etc/os-release", "ID=ubuntu\n"), "/boot"),
    "a source goes": (lambda host: (host.path / SOURCE).unlink(), f"/{SOURCE}"),
}


@pytest.mark.parametrize(("edit", "path"), EDITS.values(), ids=EDITS)
def test_an_edit_between_plan_and_apply_is_refused(
    small_host: SmallTree, edit: Callable[[SmallTree], object], path: str
) -> None:
    host = Host.open(small_host.path)
    plan = plan_apply(host, PROFILE, Choices(regenerate=Regenerate.ALWAYS))
    edit(small_host)
    before = live(small_host.path)
    with pytest.raises(BusyError) as caught:
        carry_out(host, plan, progress=lambda _: nullcontext())
    assert (caught.value.brief, path in caught.value.details) == ("files changed since the plan", True)
    assert live(small_host.path) == before
    assert (debris(small_host.path), states(small_host.path)) == (set(), [])


class Terminal:
    """A run that talks to somebody."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self._terminal = ours
        self._said = ""
        self.process = subprocess.Popen(
            (sys.executable, "-m", "iommuctl", *arguments),
            env=ENVIRONMENT | {"NO_COLOR": "1", "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self._said:
            assert time.monotonic() < deadline, self._said
            self._read()

    def answer(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> tuple[int, str]:
        deadline = time.monotonic() + WAIT_SECONDS
        while select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))[0] and self._read():
            pass
        if time.monotonic() >= deadline:
            self.process.kill()
        os.close(self._terminal)
        return self.process.wait(WAIT_SECONDS), self._said.replace("\r\n", "\n")

    def _read(self) -> bool:
        select.select([self._terminal], [], [], 1)
        try:
            chunk = os.read(self._terminal, 65536)
        except OSError:  # EIO: nobody has the other end open
            return False
        self._said += chunk.decode()
        return bool(chunk)


def test_an_edit_while_the_question_stands_is_refused(small_host: SmallTree) -> None:
    terminal = Terminal(*arguments(small_host))
    terminal.read_until("write this?")
    edit_source(small_host)
    before = live(small_host.path)
    terminal.answer("y\n")
    code, said = terminal.end()
    assert (code, "files changed since the plan" in said) == (75, True), said
    assert live(small_host.path) == before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1)])
def test_no_is_no(small_host: SmallTree, answer: str, code: int) -> None:
    before = live(small_host.path)
    terminal = Terminal(*arguments(small_host))
    terminal.read_until("write this?")
    terminal.answer(answer)
    ended_with, said = terminal.end()
    assert (ended_with, said.splitlines()[-1].strip()) == (code, "nothing was written")
    assert live(small_host.path) == before


def test_a_signal_while_the_question_stands_changes_nothing(small_host: SmallTree) -> None:
    before = live(small_host.path)
    terminal = Terminal(*arguments(small_host))
    terminal.read_until("write this?")
    terminal.process.send_signal(signal.SIGINT)
    code, said = terminal.end()
    assert (code, "interrupted by SIGINT\n    nothing was being changed" in said) == (130, True), said
    assert live(small_host.path) == before
    assert not (small_host.path / STATE).exists()


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[int]:
    """Hold a lock as dpkg and rpm do; gives the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        (sys.executable, "-c", holder, str(path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()
        process.kill()


DPKG_LOCK = "var/lib/dpkg/lock-frontend"


def test_a_package_manager_on_the_running_system_is_waited_for(small_host: SmallTree, mocker: MockerFixture) -> None:
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    host = Host.open(small_host.path)
    plan = plan_apply(host, PROFILE, Choices(regenerate=Regenerate.NEVER))
    before = live(small_host.path)
    with locked_by_another_process(small_host.path / DPKG_LOCK) as process, pytest.raises(BusyError) as caught:
        carry_out(host, plan, progress=lambda _: nullcontext())
    assert (caught.value.brief, caught.value.details) == (
        "a package manager is at work",
        (f"/{DPKG_LOCK} is locked by process {process}",),
    )
    assert live(small_host.path) == before
    carry_out(host, plan, progress=lambda _: nullcontext())
    assert WANTED in small_host.read(SOURCE)


def test_a_lock_in_another_root_is_nobodys(small_host: SmallTree) -> None:
    with locked_by_another_process(small_host.path / DPKG_LOCK):
        assert iommuctl(*arguments(small_host)).code == 0
    assert re.search(WANTED, small_host.read())
