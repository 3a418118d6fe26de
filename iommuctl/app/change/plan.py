# SPDX-License-Identifier: Apache-2.0
"""The plan that a dry-run shows and an apply or a rollback carries out: one and the same object. Values only."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

from iommuctl.app.host import Survey
from iommuctl.findings import Finding
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Ahead, Change, Command, FileEdit
from iommuctl.profile.beside import Beside
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.app.change.basis import Item
    from iommuctl.devices.planned import PlannedDevice
    from iommuctl.transaction.durable import Metadata
    from iommuctl.transaction.snapshot import State


class Steps(NamedTuple):
    """What is done, whatever it is for: nothing is decided after this.

    `runs` tells whether the commands are part of it or only listed. `basis` is what all that rests on and comes to, and
    `fingerprint` its hash. `entries` are those that are files of their own, `kernels` the releases that are installed.
    `ahead` are the edits and commands, the first of all, that are done before the others are begun.
    """

    survey: Survey
    changes: tuple[Change, ...]
    edits: tuple[FileEdit, ...]
    commands: tuple[Command, ...]
    runs: bool
    findings: tuple[Finding, ...]
    basis: "tuple[Item, ...]"
    fingerprint: str
    entries: tuple[PurePosixPath, ...] = ()
    kernels: tuple[str, ...] = ()
    ahead: Ahead = Ahead()

    @property
    def is_changed(self) -> bool:
        """Whether carrying it out would change anything that is in scope."""
        return bool(self.edits) or (self.runs and bool(self.commands))


class ApplyPlan(NamedTuple):
    """To bring a host to a profile, with the values that its inputs were given, and what is kept next to it.

    `records` tells whether that is something else than was kept so far, which has to be noted though no file changes.
    `devices` go to guests, and `drivers` are those of all others by `ADDRESS@VENDOR:DEVICE`; empty for other profiles.
    """

    steps: Steps
    profile: str
    desired: DesiredArguments
    inputs: Mapping[str, str]
    beside: Beside = Beside()
    why: str | None = None
    records: bool = False
    devices: "tuple[PlannedDevice, ...]" = ()
    drivers: Mapping[str, str] = MappingProxyType({})

    @property
    def changes_something(self) -> bool:
        """Whether carrying it out would change anything, what is kept next to the profile included."""
        return self.steps.is_changed or self.records

    @property
    def needs_reboot(self) -> bool:
        """Whether the running kernel has other parameters than this plan leaves; never for another root."""
        running = self.steps.survey.running
        if running is None:
            return False
        return bool(Conformer(self.desired, self.steps.survey.catalogue).shortcomings(Cmdline.parse(running.cmdline)))


class RollbackPlan(NamedTuple):
    """To go back to before the snapshot `of`, which was of this profile and inputs.

    `metadata` is what files get back, `removed_directories` go, `marks` are the states that other snapshots get, and
    `parameters_to_remove` those that entries may not have any more.
    """

    steps: Steps
    of: str
    profile: str
    inputs: Mapping[str, str]
    metadata: "Mapping[PurePosixPath, Metadata]"
    removed_directories: tuple[PurePosixPath, ...]
    marks: "Mapping[str, State]"
    parameters_to_remove: Mapping[PurePosixPath, frozenset[str]]
    beside: Beside = Beside()
    why: str | None = None

    @property
    def changes_something(self) -> bool:
        """Whether carrying it out would change anything, the states of snapshots included."""
        return self.steps.is_changed or bool(self.marks)

    @property
    def needs_reboot(self) -> bool:
        """Whether the running kernel has other parameters than this plan leaves; never for another root."""
        running = self.steps.survey.running
        if running is None:
            return False
        runs = {parameter.text for parameter in Cmdline.parse(running.cmdline).parameters}
        before = {change.before for change in self.steps.changes}
        after = {change.after for change in self.steps.changes}
        return bool((before - after) & runs) or not after - before - {None} <= runs


Plan = ApplyPlan | RollbackPlan
