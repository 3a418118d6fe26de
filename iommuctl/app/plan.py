# SPDX-License-Identifier: Apache-2.0
"""The plan that a dry-run shows and an apply carries out: one and the same object."""

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from iommuctl.app.host import Host, Survey
from iommuctl.errors import IommuctlError, UnavailableError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import STAGING, Change, Command, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments

if TYPE_CHECKING:
    from iommuctl.transaction.durable import Metadata
    from iommuctl.transaction.snapshot import State


class Plan(NamedTuple):
    """What would be done, complete: nothing is decided after this.

    An apply has `desired`; a rollback has `of`, the snapshot that it goes back to before. `runs` tells whether
    the commands are part of it or only listed. `entries` are those that are files of their own. The last four are a
    rollback's: the metadata that files get back, the directories that go, the states that other snapshots get, and the
    parameters that entries may not have any more.
    """

    profile: str
    of: str | None
    survey: Survey
    desired: DesiredArguments | None
    changes: tuple[Change, ...]
    edits: tuple[FileEdit, ...]
    commands: tuple[Command, ...]
    runs: bool
    findings: tuple[Finding, ...]
    fingerprint: str
    inputs: Mapping[str, str] = MappingProxyType({})
    entries: tuple[PurePosixPath, ...] = ()
    metadata: "Mapping[PurePosixPath, Metadata]" = MappingProxyType({})
    removed_directories: tuple[PurePosixPath, ...] = ()
    marks: "Mapping[str, State]" = MappingProxyType({})
    parameters_to_remove: Mapping[PurePosixPath, frozenset[str]] = MappingProxyType({})

    @property
    def needs_reboot(self) -> bool:
        """Whether the running kernel has other parameters than this plan leaves; never for another root."""
        running = self.survey.running
        if running is None:
            return False
        cmdline = Cmdline.parse(running.cmdline)
        if self.desired is not None:
            return bool(Conformer(self.desired, self.survey.catalogue).shortcomings(cmdline))
        runs = {parameter.text for parameter in cmdline.parameters}
        gone = {change.before for change in self.changes} - {change.after for change in self.changes}
        back = {change.after for change in self.changes} - {change.before for change in self.changes} - {None}
        return bool(gone & runs) or not back <= runs

    @property
    def is_changed(self) -> bool:
        """Whether carrying it out would change anything that is in scope."""
        return bool(self.edits) or (self.runs and bool(self.commands))


def lagging(
    host: Host, edits: tuple[FileEdit, ...], commands: tuple[Command, ...], *, runs: bool
) -> tuple[Finding, ...]:
    """Return where GRUB may go on reading the old files: on an XFS that may not be frozen (design, section 6)."""
    from iommuctl.host.mounts import unfreezable  # noqa: PLC0415 - an unchanged host needs none of it

    read_by_grub = {edit.path.parent for edit in edits if edit.file_class is not FileClass.SOURCE}
    read_by_grub |= {command.output.target.parent for command in commands if runs and command.output}
    return tuple(
        Finding(
            Rule.XFS_NOT_FROZEN,
            Severity.INFO,
            f"{folder} lies on the XFS of / or of our state; after a power cut GRUB may read the old files until the "
            "next mount replays the log",
            hint="a /boot of its own is not affected",
        )
        for folder in unfreezable(host.root, STAGING.parent, read_by_grub)
    )


def obstacles(
    host: Host, edits: tuple[FileEdit, ...], commands: tuple[Command, ...], *, runs: bool
) -> tuple[Finding, ...]:
    """Return what an apply of this plan would fail of now: files that may not be replaced, missing programs."""
    if not edits and not (runs and commands):
        return ()
    from iommuctl.host.commands import find_program  # noqa: PLC0415
    from iommuctl.transaction import preflight  # noqa: PLC0415 - an unchanged host needs none of it

    run = commands if runs else ()
    paths = (*(edit.path for edit in edits), *(command.output.target for command in run if command.output))
    found = [_obstacle(Rule.TARGET_NOT_WRITABLE, error) for error in preflight.write_obstacles(host.root, paths)]
    for name in dict.fromkeys(command.argv[0] for command in run):
        try:
            find_program(host.root, name)
        except UnavailableError as error:
            found.append(_obstacle(Rule.PROGRAM_MISSING, error))
    return tuple(found)


def _obstacle(rule: Rule, error: IommuctlError) -> Finding:
    return Finding(rule, Severity.WARNING, f"it will fail as things are: {error.brief}", hint=error.hint)


def writing_in_place(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Return the commands that write where they must by themselves: those after the last that publishes through us."""
    last = max((number for number, command in enumerate(commands) if command.output), default=-1)
    return commands[last + 1 :]


def pending(host: Host, commands: tuple[Command, ...]) -> tuple[Finding, ...]:
    """Tell that commands are left out, and which ones would have to run: inside the root that they are for."""
    findings: list[Finding] = []
    without_output: list[Command] = []
    for command in commands:
        if command.output:
            # Those before it made what it publishes.
            generator = without_output[0] if without_output else command
            target = command.output.target
            message = f"{target} is left as it is; the change has no effect before it is generated"
            findings.append(_pending(message, host.typed((generator.argv[0], "-o", str(target)))))
            without_output = []
        else:
            without_output.append(command)
    for command in without_output:
        line = shlex.join(command.argv)
        message = f"{line} is left out; the change has no effect before it runs"
        findings.append(_pending(message, host.typed(command.argv)))
    return tuple(findings)


def _pending(message: str, hint: str) -> Finding:
    return Finding(Rule.REGENERATE_PENDING, Severity.WARNING, message, hint=hint)
