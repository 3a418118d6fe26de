# SPDX-License-Identifier: Apache-2.0
"""The index of the snapshots: it saves reading manifests, and never tells anything but what they do."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from pytest_mock import MockerFixture

from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.profile.beside import Beside
from iommuctl.transaction.index import LATEST, Stamp, decode_rows, encode_rows
from iommuctl.transaction.snapshot import Action, Manifest, Origin, State, Summary, new_id
from iommuctl.transaction.store import Store

STATE = "var/lib/iommuctl"
START = datetime(2026, 11, 22, 12, 45, tzinfo=UTC)
ROWS = (
    (
        Stamp(1234, -5),
        Summary(
            "20261122T124500Z-1a2b3c",
            START.replace(microsecond=7),
            Action.ROLLBACK,
            "20261122T124400Z-1a2b3c",
            "vfio-bind",
            Platform.AMD,
            {"vfio-pci.ids": "10de:1b80,10de:10f0", "a=b,c": "% \n-", "": ""},
            State.ROLLED_BACK,
            (PurePosixPath("/etc/default/grub"), PurePosixPath("/boot/caf\udce9 \n%41.conf"), PurePosixPath("/\u00e9")),
            Origin("ada", "iommuctl apply 'a b' --add x=,", "-"),
            Beside(("hugepages=16", "test="), ("quiet",)),
        ),
    ),
    (
        Stamp(0, 0),
        Summary("20261122T124400Z-1a2b3c", START, Action.APPLY, None, "x", Platform.X86, {}, State.UNDONE, ()),
    ),
)
LINE = encode_rows(ROWS).splitlines()[1].decode()


def manifest(number: int, state: State = State.APPLIED) -> Manifest:
    created = START + timedelta(hours=number)
    of_files = ()
    return Manifest(
        new_id(created), created, Action.APPLY, None, "x", Platform.X86, "bls", state, "f", of_files, (), ()
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(Root(tmp_path))
    store.prepare()
    return store


def test_an_index_is_read_as_it_was_written() -> None:
    assert decode_rows(encode_rows(ROWS)) == {one.id: (stamp, one) for stamp, one in ROWS}


def test_no_part_of_an_index_is_believed_where_its_end_is_missing() -> None:
    content = encode_rows(ROWS)
    whole = [end for end in range(len(content)) if len(decode_rows(content[:end])) > 0]
    assert [content[:end].count(b"\n") for end in whole] == [2]  # cut off between two lines: one snapshot fewer


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("iommuctl index 2", "iommuctl index 1"),
        (" 1234 ", " 01234 "),
        (" 1234 ", " +1234 "),
        (" 1234 ", " 1_234 "),
        (" 1234 ", " \u0661 "),
        ("rollback", "Rollback"),
        ("vfio-bind", "/etc/passwd"),
        ("vfio-bind", "vfio%2Dbind"),
        ("rolled_back", "applied "),
        ("2026-11-22T12:45:00.000007Z", "2026-11-22T12:45:00.000007+00:00"),
        ("2026-11-22T12:45:00.000007Z", "2026-11-22T12:45:00.000007"),
        ("2026-11-22T12:45:00.000007Z", "9999-11-22T12:45:00.000007Z"),
        ("/etc/default/grub", "/etc/../grub"),
        ("/etc/default/grub", "etc/default/grub"),
        ("/etc/default/grub", "/etc//default/grub"),
        ("/etc/default/grub", "/etc/default/%67rub"),
        ("/etc/default/grub", "/etc/default/grub%"),
        ("/etc/default/grub", "/etc/default/grub\r"),
        ("/etc/default/grub", "/etc/default/grub "),
        ("20261122T124500Z-1a2b3c", "../../../../../../x"),
        ("20261122T124500Z-1a2b3c", "20261122T124400Z-1a2b3c"),
        ("amd", "sparc"),
        ("vfio-pci.ids=", "vfio-pci.ids"),
    ],
)
def test_an_index_that_we_have_not_written_is_none(old: str, new: str) -> None:
    text = encode_rows(ROWS).decode()
    assert old in text
    assert decode_rows(text.replace(old, new, 1).encode()) == {}


def test_the_latest_time_is_the_one_of_manifests() -> None:
    _, one = ROWS[0]
    assert decode_rows(encode_rows([(Stamp(1, 1), one._replace(created=LATEST))])) == {}


def fill(store: Store, count: int) -> list[Manifest]:
    kept = [manifest(number) for number in range(count)]
    for one in kept:
        store.add(one, b"")
    store.write_index()
    return kept


def test_with_an_index_no_manifest_is_read(store: Store, tmp_path: Path, mocker: MockerFixture) -> None:
    kept = fill(store, 3)
    read = mocker.spy(Store, "_manifest")
    assert Store(Root(tmp_path)).list().snapshots == tuple(one.summary for one in reversed(kept))
    assert read.call_count == 0


@pytest.mark.parametrize("what", ["marked", "edited", "touched", "added", "removed", "damaged"])
def test_an_index_that_is_behind_never_tells_what_was(store: Store, tmp_path: Path, what: str) -> None:
    kept = fill(store, 3)
    behind = (tmp_path / STATE / "index").read_bytes()
    one = tmp_path / STATE / "snapshots" / kept[1].id / "manifest.json"
    match what:
        case "marked":
            store.mark(kept[1].id, State.ROLLED_BACK)
        case "edited":
            one.write_text(json.dumps(json.loads(one.read_text()) | {"profile": "other"}))
        case "touched":
            os.utime(one)
        case "added":
            store.add(manifest(9), b"")
        case "removed":
            store.discard(kept[1].id)
        case _:
            one.write_bytes(b"{}")
    (tmp_path / STATE / "index").write_bytes(behind)
    found = Store(Root(tmp_path)).list()
    (tmp_path / STATE / "index").unlink()
    assert found == Store(Root(tmp_path)).list()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "garbage"])
def test_what_is_no_index_is_passed_over(store: Store, tmp_path: Path, kind: str) -> None:
    kept = fill(store, 2)
    index = tmp_path / STATE / "index"
    index.unlink()
    match kind:
        case "directory":
            index.mkdir()
        case "pipe":
            os.mkfifo(index)
        case "link":
            index.symlink_to("/dev/zero")
        case _:
            index.write_bytes(b"\xff\0" * 100)
    assert Store(Root(tmp_path)).list().snapshots == tuple(one.summary for one in reversed(kept))


def test_a_snapshot_that_is_a_link_is_not_looked_into(store: Store, tmp_path: Path) -> None:
    kept = fill(store, 1)
    folder = tmp_path / STATE / "snapshots"
    (folder / kept[0].id).rename(tmp_path / "elsewhere")
    (folder / kept[0].id).symlink_to(tmp_path / "elsewhere")
    listing = Store(Root(tmp_path)).list()
    assert (listing.snapshots, listing.damaged) == ((), (kept[0].id,))
