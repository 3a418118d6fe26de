# SPDX-License-Identifier: Apache-2.0
"""Record: what is known of the last trial boot, on disk before anything of it is, and kept when it is over."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final

from iommuctl.backends.trial.base import OneShotKind
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.transaction.durable import write_file
from iommuctl.transaction.snapshot import encode, time_text
from iommuctl.transaction.store import Store
from iommuctl.value import NamedTuple

RECORD_VERSION: Final = 1
_NAME = "trial.json"


class Phase(StrEnum):
    """How far a trial has come. Those from `confirmed` on are its ends."""

    ARMING = "arming"
    ARMED = "armed"
    RUNNING = "running"
    FAILED = "failed"
    KEPT = "kept"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    RETURNED = "returned"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing of the trial is on the host any more."""
        return self in (Phase.CONFIRMED, Phase.RETURNED, Phase.CANCELLED)


class ConfirmBy(StrEnum):
    """Who makes a trial permanent."""

    MANUAL = "manual"
    AUTO = "auto"


class OnFailure(StrEnum):
    """What becomes of a trial that fails."""

    REBOOT = "reboot"
    STAY = "stay"


class Outcome(StrEnum):
    """What a check of the trial's boot gave."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"


class TrialCheck(NamedTuple):
    """One check of the trial's boot, and its last words."""

    name: str
    result: Outcome
    detail: str


class TrialFile(NamedTuple):
    """A file of a trial, or, with `is_block`, what is added to one that may be somebody else's.

    `is_new`: there was no such file before. `temporary` is a name next to it.
    """

    path: PurePosixPath
    content: bytes
    is_block: bool
    is_new: bool
    temporary: str


class Choice(NamedTuple):
    """The variable that names the entry for one boot, and what it was before (None: not set)."""

    kind: OneShotKind
    path: PurePosixPath
    value: str
    before: str | None


class Terms(NamedTuple):
    """How a trial ends: who confirms it, within how many seconds of its boot, and what a failure does."""

    confirm: ConfirmBy
    timeout: int
    on_failure: OnFailure


class TrialRecord(NamedTuple):
    """One trial. `boot` is the boot that armed it, `trial_boot` the one that ran it, by the kernel's boot ids.

    `asked` names the profile, or its file; `added` and `removed` are what was asked for next to it, `why` the reason,
    `devices` the addresses of devices that were named.
    `tokens` are parameters that its line has for certain, `permanent` is the
    hash of what a confirmation would do, `confirming_since` the time before the permanent change began; `is_checked`:
    every check has passed.
    """

    id: str
    created: datetime
    profile: str
    asked: str
    inputs: Mapping[str, str]
    platform: Platform
    backend: str
    forced: tuple[str, ...]
    terms: Terms
    entry: str
    line: str
    tokens: tuple[str, ...]
    choice: Choice
    files: tuple[TrialFile, ...]
    made_directories: tuple[PurePosixPath, ...]
    permanent: str
    boot: str
    phase: Phase
    reason: str = ""
    trial_boot: str | None = None
    checks: tuple[TrialCheck, ...] = ()
    is_checked: bool = False
    confirming_since: datetime | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    why: str = ""
    devices: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the content of its file."""
        return encode(
            {
                "schema_version": RECORD_VERSION,
                **self._asdict(),
                "created": time_text(self.created),
                "inputs": dict(self.inputs),
                "forced": list(self.forced),
                "terms": self.terms._asdict(),
                "tokens": list(self.tokens),
                "choice": {**self.choice._asdict(), "path": str(self.choice.path)},
                "files": [
                    {**file._asdict(), "path": str(file.path), "content": file.content.hex()} for file in self.files
                ],
                "made_directories": list(map(str, self.made_directories)),
                "checks": [check._asdict() for check in self.checks],
                "added": list(self.added),
                "removed": list(self.removed),
                "devices": list(self.devices),
                "confirming_since": None if self.confirming_since is None else time_text(self.confirming_since),
            }
        )


def record_path(store: Store) -> PurePosixPath:
    """Where the record lies inside the root."""
    return store.directory / _NAME


def read_record(root: Root, store: Store) -> TrialRecord | None:
    """Return the last trial; None where there was none. Raises ConflictError for a record that is damaged."""
    path = record_path(store)
    if root.stat(path) is None or not store.exists:
        return None
    from iommuctl.transaction.trial.statefile import read_trial_file  # noqa: PLC0415 - pydantic only where one is read

    return read_trial_file(root, path)


def write_record(root: Root, store: Store, record: TrialRecord) -> None:
    """Write the record in one durable step."""
    write_file(root, record_path(store), record.encode())
