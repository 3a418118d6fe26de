# SPDX-License-Identifier: Apache-2.0
"""Execute: carry out a plan as one transaction; everything it did is undone when anything goes wrong."""

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePosixPath
from typing import assert_never

from iommuctl.app.change.plan import ApplyPlan, Plan, RollbackPlan
from iommuctl.app.change.planning import writing_in_place
from iommuctl.app.host import Host, facts_of
from iommuctl.app.rollback.reversal import still_there
from iommuctl.errors import BootConfigError, ExecutionError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import identity
from iommuctl.host.descriptors import READ_LIMIT
from iommuctl.host.space import files_limited, room_kept
from iommuctl.plan import Command
from iommuctl.transaction.snapshot import Action, Origin
from iommuctl.transaction.transaction import Transaction
from iommuctl.transaction.work import Purpose, Work
from iommuctl.tree import Overlay, Tree
from iommuctl.value import NamedTuple

Progress = Callable[[Command], AbstractContextManager[None]]
# grub-mkconfig asks every disk with os-prober; ten minutes is far beyond what slow hosts need.
_COMMAND_TIMEOUT = 600.0
_SHOWN_PROBLEMS = 5


class Executed(NamedTuple):
    """What came of a plan. `snapshot` is None where nothing was to do; `findings` are of the programs that ran."""

    snapshot: str | None
    findings: tuple[Finding, ...] = ()


def carry_out(host: Host, plan: Plan, *, progress: Progress, origin: Callable[[], Origin] = Origin) -> Executed:
    """Carry out a plan and read the result back. `origin` gives what the snapshot says of who had it done.

    Raises StalePlanError where the files are not as planned any more, BusyError where others are at work,
    ExecutionError where a write, a command or the read-back failed; then all is as it was, and the error says so.
    """
    if not plan.changes_something:
        return Executed(None)
    steps = plan.steps
    commands = steps.commands if steps.runs else ()
    purpose, work = _purpose(plan, origin()), _work(plan, commands)
    ahead = steps.ahead.commands if steps.runs else ()
    following = commands[len(ahead) :]
    in_place = writing_in_place(following)
    findings: list[Finding] = []
    if ahead:
        from iommuctl.app.initramfs.groundwork import require_room  # noqa: PLC0415 - few plans build an image

        require_room(host, steps.ahead)

    def take_back(argv: tuple[str, ...]) -> None:
        host.runner.run(argv, timeout=_COMMAND_TIMEOUT)

    def run(command: Command) -> None:
        with progress(command):
            if command in ahead or command in in_place:
                completed = host.runner.run(command.argv, timeout=_COMMAND_TIMEOUT)
            else:
                # What is published is read whole, so what is longer than can be read need not be written.
                with files_limited(READ_LIMIT), room_kept(host.root, host.store.directory) as room:
                    completed = host.runner.run(command.argv, timeout=_COMMAND_TIMEOUT, room=room)
        if lacking := [one for one in command.shows if one not in completed.stdout]:
            raise ExecutionError(
                f"{shlex.join(command.argv)} does not show what has to be there",
                details=[f"missing: {one}" for one in lacking],
            )
        if completed.left:
            message = f"{command.argv[0]} has left running: {', '.join(completed.left)}"
            hint = "see that it has ended, then look at the result: " + host.root.command("status")
            findings.append(Finding(Rule.PROCESS_LEFT, Severity.WARNING, message, hint=hint))

    with Transaction.begin(
        host.root, host.store, host.clock, purpose, work, verify_unchanged=lambda: changed_inputs(host, plan)
    ) as transaction:
        transaction.write_ahead(edit.path for edit in steps.ahead.edits)
        for command in ahead:
            if command.undo is not None:
                transaction.note_start(command.undo, partial(take_back, command.undo))
            run(command)
        transaction.write()
        for command in following:
            if command in in_place:
                # Such as proxmox-boot-tool. What publishes through us is undone like every file.
                transaction.note_start(command.argv, partial(run, command))
            with transaction.generating():
                run(command)
            if command.output:
                staged = host.root.read(command.output.staging)
                if staged is None:
                    raise ExecutionError(f"{command.argv[0]} left nothing to put at {command.output.target}")
                # A generator that lies is found out before its output goes live.
                preview = Overlay(host.root, {command.output.target: staged})
                _raise_problems(_problems(plan, preview, generated=True))
                transaction.publish(command.output.target, staged)
        with host.root.held() as written:
            problems = _problems(plan, written, generated=bool(following))
            _raise_problems((*problems, *_left_over(plan, written)))
    return Executed(transaction.snapshot.id, tuple(findings))


def changed_inputs(host: Host, plan: Plan) -> tuple[PurePosixPath, ...]:
    """Return the paths that are no longer what a plan rests on."""
    with host.root.held() as now:
        changed = plan.steps.survey.tree.recheck(now)
    facts = plan.steps.survey.facts
    if not changed and facts_of(host, None if facts.platform_assumed else facts.platform) != facts:
        return (PurePosixPath("/boot"),)
    return changed


def _purpose(plan: Plan, origin: Origin) -> Purpose:
    """What the snapshot says of a plan."""
    match plan:
        case ApplyPlan():
            action, of = Action.APPLY, None
        case RollbackPlan():
            action, of = Action.ROLLBACK, plan.of
        case _:
            assert_never(plan)
    steps = plan.steps
    return Purpose(
        action=action,
        of=of,
        profile=plan.profile,
        platform=steps.survey.facts.platform,
        backend=steps.survey.backend.name,
        fingerprint=steps.fingerprint,
        changes=steps.changes,
        inputs=plan.inputs,
        entries=tuple(map(identity, steps.entries)),
        origin=origin,
        beside=plan.beside,
        drivers=plan.drivers if isinstance(plan, ApplyPlan) else {},
    )


def _work(plan: Plan, commands: tuple[Command, ...]) -> Work:
    """What the transaction does of a plan."""
    generated = tuple(command.output.target for command in commands if command.output)
    match plan:
        case ApplyPlan():
            return Work(edits=plan.steps.edits, generated=generated)
        case RollbackPlan():
            return Work(plan.steps.edits, generated, plan.metadata, plan.removed_directories, plan.marks)
        case _:
            assert_never(plan)


def _problems(plan: Plan, tree: Tree, *, generated: bool) -> tuple[str, ...]:
    """Read the result back. A rollback's sources are right by their bytes, also where they are not understood."""
    found = plan.steps.survey
    match plan:
        case ApplyPlan():
            return found.backend.read_back(tree, found.facts, plan.desired, generated=generated)
        case RollbackPlan():
            try:
                return found.backend.out_of_step(tree, found.facts, generated=generated)
            except BootConfigError:
                return ()
        case _:
            assert_never(plan)


def _left_over(plan: Plan, tree: Tree) -> tuple[str, ...]:
    return still_there(tree, plan.parameters_to_remove) if isinstance(plan, RollbackPlan) else ()


def _raise_problems(problems: tuple[str, ...]) -> None:
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        details = (*problems[:_SHOWN_PROBLEMS], *((f"and {more} more",) if more > 0 else ()))
        raise ExecutionError("the result, read back, is not what was planned", details=details)
