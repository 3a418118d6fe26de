# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - the block that raises is the transaction itself
"""Recovery, case by case; the crash matrix strikes at every point."""

import os
import subprocess
from pathlib import Path

import pytest
from pytest_mock import MockerFixture
from transaction_bench import CONFIG, DROPIN, GONE, GRUB, NEW, OLD, Bench

from iommuctl.errors import (
    ConflictError,
    ExecutionError,
    NotPermittedError,
)
from iommuctl.host.commands import SystemRunner
from iommuctl.host.root import Root
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.restoration import Resolution
from iommuctl.transaction.snapshot import State


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "root")


def cut(bench: Bench) -> None:
    """Leave a transaction as a kill after everything is written does."""
    one = bench.begin()
    one.write()
    one.publish(CONFIG, b"new config")
    with pytest.raises(SystemExit), one._held:
        raise SystemExit


def test_recovery_undoes(bench: Bench) -> None:
    cut(bench)
    assert bench.files() == NEW
    recovered = recover(bench.root, bench.store)
    assert recovered is not None
    assert (recovered.completed, set(recovered.restored)) == (False, {GRUB, DROPIN, GONE, CONFIG})
    assert (bench.files(), bench.state(), bench.states()) == (OLD, ["index", "lock", "snapshots"], [State.UNDONE])
    assert recover(bench.root, bench.store) is None


def test_recovery_without_a_state_folder_makes_none(bench: Bench) -> None:
    assert recover(bench.root, bench.store) is None
    assert not (bench.tree / "var").exists()


def test_the_next_transaction_recovers_first(bench: Bench) -> None:
    cut(bench)
    bench.apply()
    assert (bench.files(), bench.states()) == (NEW, [State.APPLIED, State.UNDONE])


def test_recovery_leaves_a_third_content_and_names_it(bench: Bench) -> None:
    cut(bench)
    (bench.tree / "etc/default/grub").write_bytes(b"somebody else's")
    with pytest.raises(ConflictError) as caught:
        recover(bench.root, bench.store)
    assert caught.value.details == ("/etc/default/grub",)
    assert caught.value.hint == f"iommuctl recover --restore --root {bench.tree} (or --accept-current)"
    assert bench.files() == {**OLD, "/etc/default/grub": b"somebody else's"}
    with pytest.raises(ConflictError):
        bench.apply()


def test_a_third_content_can_be_accepted(bench: Bench) -> None:
    cut(bench)
    (bench.tree / "etc/default/grub").write_bytes(b"somebody else's")
    recovered = recover(bench.root, bench.store, Resolution.ACCEPT_CURRENT)
    assert recovered is not None
    assert recovered.kept == (GRUB,)
    assert bench.files() == {**OLD, "/etc/default/grub": b"somebody else's"}
    assert bench.state() == ["index", "lock", "snapshots"]


@pytest.mark.parametrize("name", ["etc/default/new/deep/iommu.cfg", "etc/gone"])
def test_a_name_that_vfat_wrote_before_its_content_is_ours(bench: Bench, name: str) -> None:
    cut(bench)
    (bench.tree / name).write_bytes(b"")
    recover(bench.root, bench.store)
    assert (bench.files(), bench.state()) == (OLD, ["index", "lock", "snapshots"])


@pytest.mark.parametrize("name", ["IOMMUC~3.TMP", "IOMMUC~1.RES", "IO4F2A~1.TMP", "iommuc~2.tmp"])
def test_a_temporary_file_whose_long_name_vfat_lost_is_ours(bench: Bench, name: str) -> None:
    cut(bench)
    (bench.tree / "etc/default" / name).write_bytes(b"half a fi")
    recover(bench.root, bench.store)
    assert (bench.files(), bench.state()) == (OLD, ["index", "lock", "snapshots"])


@pytest.mark.parametrize("name", ["IOMMUC~3.CON", "IOMMUCTL.TMP", "MYIO12~1.TMP", "IOWXYZ~1.TMP"])
def test_any_other_short_name_is_somebody_elses(bench: Bench, name: str) -> None:
    cut(bench)
    (bench.tree / "etc/default" / name).write_bytes(b"not ours")
    recover(bench.root, bench.store)
    assert bench.files() == {**OLD, f"/etc/default/{name}": b"not ours"}


def test_an_empty_file_in_the_place_of_one_that_was_there_and_stays_is_somebody_elses(bench: Bench) -> None:
    cut(bench)
    (bench.tree / "etc/default/grub").write_bytes(b"")
    with pytest.raises(ConflictError):
        recover(bench.root, bench.store)


@pytest.mark.parametrize("content", [b"somebody else's", None])
def test_a_third_content_can_be_overwritten_and_is_kept_aside(bench: Bench, content: bytes | None) -> None:
    cut(bench)
    path = bench.tree / "etc/default/grub"
    path.unlink() if content is None else path.write_bytes(content)
    recovered = recover(bench.root, bench.store, Resolution.RESTORE)
    assert recovered is not None
    assert [bench.root.read(one) for one in recovered.displaced] == ([] if content is None else [content])
    assert bench.files() == OLD


def test_a_damaged_journal_stops_until_it_is_accepted(bench: Bench) -> None:
    cut(bench)
    (bench.tree / "var/lib/iommuctl/journal.json").write_bytes(b"{}")
    with pytest.raises(ConflictError, match="cannot be read"):
        recover(bench.root, bench.store)
    assert recover(bench.root, bench.store, Resolution.ACCEPT_CURRENT) is None
    assert recover(bench.root, bench.store) is None


def test_an_undo_that_fails_names_the_way_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ExecutionError("cannot write '/etc/default/grub': input/output error")

    with monkeypatch.context() as patch, pytest.raises(ExecutionError) as caught, bench.begin() as one:
        one.write()
        patch.setattr("iommuctl.transaction.transaction.undo", broken)
        raise ExecutionError("grub-mkconfig failed")
    assert caught.value.brief == (
        "grub-mkconfig failed; and the undo failed: cannot write '/etc/default/grub': input/output error"
    )
    assert caught.value.hint == f"iommuctl recover --root {bench.tree}"
    recover(bench.root, bench.store)
    assert bench.files() == OLD


def test_a_kept_file_that_was_renamed_back_is_not_renamed_again(bench: Bench, mocker: MockerFixture) -> None:
    live, kept = bench.tree / "image", bench.tree / "kept"
    live.write_bytes(b"new")
    kept.write_bytes(b"old")
    move = ("mv", "-f", "/kept", "/image")
    one = bench.begin()
    one.write()
    one.note_start(move, lambda: None)
    with pytest.raises(SystemExit), one._held:
        raise SystemExit

    def run(_: SystemRunner, argv: tuple[str, ...]) -> None:
        words = (word.replace("/", f"{bench.tree}/") for word in argv)
        if subprocess.run((*words,), check=False, capture_output=True).returncode:
            raise ExecutionError("'mv' failed")

    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    mocker.patch.object(SystemRunner, "run", autospec=True, side_effect=run)
    killed = mocker.patch("iommuctl.transaction.recovery.remove_journal", side_effect=SystemExit)
    with pytest.raises(SystemExit):
        recover(bench.root, bench.store)
    assert (live.read_bytes(), kept.exists()) == (b"old", False)
    mocker.stop(killed)
    recovered = recover(bench.root, bench.store)
    assert recovered is not None
    assert recovered.ran == (move,)
    assert (live.read_bytes(), recover(bench.root, bench.store)) == (b"old", None)


def test_not_root_is_found_out_by_trying(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.seteuid(65534)
            bench.begin()
        except NotPermittedError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.files() == OLD
