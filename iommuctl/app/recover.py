# SPDX-License-Identifier: Apache-2.0
"""Recover: finish or undo what an interrupted run left."""

from iommuctl.app.host import Host
from iommuctl.errors import UsageError
from iommuctl.transaction.recovery import Recovered, recover


def recover_host(host: Host, *, accept_current: bool, restore: bool) -> Recovered | None:
    """Undo an interrupted transaction; None where there is none. Raises ConflictError for a file of a third content."""
    if accept_current and restore:
        raise UsageError("--accept-current and --restore contradict each other")
    return recover(host.root, host.store, accept_current=accept_current, restore=restore)
