# SPDX-License-Identifier: Apache-2.0
"""The record of a trial boot: read as it was written, and refused by its name where it was changed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from pydantic import BaseModel

from iommuctl.backends.trial.base import OneShotKind
from iommuctl.errors import ConflictError
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.transaction.store import Store
from iommuctl.transaction.trial import statefile
from iommuctl.transaction.trial.record import (
    Choice,
    ConfirmBy,
    OnFailure,
    Outcome,
    Phase,
    Terms,
    TrialCheck,
    TrialFile,
    TrialRecord,
    read_record,
    record_path,
    write_record,
)

RECORD = TrialRecord(
    id="20261128-090457-ab12cd",
    created=datetime(2026, 11, 28, 9, 4, 57, 123456, tzinfo=UTC),
    profile="vfio-bind",
    asked="/root/vfio-bind.toml",
    inputs={"vfio-pci.ids": "10de:1b80"},
    platform=Platform.AMD,
    backend="grub2",
    forced=("myth",),
    terms=Terms(ConfirmBy.AUTO, 600, OnFailure.STAY),
    entry="iommuctl-trial-20261128-090457-ab12cd",
    line="root=/dev/vda1 caf\udce9 iommu=pt",
    tokens=("caf\udce9", "iommu=pt"),
    choice=Choice(
        OneShotKind.GRUBENV, PurePosixPath("/boot/grub/grubenv"), "iommuctl-trial-20261128-090457-ab12cd", ""
    ),
    files=(TrialFile(PurePosixPath("/boot/grub/custom.cfg"), b"\xff\n", True, True, ".iommuctl-0123456789abcdef.tmp"),),
    made_directories=(PurePosixPath("/etc/systemd/system/timers.target.d"),),
    permanent="a" * 64,
    boot="one",
    phase=Phase.CONFIRMING,
    reason="a reason",
    trial_boot="two",
    checks=(TrialCheck("10-reach", Outcome.FAIL, "no route \udcff"),),
    is_checked=True,
    confirming_since=datetime(2026, 11, 28, 9, 10, 0, tzinfo=UTC),
    added=("nosmt", "hugepages=16"),
    removed=("quiet",),
    why="the database",
    devices=("0000:01:00.0",),
)
WRONG: tuple[object, ...] = (None, True, -1, 1.5, "", "/..", "\0zz", [], {}, "\x1b[2J")
SHAPES = {
    statefile.TrialModel: TrialRecord,
    statefile.ChoiceModel: Choice,
    statefile.TermsModel: Terms,
    statefile.TrialFileModel: TrialFile,
    statefile.TrialCheckModel: TrialCheck,
}


@pytest.fixture
def store(tmp_path: Path) -> tuple[Root, Store]:
    root = Root(tmp_path)
    found = Store(root)
    found.prepare()
    return root, found


def test_a_record_is_read_as_it_was_written(store: tuple[Root, Store]) -> None:
    assert read_record(*store) is None
    write_record(*store, RECORD)
    assert read_record(*store) == RECORD


def test_no_field_is_at_its_default() -> None:
    defaults = TrialRecord._field_defaults
    assert not [name for name, default in defaults.items() if getattr(RECORD, name) == default]


@pytest.mark.parametrize("model", SHAPES, ids=lambda model: model.__name__)
def test_what_is_validated_has_the_fields_of_what_is_written(model: type[BaseModel]) -> None:
    assert set(model.model_fields) - {"schema_version"} == set(SHAPES[model]._fields)  # type: ignore[attr-defined] # a NamedTuple


def places(value: object, way: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*way, key))


def test_no_wrong_value_anywhere_is_anything_but_damage(store: tuple[Root, Store]) -> None:
    root, found = store
    document = json.loads(RECORD.encode())
    path = root.path / str(record_path(found)).lstrip("/")
    for way in list(places(document))[1:]:
        for wrong in WRONG:
            changed = json.loads(RECORD.encode())
            at = changed
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = wrong
            path.write_text(json.dumps(changed))
            try:
                read = read_record(root, found)
            except ConflictError as error:
                assert "trial.json" in error.brief  # noqa: PT017 - what passes all the same is read again below
                continue
            assert read is not None
            write_record(root, found, read)
            assert read_record(root, found) == read


def test_a_newer_record_is_left_alone(store: tuple[Root, Store]) -> None:
    root, found = store
    path = root.path / str(record_path(found)).lstrip("/")
    path.write_text(json.dumps({**json.loads(RECORD.encode()), "schema_version": 2}))
    with pytest.raises(ConflictError, match="newer iommuctl"):
        read_record(root, found)
