# SPDX-License-Identifier: Apache-2.0
"""Ending: what takes a trial from a host: that it came back, that it was cut off, a confirmation, a cancellation."""

from contextlib import ExitStack, nullcontext, suppress

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.trial.start import promise_of
from iommuctl.app.trial.state import carries_token, imposture, read_boot, read_state, require_running, state_of
from iommuctl.app.trial.units import KEPT, NAMES
from iommuctl.errors import IommuctlError, StalePlanError, UsageError
from iommuctl.findings import Rule
from iommuctl.host.caller import login_user
from iommuctl.host.signals import Interrupts
from iommuctl.profile.beside import asked_for
from iommuctl.transaction.locks import state_lock
from iommuctl.transaction.recovery import recover_locked
from iommuctl.transaction.snapshot import Action, Origin, State
from iommuctl.transaction.trial import arming
from iommuctl.transaction.trial.record import Phase, TrialRecord, read_record

_PROGRAM_SECONDS = 60
CANCELLED = "it was cancelled"
CANCELLED_HERE = "it was cancelled while it ran; what runs stays until the next boot"


def end_what_is_over(host: Host) -> TrialRecord | None:
    """Take away a trial that came back, or that was cut off while it was armed; None where there is none.

    May be cut off at any point, and run again. Raises ConflictError, BusyError, NotPermittedError.
    """
    if not host.is_system or not host.store.exists or (known := read_record(host.root, host.store)) is None:
        return None
    if known.phase.is_over or not _is_over(host, known):
        return None
    with ExitStack() as held:
        held.enter_context(state_lock(host.root, host.store))
        held.enter_context(Interrupts())
        recover_locked(host.root, host.store)
        record = read_record(host.root, host.store)
        if record is None or record.phase.is_over or not _is_over(host, record):
            return None
        if record.phase is Phase.ARMING:
            return arming.withdraw(host.root, host.store, record, Phase.CANCELLED, arming.CUT_OFF)
        if record.phase is Phase.CONFIRMING and _is_committed(host, record):
            return arming.withdraw(host.root, host.store, record, Phase.CONFIRMED, "it was confirmed")
        return arming.withdraw(host.root, host.store, record, Phase.RETURNED, state_of(host.root, record).reason)


def confirm_trial(host: Host, *, by: str = "confirm") -> TrialRecord:
    """Make what runs permanent, by an ordinary apply, and take the trial away. `by` is the command that does so.

    Raises UsageError where no trial runs, StalePlanError where a confirmation would do something else than was planned,
    and what an apply raises; then the trial goes on as before.
    """
    require_running(host, "trial")
    record = read_record(host.root, host.store)
    boot = read_boot(host.root)
    if record is None or record.phase.is_over or not carries_token(record, boot):
        raise UsageError("no trial runs", hint="iommuctl trial status")
    if (why := imposture(record, boot)) is not None:
        raise UsageError("what runs is not the trial", details=(why,), hint="iommuctl trial cancel")
    with state_lock(host.root, host.store), Interrupts():
        recover_locked(host.root, host.store)
    before = record
    choices = Choices(
        platform=record.platform,
        backend=record.backend,
        inputs=record.inputs,
        force=_known_rules(record),
        beside=asked_for(record.added, record.removed),
        why=record.why or None,
        devices=record.devices,
    )
    plan = plan_apply(host, record.asked, choices)
    if plan.steps.is_changed and promise_of(plan.steps) != record.permanent:
        raise StalePlanError(
            "what a confirmation would do is not what was planned any more",
            details=("files, or the installed kernels, changed since the trial was started",),
            hint=f"{host.root.command('apply', record.asked, *choices.options)} makes it permanent as it is now; "
            "then run the same command again",
        )
    # A confirmation that was cut off may have made its snapshot already.
    since = record.confirming_since if record.phase is Phase.CONFIRMING else host.clock()
    record = record._replace(phase=Phase.CONFIRMING, confirming_since=since, trial_boot=boot.id)
    _write(host, record)
    try:
        why = f"trial {record.id}: {record.why}" if record.why else f"trial {record.id}"
        origin = Origin(login_user(), host.root.command("trial", by), why)
        carry_out(host, plan, progress=lambda _: nullcontext(), origin=lambda: origin)
    except BaseException:
        _write(host, before._replace(phase=Phase.RUNNING, trial_boot=boot.id))
        raise
    with state_lock(host.root, host.store), Interrupts():
        over = arming.withdraw(host.root, host.store, record, Phase.CONFIRMED, "it was confirmed")
    stop_limits(host)
    return over


def cancel_trial(host: Host) -> TrialRecord | None:
    """Take a trial away, whatever it does; None where none is under way. The choice of the next boot goes first."""
    require_running(host, "trial")
    if (over := end_what_is_over(host)) is not None:
        return over
    state = read_state(host)
    if state is None or state.phase.is_over:
        return None
    with state_lock(host.root, host.store), Interrupts():
        recover_locked(host.root, host.store)
        reason = CANCELLED_HERE if state.is_here else CANCELLED
        over = arming.withdraw(host.root, host.store, state.record, Phase.CANCELLED, reason)
    if state.is_here:
        stop_limits(host)
    return over


def stop_limits(host: Host) -> None:
    """Have no time limit end this boot any more. Where systemd does not listen, the mark alone is enough."""
    with suppress(IommuctlError):
        arming.mark(host.root, KEPT)
    with suppress(IommuctlError):
        host.runner.run(("systemctl", "stop", "--no-block", *NAMES), timeout=_PROGRAM_SECONDS)


def _known_rules(record: TrialRecord) -> frozenset[str]:
    return frozenset(record.forced) - {Rule.TRIAL_UNPROVEN.value}


def _write(host: Host, record: TrialRecord) -> None:
    with state_lock(host.root, host.store), Interrupts():
        arming.note(host.root, host.store, record)


def _is_over(host: Host, record: TrialRecord) -> bool:
    """Whether a trial is to be taken away: this boot is not the trial's, and that does not come any more."""
    boot = read_boot(host.root)
    if carries_token(record, boot):
        return False
    if record.phase is Phase.ARMING:
        return True
    if boot.id in (record.boot, record.trial_boot):
        return False
    return record.phase is not Phase.ARMED or not state_of(host.root, record).is_armed


def _is_committed(host: Host, record: TrialRecord) -> bool:
    """Whether the permanent change was complete when the confirmation was cut off."""
    since = record.confirming_since
    return since is not None and any(
        one.action is Action.APPLY
        and one.state is State.APPLIED
        and one.profile == record.profile
        and one.created >= since
        for one in host.store.list().snapshots
    )
