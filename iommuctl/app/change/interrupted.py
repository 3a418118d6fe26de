# SPDX-License-Identifier: Apache-2.0
"""Interrupted: what reading commands say of a run that was cut off, and the files as its undo will leave them."""

# ruff: noqa: PLC0415 - a host on which nothing was cut off pays for one look at a name

import stat
from typing import TYPE_CHECKING

from iommuctl.app.host import Host
from iommuctl.errors import BootConfigError, ConflictError, NotPermittedError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.plan import STAGING
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.transaction.restoration import Pending
    from iommuctl.transaction.store import Listing

_JOURNAL = STAGING.parent / "journal.json"
_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Settled(NamedTuple):
    """A host as the next writing command will find it: the files after the undo, and what to say of that."""

    tree: Tree
    findings: tuple[Finding, ...] = ()
    pending: "Pending | None" = None

    def states(self, listing: "Listing") -> "Listing":
        """Return the history as it will be: a committed change that is only to be closed has marked others by then."""
        if self.pending is None:
            return listing
        from iommuctl.transaction.restoration import settled_states

        states = settled_states(self.pending)
        return listing._replace(
            snapshots=tuple(one._replace(state=states.get(one.id, one.state)) for one in listing.snapshots)
        )


def interrupted_findings(host: Host) -> tuple[Finding, ...]:
    """Return what an operator should know of an interrupted run; nothing where there is none."""
    try:
        return _settled(host, plans=False).findings
    except ConflictError as error:
        message = f"{error.brief}{''.join(f'; {fact}' for fact in error.details[:1])}"
        return (Finding(Rule.INTERRUPTED_RUN, Severity.WARNING, message, hint=error.hint),)


def settle_view(host: Host) -> Settled:
    """Return the host to plan on. Raises ConflictError where the next writing command would, before it plans."""
    return _settled(host, plans=True)


def _require_state_directory(host: Host) -> None:
    """Raise ConflictError where something that no run would use is in the place of the state directory."""
    try:
        status = host.root.stat(STAGING.parent)
    except BootConfigError:
        _ = host.store  # says what is in the way
        raise
    if status is not None and (not stat.S_ISDIR(status.st_mode) or status.st_mode & _WRITTEN_BY_OTHERS):
        _ = host.store.exists  # decides, and says why


def _settled(host: Host, *, plans: bool) -> Settled:
    held = host.root.held()
    if plans:
        _require_state_directory(host)
    try:
        if host.root.stat(_JOURNAL) is None:
            return Settled(held)
    except BootConfigError:  # what is in the place of the state directory holds no journal
        return Settled(held)
    except NotPermittedError:
        message = "the state directory may not be read, so it is not known whether a run was interrupted"
        hint = "run the same command as root (sudo)"
        return Settled(held, (Finding(Rule.STATE_UNREADABLE, Severity.INFO, message, hint=hint),))
    from iommuctl.transaction.restoration import Resolution, RestoredTree, not_undone, plan_restoration, read_pending

    store = host.store
    pending = read_pending(host.root, store)
    if pending is None:
        return Settled(held)
    restoration = plan_restoration(host.root, store, pending, Resolution.REFUSE)
    if restoration.conflicts and not pending.is_committed:
        raise not_undone(host.root, restoration.conflicts)
    name = pending.manifest.id
    if pending.is_committed:
        message = f"a run was cut off when snapshot {name} was complete; the next command that writes closes it"
    else:
        message = f"a run was cut off in snapshot {name}; the next command that writes undoes it first"
    if plans and not pending.is_committed:
        message += ", and this is planned on the files as they will be then"
    found = Finding(Rule.INTERRUPTED_RUN, Severity.WARNING, message, hint=host.root.command("recover"))
    return Settled(RestoredTree(held, pending, restoration), (found,), pending)
