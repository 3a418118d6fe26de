# SPDX-License-Identifier: Apache-2.0
"""Execute: a plan is carried out only on the host that it was made for."""

import os
import shutil
import signal
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock, NonCallableMagicMock

import pytest
from pytest_mock import MockerFixture

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.change.recover import recover_host
from iommuctl.app.host import Host
from iommuctl.cli.output.recovered import recover_text
from iommuctl.errors import BusyError, ExecutionError, StalePlanError
from iommuctl.findings import Rule
from iommuctl.host.commands import Completed, SystemRunner
from iommuctl.host.root import Root
from iommuctl.host.signals import InterruptedRun
from iommuctl.plan import Command, Regenerate
from iommuctl.transaction.restoration import Resolution
from iommuctl.transaction.transaction import UNDONE

GRUB_DEFAULT = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n'


def quiet(_: Command) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A tree that tells nothing of its platform."""
    files = {
        "etc/os-release": "ID=debian\n",
        "etc/default/grub": GRUB_DEFAULT,
        "usr/sbin/grub-mkconfig": "# default/grub.d\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return Host.open(tmp_path)


@pytest.fixture
def proxmox(project: Path, tmp_path: Path) -> Path:
    """A host whose entries are written by a program of its own."""
    golden = project / "tests/golden/systemd-boot/proxmox-8-zfs/before"
    return Path(shutil.copytree(golden, tmp_path / "host", symlinks=True))


def test_an_assumed_platform_is_no_change(host: Host) -> None:
    plan = plan_apply(host, "passthrough-perf", Choices(regenerate=Regenerate.NEVER))
    assert plan.steps.survey.facts.platform_assumed
    assert carry_out(host, plan, progress=quiet).snapshot is not None


REFRESH = ("proxmox-boot-tool", "refresh")
ALWAYS = Choices(regenerate=Regenerate.ALWAYS)


def failure() -> ExecutionError:
    return ExecutionError("the program failed")


@pytest.fixture
def runner(mocker: MockerFixture) -> NonCallableMagicMock:
    """What runs programs, in place of the real one; nothing runs."""
    stub = mocker.create_autospec(SystemRunner, instance=True)
    mocker.patch.object(Host, "runner", mocker.PropertyMock(return_value=stub))
    assert isinstance(stub, NonCallableMagicMock)
    return stub


def kill(*_: object, **__: object) -> None:
    """End the process as SIGKILL does: nothing of ours gets to do anything more."""
    os._exit(9)


def killed(host: Host) -> None:
    """Carry a plan out in a child, which is killed on its way."""
    if (child := os.fork()) == 0:
        carry_out(host, plan_apply(host, "passthrough-perf", ALWAYS), progress=quiet)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_program_that_writes_by_itself_runs_again_after_an_undo(proxmox: Path, runner: NonCallableMagicMock) -> None:
    host, source = Host.open(proxmox), proxmox / "etc/kernel/cmdline"
    before, outcomes, read = source.read_text(), iter((failure(), None)), []

    def run(command: tuple[str, ...], *, timeout: float) -> Completed:
        read.append(source.read_text())
        if (error := next(outcomes)) is not None:
            raise error
        return Completed(command, 0, "", "")

    runner.run.side_effect = run
    plan = plan_apply(host, "passthrough-perf", ALWAYS)
    with pytest.raises(ExecutionError) as caught:
        carry_out(host, plan, progress=quiet)
    assert UNDONE in caught.value.details
    assert [call.args for call in runner.run.call_args_list] == [(REFRESH,), (REFRESH,)]
    assert "iommu=pt" in read[0]
    assert read[1] == before


def test_what_a_program_leaves_running_is_told(proxmox: Path, runner: NonCallableMagicMock) -> None:
    runner.run.return_value = Completed(REFRESH, 0, "", "", ("lvmpolld (process 7)",))
    host = Host.open(proxmox)
    executed = carry_out(host, plan_apply(host, "passthrough-perf", ALWAYS), progress=quiet)
    assert [(one.rule, one.message) for one in executed.findings] == [
        (Rule.PROCESS_LEFT, "proxmox-boot-tool has left running: lvmpolld (process 7)")
    ]


def test_a_program_that_writes_by_itself_is_named_after_a_kill(proxmox: Path, runner: NonCallableMagicMock) -> None:
    host = Host.open(proxmox)
    runner.run.side_effect = kill
    killed(host)
    recovered = recover_host(host)
    assert recovered is not None
    assert recovered.started == (REFRESH,)
    assert recover_text(host, recovered).splitlines()[-2:] == [
        "what this one wrote is not undone before it runs again:",
        f"hint: chroot {host.path} proxmox-boot-tool refresh",
    ]


def test_a_program_that_did_not_get_to_run_again_is_named_after_a_kill(
    proxmox: Path, runner: NonCallableMagicMock
) -> None:
    host, source = Host.open(proxmox), proxmox / "etc/kernel/cmdline"
    before = source.read_text()

    def fail_then_kill(*_: object, **__: object) -> None:
        if runner.run.call_count > 1:
            kill()
        raise failure()

    runner.run.side_effect = fail_then_kill
    killed(host)
    assert source.read_text() == before
    recovered = recover_host(host)
    assert recovered is not None
    assert recovered.started == (REFRESH,)
    assert recover_host(host) is None


def live(mocker: MockerFixture) -> MagicMock:
    """Take a tree for the running system; gives what runs its programs, of which none runs."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    run: MagicMock = mocker.patch.object(SystemRunner, "run", autospec=True, return_value=Completed(REFRESH, 0, "", ""))
    return run


@pytest.fixture
def cut_off(proxmox: Path, runner: NonCallableMagicMock, mocker: MockerFixture) -> Host:
    """A host on which a run was killed in a program that writes by itself."""
    runner.run.side_effect = kill
    killed(Host.open(proxmox))
    mocker.stopall()
    return Host.open(proxmox)


def test_on_the_running_system_a_program_runs_again_after_a_kill(cut_off: Host, mocker: MockerFixture) -> None:
    source = cut_off.path / "etc/kernel/cmdline"
    assert "iommu=pt" in source.read_text()
    running, read = live(mocker), []
    running.side_effect = lambda *_, **__: read.append(source.read_text())
    recovered = recover_host(cut_off)
    assert recovered is not None
    assert (recovered.ran, recovered.started, recovered.is_open) == ((REFRESH,), (), False)
    assert [call.args[1] for call in running.call_args_list] == [REFRESH]
    assert ["iommu=pt" in text for text in read] == [False]
    assert recover_text(cut_off, recovered).splitlines()[-1] == "  proxmox-boot-tool refresh: ran again"
    assert recover_host(cut_off) is None


def test_what_does_not_run_again_keeps_the_run_interrupted(cut_off: Host, mocker: MockerFixture) -> None:
    running = live(mocker)
    running.side_effect = failure()
    for _ in range(2):
        with pytest.raises(ExecutionError) as caught:
            recover_host(cut_off)
        assert caught.value.hint is not None
        assert caught.value.hint.endswith("recover --accept-current")
        assert "iommu=pt" not in (cut_off.path / "etc/kernel/cmdline").read_text()
    accepted = recover_host(cut_off, Resolution.ACCEPT_CURRENT)
    assert accepted is not None
    assert (accepted.ran, accepted.started) == ((), (REFRESH,))
    assert recover_host(cut_off) is None


def test_nothing_runs_again_next_to_a_package_manager(cut_off: Host, mocker: MockerFixture) -> None:
    running = live(mocker)
    asked = mocker.patch("iommuctl.transaction.recovery.package_manager_at_work", return_value="dpkg is locked")
    with pytest.raises(BusyError):
        recover_host(cut_off)
    assert running.call_args_list == []
    asked.return_value = None
    recovered = recover_host(cut_off)
    assert recovered is not None
    assert recovered.ran == (REFRESH,)


def test_files_can_go_back_before_any_program_runs(cut_off: Host, mocker: MockerFixture) -> None:
    running = live(mocker)
    for is_first in (True, False):
        recovered = recover_host(cut_off, files_only=True)
        assert recovered is not None
        assert (bool(recovered.restored), recovered.started, recovered.is_open) == (is_first, (REFRESH,), True)
        assert recover_text(cut_off, recovered).splitlines()[-3:] == [
            "left to the next run, for its files are not all that it wrote:",
            "  proxmox-boot-tool refresh",
            f"hint: {cut_off.root.command('recover')}",
        ]
    assert running.call_args_list == []
    assert "iommu=pt" not in (cut_off.path / "etc/kernel/cmdline").read_text()
    last = recover_host(cut_off)
    assert last is not None
    assert last.ran == (REFRESH,)


def test_a_signal_while_a_program_runs_again_hides_neither_the_failure_nor_the_undo(
    proxmox: Path, runner: NonCallableMagicMock
) -> None:
    host = Host.open(proxmox)
    runner.run.side_effect = (failure(), InterruptedRun(signal.SIGTERM))
    plan = plan_apply(host, "passthrough-perf", ALWAYS)
    with pytest.raises(ExecutionError) as caught:
        carry_out(host, plan, progress=quiet)
    assert caught.value.details[-2:] == (
        UNDONE,
        "proxmox-boot-tool refresh must be run by hand now, since it was interrupted by SIGTERM",
    )


def test_a_generator_that_we_publish_for_does_not_run_again(sample_host: Path, runner: NonCallableMagicMock) -> None:
    host = Host.open(sample_host)
    runner.run.side_effect = failure()
    plan = plan_apply(host, "passthrough-perf", ALWAYS)
    with pytest.raises(ExecutionError):
        carry_out(host, plan, progress=quiet)
    assert [call.args[0][0] for call in runner.run.call_args_list] == ["grub-mkconfig"]


def test_snapshots_stand_in_the_order_of_what_was_done_also_when_the_clock_steps_back(sample_host: Path) -> None:
    for profile, year in (("passthrough-perf", 2036), ("strict-isolation", 2026), ("kernel-default", 2026)):
        host = Host.open(sample_host)._replace(clock=partial(datetime, year, 1, 1, tzinfo=UTC))
        carry_out(host, plan_apply(host, profile, Choices(regenerate=Regenerate.NEVER)), progress=quiet)
    snapshots = Host.open(sample_host).store.list().snapshots
    assert [one.profile for one in snapshots] == ["kernel-default", "strict-isolation", "passthrough-perf"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("etc/default/grub", f"# a line more\n{GRUB_DEFAULT}", id="source"),
        pytest.param("boot/vmlinuz-6.1.0-40-amd64", "a kernel\n", id="kernel"),
        pytest.param("usr/lib/modules/5.10.0-8/vmlinuz", "a kernel\n", id="kernel among its modules"),
        pytest.param("etc/default/grub.d/x.cfg", "GRUB_TIMEOUT=1\n", id="drop-in that appeared"),
        pytest.param("boot/grub/grub.cfg", "menuentry x {\n}\n", id="menu that appeared"),
        pytest.param("etc/os-release", "ID=arch\n", id="distribution"),
    ],
)
def test_a_host_that_changed_since_the_plan_is_left_alone(host: Host, path: str, text: str) -> None:
    (host.path / "lib").symlink_to("usr/lib")
    plan = plan_apply(host, "passthrough-perf", Choices(regenerate=Regenerate.NEVER))
    (host.path / path).parent.mkdir(parents=True, exist_ok=True)
    (host.path / path).write_text(text)
    before = (host.path / "etc/default/grub").read_bytes()
    with pytest.raises(StalePlanError):
        carry_out(host, plan, progress=quiet)
    assert (host.path / "etc/default/grub").read_bytes() == before
