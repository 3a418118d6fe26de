# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - the block that raises is the transaction itself
"""Whatever lies in the state directory: an error that names a file and a command, and a way that leads out of it."""

import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from transaction_bench import CONFIG, NEW, OLD, Bench

from iommuctl.errors import ConflictError, IommuctlError
from iommuctl.host.root import Root
from iommuctl.transaction.locks import state_lock
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.restoration import Resolution
from iommuctl.transaction.snapshot import State
from iommuctl.transaction.store import NewerStateError, Store

Spoil = Callable[[dict[str, Any], dict[str, Any], Path], object]  # journal, manifest, the tree
X = ".iommuctl-0123456789abcdef.tmp"
SHA = "ab" * 32
NOWHERE = "20200101T000000Z-aaaaaa"


@pytest.fixture
def cut(tmp_path: Path) -> Bench:
    """A transaction that was killed when everything was written."""
    bench = Bench(tmp_path / "root")
    one = bench.begin()
    one.write()
    one.publish(CONFIG, b"new config")
    with pytest.raises(SystemExit), one._held:
        raise SystemExit
    return bench


def state(bench: Bench) -> Path:
    return bench.tree / "var/lib/iommuctl"


def manifest_path(bench: Bench) -> Path:
    return next((state(bench) / "snapshots").glob("*/manifest.json"))


def odd(path: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            (path / "deep").mkdir(parents=True)
        case "link":
            path.symlink_to("/dev/zero")
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
        case "large":
            with path.open("wb") as file:
                file.truncate(2**25)
        case _:
            path.write_bytes(b"\xff")


def extra_file(journal: dict[str, Any], _manifest: dict[str, Any], _tree: Path) -> None:
    journal["files"].append({"path": "/etc/passwd", "before_sha256": None, "after_sha256": SHA, "temporary": X})


def goes_up(journal: dict[str, Any], manifest: dict[str, Any], _tree: Path) -> None:
    for one in (journal["files"][0], manifest["files"][0]):
        one["path"] = "/etc/../../x"
    manifest["files"][0]["target"] = "/etc/../../x"


def parent_is_a_file(_journal: dict[str, Any], _manifest: dict[str, Any], tree: Path) -> None:
    (tree / "etc/default/grub").unlink()
    (tree / "etc/default/new/deep/iommu.cfg").unlink()
    for folder in ("etc/default/new/deep", "etc/default/new", "etc/default"):
        (tree / folder).rmdir()
    (tree / "etc/default").touch()


def bad_attribute(_journal: dict[str, Any], manifest: dict[str, Any], _tree: Path) -> None:
    for one in manifest["files"]:
        if one["before"]:
            one["before"]["xattrs"] = {"user." + "x" * 250: "00" * 2**17}


SPOILT: dict[str, Spoil] = {
    "a file that the snapshot lacks": extra_file,
    "a path that goes up": goes_up,
    "a file twice": lambda journal, _manifest, _tree: journal["files"].append(journal["files"][0]),
    "a temporary name twice": lambda journal, _manifest, _tree: journal["files"][0].update(
        temporary=journal["files"][1]["temporary"]
    ),
    "another content before": lambda journal, _manifest, _tree: journal["files"][0].update(before_sha256=SHA),
    "a snapshot that is not there": lambda journal, _manifest, _tree: journal.update(snapshot=NOWHERE),
    "no snapshot's name": lambda journal, _manifest, _tree: journal.update(snapshot="../../x"),
    "a directory of a long name": lambda journal, _manifest, _tree: journal.update(
        removed_directories=[{"path": "/" + "x" * 300, "mode": 0o755}]
    ),
    "a directory that is a file": lambda journal, _manifest, _tree: journal.update(
        removed_directories=[{"path": "/etc/default/grub/x", "mode": 0o755}]
    ),
    "a deep path": lambda journal, _manifest, _tree: journal.update(made_directories=["/x" * 3000]),
    "attributes that no file system takes": bad_attribute,
    "a parent that is a file now": parent_is_a_file,
    "an unknown field": lambda journal, _manifest, _tree: journal.update(more=1),
    "a manifest that is none": lambda _journal, manifest, _tree: manifest.clear(),
}


def refused(bench: Bench, resolution: Resolution) -> IommuctlError | None:
    try:
        recover(Root(bench.tree), Store(Root(bench.tree)), resolution)
    except IommuctlError as error:
        return error
    return None


def leads_out(bench: Bench) -> None:
    """Every way ends at once and says what to do; the last always gets on, and after it there is nothing to recover."""
    for resolution in Resolution.REFUSE, Resolution.RESTORE:
        error = refused(bench, resolution)
        assert error is None or (error.code in (74, 78) and "recover" in (error.hint or "")), error
    recover(Root(bench.tree), Store(Root(bench.tree)), Resolution.ACCEPT_CURRENT)
    assert recover(Root(bench.tree), Store(Root(bench.tree))) is None
    assert {path.name for path in bench.tree.rglob(".iommuctl-*")} == set()


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_no_journal_or_manifest_is_a_dead_end(cut: Bench, spoil: Spoil) -> None:
    outside = cut.tree.parent / "x"
    paths = state(cut) / "journal.json", manifest_path(cut)
    journal, manifest = (json.loads(path.read_text()) for path in paths)
    spoil(journal, manifest, cut.tree)
    for path, document in zip(paths, (journal, manifest), strict=True):
        path.write_text(json.dumps(document))
    leads_out(cut)
    assert not outside.exists()


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "socket", "large", "garbage"])
@pytest.mark.parametrize("name", ["journal.json", "manifest.json", "contents"])
def test_no_kind_of_file_is_a_dead_end_or_waited_for(cut: Bench, name: str, kind: str) -> None:
    odd(state(cut) / name if name == "journal.json" else manifest_path(cut).with_name(name), kind)
    leads_out(cut)


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "socket"])
def test_whatever_has_the_name_of_a_live_file_is_left_and_named(cut: Bench, kind: str) -> None:
    odd(cut.tree / "etc/default/grub", kind)
    with pytest.raises(ConflictError) as caught:
        recover(cut.root, cut.store)
    assert any("/etc/default/grub" in fact for fact in caught.value.details)
    assert (cut.tree / "boot/grub.cfg").read_bytes() == OLD["/boot/grub.cfg"]
    leads_out(cut)


@pytest.mark.parametrize("kind", ["pipe", "link", "socket", "garbage"])
@pytest.mark.parametrize("name", ["staging", "index", "snapshots/20261122T124500Z-aaaaaa.partial"])
def test_what_is_swept_may_be_anything(cut: Bench, name: str, kind: str) -> None:
    odd(state(cut) / name, kind)
    recover(cut.root, cut.store)
    assert (cut.files(), cut.states()) == (OLD, [State.UNDONE])
    cut.apply()
    assert cut.files() == NEW


@pytest.mark.parametrize("kind", ["pipe", "directory", "link", "socket"])
def test_a_lock_that_is_no_file_is_not_opened(cut: Bench, kind: str) -> None:
    odd(state(cut) / "lock", kind)
    hint = rf"^look at it, then: rm -r {state(cut)}/lock$" if kind != "link" else ""
    with pytest.raises(IommuctlError) as caught, state_lock(cut.root, cut.store):
        pytest.fail("it was taken")
    assert caught.value.code in (75, 78)
    assert not hint or caught.value.hint == hint[1:-1]


def test_a_newer_journal_is_said_to_be_newer_and_left_alone(cut: Bench) -> None:
    path = state(cut) / "journal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2, "more": 1}))
    before = path.read_bytes()
    for resolution in Resolution:
        with pytest.raises(NewerStateError, match="newer iommuctl"):
            recover(cut.root, cut.store, resolution)
    assert (path.read_bytes(), cut.files()) == (before, NEW)


def test_a_newer_snapshot_is_said_to_be_newer(cut: Bench) -> None:
    recover(cut.root, cut.store)
    path = manifest_path(cut)
    path.write_text(json.dumps({"schema_version": 7, "id": path.parent.name}))
    listing = cut.store.list()
    assert ([one.rule for one in listing.findings], listing.newer) == (["snapshot-newer"], (path.parent.name,))
    cut.store.prune(keep=0)
    assert path.exists()


def test_a_mark_of_a_snapshot_that_has_gone_or_is_damaged_is_no_dead_end(cut: Bench) -> None:
    recover(cut.root, cut.store)
    old = manifest_path(cut).parent.name
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("iommuctl.transaction.transaction.complete", lambda *_: (_ for _ in ()).throw(SystemExit))
        with cut.begin(marks={old: State.ROLLED_BACK, NOWHERE: State.APPLIED}) as one:
            one.write()
    (state(cut) / "snapshots" / old / "manifest.json").write_bytes(b"{}")
    with pytest.raises(ConflictError) as caught:
        recover(cut.root, cut.store)
    assert caught.value.hint == f"iommuctl recover --accept-current --root {cut.tree}"
    assert recover(cut.root, cut.store, Resolution.ACCEPT_CURRENT) is not None
    assert recover(cut.root, cut.store) is None


def test_nothing_comes_after_the_end_of_time(cut: Bench) -> None:
    recover(cut.root, cut.store)
    path = manifest_path(cut)
    late = json.loads(path.read_text()) | {"created": "8999-12-31T23:59:59.5Z"}
    path.write_text(json.dumps(late))
    with pytest.raises(ConflictError, match="none can come after it") as caught:
        cut.apply()
    assert caught.value.hint
    source, target = caught.value.hint.split()[-2:]
    Path(source).rename(target)
    cut.apply()
    assert cut.files() == NEW


def test_a_late_snapshot_is_followed_by_later_ones(cut: Bench) -> None:
    recover(cut.root, cut.store)
    path = manifest_path(cut)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"created": "8999-12-31T00:00:00Z"}))
    cut.apply()
    newest, oldest = cut.store.list().snapshots
    assert newest.created - oldest.created == timedelta(seconds=1)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_state_directory_is_private_and_usable_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    bench = Bench(tmp_path / "root")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.umask(umask)
            if os.geteuid() == 0:
                for folder in (bench.tree, *bench.tree.rglob("*")):
                    os.chown(folder, 65534, 65534)
                bench.tree.parent.chmod(0o755)
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            bench.apply()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.files() == NEW
    modes = {path.name: path.stat().st_mode & 0o777 for path in state(bench).rglob("*")}
    assert {mode for name, mode in modes.items() if not name.startswith("2")} - {0o700} == {0o600}
