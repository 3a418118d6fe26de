# SPDX-License-Identifier: Apache-2.0
"""Planning: what apply and rollback decide alike: choices, what stops, what would fail, what is left out."""

import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from iommuctl.app.host import Host
from iommuctl.errors import IommuctlError, StoppedError, UnavailableError, UsageError
from iommuctl.facts import Platform
from iommuctl.findings import NEVER_FORCED, Finding, Rule, Severity
from iommuctl.kernel.spelling import meant
from iommuctl.plan import STAGING, Command, FileClass, FileEdit, Regenerate
from iommuctl.profile.beside import Beside
from iommuctl.value import NamedTuple


class Choices(NamedTuple):
    """What the administrator chose next to the profile. `agreed`: the change needs no question.

    `devices` are the addresses of devices that were named, whose ids are among the inputs.
    """

    platform: Platform | None = None
    backend: str | None = None
    inputs: Mapping[str, str] = MappingProxyType({})
    regenerate: Regenerate = Regenerate.AUTO
    force: frozenset[str] = frozenset()
    beside: Beside = Beside()
    why: str | None = None
    agreed: bool = False
    devices: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The options that choose the same, but for what is to run and who agrees."""
        words = [word for text in self.beside.added for word in ("--add", text)]
        words += [word for text in self.beside.removed for word in ("--remove", text)]
        words += () if self.platform is None else ("--platform", self.platform.value)
        words += () if self.backend is None else ("--backend", self.backend)
        for name, value in self.inputs.items():
            words += ("--set", f"{name}={value}")
        for rule in sorted(self.force):
            words += ("--force", rule)
        return tuple(words)


def runs_commands(host: Host, regenerate: Regenerate) -> bool:
    """Whether generated files are in scope: on this host unless declined, in another root only where asked for."""
    return host.is_system if regenerate is Regenerate.AUTO else regenerate is Regenerate.ALWAYS


def require_known(command: str, forced: frozenset[str], known: Iterable[str]) -> None:
    """Raise UsageError for a rule to force that stops nothing, which a misspelt one would do in silence."""
    rules = tuple(sorted(set(known)))
    for rule in sorted(forced - set(rules)):
        raise UsageError(
            f"no finding that stops {command} has the rule {rule!r}",
            details=(f"rules: {', '.join(rules)}",),
            hint=f"iommuctl {command} without it tells the rule of what stops it",
            correction=(rule, meant(rule, rules)),
        )


def stop_on_errors(findings: tuple[Finding, ...], force: frozenset[str]) -> None:
    """Raise StoppedError for the findings that are errors and not forced."""
    lifted = force - NEVER_FORCED
    errors = [finding for finding in findings if finding.severity is Severity.ERROR and finding.rule not in lifted]
    if errors:
        named = sorted({finding.rule for finding in errors})
        rules = " ".join(f"--force {rule}" for rule in named)
        if firm := [rule for rule in named if rule in NEVER_FORCED]:
            hint = f"no --force lifts {' or '.join(firm)}; iommuctl devices shows what can go to a guest"
        else:
            hint = f"mend it, or go on in spite of it: {rules}"
        first, *others = errors
        raise StoppedError(
            _sentence(first),
            details=(
                *((f"mend: {first.hint}",) if first.hint else ()),
                *(f"{finding.rule}: {_sentence(finding)}" for finding in others),
            ),
            hint=hint,
        )


def _sentence(finding: Finding) -> str:
    return finding.message if finding.parameter is None else f"{finding.parameter!r}: {finding.message}"


def lagging(
    host: Host, edits: tuple[FileEdit, ...], commands: tuple[Command, ...], *, runs: bool
) -> tuple[Finding, ...]:
    """Return where GRUB may go on reading the old files: on an XFS that may not be frozen."""
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
    from iommuctl.host.programs import find_program  # noqa: PLC0415
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


def pending(host: Host, commands: tuple[Command, ...], *, again: str | None = None) -> tuple[Finding, ...]:
    """Tell that commands are left out, and which ones would have to run: inside the root that they are for.

    `again` is the command of ours that runs them, confined, in a root that is not the running system.
    """
    if commands and again is not None and not host.is_system:
        left = [str(command.output.target) for command in commands if command.output]
        line = shlex.join(commands[-1].argv)
        message = (
            f"{', '.join(left)} is left as it is; the change has no effect before it is generated"
            if left
            else f"{line} is left out; the change has no effect before it runs"
        )
        message += ", in the image's own boot or, where you trust the tree, by the hint"
        return (_pending(message, again),)
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
