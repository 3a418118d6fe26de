# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - the block that raises is the transaction itself
"""Transactions: all or nothing in one process."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from transaction_bench import CONFIG, DROPIN, GONE, GRUB, MAKE_GRUB, NEW, OLD, Bench, FailedError

from iommuctl.errors import (
    ExecutionError,
    InternalError,
)
from iommuctl.plan import FileClass, FileEdit
from iommuctl.transaction.durable import Metadata
from iommuctl.transaction.recovery import complete, recover, undo
from iommuctl.transaction.snapshot import State
from iommuctl.tree import digest


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "root")


def test_leaving_the_block_commits(bench: Bench) -> None:
    manifest = bench.apply().snapshot
    assert bench.files() == NEW
    assert (bench.state(), bench.states()) == (["index", "lock", "snapshots"], [State.APPLIED])
    assert bench.store.load(manifest.id) == manifest
    assert [(one.path, one.before_sha256, one.after_sha256) for one in manifest.files] == [
        (GRUB, digest(b"old grub"), digest(b"new grub")),
        (DROPIN, None, digest(b"new drop-in")),
        (GONE, digest(b"going"), None),
        (CONFIG, digest(b"old config"), digest(b"new config")),
    ]
    assert manifest.made_directories == (PurePosixPath("/etc/default/new"), DROPIN.parent)


def test_nothing_live_changes_before_write(bench: Bench) -> None:
    with pytest.raises(FailedError), bench.begin():
        assert bench.files() == OLD
        raise FailedError


@pytest.mark.parametrize("published", [False, True])
def test_an_exception_undoes_everything(bench: Bench, published: bool) -> None:
    path = bench.tree / "etc/default/grub"
    path.chmod(0o600)
    os.utime(path, ns=(5, 1_600_000_000_000_000_005))
    with pytest.raises(FailedError), bench.begin() as one:
        one.write()
        if published:
            one.publish(CONFIG, b"new config")
        raise FailedError
    assert bench.files() == OLD
    assert (path.stat().st_mode & 0o7777, path.stat().st_mtime_ns) == (0o600, 1_600_000_000_000_000_005)
    assert not (bench.tree / "etc/default/new").exists()
    assert (bench.state(), bench.states()) == (["index", "lock", "snapshots"], [State.UNDONE])


def test_an_undo_is_told_in_the_error(bench: Bench) -> None:
    with pytest.raises(ExecutionError) as caught, bench.begin() as one:
        one.write()
        raise ExecutionError("grub-mkconfig failed")
    assert caught.value.details == ("the undo succeeded: every file is as it was",)


def test_attributes_come_back_with_an_undo(bench: Bench) -> None:
    path = bench.tree / "etc/gone"
    try:
        os.setxattr(path, "user.note", b"kept")
        subprocess.run(["setfacl", "-m", "u:1234:rw", str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no extended attributes or ACLs here: {error}")
    before = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    with pytest.raises(FailedError), bench.begin() as one:
        one.write()
        assert not path.exists()
        raise FailedError
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == before
    assert set(before) == {"user.note", "system.posix_acl_access"}


def test_a_linked_file_is_written_where_it_lies(bench: Bench) -> None:
    (bench.tree / "usr").mkdir()
    (bench.tree / "etc/default/grub").rename(bench.tree / "usr/grub")
    (bench.tree / "etc/default/grub").symlink_to("/usr/grub")
    with bench.begin((MAKE_GRUB,), ()) as one:
        one.write()
    assert (bench.tree / "etc/default/grub").readlink() == Path("/usr/grub")
    assert (bench.tree / "usr/grub").read_bytes() == b"new grub"
    assert [(file.path, file.target) for file in one.snapshot.files] == [(GRUB, PurePosixPath("/usr/grub"))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_undoes_everything(bench: Bench, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught, bench.begin() as one:
        one.write()
        os.kill(os.getpid(), number)
        pytest.fail("the signal did not arrive")
    assert caught.value.code == 128 + number
    assert (bench.files(), bench.states()) == (OLD, [State.UNDONE])
    assert signal.getsignal(number) == before


def test_a_signal_before_the_block_undoes_everything(bench: Bench) -> None:
    one = bench.begin()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit), one:
        pytest.fail("the signal did not arrive")
    assert (bench.files(), bench.state()) == (OLD, ["index", "lock", "snapshots"])


def test_a_signal_during_the_undo_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return undo(*arguments, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("iommuctl.transaction.transaction.undo", interrupted)
    with pytest.raises(FailedError), bench.begin() as one:
        one.write()
        raise FailedError
    assert bench.files() == OLD


def test_a_signal_during_the_commit_waits_for_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        complete(*arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr("iommuctl.transaction.transaction.complete", interrupted)
    with pytest.raises(SystemExit):
        bench.apply()
    assert (bench.files(), bench.state(), bench.states()) == (NEW, ["index", "lock", "snapshots"], [State.APPLIED])


def test_publishing_what_is_there_already_writes_nothing(bench: Bench) -> None:
    before = (bench.tree / "boot/grub.cfg").stat()
    with bench.begin() as one:
        one.publish(CONFIG, b"old config")
    after = (bench.tree / "boot/grub.cfg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("path", [GRUB, PurePosixPath("/etc/other")])
def test_only_a_generated_file_of_the_work_is_published(bench: Bench, path: PurePosixPath) -> None:
    with pytest.raises(InternalError), bench.begin() as one:
        one.publish(path, b"x")
    assert bench.files() == OLD


def test_staging_is_private_and_empty_at_both_ends(bench: Bench) -> None:
    staging = bench.tree / "var/lib/iommuctl/staging"
    staging.mkdir(parents=True)
    staging.parent.chmod(0o700)
    (staging / "stale").touch()
    with bench.begin() as one:
        assert (one.staging, list(staging.iterdir())) == (PurePosixPath("/var/lib/iommuctl/staging"), [])
        assert staging.stat().st_mode & 0o777 == 0o700
        (staging / "grub.cfg").touch()
    assert not staging.exists()


def test_metadata_of_the_work_wins(bench: Bench) -> None:
    with bench.begin(metadata={DROPIN: Metadata(0o600, os.geteuid(), os.getegid(), 0)}) as one:
        one.write()
    assert (bench.tree / str(DROPIN)[1:]).stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("fails", [False, True])
def test_empty_folders_go_and_come_back_with_an_undo(bench: Bench, fails: bool) -> None:
    folder = bench.tree / "etc/made"
    folder.mkdir(mode=0o750)
    (folder / "file").write_bytes(b"ours")
    edit = FileEdit(PurePosixPath("/etc/made/file"), FileClass.SOURCE, b"ours", None, "")
    with suppress(FailedError), bench.begin((edit,), (), removed_directories=(PurePosixPath("/etc/made"),)) as one:
        one.write()
        assert not folder.exists()
        if fails:
            raise FailedError
    assert folder.exists() == fails
    if fails:
        assert ((folder / "file").read_bytes(), folder.stat().st_mode & 0o777) == (b"ours", 0o750)


def test_a_folder_that_is_not_empty_stays(bench: Bench) -> None:
    with bench.begin((), (), removed_directories=(PurePosixPath("/etc"),)) as one:
        one.write()
    assert bench.files() == OLD


def test_marks_hold_with_the_commit_alone(bench: Bench) -> None:
    first = bench.apply().snapshot
    edit = FileEdit(GRUB, FileClass.SOURCE, b"new grub", b"old grub", "")
    with suppress(FailedError), bench.begin((edit,), marks={first.id: State.ROLLED_BACK}) as one:
        one.write()
        raise FailedError
    assert bench.states() == [State.UNDONE, State.APPLIED]
    with bench.begin((edit,), marks={first.id: State.ROLLED_BACK}) as one:
        one.write()
    assert bench.states() == [State.APPLIED, State.UNDONE, State.ROLLED_BACK]


@pytest.mark.parametrize("fails", [False, True])
def test_an_edit_without_a_change_gives_a_file_a_new_time_and_an_undo_the_old_one(bench: Bench, fails: bool) -> None:
    gone = bench.tree / "etc/gone"
    os.utime(gone, ns=(1, 1))
    same = FileEdit(GONE, FileClass.SOURCE, b"going", b"going", "")
    with suppress(FailedError), bench.begin((MAKE_GRUB, same), ()) as one:
        one.write()
        assert gone.stat().st_mtime_ns >= (bench.tree / "etc/default/grub").stat().st_mtime_ns > 1
        if fails:
            raise FailedError
    assert (gone.stat().st_mtime_ns == 1, gone.read_bytes()) == (fails, b"going")
    assert [file.path for file in one.snapshot.files] == [GRUB, GONE]


def test_recovery_gives_a_file_that_got_a_new_time_the_old_one(bench: Bench) -> None:
    gone = bench.tree / "etc/gone"
    os.utime(gone, ns=(1, 1))
    one = bench.begin((MAKE_GRUB, FileEdit(GONE, FileClass.SOURCE, b"going", b"going", "")), ())
    one.write()
    with pytest.raises(SystemExit), one._held:
        raise SystemExit
    recovered = recover(bench.root, bench.store)
    assert recovered is not None
    assert set(recovered.restored) == {GRUB, GONE}
    assert (gone.stat().st_mtime_ns, bench.files()) == (1, OLD)
