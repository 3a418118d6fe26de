# SPDX-License-Identifier: Apache-2.0
"""The record of a trial boot as it is read: hostile until these models have validated it. Imported only to read it."""

from datetime import UTC
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from iommuctl.backends.trial.base import OneShotKind
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.transaction.statefile import (
    CreationTime,
    Hexadecimal,
    InnerPath,
    ProfileName,
    Sha256,
    StateModel,
    Temporary,
    Text,
    decode,
)
from iommuctl.transaction.trial.record import (
    RECORD_VERSION,
    Choice,
    ConfirmBy,
    OnFailure,
    Outcome,
    Phase,
    Terms,
    TrialCheck,
    TrialFile,
    TrialRecord,
)


class ChoiceModel(StateModel):
    """The variable that names an entry for one boot."""

    kind: OneShotKind
    path: InnerPath
    value: Annotated[str, Field(pattern=r"^~?iommuctl-trial-[0-9a-z-]+(\.conf)?$")]
    before: Literal[""] | None


class TermsModel(StateModel):
    """How a trial ends."""

    confirm: ConfirmBy
    timeout: Annotated[int, Field(ge=0)]
    on_failure: OnFailure


class TrialFileModel(StateModel):
    """A file of a trial."""

    path: InnerPath
    content: Hexadecimal
    is_block: bool
    is_new: bool
    temporary: Temporary


class TrialCheckModel(StateModel):
    """One check of the trial's boot."""

    name: Text
    result: Outcome
    detail: Text


class TrialModel(StateModel):
    """The record of the last trial boot."""

    schema_version: Literal[1] = RECORD_VERSION
    id: Annotated[str, Field(pattern=r"^[0-9a-z-]+$")]
    created: CreationTime
    profile: ProfileName
    asked: Text
    inputs: dict[Text, Text]
    platform: Platform
    backend: Text
    forced: tuple[Text, ...]
    terms: TermsModel
    entry: Text
    line: Text
    tokens: tuple[Text, ...]
    choice: ChoiceModel
    files: tuple[TrialFileModel, ...]
    made_directories: tuple[InnerPath, ...]
    permanent: Sha256
    boot: Text
    phase: Phase
    reason: Text
    trial_boot: Text | None
    checks: tuple[TrialCheckModel, ...]
    is_checked: bool
    confirming_since: CreationTime | None
    added: tuple[Text, ...] = ()
    removed: tuple[Text, ...] = ()
    why: Text = ""
    devices: tuple[Text, ...] = ()

    def value(self) -> TrialRecord:
        """Return the value that it validated."""
        since = self.confirming_since
        return TrialRecord(
            id=self.id,
            created=self.created.astimezone(UTC),
            profile=self.profile,
            asked=self.asked,
            inputs=self.inputs,
            platform=self.platform,
            backend=self.backend,
            forced=self.forced,
            terms=Terms(self.terms.confirm, self.terms.timeout, self.terms.on_failure),
            entry=self.entry,
            line=self.line,
            tokens=self.tokens,
            choice=Choice(self.choice.kind, self.choice.path, self.choice.value, self.choice.before),
            files=tuple(
                TrialFile(one.path, bytes.fromhex(one.content), one.is_block, one.is_new, one.temporary)
                for one in self.files
            ),
            made_directories=self.made_directories,
            permanent=self.permanent,
            boot=self.boot,
            phase=self.phase,
            reason=self.reason,
            trial_boot=self.trial_boot,
            checks=tuple(TrialCheck(one.name, one.result, one.detail) for one in self.checks),
            is_checked=self.is_checked,
            confirming_since=None if since is None else since.astimezone(UTC),
            added=self.added,
            removed=self.removed,
            why=self.why,
            devices=self.devices,
        )


def read_trial_file(root: Root, path: PurePosixPath) -> TrialRecord:
    """Read the record of a trial boot. Raises ConflictError, naming the file, for any other content."""
    return decode(root, path, TrialModel).value()
