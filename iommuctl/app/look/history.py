# SPDX-License-Identifier: Apache-2.0
"""History: the snapshots of a host, and what each of them changed."""

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host
from iommuctl.errors import ConflictError
from iommuctl.plan import FileEdit
from iommuctl.profile.beside import NONE, Beside
from iommuctl.transaction.snapshot import Action, Manifest, State, Summary
from iommuctl.transaction.store import Listing


def snapshots(host: Host) -> Listing:
    """Return the snapshots, newest first."""
    listing = host.store.list()
    return listing._replace(findings=(*interrupted_findings(host), *listing.findings))


def newest_applied(listing: Listing) -> Summary | None:
    """Return the apply that is in force; None where there is none."""
    applies = (one for one in listing.snapshots if one.action is Action.APPLY and one.state is State.APPLIED)
    return next(applies, None)


def profile_in_force(listing: Listing) -> Summary | None:
    """Return the apply of a profile that is in force, whatever was asked for next to it since; None for none."""
    applies = (one for one in listing.snapshots if one.action is Action.APPLY and one.state is State.APPLIED)
    return next((one for one in applies if one.profile != NONE), None)


def kept_beside(listing: Listing, profile: str) -> Beside:
    """Return what an apply of a profile keeps next to it: what was asked for next to this one, or to none."""
    newest, named = newest_applied(listing), profile_in_force(listing)
    if newest is None or (named is not None and profile not in (NONE, named.profile)):
        return Beside()
    return newest.beside


def require_whole(host: Host, listing: Listing, known: Summary | None, again: str) -> None:
    """Raise ConflictError where a damaged snapshot may be of a change after `known`; None: where there is any.

    `again` is the command that goes on in spite of it.
    """
    since = "" if known is None else _time(known.id)
    unread = {**dict.fromkeys(listing.damaged, "is damaged"), **dict.fromkeys(listing.newer, "is of a newer iommuctl")}
    hidden = [name for name in sorted(unread, reverse=True) if _time(name) >= since]
    if hidden:
        folder = host.store.snapshots
        raise ConflictError(
            f"snapshot {hidden[0]} {unread[hidden[0]]}, so what it changed is not known",
            details=[f"cannot be read: {host.root.outside(folder / name / 'manifest.json')}" for name in hidden],
            hint=f"mend it from a backup, or go on without it: {again}",
        )


def _time(name: str) -> str:
    """The second of a snapshot's id, which sorts."""
    return name.partition("-")[0]


def snapshot_edits(host: Host, name: str) -> tuple[Manifest, tuple[FileEdit, ...]]:
    """Return a snapshot, and for every file its content then against what is there now."""
    manifest = host.store.load(name)
    edits = tuple(
        FileEdit(
            file.path, file.file_class, host.store.content(manifest, file), host.root.read(file.path), "since then"
        )
        for file in manifest.files
    )
    return manifest, edits
