# SPDX-License-Identifier: Apache-2.0
"""Recovery: end an interrupted transaction, exactly as it was before or exactly as it was meant to be."""

import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.errors import BusyError, ConflictError, ExecutionError, IommuctlError
from iommuctl.host.root import Root
from iommuctl.host.signals import Interrupts
from iommuctl.transaction.durable import Replacement, remove_any, remove_empty_directory, remove_files, replace_files
from iommuctl.transaction.freeze import settle
from iommuctl.transaction.journal import Journal, journal_path, remove_journal
from iommuctl.transaction.locks import package_manager_at_work, state_lock
from iommuctl.transaction.reserve import leftovers
from iommuctl.transaction.restoration import (
    Conflict,
    Pending,
    Resolution,
    Restoration,
    accept_current,
    not_undone,
    plan_restoration,
    read_pending,
)
from iommuctl.transaction.snapshot import Manifest
from iommuctl.transaction.store import NewerStateError, Store
from iommuctl.value import NamedTuple

NEW_DIRECTORY_MODE = 0o755


class Recovered(NamedTuple):
    """What became of an interrupted transaction.

    `completed` is True where it had been committed and was only to be closed, False where it was undone. `restored`
    are the files that were put back, `kept` those whose third content was accepted, `displaced` where a third
    content that was overwritten lies now. `ran` are commands that ran again, since they had written by themselves, and
    `started` those that still must. `is_open`: that is left to the next recovery, and all else is done.
    """

    snapshot: Manifest
    completed: bool
    restored: tuple[PurePosixPath, ...] = ()
    kept: tuple[PurePosixPath, ...] = ()
    displaced: tuple[PurePosixPath, ...] = ()
    started: tuple[tuple[str, ...], ...] = ()
    ran: tuple[tuple[str, ...], ...] = ()
    is_open: bool = False


def recover(
    root: Root, store: Store, resolution: Resolution = Resolution.REFUSE, *, files_only: bool = False
) -> Recovered | None:
    """End an interrupted transaction; None where there is none. May itself be cut off at any point and run again.

    A file is touched only if it holds what it did before, what we meant to leave, or is a temporary file of ours. Any
    other content stays and is named in a ConflictError, after everything else is undone; ACCEPT_CURRENT makes it
    final, and forgets what cannot be read or put back, RESTORE keeps it aside in the snapshot and puts back the content
    before. Raises NewerStateError, whatever is asked, where a newer iommuctl was interrupted: only that one can end it.

    What had written by itself runs again on the running system, once its sources are back, and the transaction is
    closed only when that succeeded; `files_only` leaves both to the next recovery. In another root, and where the
    current content is accepted, it is named instead. Raises BusyError while a package manager is at work, and
    ExecutionError where it fails.
    """
    if not store.exists:
        return None
    with state_lock(root, store), Interrupts():
        return recover_locked(root, store, resolution, files_only=files_only)


def recover_locked(
    root: Root, store: Store, resolution: Resolution = Resolution.REFUSE, *, files_only: bool = False
) -> Recovered | None:
    """Do what `recover` does, for one who holds the lock and has signals held."""
    try:
        pending = read_pending(root, store)
    except NewerStateError:
        raise
    except ConflictError:
        if resolution is not Resolution.ACCEPT_CURRENT:
            raise
        remove_any(root, journal_path(store))
        return None
    if pending is None:
        store.sweep()
        return None
    if pending.is_committed:
        complete(root, store, pending.journal, leftovers(root, pending.journal), resolution)
        return Recovered(pending.manifest, completed=True)
    if not root.is_running_system or resolution is Resolution.ACCEPT_CURRENT:
        return undo(root, store, pending, resolution)
    if files_only and pending.journal.started:
        return undo(root, store, pending, resolution, closes=False)

    def run_again(argv: tuple[str, ...]) -> None:
        _run_again(root, argv)

    return undo(root, store, pending, resolution, run_again=run_again)


def _run_again(root: Root, argv: tuple[str, ...]) -> None:
    """Run what had written by itself, whose sources are as they were. Raises BusyError, ExecutionError."""
    from iommuctl.host.commands import SystemRunner  # noqa: PLC0415 - few runs were cut off there

    if reason := package_manager_at_work(root):
        raise BusyError("a package manager is at work", details=(reason,), hint="run the same command again later")
    if _was_moved(root, argv):
        return
    try:
        SystemRunner(root.path).run(argv)
    except IommuctlError as error:
        raise ExecutionError(
            f"every file is put back, but what {shlex.join(argv)} wrote is not: {error.brief}",
            details=error.details,
            hint=f"{root.command('recover')}, or keep what it wrote: {accept_current(root)}",
        ) from error


def _was_moved(root: Root, argv: tuple[str, ...]) -> bool:
    """Whether a command renames a kept file back that is back: a recovery that was cut off did it."""
    match argv:
        case ("mv", "-f", kept, live):
            return root.stat(PurePosixPath(kept)) is None and root.stat(PurePosixPath(live)) is not None
        case _:
            return False


def complete(
    root: Root,
    store: Store,
    journal: Journal,
    reserved: Iterable[PurePosixPath],
    resolution: Resolution = Resolution.REFUSE,
) -> None:
    """Close a committed transaction: the room that is not needed any more, the states of other snapshots, the journal.

    `reserved` is where it may be. Raises ConflictError for a snapshot that cannot be read, unless that is accepted.
    """
    store.sweep()
    remove_files(root, reserved)
    for name, state in journal.marks.items():
        try:
            store.mark(name, state)
        except ConflictError as error:
            if resolution is not Resolution.ACCEPT_CURRENT:
                error.hint = root.command("recover", "--accept-current")
                raise
    remove_journal(root, store)
    with suppress(IommuctlError):  # the next run does so
        store.prune()
        store.write_index()


def undo(
    root: Root,
    store: Store,
    pending: Pending,
    resolution: Resolution = Resolution.REFUSE,
    *,
    run_again: Callable[[tuple[str, ...]], None] | None = None,
    closes: bool = True,
) -> Recovered:
    """Put every file of a transaction back, with its metadata and time, and close the journal if that is asked.

    What we left lying about goes first, so that a disk which we filled never stops the undo. `run_again` is called
    before the end for each command that was started, so that a kill until then does not lose it.
    """
    journal, manifest = pending
    store.sweep()
    remove_files(root, leftovers(root, journal))
    restoration = plan_restoration(root, store, pending, resolution)
    conflicts = [*restoration.conflicts, *_make_removed_directories(root, journal)]
    displaced = tuple(store.keep_aside(manifest, content) for content in restoration.displaced.values())
    failed = _replace(root, restoration, resolution)
    restored = tuple(one.path for one in restoration.replacements if one.path not in {each.path for each in failed})
    settle(root, store.directory, [path.parent for path in restored])
    for path in reversed(journal.made_directories):
        remove_empty_directory(root, path)
    conflicts += failed
    if conflicts and resolution is not Resolution.ACCEPT_CURRENT:
        raise not_undone(root, conflicts)
    if run_again is not None:
        for argv in journal.started:
            run_again(argv)
    if closes:
        remove_journal(root, store)
        with suppress(IommuctlError):  # the next run sweeps again
            store.sweep()
            store.write_index()
    return Recovered(
        manifest,
        completed=False,
        restored=restored,
        kept=tuple(conflict.path for conflict in conflicts),
        displaced=displaced,
        started=journal.started if run_again is None else (),
        ran=() if run_again is None else journal.started,
        is_open=not closes,
    )


def _make_removed_directories(root: Root, journal: Journal) -> list[Conflict]:
    """Make the directories that were removed again; gives those in whose place something else is."""
    conflicts: list[Conflict] = []
    for directory in journal.removed_directories:
        try:
            root.make_directories(directory.path, directory.mode)
        except ExecutionError as error:
            conflicts.append(Conflict(directory.path, error.brief))
    return conflicts


def _replace(root: Root, restoration: Restoration, resolution: Resolution) -> list[Conflict]:
    """Put the files back. Where the current ones are accepted, gives those that the file system does not take back."""
    if resolution is not Resolution.ACCEPT_CURRENT:
        try:
            _put_back(root, restoration.replacements)
        except ExecutionError as error:
            error.hint = error.hint or f"{root.command('recover')}, or keep what is there: {accept_current(root)}"
            raise
        return []
    failed: list[Conflict] = []
    for replacement in restoration.replacements:
        try:
            _put_back(root, (replacement,))
        except ExecutionError as error:
            failed.append(Conflict(replacement.path, error.brief))
            remove_files(root, (replacement.path.parent / replacement.temporary,))
    return failed


def _put_back(root: Root, replacements: tuple[Replacement, ...]) -> None:
    for replacement in replacements:
        if replacement.content is not None and replacement.expected is None:
            root.make_directories(replacement.path.parent, NEW_DIRECTORY_MODE)
    replace_files(root, replacements)
