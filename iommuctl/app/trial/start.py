# SPDX-License-Identifier: Apache-2.0
"""Start: plan a trial boot, refuse it where the way back is not certain, and arm it."""

import json
import os
from collections.abc import Mapping
from datetime import UTC
from functools import partial
from pathlib import Path
from types import MappingProxyType

from iommuctl import sha256
from iommuctl.app.change.apply import draft_apply
from iommuctl.app.change.execute import changed_inputs
from iommuctl.app.change.plan import ApplyPlan, Steps
from iommuctl.app.change.planning import Choices, obstacles, stop_on_errors
from iommuctl.app.host import Host
from iommuctl.app.trial.state import read_boot, read_state, require_running
from iommuctl.app.trial.surroundings import Watchdog, judge_host, read_watchdog
from iommuctl.app.trial.units import units
from iommuctl.backends.trial.base import Condition, Judge, OneShotKind, Order, TrialEntry
from iommuctl.backends.trial.menu import written_line
from iommuctl.backends.trial.table import render
from iommuctl.errors import ExecutionError, StalePlanError, UnavailableError, UsageError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import parse_entry
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.host.programs import find_program
from iommuctl.host.volumes import volume_of
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.trial import own_tokens
from iommuctl.pattern import pattern
from iommuctl.plan import FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.transaction.durable import temporary_name
from iommuctl.transaction.trial import arming, oneshot
from iommuctl.transaction.trial.record import Choice, ConfirmBy, OnFailure, Phase, Terms, TrialFile, TrialRecord
from iommuctl.tree import digest
from iommuctl.value import NamedTuple

SHORTEST = 120  # seconds; a slow host takes that long to its first check
USUAL_TIMEOUT = 900
_EDITORS = ("grub-editenv", "grub2-editenv")
_CHECKERS = ("grub-script-check", "grub2-script-check")
_PROGRAM_SECONDS = 60
_BOOTCTL_READS = pattern(r"[0-9A-Za-z+._-]+")  # systemd, efi-loader.c: efi_loader_entry_name_valid


class Wishes(NamedTuple):
    """What is asked of a trial next to its profile. `attended`: somebody types what each boot waits for."""

    confirm: ConfirmBy = ConfirmBy.MANUAL
    timeout: int = USUAL_TIMEOUT
    on_failure: OnFailure = OnFailure.REBOOT
    attended: bool = False
    inputs: Mapping[str, str] = MappingProxyType({})


class TrialPlan(NamedTuple):
    """What a trial writes now (`edits`, the choice last), and what a confirmation would make permanent.

    `asked` is what names the profile on the next boot too. `entry` is None where nothing is to be tried, since the
    profile is in place. `conditions` is what was looked at.
    """

    id: str
    asked: str
    permanent: ApplyPlan
    entry: TrialEntry | None
    edits: tuple[FileEdit, ...]
    conditions: tuple[Condition, ...]
    findings: tuple[Finding, ...]
    wishes: Wishes
    watchdog: Watchdog | None
    promise: str


def plan_trial(host: Host, profile: str, choices: Choices, wishes: Wishes, program: tuple[str, ...]) -> TrialPlan:
    """Plan a trial. Writes nothing and runs nothing; `program` is how systemd calls this one.

    Raises UsageError for another root, UnavailableError where the way back is not certain, and what an apply raises.
    """
    require_running(host, "trial")
    if wishes.timeout < SHORTEST:
        raise UsageError(f"a limit of {wishes.timeout} s ends healthy boots", hint=f"--timeout {SHORTEST} or more")
    unproven = frozenset({Rule.TRIAL_UNPROVEN.value})
    permanent = draft_apply(host, profile, choices._replace(force=choices.force - unproven, inputs=wishes.inputs))
    steps = permanent.steps
    stop_on_errors(steps.findings, choices.force)
    if steps.ahead.commands:
        raise UnavailableError(
            "no image holds the script yet that reads which devices a line chooses, so a trial would bind none",
            hint=f"iommuctl apply {profile}, whose images a later trial has",
        )
    trial, watchdog = _new_id(host), read_watchdog(host.root)
    promise = promise_of(steps)
    is_path = "/" in profile or profile.endswith(".toml")  # as `find_profile` takes it
    asked = str(Path(profile).absolute()) if is_path else profile
    plan = TrialPlan(trial, asked, permanent, None, (), (), steps.findings, wishes, watchdog, promise)
    if not steps.is_changed:
        return plan
    judge = Judge()
    _judge_last(host, judge)
    judge_host(host.root, judge, wishes.confirm, attended=wishes.attended)
    catalogue = steps.survey.catalogue
    order = Order(
        trial=trial,
        profile=permanent.profile,
        conformer=Conformer(permanent.desired, catalogue),
        catalogue=catalogue,
        watchdog=watchdog is not None and watchdog.is_free,
        volume_of=partial(volume_of, host.root),
    )
    rendered = render(steps.survey.backend.name, steps.survey.tree, steps.survey.facts, order)
    told = {one.rule: one for one in rendered.conditions}
    told |= {one.rule: one for one in judge.conditions if not one.holds or told.get(one.rule, one).holds}
    conditions = tuple(told.values())
    failed = [one for one in conditions if not one.holds]
    if failed or rendered.entry is None:
        raise _refused(failed)
    _require_programs(host, rendered.entry)
    terms = Terms(wishes.confirm, wishes.timeout, wishes.on_failure)
    texts = units(trial, terms, program)
    made = tuple(
        FileEdit(path, FileClass.SOURCE, host.root.read(path), text.encode(), "ends the trial in time")
        for path, text in texts.items()
    )
    edits = (*made, rendered.entry.edit)
    findings = (*steps.findings, *_notes(rendered.entry, watchdog), *obstacles(host, edits, (), runs=False))
    return plan._replace(entry=rendered.entry, edits=edits, conditions=conditions, findings=findings)


def start_trial(host: Host, plan: TrialPlan, choices: Choices) -> TrialRecord:
    """Arm what was planned. On an error nothing of it is left. Raises what `arming.arm` raises."""
    entry = plan.entry
    if entry is None:
        raise UsageError("nothing is to be tried", hint=f"iommuctl verify {plan.permanent.profile}")
    steps = plan.permanent.steps
    terms = Terms(plan.wishes.confirm, plan.wishes.timeout, plan.wishes.on_failure)
    record = TrialRecord(
        id=plan.id,
        created=host.clock().astimezone(UTC),
        profile=plan.permanent.profile,
        asked=plan.asked,
        inputs=dict(plan.permanent.inputs),
        platform=steps.survey.facts.platform,
        backend=steps.survey.backend.name,
        forced=tuple(sorted(choices.force)),
        terms=terms,
        entry=entry.id,
        line=str(entry.cmdline),
        tokens=entry.tokens,
        choice=Choice(entry.one_shot.kind, entry.one_shot.path, entry.one_shot.value, _chosen_before(host, entry)),
        files=tuple(_file(edit, entry) for edit in plan.edits),
        made_directories=(),
        permanent=plan.promise,
        added=choices.beside.added,
        removed=choices.beside.removed,
        why=choices.why or "",
        devices=choices.devices,
        boot=read_boot(host.root).id,
        phase=Phase.ARMING,
    )
    return arming.arm(
        host.root,
        host.store,
        record,
        plan.edits,
        verify_unchanged=lambda: changed_inputs(host, plan.permanent),
        read_back=lambda: _read_back(host, record, entry),
    )


def require_promise(plan: TrialPlan, expected: str | None, *, again: str) -> None:
    """Raise StalePlanError where a confirmation would not do what is expected; `again` shows what it would do."""
    if expected is not None and plan.permanent.steps.is_changed and plan.promise != expected:
        raise StalePlanError(
            "what a confirmation would make permanent is not what is expected",
            details=(f"expected {expected}", f"but it is {plan.promise}"),
            hint=f"look at the new plan: {again}",
        )


def promise_of(steps: Steps) -> str:
    """Return the hash of what a confirmation makes permanent: every file before and after, and on which kernels.

    Nothing in it changes by a reboot alone.
    """
    parts = {
        "version": 1,
        "files": [[str(edit.path), digest(edit.before), digest(edit.after)] for edit in steps.edits],
        "commands": [list(command.argv) for command in steps.commands],
        "kernels": list(steps.survey.facts.kernels),
    }
    return sha256.hexadecimal(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape"))


def _new_id(host: Host) -> str:
    """A trial's id: a loader may compare ids without regard to capitals, so there are none."""
    return f"{host.clock().astimezone(UTC):%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"


def _judge_last(host: Host, judge: Judge) -> None:
    state = read_state(host)
    over = state is None or state.phase.is_over
    judge.say(
        Rule.TRIAL_ARMED,
        over,
        "no trial is under way" if state is None or over else f"trial {state.record.id} is {state.phase}",
        "the record of the last trial",
        "iommuctl trial cancel",
    )


def _refused(failed: list[Condition]) -> UnavailableError:
    first = failed[0] if failed else None
    return UnavailableError(
        "no trial boot here: it is not certain that the host would come back",
        details=tuple(f"{one.rule}: {one.found} (by {one.by})" for one in failed),
        hint=first.hint if first is not None and first.hint else "iommuctl apply, with a console at hand",
    )


def _notes(entry: TrialEntry, watchdog: Watchdog | None) -> tuple[Finding, ...]:
    told: list[Finding] = []
    if not entry.is_proven:
        message = "with this loader no trial was booted in the lab of iommuctl; what it rests on was"
        told.append(
            Finding(Rule.TRIAL_UNPROVEN, Severity.WARNING, message, hint="--force trial-unproven goes with --yes")
        )
    if watchdog is None:
        message = "no hardware watchdog is there: a hang before the time limit runs needs a power cycle"
    elif watchdog.is_free:
        message = f"{watchdog.identity} ends a hang once systemd runs; before that one needs a power cycle"
    else:
        message = f"{watchdog.identity} is in use already, and is left to who uses it"
    told.append(Finding(Rule.TRIAL_WATCHDOG, Severity.INFO, message))
    return tuple(told)


def _require_programs(host: Host, entry: TrialEntry) -> None:
    if entry.one_shot.kind is OneShotKind.GRUBENV:
        _program(host, _EDITORS)


def _program(host: Host, names: tuple[str, ...]) -> str:
    """The first of these programs that is there. Raises UnavailableError where none is."""
    for name in names[:-1]:
        try:
            find_program(host.root, name)
        except UnavailableError:
            continue
        return name
    find_program(host.root, names[-1])
    return names[-1]


def _chosen_before(host: Host, entry: TrialEntry) -> str | None:
    if entry.one_shot.kind is OneShotKind.EFI:
        return None
    content = host.root.read(entry.one_shot.path) or b""
    return GrubEnv.parse(entry.one_shot.path, content).get(oneshot.NEXT_ENTRY)


def _file(edit: FileEdit, entry: TrialEntry) -> TrialFile:
    block = entry.block if edit is entry.edit else None
    content = block if block is not None else edit.after or b""
    return TrialFile(edit.path, content, block is not None, edit.before is None, temporary_name())


def _read_back(host: Host, record: TrialRecord, entry: TrialEntry) -> None:
    """Read the entry, and once it is made the choice, as the loader does. Raises ExecutionError where they differ."""
    content = host.root.read(entry.edit.path)
    if content is None:
        raise ExecutionError(f"{entry.edit.path} is gone")
    armed = oneshot.is_armed(host.root, record.choice)
    if entry.block is not None:
        found = written_line(entry.edit.path, content, entry.id)
        line = None if found is None else found[1]
        _ask_script_check(host, entry)
    else:
        parsed = parse_entry(entry.edit.path, content.decode("utf-8", "surrogateescape"))
        line = Cmdline.parse(" ".join(one.unquoted for one in parsed.options))
    if entry.one_shot.kind is OneShotKind.EFI:
        _ask_bootctl(host, entry)
    elif armed:
        _ask_editenv(host, record)
    have = () if line is None else own_tokens(line)
    if missing := [token for token in entry.tokens if token not in have]:
        raise ExecutionError(
            "the trial's entry, read back, is not what was planned", details=(f"missing: {missing[0]}",)
        )


def _ask_script_check(host: Host, entry: TrialEntry) -> None:
    try:
        checker = _program(host, _CHECKERS)
    except UnavailableError:
        return
    host.runner.run((checker, str(entry.edit.path)), timeout=_PROGRAM_SECONDS)


def _ask_editenv(host: Host, record: TrialRecord) -> None:
    path = str(record.choice.path)
    listed = host.runner.run((_program(host, _EDITORS), path, "list"), timeout=_PROGRAM_SECONDS).stdout
    if f"{oneshot.NEXT_ENTRY}={record.choice.value}" not in listed.splitlines():
        raise ExecutionError(f"grub-editenv does not show the choice in {path}")


def _ask_bootctl(host: Host, entry: TrialEntry) -> None:
    if _BOOTCTL_READS.fullmatch(entry.id) is None:
        return  # such as one with a ~, which the loader reads (booted with 257)
    try:
        find_program(host.root, "bootctl")
    except UnavailableError:
        return
    if entry.id not in host.runner.run(("bootctl", "list"), timeout=_PROGRAM_SECONDS).stdout:
        raise ExecutionError(f"bootctl does not list {entry.id}")
