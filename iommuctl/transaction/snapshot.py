# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what each file was before a change of ours and what we left, kept in the root's state directory."""

import os
import re
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import (
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)

from iommuctl.errors import ConflictError, NotFoundError
from iommuctl.facts import Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.host.root import Root
from iommuctl.plan import Change, FileClass
from iommuctl.profile.profile import ProfileName
from iommuctl.transaction.durable import Metadata, remove_file, remove_tree, write_file
from iommuctl.tree import digest

STATE = PurePosixPath("/var/lib/iommuctl")
STATE_MODE = 0o700
KEPT_SNAPSHOTS = 50
DAMAGED = Rule.SNAPSHOT_DAMAGED

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_PARTIAL = ".partial"
_SHOWN_FACTS = 5

Clock = Callable[[], datetime]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SnapshotId = Annotated[str, Field(pattern=rf"^{_ID.pattern}$")]
# A clock that is wrong by millennia would leave no time for the next snapshot to be later.
CreationTime = Annotated[AwareDatetime, Field(lt=datetime(9000, 1, 1, tzinfo=UTC))]


Model = TypeVar("Model", bound="StateModel")


# JSON carries no bytes that are not UTF-8, and a path no NUL: one before two hex digits keeps such a byte of a name.
_FOREIGN_BYTE = re.compile("[\udc80-\udcff]")
_KEPT_BYTE = re.compile("\0([89a-f][0-9a-f])")


def _inner_path(value: object) -> PurePosixPath:
    """Return a path from the root, of text as `_kept` wrote it. Raises ValueError."""
    text = str(value) if isinstance(value, str | PurePosixPath) else ""
    path = PurePosixPath(_KEPT_BYTE.sub(lambda match: chr(0xDC00 | int(match[1], 16)), text))
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError("must be a path from the root, without a NUL byte")
    return path


def _kept(path: PurePosixPath) -> str:
    return _FOREIGN_BYTE.sub(lambda match: f"\0{ord(match[0]) & 0xFF:02x}", str(path))


InnerPath = Annotated[PurePosixPath, PlainValidator(_inner_path), PlainSerializer(_kept, when_used="json")]


class Action(StrEnum):
    """What a snapshot was taken before."""

    APPLY = "apply"
    ROLLBACK = "rollback"


class State(StrEnum):
    """Whether a snapshot's change is in effect: it is, it was taken back on request, or it never came to pass."""

    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    UNDONE = "undone"


class StateModel(BaseModel):
    """A file of ours in the state directory; hostile until validated, and frozen from then on."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Blob(StateModel):
    """Where a file's content before lies in the snapshot's `contents`, in bytes."""

    offset: int = Field(ge=0)
    size: int = Field(ge=0)


class SavedFile(StateModel):
    """One file before and after. `path` is as the plan named it, `target` the file it led to after every link.

    A hash is None where there was no file; then `before` and `blob` are None too.
    """

    path: InnerPath
    target: InnerPath
    file_class: FileClass = Field(serialization_alias="class", validation_alias=AliasChoices("class", "file_class"))
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None
    before: Metadata | None
    blob: Blob | None


class Manifest(StateModel):
    """One snapshot. `of` is the snapshot that a rollback took back, `fingerprint` that of the plan's inputs.

    `inputs` are the values that the profile was given; manifests of before they were kept have none.

    `entries` are the boot entries that were there as files of their own, without suffix and boot counter; None where
    that is not known.
    """

    schema_version: Literal[1] = 1
    id: SnapshotId
    created: CreationTime
    action: Action
    of: SnapshotId | None
    profile: ProfileName
    inputs: dict[str, str] = Field(default_factory=dict)
    platform: Platform
    backend: str
    state: State
    fingerprint: str
    files: tuple[SavedFile, ...]
    changes: tuple[Change, ...]
    made_directories: tuple[InnerPath, ...]
    entries: tuple[InnerPath, ...] | None = None


class Listing(NamedTuple):
    """The snapshots, newest first; a finding, and in `damaged` the id, for each that cannot be read."""

    snapshots: tuple[Manifest, ...]
    findings: tuple[Finding, ...] = ()
    damaged: tuple[str, ...] = ()


class Store:
    """The state directory of one root. Refused when others than root and ourselves could have written it."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.directory = root.resolve(STATE)
        self.snapshots = self.directory / "snapshots"
        self.staging = self.directory / "staging"
        self._read: str | None = None  # the snapshot whose contents, which never change, were read last
        self._contents = b""

    @property
    def exists(self) -> bool:
        """Whether the state directory is there. Raises ConflictError where it is not to be trusted."""
        status = self._root.stat(self.directory)
        if status is None:
            return False
        loose = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, os.geteuid()) or loose:
            folder = self._root.outside(self.directory)
            raise ConflictError(
                f"state folder {str(self.directory)!r} is not to be trusted: others may have written it",
                details=(f"mode {stat.filemode(status.st_mode)}, owner {status.st_uid}",),
                hint=f"look at what is in it, then chown root: {folder} && chmod 0700 {folder}",
            )
        return True

    def prepare(self) -> None:
        """Make the state directory and what is always in it, durably. Raises ConflictError, NotPermittedError."""
        if not self.exists:
            self._root.make_directories(self.directory.parent, 0o755)
            self._root.make_directories(self.directory, STATE_MODE)
        self._root.make_directories(self.snapshots, STATE_MODE)

    def list(self) -> Listing:
        """Return every snapshot, newest first. One that is damaged is a finding that names its file."""
        if not self.exists:
            return Listing(())
        snapshots: list[Manifest] = []
        findings: list[Finding] = []
        damaged: list[str] = []
        for name in self._root.names(self.snapshots):
            if not _ID.fullmatch(name):
                continue
            try:
                snapshots.append(self._manifest(name))
            except ConflictError as error:
                findings.append(Finding(DAMAGED, Severity.WARNING, error.brief, hint=error.hint))
                damaged.append(name)
        snapshots.sort(key=lambda one: (one.created, one.id), reverse=True)
        return Listing(tuple(snapshots), tuple(findings), tuple(damaged))

    def load(self, name: str) -> Manifest:
        """Return the snapshot with this id, or with the only id that begins so. Raises NotFoundError, ConflictError."""
        names = [one for one in self._root.names(self.snapshots) if _ID.fullmatch(one)] if self.exists else []
        found = [one for one in names if name and one.startswith(name)]
        if not found:
            raise NotFoundError(f"no such snapshot: {name!r}", hint=self._root.command("history"))
        if len(found) > 1:
            raise NotFoundError(f"more than one snapshot begins with {name!r}", details=found, hint="name one in full")
        return self._manifest(found[0])

    def content(self, manifest: Manifest, file: SavedFile) -> bytes | None:
        """Return what a file held before; None where there was none. Raises ConflictError where it is damaged."""
        if file.blob is None or file.before_sha256 is None:
            return None
        path = self.snapshots / manifest.id / "contents"
        if self._read != manifest.id:
            self._contents, self._read = self._root.read(path) or b"", manifest.id
        content = self._contents[file.blob.offset : file.blob.offset + file.blob.size]
        if digest(content) != file.before_sha256:
            raise _damaged(self._root, path, f"the content of {str(file.path)!r} is not what was saved")
        return content

    def add(self, manifest: Manifest, contents: bytes) -> None:
        """Keep a new snapshot: all of it is on disk when this returns, and until then none of it is seen."""
        partial = self.snapshots / (manifest.id + _PARTIAL)
        self._root.make_directories(partial, STATE_MODE)
        write_file(self._root, partial / "contents", contents)
        write_file(self._root, partial / "manifest.json", encode(manifest))
        self._rename(partial.name, manifest.id)

    def save(self, manifest: Manifest) -> None:
        """Write a snapshot's manifest again, in one durable step."""
        write_file(self._root, self.snapshots / manifest.id / "manifest.json", encode(manifest))

    def mark(self, states: Mapping[str, State]) -> None:
        """Set the state of snapshots by id; one that is in that state already is not written."""
        for name, state in states.items():
            manifest = self.load(name)
            if manifest.state != state:
                self.save(manifest.model_copy(update={"state": state}))

    def discard(self, name: str) -> None:
        """Forget one snapshot, by its full id; nothing where there is none. Cut off, it is gone all the same."""
        if self._root.stat(self.snapshots / name) is not None:
            self._rename(name, name + _PARTIAL)
            remove_tree(self._root, self.snapshots / (name + _PARTIAL))

    def keep_aside(self, manifest: Manifest, content: bytes) -> PurePosixPath:
        """Keep content that an undo is about to overwrite next to the snapshot, and give its path."""
        path = self.snapshots / manifest.id / f"displaced-{digest(content)}"
        write_file(self._root, path, content)
        return path

    def prune(self, keep: int = KEPT_SNAPSHOTS) -> None:
        """Forget the oldest snapshots beyond `keep`, never the newest that is applied."""
        if len(self._root.names(self.snapshots)) <= keep:  # to read them all takes time
            return
        snapshots = self.list().snapshots
        applied = next((one.id for one in snapshots if one.state is State.APPLIED), None)
        for manifest in snapshots[keep:]:
            if manifest.id != applied:
                self.discard(manifest.id)

    def sweep(self) -> None:
        """Remove what an interrupted run left in the state directory: staging, parts of snapshots, temporary files."""
        remove_tree(self._root, self.staging)
        names = self._root.names(self.snapshots)
        for name in names:
            if name.endswith(_PARTIAL):
                remove_tree(self._root, self.snapshots / name)
        for folder in (self.directory, *(self.snapshots / name for name in names if _ID.fullmatch(name))):
            for name in self._root.names(folder):
                if name.startswith(".iommuctl-"):
                    remove_file(self._root, folder / name)

    def _rename(self, name: str, other: str) -> None:
        with self._root.open_directory(self.snapshots, "write") as folder:
            os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _manifest(self, name: str) -> Manifest:
        path = self.snapshots / name / "manifest.json"
        manifest = decode(self._root, path, Manifest)
        if manifest.id != name:
            raise _damaged(self._root, path, f"it calls itself {manifest.id!r}")
        return manifest


def new_id(created: datetime) -> str:
    """Return a snapshot id: the time in UTC to the second, and six random digits."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"


def decode(root: Root, path: PurePosixPath, model: type[Model]) -> Model:
    """Read one of our state files. Raises ConflictError, naming the file, where it is missing or damaged."""
    content = root.read(path)
    if content is None:
        raise _damaged(root, path, "it is missing")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        facts = [f"{'.'.join(map(str, fact['loc'])) or 'file'}: {fact['msg'].lower()}" for fact in error.errors()]
        raise _damaged(root, path, *facts[:_SHOWN_FACTS]) from error


def encode(model: StateModel) -> bytes:
    """Return a state file's content."""
    return model.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


def _damaged(root: Root, path: PurePosixPath, *facts: str) -> ConflictError:
    hint = f"look at {root.outside(path)}, or move it away"
    return ConflictError(f"state file {str(path)!r} is damaged", details=facts, hint=hint)
