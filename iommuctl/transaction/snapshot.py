# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what each file was before a change of ours and what we left. Values, and how they are written."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from iommuctl.facts import Platform
from iommuctl.plan import Change, FileClass
from iommuctl.profile.beside import Beside
from iommuctl.transaction.durable import Metadata
from iommuctl.value import NamedTuple

MANIFEST_VERSION: Final = 1


class Action(StrEnum):
    """What a snapshot was taken before."""

    APPLY = "apply"
    ROLLBACK = "rollback"


class State(StrEnum):
    """Whether a snapshot's change is in effect: it is, it was taken back on request, or it never came to pass."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    UNDONE = "undone"


class Blob(NamedTuple):
    """Where a file's content before lies in the snapshot's `contents`, in bytes."""

    offset: int
    size: int


class SavedFile(NamedTuple):
    """One file before and after. `path` is as the plan named it, `target` the file it led to after every link.

    A hash is None where there was no file; then `before` and `blob` are None too.
    """

    path: PurePosixPath
    target: PurePosixPath
    file_class: FileClass
    before_sha256: str | None
    after_sha256: str | None
    before: Metadata | None
    blob: Blob | None

    def record(self) -> dict[str, object]:
        """Return what the manifest says of the file."""
        return {
            "path": str(self.path),
            "target": str(self.target),
            "class": self.file_class,
            "before_sha256": self.before_sha256,
            "after_sha256": self.after_sha256,
            "before": None if self.before is None else {**self.before._asdict(), "xattrs": dict(self.before.xattrs)},
            "blob": None if self.blob is None else self.blob._asdict(),
        }


class Origin(NamedTuple):
    """Who had a change made, by which command line, and why. Manifests of before it was kept have nothing of it."""

    user: str = ""
    command: str = ""
    why: str = ""


class Summary(NamedTuple):
    """What the history tells of a snapshot: all that a command needs that does not go back to it."""

    id: str
    created: datetime
    action: Action
    of: str | None
    profile: str
    platform: Platform
    inputs: Mapping[str, str]
    state: State
    files: tuple[PurePosixPath, ...]
    origin: Origin = Origin()
    beside: Beside = Beside()

    @property
    def short_id(self) -> str:
        """The end of the id, which tells it from others as well."""
        return self.id.rpartition("-")[2]


class Manifest(NamedTuple):
    """One snapshot. `of` is the snapshot that a rollback took back, `fingerprint` that of the plan's inputs.

    `inputs` are the values that the profile was given; manifests of before they were kept have none.

    `entries` are the boot entries that were there as files of their own, without suffix and boot counter; None where
    that is not known. `drivers` are those that the host's devices had, by `ADDRESS@VENDOR:DEVICE`, where some went to
    guests; of a change without devices there are none.
    """

    id: str
    created: datetime
    action: Action
    of: str | None
    profile: str
    platform: Platform
    backend: str
    state: State
    fingerprint: str
    files: tuple[SavedFile, ...]
    changes: tuple[Change, ...]
    made_directories: tuple[PurePosixPath, ...]
    entries: tuple[PurePosixPath, ...] | None = None
    inputs: Mapping[str, str] = MappingProxyType({})
    origin: Origin = Origin()
    beside: Beside = Beside()
    drivers: Mapping[str, str] = MappingProxyType({})

    @property
    def summary(self) -> Summary:
        """What the history tells of it."""
        return Summary(
            self.id,
            self.created,
            self.action,
            self.of,
            self.profile,
            self.platform,
            self.inputs,
            self.state,
            tuple(file.path for file in self.files),
            self.origin,
            self.beside,
        )

    def encode(self) -> bytes:
        """Return the content of its file."""
        return encode(
            {
                "schema_version": MANIFEST_VERSION,
                "id": self.id,
                "created": time_text(self.created),
                "action": self.action,
                "of": self.of,
                "profile": self.profile,
                "inputs": dict(self.inputs),
                "platform": self.platform,
                "backend": self.backend,
                "state": self.state,
                "fingerprint": self.fingerprint,
                "files": [file.record() for file in self.files],
                "changes": [{**change._asdict(), "path": str(change.path)} for change in self.changes],
                "made_directories": list(map(str, self.made_directories)),
                "entries": None if self.entries is None else list(map(str, self.entries)),
                "origin": self.origin._asdict(),
                "beside": {name: list(texts) for name, texts in self.beside._asdict().items()},
                "drivers": dict(self.drivers),
            }
        )


def new_id(created: datetime) -> str:
    """Return a snapshot id: the time in UTC to the second, and six random digits."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"


def time_text(time: datetime) -> str:
    """Return a time as state files have it: RFC 3339 in UTC, with microseconds where there are any."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def encode(record: Mapping[str, object]) -> bytes:
    """Return a state file's content: one line of JSON.

    A byte of a name that is not UTF-8 is NUL and its two hexadecimal digits, which no name, parameter or path can hold.
    """
    text = json.dumps(record, ensure_ascii=False)  # with an indent, json would not use its fast encoder
    try:
        return f"{text}\n".encode()
    except UnicodeEncodeError:
        return f"{''.join(map(_storable, text))}\n".encode()


def _storable(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # PEP 383
        return f"\\u0000{ord(char) - 0xDC00:02x}"
    return "\ufffd" if "\ud800" <= char <= "\udfff" else char
