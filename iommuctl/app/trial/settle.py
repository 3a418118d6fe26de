# SPDX-License-Identifier: Apache-2.0
"""Settle: what the unit runs again and again during a trial's boot, and once in the boot after it."""

from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.app.host import Host
from iommuctl.app.look.verify import verify_host
from iommuctl.app.trial.ending import confirm_trial, end_what_is_over, stop_limits
from iommuctl.app.trial.state import carries_token, imposture, read_boot, require_running, uptime
from iommuctl.app.trial.surroundings import executables
from iommuctl.app.trial.units import CHECK_SECONDS, HUNG
from iommuctl.errors import BusyError, IommuctlError, StalePlanError
from iommuctl.host.signals import Interrupts
from iommuctl.transaction.locks import state_lock
from iommuctl.transaction.trial import arming, oneshot
from iommuctl.transaction.trial.record import (
    ConfirmBy,
    OnFailure,
    Outcome,
    Phase,
    TrialCheck,
    TrialRecord,
    read_record,
)

IDENTITY, VERIFY = "identity", "verify"
PATIENCE = 300  # seconds since the kernel's start in which a check that fails is tried again: services come up late
_PROGRAM_SECONDS = 60
_OTHERS_WRITE = 0o022
_WORDS = 300  # characters of a check's last line


def settle_trial(host: Host) -> TrialRecord | None:
    """Do the next step of a trial, by what this boot is; give its record, None where there was none.

    Outside of a trial's own boot nothing is ever rebooted. Each step is on disk before the next one begins.
    """
    require_running(host, "trial")
    if (over := end_what_is_over(host)) is not None:
        return over
    if not host.store.exists or (record := read_record(host.root, host.store)) is None:
        return None
    boot = read_boot(host.root)
    if record.phase.is_over or not carries_token(record, boot):
        return record
    _choose_no_more(host, record)
    if record.phase is Phase.CONFIRMING:
        return _confirmed(host, record)
    if record.phase is Phase.FAILED:
        return _fail(host, record, record.reason)
    if record.phase is Phase.KEPT:
        return record
    if (why := imposture(record, boot)) is not None:
        return _fail(
            host, record._replace(checks=(TrialCheck(IDENTITY, Outcome.FAIL, why),)), f"it is not the trial: {why}"
        )
    if record.phase is not Phase.RUNNING or record.trial_boot is None:
        record = _note(host, record._replace(phase=Phase.RUNNING, trial_boot=boot.id))
    if not record.is_checked:
        record = _check(host, record)
    if record.phase is Phase.RUNNING and record.is_checked and record.terms.confirm is ConfirmBy.AUTO:
        return _confirmed(host, record)
    return record


def _choose_no_more(host: Host, record: TrialRecord) -> None:
    """See that the trial does not boot again: a loader that did not clear the choice would boot it for ever."""
    if oneshot.is_armed(host.root, record.choice):
        with state_lock(host.root, host.store), Interrupts():
            oneshot.disarm(host.root, record.choice, record.files[-1].temporary)


def _check(host: Host, record: TrialRecord) -> TrialRecord:
    """Run every check once more; note what each said. A failure counts once the boot had time to come up."""
    same = TrialCheck(IDENTITY, Outcome.PASS, "token, line, boot and entry are the trial's")
    checks = [same, *(run_check(host, path) for path in executables(host.root))]
    failed = [one for one in checks if one.result is Outcome.FAIL]
    checks.append(_effect(host, record))
    record = _note(host, record._replace(checks=tuple(checks), is_checked=not failed))
    if failed and uptime(host.root) >= min(PATIENCE, record.terms.timeout / 2):
        return _fail(host, record, f"check {failed[0].name} failed: {failed[0].detail}")
    return record


def run_check(host: Host, path: PurePosixPath) -> TrialCheck:
    """Run one executable of an administrator, within its time limit; give its last words."""
    status = host.root.stat(path)
    if status is None or status.st_uid != 0 or status.st_mode & _OTHERS_WRITE:
        return TrialCheck(path.name, Outcome.FAIL, "it is not root's alone, so others could have written it")
    try:
        done = host.runner.run((str(path),), timeout=CHECK_SECONDS)
    except IommuctlError as error:
        return TrialCheck(path.name, Outcome.FAIL, _last_words((error.brief, *error.details)))
    return TrialCheck(path.name, Outcome.PASS, _last_words(done.stdout.splitlines()))


def _effect(host: Host, record: TrialRecord) -> TrialCheck:
    """What `verify` says of the trial's kernel. It does not end a trial: the host works, and the effect is missing."""
    try:
        found = verify_host(host, record.asked, platform=record.platform, inputs=record.inputs)
    except IommuctlError as error:
        return TrialCheck(VERIFY, Outcome.FAIL, error.brief)
    outcome = Outcome.PASS if found.is_active else Outcome.FAIL
    return TrialCheck(VERIFY, outcome, f"{found.verdict}: {found.sentence}")


def _confirmed(host: Host, record: TrialRecord) -> TrialRecord:
    """Confirm by itself. What verify does not see stays up, unconfirmed; what changed meanwhile goes back."""
    effect = next((one for one in record.checks if one.name == VERIFY), None)
    if record.phase is Phase.RUNNING and (effect is None or effect.result is Outcome.FAIL):
        detail = "it was not asked" if effect is None else effect.detail
        return _keep(host, record, f"the checks pass, and verify does not: {detail}")
    try:
        return confirm_trial(host, by="settle")
    except StalePlanError as error:
        return _fail(host, record, f"{error.brief}: {'; '.join(error.details)}")
    except BusyError:
        return record  # the next look comes soon


def _fail(host: Host, record: TrialRecord, reason: str) -> TrialRecord:
    if record.terms.on_failure is OnFailure.STAY:
        return _keep(host, record, reason)
    record = _note(host, record._replace(phase=Phase.FAILED, reason=reason))
    with suppress(IommuctlError):  # the time limit is there in any case
        host.runner.run(("systemctl", "start", HUNG), timeout=_PROGRAM_SECONDS)
    host.runner.run(("systemctl", "reboot", "--no-block"), timeout=_PROGRAM_SECONDS)
    return record


def _keep(host: Host, record: TrialRecord, reason: str) -> TrialRecord:
    record = _note(host, record._replace(phase=Phase.KEPT, reason=reason))
    stop_limits(host)
    return record


def _note(host: Host, record: TrialRecord) -> TrialRecord:
    with state_lock(host.root, host.store), Interrupts():
        return arming.note(host.root, host.store, record)


def _last_words(lines: "tuple[str, ...] | list[str]") -> str:
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:_WORDS] if said else ""
