# SPDX-License-Identifier: Apache-2.0
"""Journal: what a transaction is about to write, on disk before the first live byte changes, and gone at its end."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from iommuctl.host.root import Root
from iommuctl.transaction.durable import remove_file, write_file
from iommuctl.transaction.snapshot import InnerPath, Sha256, SnapshotId, State, StateModel, Store, decode, encode


class JournalFile(StateModel):
    """One file that the transaction may write, by its final path.

    `after_sha256` of a file that a generator makes is that of before until the content to publish is known.
    """

    path: InnerPath
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None
    temporary: Annotated[str, Field(pattern=r"^\.iommuctl-[0-9a-f]{16}\.tmp$")]


class JournalDirectory(StateModel):
    """A directory that the transaction removes if it is empty, and what it was."""

    path: InnerPath
    mode: Annotated[int, Field(ge=0, le=0o7777)]


class Journal(StateModel):
    """One transaction under way. Its snapshot's manifest in state `applied` is what commits it.

    `marks` are the states that other snapshots get once it is committed. `started` are the commands that were begun and
    write by themselves: what they wrote is undone only when they run again.
    """

    schema_version: Literal[1] = 1
    snapshot: SnapshotId
    files: tuple[JournalFile, ...]
    made_directories: tuple[InnerPath, ...]
    removed_directories: tuple[JournalDirectory, ...]
    marks: dict[SnapshotId, State]
    started: tuple[tuple[str, ...], ...] = ()


def journal_path(store: Store) -> PurePosixPath:
    """Where the journal lies inside the root."""
    return store.directory / "journal.json"


def read_journal(root: Root, store: Store) -> Journal | None:
    """Return the journal of an interrupted transaction; None where there is none. Raises ConflictError if damaged."""
    path = journal_path(store)
    if not store.exists or root.stat(path) is None:
        return None
    return decode(root, path, Journal)


def write_journal(root: Root, store: Store, journal: Journal) -> None:
    """Write the journal in one durable step."""
    write_file(root, journal_path(store), encode(journal))


def remove_journal(root: Root, store: Store) -> None:
    """Remove the journal durably: the transaction is over."""
    remove_file(root, journal_path(store))
