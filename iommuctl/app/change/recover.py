# SPDX-License-Identifier: Apache-2.0
"""Recover: finish or undo what an interrupted run left."""

from iommuctl.app.host import Host
from iommuctl.errors import UsageError
from iommuctl.transaction.recovery import Recovered, recover
from iommuctl.transaction.restoration import Resolution


def recover_host(host: Host, resolution: Resolution = Resolution.REFUSE) -> Recovered | None:
    """Undo an interrupted transaction; None where there is none. Raises ConflictError for a file of a third content."""
    return recover(host.root, host.store, resolution)


def resolution_of(*, accept_current: bool, restore: bool) -> Resolution:
    """Return what is asked for. Raises UsageError for both at once."""
    if accept_current and restore:
        raise UsageError("--accept-current and --restore contradict each other")
    if accept_current:
        return Resolution.ACCEPT_CURRENT
    return Resolution.RESTORE if restore else Resolution.REFUSE
