# SPDX-License-Identifier: Apache-2.0
"""Arming: put a trial's files and its choice on a host, and take them away, in an order that is safe at any instant.

The record is first and last on disk. A choice is made only when its entry is whole, and taken back before the entry
goes: so what is armed can boot, and what the loader falls back to was never touched.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import PurePosixPath

from iommuctl.errors import BusyError, ExecutionError, IommuctlError
from iommuctl.host.descriptors import open_regular, read_all
from iommuctl.host.root import Root
from iommuctl.host.signals import InterruptedRun, Interrupts
from iommuctl.plan import FileEdit
from iommuctl.transaction.durable import (
    Metadata,
    Replacement,
    read_metadata,
    remove_empty_directory,
    remove_files,
    replace_files,
    write_file,
)
from iommuctl.transaction.freeze import settle
from iommuctl.transaction.locks import package_manager_at_work, state_lock
from iommuctl.transaction.preflight import check_space, examine
from iommuctl.transaction.recovery import recover_locked
from iommuctl.transaction.store import Store
from iommuctl.transaction.trial import oneshot
from iommuctl.transaction.trial.record import Phase, TrialFile, TrialRecord, read_record, write_record
from iommuctl.tree import digest

NEW_DIRECTORY_MODE = 0o755
CUT_OFF = "it was cut off while it was being armed"
UNDONE = "nothing of the trial is left"


def arm(
    root: Root,
    store: Store,
    record: TrialRecord,
    edits: tuple[FileEdit, ...],
    *,
    verify_unchanged: Callable[[], tuple[PurePosixPath, ...]],
    read_back: Callable[[], None],
) -> TrialRecord:
    """Write a trial's files, read its entry back, choose it for one boot, and read that back as well.

    `edits` are those of the record's files, in their order. `read_back` raises where the loader would not read the
    entry as planned, before and after the choice is made. On an error everything is taken away again. Raises
    BusyError, ConflictError, ExecutionError, NotPermittedError.
    """
    with ExitStack() as held:
        store.prepare()
        held.enter_context(state_lock(root, store))
        if root.is_running_system and (reason := package_manager_at_work(root)):
            raise BusyError("a package manager is at work", details=(reason,), hint="run the same command again later")
        interrupts = held.enter_context(Interrupts())
        recover_locked(root, store)
        if changed := verify_unchanged():
            raise BusyError(
                "files changed since the plan", details=list(map(str, changed)), hint="run the same command again"
            )
        targets = examine(root, edits, ())
        check_space(root, store, targets)
        missing = tuple(sorted({path for target in targets for path in target.missing}))
        record = record._replace(phase=Phase.ARMING, made_directories=missing)
        write_record(root, store, record)
        try:
            interrupts.listen()
            for target in targets:
                if target.missing:
                    root.make_directories(target.final.parent, NEW_DIRECTORY_MODE)
            replace_files(
                root,
                [
                    Replacement(target.final, file.temporary, digest(target.before), target.after, target.metadata)
                    for target, file in zip(targets, record.files, strict=True)
                ],
            )
            _settle(root, store, record)
            read_back()
            oneshot.arm(root, record.choice, record.files[-1].temporary)
            _settle(root, store, record)
            read_back()
            interrupts.hold()
            armed = record._replace(phase=Phase.ARMED)
            write_record(root, store, armed)
        except BaseException as error:
            interrupts.hold()
            interrupts.drop()
            _give_up(root, store, record, error)
            raise
        return armed


def withdraw(root: Root, store: Store, record: TrialRecord, phase: Phase, reason: str) -> TrialRecord:
    """Take a trial from the host, and note how it ended; may itself be cut off at any point and run again.

    The caller holds the lock. A file that somebody changed loses what is the trial's and no more.
    """
    oneshot.disarm(root, record.choice, record.files[-1].temporary)
    remove_files(root, (root.resolve(file.path).parent / file.temporary for file in record.files))
    for file in reversed(record.files):
        _remove(root, file)
    _settle(root, store, record)
    for path in reversed(record.made_directories):
        remove_empty_directory(root, path)
    over = record._replace(phase=phase, reason=reason)
    write_record(root, store, over)
    return over


def note(root: Root, store: Store, record: TrialRecord) -> TrialRecord:
    """Write what has become of a trial. The caller holds the lock."""
    write_record(root, store, record)
    return record


def undo_cut_off(root: Root, store: Store) -> TrialRecord | None:
    """Take away a trial that was cut off while it was being armed; give it, None where there is none.

    The caller holds the lock, and knows that this is not the trial's boot.
    """
    record = read_record(root, store)
    if record is None or record.phase is not Phase.ARMING:
        return None
    return withdraw(root, store, record, Phase.CANCELLED, CUT_OFF)


def content_of(root: Root, file: TrialFile) -> tuple[bytes | None, Metadata | None]:
    """Return what a file of a trial holds now, with its metadata; None where it is not there."""
    final = root.resolve(file.path)
    with root.locate(final) as place:
        if place.status is None:
            return None, None
        with open_regular(place) as descriptor:
            return read_all(descriptor, final), read_metadata(descriptor)


def _remove(root: Root, file: TrialFile) -> None:
    before, metadata = content_of(root, file)
    if before is None:
        return
    after = _without(file, before)
    if after != before:
        replace_files(root, (Replacement(root.resolve(file.path), file.temporary, digest(before), after, metadata),))


def _without(file: TrialFile, content: bytes) -> bytes | None:
    """What is left of a file without the trial; None where nothing is."""
    if not file.is_block:
        return None
    if file.content in content:
        return _kept(file, content.replace(file.content, b"", 1))
    # Somebody edited the block: it goes from its first line to its last all the same.
    first, last = file.content.strip().split(b"\n")[0], file.content.strip().split(b"\n")[-1]
    start, end = content.find(first), content.find(last)
    if start < 0 or end < start:
        return content
    return _kept(file, content[:start] + content[end + len(last) :].removeprefix(b"\n"))


def _kept(file: TrialFile, content: bytes) -> bytes | None:
    return None if file.is_new and not content else content


def _give_up(root: Root, store: Store, record: TrialRecord, error: BaseException) -> None:
    brief = error.brief if isinstance(error, IommuctlError) else "it was interrupted"
    try:
        withdraw(root, store, record, Phase.CANCELLED, brief)
    except IommuctlError as failed:
        raise ExecutionError(
            f"{brief}; and the trial could not be taken away: {failed.brief}",
            details=failed.details,
            hint=root.command("trial", "cancel"),
        ) from error
    if isinstance(error, IommuctlError):
        error.add(UNDONE)
    elif isinstance(error, InterruptedRun):
        error.outcome = UNDONE


def _settle(root: Root, store: Store, record: TrialRecord) -> None:
    """Bring what GRUB reads out of an XFS's log."""
    paths = {root.resolve(file.path).parent for file in record.files}
    settle(root, store.directory, (path for path in paths if root.stat(path) is not None))


def mark(root: Root, path: PurePosixPath) -> None:
    """Make an empty file in memory that units of this boot look at."""
    root.make_directories(path.parent, NEW_DIRECTORY_MODE)
    write_file(root, path, b"")
