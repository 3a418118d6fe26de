# SPDX-License-Identifier: Apache-2.0
"""State files: what is written by hand and what validates it when read are two shapes of one thing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from pydantic import BaseModel

from iommuctl.errors import ConflictError
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import Change, FileClass, Op
from iommuctl.profile.beside import Beside
from iommuctl.transaction import statefile
from iommuctl.transaction.durable import Metadata
from iommuctl.transaction.journal import Journal, JournalDirectory, JournalFile
from iommuctl.transaction.snapshot import Action, Blob, Manifest, Origin, SavedFile, State
from iommuctl.transaction.statefile import read_journal_file, read_manifest

ID, OTHER = "20261122T124500Z-1a2b3c", "20261122T124400Z-1a2b3c"
PATH = PurePosixPath("/state.json")
ODD = PurePosixPath("/boot/loader/entries/caf\udce9 \n.conf")
A, B = "a" * 64, "b" * 64

# Every field holds something else than its default, and no two of one type hold the same.
MANIFEST = Manifest(
    id=ID,
    created=datetime(2026, 11, 22, 12, 45, 0, 123456, tzinfo=UTC),
    action=Action.ROLLBACK,
    of=OTHER,
    profile="vfio-bind",
    platform=Platform.AMD,
    backend="bls",
    state=State.ROLLED_BACK,
    fingerprint=A,
    files=(
        SavedFile(
            path=ODD,
            target=PurePosixPath("/boot/there"),
            file_class=FileClass.ENTRY,
            before_sha256=A,
            after_sha256=B,
            before=Metadata(0o640, 1, 2, -3, {"user.note": "00ff"}),
            blob=Blob(4, 5),
        ),
        SavedFile(PurePosixPath("/etc/new"), PurePosixPath("/etc/new"), FileClass.SOURCE, None, B, None, None),
    ),
    changes=(Change(Op.REPLACE, "iommu=\udcff", "iommu=pt", ODD, "caf\udce9", "a reason"),),
    made_directories=(PurePosixPath("/etc/kernel"),),
    entries=(ODD,),
    inputs={"vfio-pci.ids": "10de:1b80"},
    origin=Origin("ada", "iommuctl apply x --add caf\udce9", "a reason"),
    beside=Beside(("hugepages=16", "test="), ("quiet",)),
    drivers={"0000:00:17.0@8086:a282": "ahci"},
)
JOURNAL = Journal(
    snapshot=ID,
    files=(JournalFile(ODD, A, B, ".iommuctl-0123456789abcdef.tmp"),),
    made_directories=(PurePosixPath("/etc/kernel"),),
    removed_directories=(JournalDirectory(PurePosixPath("/etc/gone"), 0o710),),
    marks={OTHER: State.APPLIED},
    started=(("proxmox-boot-tool", "refresh"),),
)
SHAPES = {
    statefile.ManifestModel: Manifest,
    statefile.SavedFileModel: SavedFile,
    statefile.OriginModel: Origin,
    statefile.BesideModel: Beside,
    statefile.BlobModel: Blob,
    statefile.MetadataModel: Metadata,
    statefile.ChangeModel: Change,
    statefile.JournalModel: Journal,
    statefile.JournalFileModel: JournalFile,
    statefile.JournalDirectoryModel: JournalDirectory,
}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def write(root: Root, content: bytes) -> None:
    (root.path / "state.json").write_bytes(content)


def test_a_manifest_is_read_as_it_was_written(root: Root) -> None:
    write(root, MANIFEST.encode())
    assert read_manifest(root, PATH, ID) == MANIFEST


def test_a_journal_is_read_as_it_was_written(root: Root) -> None:
    write(root, JOURNAL.encode())
    assert read_journal_file(root, PATH) == JOURNAL


@pytest.mark.parametrize("model", SHAPES, ids=lambda model: model.__name__)
def test_what_is_validated_has_the_fields_of_what_is_written(model: type[BaseModel]) -> None:
    assert set(model.model_fields) - {"schema_version"} == set(SHAPES[model]._fields)  # type: ignore[attr-defined] # a NamedTuple


def test_every_model_has_its_value() -> None:
    models = {one for one in vars(statefile).values() if isinstance(one, type) and issubclass(one, BaseModel)}
    assert models - {BaseModel, statefile.StateModel, statefile.Versioned} == set(SHAPES)


@pytest.mark.parametrize("value", [MANIFEST, JOURNAL], ids=["manifest", "journal"])
def test_a_state_file_is_one_line_of_plain_json(value: Manifest | Journal) -> None:
    content = value.encode()
    assert (content.count(b"\n"), json.loads(content)["schema_version"]) == (1, 1)


def places(value: object, way: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """The way to each part of a document."""
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*way, key))


def spoilt(content: bytes, way: tuple[object, ...], value: object) -> bytes:
    document = json.loads(content)
    at = document
    for key in way[:-1]:
        at = at[key]
    at[way[-1]] = value
    return json.dumps(document).encode()


def read(root: Root, like: Manifest | Journal) -> Manifest | Journal | None:
    """Read the file; None where it is refused by its name."""
    try:
        return read_manifest(root, PATH, ID) if isinstance(like, Manifest) else read_journal_file(root, PATH)
    except ConflictError as error:
        return None if str(PATH) in error.brief else pytest.fail(error.brief)


WRONG: tuple[object, ...] = (None, True, -1, 10**40, 1.5, "", "/..", "/\0", "\0zz", [], {}, [[]], {"x": {}}, "\x1b[2J")


@pytest.mark.parametrize("value", [MANIFEST, JOURNAL], ids=["manifest", "journal"])
def test_no_wrong_value_anywhere_is_anything_but_damage(root: Root, value: Manifest | Journal) -> None:
    """What passes all the same is a value that may be there, and is written and read again."""
    content = value.encode()
    for way in places(json.loads(content)):
        for wrong in WRONG if way else ():
            write(root, spoilt(content, way, wrong))
            found = read(root, value)
            if found is not None:
                write(root, found.encode())
                assert read(root, value) == found


@pytest.mark.parametrize("path", ["/etc/../../x", "/..", "etc/x", "/etc/\0", "/\0xy", 7, ["/"]])
def test_a_path_that_goes_up_or_is_none_is_damage(root: Root, path: object) -> None:
    for way in (("files", 0, "path"), ("made_directories", 0), ("removed_directories", 0, "path")):
        write(root, spoilt(JOURNAL.encode(), way, path))
        with pytest.raises(ConflictError, match="is damaged"):
            read_journal_file(root, PATH)


@pytest.mark.parametrize("missing", ["before_sha256", "before", "blob"])
def test_what_was_before_is_all_there_or_not_at_all(root: Root, missing: str) -> None:
    write(root, spoilt(MANIFEST.encode(), ("files", 0, missing), None))
    with pytest.raises(ConflictError, match="is damaged"):
        read_manifest(root, PATH, ID)


def test_every_field_of_a_value_reaches_the_file(root: Root) -> None:
    """A field that is forgotten when writing is missed by the model, or comes back as its default."""
    for value in (MANIFEST, JOURNAL):
        defaults = type(value)._field_defaults
        assert not [name for name, default in defaults.items() if getattr(value, name) == default]
    write(root, MANIFEST.encode())
    assert read_manifest(root, PATH, ID).files[0].before == MANIFEST.files[0].before
