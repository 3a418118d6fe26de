# SPDX-License-Identifier: Apache-2.0
"""Journal: what a transaction is about to write, on disk before the first live byte changes, and gone at its end."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from iommuctl.host.root import Root
from iommuctl.transaction.durable import remove_file, write_file
from iommuctl.transaction.snapshot import State, encode
from iommuctl.transaction.store import Store
from iommuctl.value import NamedTuple

JOURNAL_VERSION: Final = 1


class JournalFile(NamedTuple):
    """One file that the transaction may write, by its final path.

    `after_sha256` of a file that a generator makes is that of before until the content to publish is known.
    """

    path: PurePosixPath
    before_sha256: str | None
    after_sha256: str | None
    temporary: str


class JournalDirectory(NamedTuple):
    """A directory that the transaction removes if it is empty, and what it was."""

    path: PurePosixPath
    mode: int


class Journal(NamedTuple):
    """One transaction under way. Its snapshot's manifest in state `applied` is what commits it.

    `marks` are the states that other snapshots get once it is committed. `started` are the commands that were begun and
    write by themselves: what they wrote is undone only when they run again.
    """

    snapshot: str
    files: tuple[JournalFile, ...]
    made_directories: tuple[PurePosixPath, ...]
    removed_directories: tuple[JournalDirectory, ...]
    marks: Mapping[str, State]
    started: tuple[tuple[str, ...], ...] = ()

    def encode(self) -> bytes:
        """Return the content of its file."""
        return encode(
            {
                "schema_version": JOURNAL_VERSION,
                "snapshot": self.snapshot,
                "files": [{**file._asdict(), "path": str(file.path)} for file in self.files],
                "made_directories": list(map(str, self.made_directories)),
                "removed_directories": [{"path": str(one.path), "mode": one.mode} for one in self.removed_directories],
                "marks": dict(self.marks),
                "started": list(map(list, self.started)),
            }
        )


def journal_path(store: Store) -> PurePosixPath:
    """Where the journal lies inside the root."""
    return store.directory / "journal.json"


def read_journal(root: Root, store: Store) -> Journal | None:
    """Return the journal of an interrupted transaction; None where there is none. Raises ConflictError if damaged."""
    path = journal_path(store)
    if not store.exists or root.stat(path) is None:
        return None
    from iommuctl.transaction.statefile import read_journal_file  # noqa: PLC0415 - pydantic only where one is read

    return read_journal_file(root, path)


def write_journal(root: Root, store: Store, journal: Journal) -> None:
    """Write the journal in one durable step."""
    write_file(root, journal_path(store), journal.encode())


def remove_journal(root: Root, store: Store) -> None:
    """Remove the journal durably: the transaction is over."""
    remove_file(root, journal_path(store))
