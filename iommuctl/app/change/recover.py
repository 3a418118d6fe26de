# SPDX-License-Identifier: Apache-2.0
"""Recover: finish or undo what an interrupted run left."""

from typing import TYPE_CHECKING

from iommuctl.app.host import Host
from iommuctl.errors import UsageError
from iommuctl.plan import STAGING
from iommuctl.transaction.recovery import Recovered, recover
from iommuctl.transaction.restoration import Resolution

if TYPE_CHECKING:
    from iommuctl.transaction.trial.record import TrialRecord

_TRIAL = STAGING.parent / "trial.json"


def recover_host(
    host: Host, resolution: Resolution = Resolution.REFUSE, *, files_only: bool = False
) -> Recovered | None:
    """Undo an interrupted transaction; None where there is none. Raises ConflictError for a file of a third content,
    BusyError and ExecutionError where a program that must run again does not. `files_only` leaves those for later.
    """
    return recover(host.root, host.store, resolution, files_only=files_only)


def end_trial(host: Host) -> "TrialRecord | None":
    """Take away a trial boot that came back, or that was cut off while it was armed; None where there is none."""
    if not host.is_system or host.root.stat(_TRIAL) is None:
        return None
    from iommuctl.app.trial.ending import end_what_is_over  # noqa: PLC0415 - few hosts had one

    return end_what_is_over(host)


def resolution_of(*, accept_current: bool, restore: bool) -> Resolution:
    """Return what is asked for. Raises UsageError for both at once."""
    if accept_current and restore:
        raise UsageError("--accept-current and --restore contradict each other")
    if accept_current:
        return Resolution.ACCEPT_CURRENT
    return Resolution.RESTORE if restore else Resolution.REFUSE
