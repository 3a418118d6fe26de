# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what is kept, what is refused, and that state files of every version stay readable."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from project import FIXTURES

from iommuctl.errors import ConflictError, ExecutionError, NotFoundError
from iommuctl.facts import Platform
from iommuctl.host.descriptors import READ_LIMIT
from iommuctl.host.root import Root
from iommuctl.plan import Change, FileClass, Op
from iommuctl.transaction.durable import Metadata
from iommuctl.transaction.journal import Journal, JournalFile, read_journal
from iommuctl.transaction.snapshot import Action, Blob, Manifest, Origin, SavedFile, State, new_id
from iommuctl.transaction.store import Listing, Store
from iommuctl.tree import digest

FIXTURES = FIXTURES / "state"
FIXTURE_ID = "20261122T124500Z-1a2b3c"
START = datetime(2026, 11, 22, 12, 45, tzinfo=UTC)
GRUB = PurePosixPath("/etc/default/grub")
OLD, NEW = b'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', b'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n'

EXPECTED = Manifest(
    id=FIXTURE_ID,
    created=datetime(2026, 11, 22, 12, 45, 0, 123456, tzinfo=UTC),
    action=Action.APPLY,
    of=None,
    profile="passthrough-perf",
    platform=Platform.INTEL,
    backend="grub2",
    state=State.APPLIED,
    fingerprint="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    files=(
        SavedFile(
            path=GRUB,
            target=GRUB,
            file_class=FileClass.SOURCE,
            before_sha256=digest(OLD),
            after_sha256=digest(NEW),
            before=Metadata(0o644, 0, 0, 1795350000123456789, {"user.note": "00ff"}),
            blob=Blob(offset=0, size=len(OLD)),
        ),
        SavedFile(
            path=PurePosixPath("/etc/kernel/cmdline"),
            target=PurePosixPath("/etc/kernel/cmdline"),
            file_class=FileClass.SOURCE,
            before_sha256=None,
            after_sha256=digest(b"iommu=pt\n"),
            before=None,
            blob=None,
        ),
    ),
    changes=(Change(Op.ADD, None, "iommu=pt", GRUB, "GRUB_CMDLINE_LINUX_DEFAULT", "identity domains"),),
    made_directories=(PurePosixPath("/etc/kernel"),),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Root(tmp_path))
    store.prepare()
    return store


def add(store: Store, number: int, state: State = State.APPLIED) -> Manifest:
    """Keep the fixture's manifest under another time."""
    created = START + timedelta(hours=number)
    manifest = EXPECTED._replace(id=new_id(created), created=created, state=state)
    store.add(manifest, OLD)
    return manifest


def test_a_snapshot_that_could_not_be_read_again_is_not_made(store: Store, tmp_path: Path) -> None:
    reason = EXPECTED._replace(origin=Origin(why="x" * READ_LIMIT))
    for manifest, contents in ((reason, OLD), (EXPECTED, b"x" * (READ_LIMIT + 1))):
        with pytest.raises(ExecutionError, match="too large to be read again"):
            store.add(manifest, contents)
    assert store.list().snapshots == ()
    assert [*(tmp_path / "var/lib/iommuctl/snapshots").iterdir()] == []


@pytest.fixture(params=sorted(one.name for one in FIXTURES.iterdir()))
def version(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> str:
    """A state directory of each version there has been, with one snapshot and an interrupted transaction."""
    state = tmp_path / "var/lib/iommuctl"
    (state / "snapshots" / FIXTURE_ID).mkdir()
    for name in ("manifest.json", "contents"):
        shutil.copy(FIXTURES / request.param / name, state / "snapshots" / FIXTURE_ID / name)
    shutil.copy(FIXTURES / request.param / "journal.json", state / "journal.json")
    return str(request.param)


@pytest.mark.usefixtures("version")
def test_a_manifest_of_every_version_is_read(store: Store) -> None:
    manifest = store.load(FIXTURE_ID)
    assert manifest == EXPECTED
    assert [store.content(manifest, file) for file in manifest.files] == [OLD, None]


@pytest.mark.usefixtures("version")
def test_a_journal_of_every_version_is_read(store: Store, tmp_path: Path) -> None:
    files = EXPECTED.files
    names = (".iommuctl-0123456789abcdef.tmp", ".iommuctl-fedcba9876543210.tmp")
    assert read_journal(Root(tmp_path), store) == Journal(
        snapshot=FIXTURE_ID,
        files=tuple(
            JournalFile(
                path=file.path, before_sha256=file.before_sha256, after_sha256=file.after_sha256, temporary=name
            )
            for file, name in zip(files, names, strict=True)
        ),
        made_directories=(PurePosixPath("/etc/kernel"),),
        removed_directories=(),
        marks={},
    )


def test_what_is_kept_is_read_back_whole(store: Store) -> None:
    kept = add(store, 0)
    assert store.load(kept.id) == kept
    assert store.content(kept, kept.files[0]) == OLD


@pytest.mark.parametrize("name", ["z\udce7", "a\\udce7\udc80\udcff", "é", "\\0e7"])
def test_a_name_of_any_bytes_is_kept(store: Store, name: str) -> None:
    paths = (PurePosixPath("/boot/loader/entries") / name,)
    store.add(EXPECTED._replace(entries=paths, made_directories=paths), OLD)
    manifest = store.load(FIXTURE_ID)
    assert (manifest.entries, manifest.made_directories) == (paths, paths)


def test_everything_kept_is_private(store: Store, tmp_path: Path) -> None:
    add(store, 0)
    state = tmp_path / "var/lib/iommuctl"
    assert {path.stat().st_mode & 0o077 for path in (state, *state.rglob("*"))} == {0}


def test_the_newest_is_listed_first(store: Store) -> None:
    kept = [add(store, number) for number in (1, 3, 2)]
    assert [one.id for one in store.list().snapshots] == [kept[1].id, kept[2].id, kept[0].id]


def test_an_id_is_the_time_in_utc() -> None:
    assert new_id(START.astimezone())[:-6] == "20261122T124500Z-"


def test_a_unique_prefix_names_a_snapshot(store: Store) -> None:
    first, second = add(store, 0), add(store, 24)
    assert store.load(second.id[:8]) == second
    assert store.load(first.id[:-1]) == first


@pytest.mark.parametrize(
    ("name", "text"), [("2026", "more than one"), ("1999", "no such"), ("", "no such"), ("../x", "no such")]
)
def test_a_name_of_none_or_several_is_not_found(store: Store, name: str, text: str) -> None:
    add(store, 0)
    add(store, 24)
    with pytest.raises(NotFoundError, match=text):
        store.load(name)


def test_without_a_state_folder_there_is_nothing(tmp_path: Path) -> None:
    store = Store(Root(tmp_path))
    assert store.list().snapshots == ()
    with pytest.raises(NotFoundError):
        store.load("2026")
    assert list(tmp_path.iterdir()) == []


def test_a_mark_changes_the_state_alone(store: Store) -> None:
    kept, other = add(store, 0), add(store, 1)
    store.mark(kept.id, State.ROLLED_BACK)
    assert store.list().snapshots == (other.summary, kept._replace(state=State.ROLLED_BACK).summary)


def damage(path: Path, kind: str) -> None:
    match kind:
        case "cut off":
            path.write_bytes(path.read_bytes()[:100])
        case "gone":
            path.unlink()
        case "newer":
            path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2'))
        case "foreign key":
            path.write_bytes(path.read_bytes().replace(b'"schema_version"', b'"extra": 1, "schema_version"'))
        case _:
            path.write_bytes(path.read_bytes().replace(b'"id": "2026', b'"id": "2027'))


@pytest.mark.parametrize("kind", ["cut off", "gone", "newer", "foreign key", "other id"])
def test_a_damaged_manifest_is_named_and_the_others_are_still_listed(store: Store, tmp_path: Path, kind: str) -> None:
    bad, good = add(store, 0), add(store, 1)
    path = f"/var/lib/iommuctl/snapshots/{bad.id}/manifest.json"
    damage(tmp_path / path[1:], kind)
    listing = store.list()
    assert listing.snapshots == (good.summary,)
    rule = "snapshot-newer" if kind == "newer" else "snapshot-damaged"
    assert [(one.rule, path in one.message) for one in listing.findings] == [(rule, True)]
    with pytest.raises(ConflictError, match="newer iommuctl" if kind == "newer" else "is damaged"):
        store.load(bad.id)


def test_damaged_contents_are_not_given_out(store: Store, tmp_path: Path) -> None:
    kept = add(store, 0)
    (tmp_path / "var/lib/iommuctl/snapshots" / kept.id / "contents").write_bytes(OLD[:-1] + b"x")
    with pytest.raises(ConflictError, match="contents' is damaged"):
        store.content(kept, kept.files[0])


def test_pruning_keeps_the_newest_and_the_one_in_force(store: Store) -> None:
    in_force = add(store, 0)
    for number in (1, 2, 3):
        add(store, number, State.UNDONE)
    last = add(store, 4, State.ROLLED_BACK)
    add(store, -5)
    store.prune(keep=1)
    assert [one.id for one in store.list().snapshots] == [last.id, in_force.id]


def test_a_snapshot_whose_removal_is_cut_off_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = add(store, 0)

    def cut(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            store.discard(kept.id)
    assert store.list() == Listing(())
    store.sweep()
    store.discard(kept.id)


@pytest.mark.parametrize("change", ["group", "others", "owner", "file"])
def test_a_state_folder_that_others_could_write_is_refused(tmp_path: Path, change: str) -> None:
    state = tmp_path / "var/lib/iommuctl"
    state.mkdir(parents=True, mode=0o700)
    match change:
        case "group":
            state.chmod(0o770)
        case "others":
            state.chmod(0o702)
        case "owner":
            if os.geteuid() != 0:
                pytest.skip("only root can give a folder away")
            os.chown(state, 1234, 1234)
        case _:
            state.rmdir()
            state.touch()
    store = Store(Root(tmp_path))
    for use in (store.prepare, store.list):
        with pytest.raises(ConflictError, match="no directory" if change == "file" else "not to be trusted"):
            use()


def test_a_linked_state_folder_stays_inside_the_root(tmp_path: Path) -> None:
    outside = tmp_path / "data/iommuctl"
    outside.mkdir(parents=True)
    tree = tmp_path / "root"
    (tree / "var/lib").mkdir(parents=True)
    (tree / "var/lib/iommuctl").symlink_to("../../../data/iommuctl")
    (tree / "data").mkdir()
    store = Store(Root(tree))
    store.prepare()
    assert (list(outside.iterdir()), (tree / "data/iommuctl/snapshots").is_dir()) == ([], True)


def test_sweeping_removes_what_is_left_over_and_nothing_else(store: Store, tmp_path: Path) -> None:
    kept = add(store, 0)
    state = tmp_path / "var/lib/iommuctl"
    (state / "staging/deep").mkdir(parents=True)
    (state / "staging/deep/grub.cfg").touch()
    (state / "snapshots/20261122T124500Z-aaaaaa.partial").mkdir()
    (state / "snapshots/20261122T124500Z-aaaaaa.partial/contents").touch()
    for folder in (state, state / "snapshots" / kept.id):
        (folder / ".iommuctl-0123456789abcdef.tmp").touch()
    store.sweep()
    left = sorted(str(path.relative_to(state)) for path in state.rglob("*"))
    kept_in = f"snapshots/{kept.id}"
    assert left == ["snapshots", kept_in, f"{kept_in}/contents", f"{kept_in}/manifest.json"]


@pytest.mark.slow
def test_many_snapshots_are_pruned_with_few_syncs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, kept = 2000, 50
    folder = tmp_path / "var/lib/iommuctl/snapshots"
    for number in range(count):
        created = START + timedelta(seconds=number)
        one = EXPECTED._replace(id=new_id(created), created=created, files=(), changes=(), made_directories=())
        (folder / one.id).mkdir()
        (folder / one.id / "manifest.json").write_bytes(one.encode())
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)
    store.prune(kept)
    assert (len(list(folder.iterdir())), len(syncs)) == (kept, 2)
    assert [one.created for one in store.list().snapshots] == [
        START + timedelta(seconds=number) for number in range(count - 1, count - 1 - kept, -1)
    ]
