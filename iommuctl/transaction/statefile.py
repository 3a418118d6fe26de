# SPDX-License-Identifier: Apache-2.0
"""State files as they are read: hostile until these models have validated them. Imported only to read one.

Each model has the fields of the value that it gives; a test holds the two together.
"""

import re
from datetime import UTC
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from iommuctl.errors import BootConfigError, ConflictError
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import Change, FileClass, Op
from iommuctl.profile.beside import Beside
from iommuctl.profile.checks import check_parameter, check_profile_name
from iommuctl.transaction.durable import Metadata
from iommuctl.transaction.index import LATEST, SNAPSHOT_ID
from iommuctl.transaction.journal import JOURNAL_VERSION, Journal, JournalDirectory, JournalFile
from iommuctl.transaction.snapshot import MANIFEST_VERSION, Action, Blob, Manifest, Origin, SavedFile, State
from iommuctl.transaction.store import NewerStateError

_SHOWN_FACTS = 5
_STORED_BYTE = re.compile(r"\0([89a-f][0-9a-f])")

Model = TypeVar("Model", bound="StateModel")


def _restored(text: str) -> str:
    """Take back what `encode` made of a byte that is not UTF-8. Raises ValueError for any other NUL."""
    restored = _STORED_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text)
    if "\0" in restored:
        raise ValueError("holds a NUL byte")
    return restored


def _inner_path(text: object, info: ValidationInfo) -> PurePosixPath:
    """Return a path; the context of the validation keeps each, since a manifest names an entry in many places."""
    if not isinstance(text, str):
        raise ValueError("must be a path")  # noqa: TRY004 - pydantic takes no TypeError for a verdict
    known: dict[str, PurePosixPath] = {} if info.context is None else info.context
    path = known.get(text)
    if path is None:
        path = PurePosixPath(_restored(text))
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a path from the root that does not go up")
        known[text] = path
    return path


Text = Annotated[str, AfterValidator(_restored)]
ParameterText = Annotated[str, AfterValidator(check_parameter)]
ProfileName = Annotated[str, AfterValidator(check_profile_name)]
InnerPath = Annotated[PurePosixPath, PlainValidator(_inner_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SnapshotId = Annotated[str, Field(pattern=rf"^{SNAPSHOT_ID}$")]
Mode = Annotated[int, Field(ge=0, le=0o7777)]
CreationTime = Annotated[AwareDatetime, Field(lt=LATEST)]
OwnerId = Annotated[int, Field(ge=0, lt=2**32 - 1)]  # chown(2) takes the highest number for "leave it"
AttributeName = Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=255)]  # include/uapi/linux/limits.h
Temporary = Annotated[str, Field(pattern=r"^\.iommuctl-[0-9a-f]{16}\.tmp$")]
Hexadecimal = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]


class StateModel(BaseModel):
    """A part of a state file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Versioned(BaseModel):
    """What every version of a state file has; a file that is newer has an integer above ours there."""

    schema_version: Annotated[int, Field(strict=True, gt=MANIFEST_VERSION)]


class MetadataModel(StateModel):
    """What a file is next to its content."""

    mode: Mode
    uid: OwnerId
    gid: OwnerId
    mtime_ns: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    xattrs: dict[AttributeName, Hexadecimal] = Field(default_factory=dict)

    def value(self) -> Metadata:
        """Return the value that it validated."""
        return Metadata(self.mode, self.uid, self.gid, self.mtime_ns, self.xattrs)


class BlobModel(StateModel):
    """Where a content is."""

    offset: int = Field(ge=0)
    size: int = Field(ge=0)


class SavedFileModel(StateModel):
    """One file before and after."""

    path: InnerPath
    target: InnerPath
    file_class: FileClass = Field(validation_alias=AliasChoices("class", "file_class"))
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None
    before: MetadataModel | None
    blob: BlobModel | None

    @model_validator(mode="after")
    def _is_whole(self) -> "SavedFileModel":
        if (self.before_sha256 is None, self.before_sha256 is None) != (self.before is None, self.blob is None):
            raise ValueError("hash, metadata and content of a file before go together")
        return self

    def value(self) -> SavedFile:
        """Return the value that it validated."""
        return SavedFile(
            path=self.path,
            target=self.target,
            file_class=self.file_class,
            before_sha256=self.before_sha256,
            after_sha256=self.after_sha256,
            before=None if self.before is None else self.before.value(),
            blob=None if self.blob is None else Blob(self.blob.offset, self.blob.size),
        )


class ChangeModel(StateModel):
    """One parameter before and after."""

    op: Op
    before: Text | None
    after: Text | None
    path: InnerPath
    target: Text
    reason: Text

    def value(self) -> Change:
        """Return the value that it validated."""
        return Change(self.op, self.before, self.after, self.path, self.target, self.reason)


class OriginModel(StateModel):
    """Who had a change made."""

    user: Text = ""
    command: Text = ""
    why: Text = ""

    def value(self) -> Origin:
        """Return the value that it validated."""
        return Origin(self.user, self.command, self.why)


class BesideModel(StateModel):
    """What is kept next to a profile."""

    added: tuple[ParameterText, ...] = ()
    removed: tuple[ParameterText, ...] = ()

    def value(self) -> Beside:
        """Return the value that it validated."""
        return Beside(self.added, self.removed)


class ManifestModel(StateModel):
    """One snapshot's manifest."""

    schema_version: Literal[1] = MANIFEST_VERSION
    id: SnapshotId
    created: CreationTime
    action: Action
    of: SnapshotId | None
    profile: ProfileName
    inputs: dict[Text, Text] = Field(default_factory=dict)
    platform: Platform
    backend: Text
    state: State
    fingerprint: Text
    files: tuple[SavedFileModel, ...]
    changes: tuple[ChangeModel, ...]
    made_directories: tuple[InnerPath, ...]
    entries: tuple[InnerPath, ...] | None = None
    origin: OriginModel = OriginModel()
    beside: BesideModel = BesideModel()
    drivers: dict[Text, Text] = Field(default_factory=dict)

    def value(self) -> Manifest:
        """Return the value that it validated."""
        return Manifest(
            id=self.id,
            created=self.created.astimezone(UTC),
            action=self.action,
            of=self.of,
            profile=self.profile,
            inputs=self.inputs,
            platform=self.platform,
            backend=self.backend,
            state=self.state,
            fingerprint=self.fingerprint,
            files=tuple(file.value() for file in self.files),
            changes=tuple(change.value() for change in self.changes),
            made_directories=self.made_directories,
            entries=self.entries,
            origin=self.origin.value(),
            beside=self.beside.value(),
            drivers=self.drivers,
        )


class JournalFileModel(StateModel):
    """One file that a transaction may have written."""

    path: InnerPath
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None
    temporary: Temporary

    def value(self) -> JournalFile:
        """Return the value that it validated."""
        return JournalFile(self.path, self.before_sha256, self.after_sha256, self.temporary)


class JournalDirectoryModel(StateModel):
    """A directory that a transaction may have removed."""

    path: InnerPath
    mode: Mode

    def value(self) -> JournalDirectory:
        """Return the value that it validated."""
        return JournalDirectory(self.path, self.mode)


class JournalModel(StateModel):
    """The journal of one transaction."""

    schema_version: Literal[1] = JOURNAL_VERSION
    snapshot: SnapshotId
    files: tuple[JournalFileModel, ...]
    made_directories: tuple[InnerPath, ...]
    removed_directories: tuple[JournalDirectoryModel, ...]
    marks: dict[SnapshotId, State]
    started: tuple[tuple[Text, ...], ...] = ()

    def value(self) -> Journal:
        """Return the value that it validated."""
        return Journal(
            snapshot=self.snapshot,
            files=tuple(file.value() for file in self.files),
            made_directories=self.made_directories,
            removed_directories=tuple(directory.value() for directory in self.removed_directories),
            marks=self.marks,
            started=self.started,
        )


def read_manifest(root: Root, path: PurePosixPath, name: str) -> Manifest:
    """Read the manifest of the snapshot `name`. Raises ConflictError, naming the file, for any other content."""
    manifest = decode(root, path, ManifestModel).value()
    if manifest.id != name:
        raise damaged(root, path, f"it calls itself {manifest.id!r}")
    return manifest


def read_journal_file(root: Root, path: PurePosixPath) -> Journal:
    """Read a journal. Raises ConflictError, naming the file, for any other content."""
    return decode(root, path, JournalModel).value()


def damaged(root: Root, path: PurePosixPath, *facts: str) -> ConflictError:
    """Return the error for a state file that is not to be used."""
    hint = f"look at {root.outside(path)}, or move it away"
    return ConflictError(f"state file {str(path)!r} is damaged", details=facts, hint=hint)


def decode(root: Root, path: PurePosixPath, model: type[Model]) -> Model:
    """Read a state file by its model. Raises ConflictError, naming the file, for any other content."""
    try:
        content = root.read(path)
    except BootConfigError as error:
        raise damaged(root, path, error.message) from error
    if content is None:
        raise damaged(root, path, "it is missing")
    try:
        return model.model_validate_json(content, context={})
    except ValidationError as error:
        if (version := _newer_version(content)) is not None:
            raise NewerStateError(
                f"state file {str(path)!r} was written by a newer iommuctl",
                details=(f"its schema_version is {version}, and {MANIFEST_VERSION} is the newest known here",),
                hint="install that version of iommuctl, then run the same command again",
            ) from error
        facts = [f"{'.'.join(map(str, fact['loc'])) or 'file'}: {_fault(fact['type'])}" for fact in error.errors()]
        raise damaged(root, path, *facts[:_SHOWN_FACTS]) from error


def _fault(kind: str) -> str:
    """What is wrong with a field, by the kind that pydantic gives it."""
    return {"missing": "is missing", "extra_forbidden": "unknown key", "json_invalid": "not JSON"}.get(
        kind, "not what is written there"
    )


def _newer_version(content: bytes) -> int | None:
    try:
        return Versioned.model_validate_json(content).schema_version
    except ValidationError:
        return None
