# SPDX-License-Identifier: Apache-2.0
"""Transaction: write a plan's files, all of them or none, whatever happens on the way."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Self

from iommuctl.errors import BusyError, ConflictError, ExecutionError, InternalError, IommuctlError, StalePlanError
from iommuctl.host.root import Root
from iommuctl.host.signals import UNTOLD, InterruptedRun, Interrupts
from iommuctl.transaction.durable import (
    NEW_FILE_MODE,
    Replacement,
    remove_empty_directory,
    replace_files,
)
from iommuctl.transaction.freeze import settle
from iommuctl.transaction.journal import Journal, write_journal
from iommuctl.transaction.locks import package_manager_at_work, state_lock
from iommuctl.transaction.preflight import Target, check_space, examine
from iommuctl.transaction.recovery import complete, recover_locked, undo
from iommuctl.transaction.reserve import reserve
from iommuctl.transaction.restoration import Pending
from iommuctl.transaction.snapshot import Manifest, State
from iommuctl.transaction.store import STATE_MODE, Clock, Store, later_than_the_newest
from iommuctl.transaction.work import Purpose, Work, journal_of, snapshot_of
from iommuctl.tree import digest

NEW_DIRECTORY_MODE = 0o755
UNDONE = "the undo succeeded: every file is as it was"


def add_fact(error: BaseException, fact: str) -> None:
    """Have an error, or the signal that ended the run, say a fact more."""
    if isinstance(error, IommuctlError):
        error.add(fact)
    elif isinstance(error, InterruptedRun):
        error.outcome = fact if error.outcome == UNTOLD else f"{error.outcome}; {fact}"


class Transaction:
    """A change under way: leave the block normally to commit it, with an exception (a signal is one) to undo it.

    Nothing live has changed when `begin` returns. The one step that commits is the snapshot's state, written durably.
    """

    def __init__(
        self,
        root: Root,
        store: Store,
        work: Work,
        *,
        targets: tuple[Target, ...],
        manifest: Manifest,
        journal: Journal,
        reserved: tuple[PurePosixPath, ...],
        interrupts: Interrupts,
        held: ExitStack,
    ) -> None:
        self._root = root
        self._store = store
        self._work = work
        self._targets = targets
        self._manifest = manifest
        self._journal = journal
        self._reserved = reserved
        self._interrupts = interrupts
        self._held = held
        self._ahead: frozenset[PurePosixPath] = frozenset()
        self._again: dict[tuple[str, ...], Callable[[], None]] = {}

    @classmethod
    def begin(
        cls,
        root: Root,
        store: Store,
        clock: Clock,
        purpose: Purpose,
        work: Work,
        *,
        verify_unchanged: Callable[[], tuple[PurePosixPath, ...]],
    ) -> "Transaction":
        """Take the lock, end what was interrupted, check everything, and put snapshot and journal on disk.

        `verify_unchanged` gives the paths that are no longer what the plan rests on. Raises BusyError, ExecutionError,
        BootConfigError, ConflictError, NotPermittedError; then nothing live has changed.
        """
        with ExitStack() as held:
            store.prepare()
            held.enter_context(state_lock(root, store))
            if root.is_running_system and (reason := package_manager_at_work(root)):
                raise BusyError(
                    "a package manager is at work", details=(reason,), hint="run the same command again later"
                )
            interrupts = held.enter_context(Interrupts())
            recover_locked(root, store)
            if changed := verify_unchanged():
                raise StalePlanError("files changed since the plan", details=list(map(str, changed)))
            targets = examine(root, work.edits, work.generated)
            check_space(root, store, targets)
            manifest, contents = snapshot_of(later_than_the_newest(clock(), root, store), purpose, targets)
            journal = journal_of(root, work, targets, manifest)
            try:
                store.add(manifest, contents)
                root.make_directories(store.staging, STATE_MODE)
                write_journal(root, store, journal)
                reserved = reserve(root, store, journal, targets)
            except IommuctlError:
                recover_locked(root, store)
                store.discard(manifest.id)
                raise
            return cls(
                root,
                store,
                work,
                targets=targets,
                manifest=manifest,
                journal=journal,
                reserved=reserved,
                interrupts=interrupts,
                held=held.pop_all(),
            )

    @property
    def snapshot(self) -> Manifest:
        """The snapshot as it is by now."""
        return self._manifest

    @property
    def staging(self) -> PurePosixPath:
        """The empty directory that generators may write, emptied at the end; mode 0700."""
        return self._store.staging

    def write_ahead(self, paths: Iterable[PurePosixPath]) -> None:
        """Write these edits, in order, before any other, once. Raises ExecutionError, NotPermittedError, BusyError."""
        self._ahead = frozenset(paths)
        self._replace([index for index, one in enumerate(self._targets) if one.path in self._ahead])

    def write(self) -> None:
        """Write every edit that is not written yet, in order. Raises ExecutionError, NotPermittedError, BusyError."""
        done = self._ahead.union(self._work.generated)
        self._replace([index for index, one in enumerate(self._targets) if one.path not in done])
        for directory in self._journal.removed_directories:
            remove_empty_directory(self._root, directory.path)

    def note_start(self, command: tuple[str, ...], run_again: Callable[[], None]) -> None:
        """Put on disk that a command is about to run that writes by itself, so that recovery names it.

        An undo calls `run_again` once the files are back, of which the command made what it wrote. `command` is what
        takes that back, which is the same one where it makes it anew.
        """
        self._again[command] = run_again
        self._journal = self._journal._replace(started=(*self._journal.started, command))
        write_journal(self._root, self._store, self._journal)

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Run a generator in this block: a live generated file that it writes itself is put back by the undo.

        Raises ExecutionError where one that succeeded did so, since nobody checked what it wrote.
        """
        try:
            yield
        finally:
            written = self._claim_generated()
        if written:
            raise ExecutionError(f"{str(written[0])!r} was written by a generator that had to write elsewhere")

    def publish(self, path: PurePosixPath, content: bytes) -> None:
        """Make a generator's checked output the live file; nothing is written where it is that already.

        `path` is one of the generated files that the work named, once.
        """
        index = next((index for index, one in enumerate(self._targets) if one.path == path), None)
        if (
            index is None
            or path not in self._work.generated
            or self._targets[index].after != self._targets[index].before
        ):
            raise InternalError(f"{str(path)!r} is not to be published now")
        if content == self._targets[index].before:
            return
        targets, files, saved = list(self._targets), list(self._journal.files), list(self._manifest.files)
        targets[index] = targets[index]._replace(after=content)
        files[index] = files[index]._replace(after_sha256=digest(content))
        saved[index] = saved[index]._replace(after_sha256=digest(content))
        self._targets = tuple(targets)
        self._journal = self._journal._replace(files=tuple(files))
        self._manifest = self._manifest._replace(files=tuple(saved))
        write_journal(self._root, self._store, self._journal)
        self._replace([index])

    def _claim_generated(self) -> list[PurePosixPath]:
        """Count as ours what is in generated files now, so that the undo replaces it; give those that changed."""
        files = list(self._journal.files)
        written: list[PurePosixPath] = []
        for index, (target, file) in enumerate(zip(self._targets, self._journal.files, strict=True)):
            if target.path in self._work.generated:
                now = digest(self._root.read(target.final))
                if now not in (file.before_sha256, file.after_sha256):
                    files[index] = file._replace(after_sha256=now)
                    written.append(target.path)
        if written:
            self._journal = self._journal._replace(files=tuple(files))
            write_journal(self._root, self._store, self._journal)
        return written

    def __enter__(self) -> Self:
        try:
            self._interrupts.listen()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._interrupts.hold()
        with self._held:
            if error is None:
                self._commit()
            else:
                self._undo(error)
                self._interrupts.drop()

    def _commit(self) -> None:
        self._manifest = self._manifest._replace(state=State.APPLIED)
        edited = {edit.path for edit in self._work.edits}
        changed = [one.final.parent for one in self._targets if one.path in edited or one.before != one.after]
        try:
            settle(self._root, self._store.directory, changed)
            self._store.save(self._manifest)
        except IommuctlError as error:
            self._undo(error)
            raise
        try:
            complete(self._root, self._store, self._journal, self._reserved)
        except IommuctlError as error:
            raise ExecutionError(
                f"everything is written, but the transaction could not be closed: {error.brief}",
                details=(
                    *error.details,
                    f"the change holds: it is snapshot {self._manifest.id}, which recover only closes",
                ),
                hint=self._root.command("recover"),
            ) from error

    def _undo(self, error: BaseException) -> None:
        match error:
            case IommuctlError():
                brief = error.brief
            case InterruptedRun():
                brief = f"interrupted by {error.signal.name}"
            case _:
                brief = f"stopped by {error!r}"
        self._manifest = self._manifest._replace(state=State.UNDONE)
        by_hand: list[str] = []

        def run_again(argv: tuple[str, ...]) -> None:
            try:
                self._again[argv]()
            except (IommuctlError, InterruptedRun) as failed:
                by_hand.append(f"{shlex.join(argv)} must be run by hand now, since it {_failure(failed)}")

        try:
            self._store.sweep()
            # A failed commit may have left the snapshot as applied, which would make the change final.
            self._store.mark(self._manifest.id, State.UNDONE)
            undo(self._root, self._store, Pending(self._journal, self._manifest), run_again=run_again)
        except IommuctlError as failed:
            raise ExecutionError(
                f"{brief}; and the undo failed: {failed.brief}",
                details=failed.details,
                hint=failed.hint if isinstance(failed, ConflictError) else self._root.command("recover"),
            ) from error
        for fact in (UNDONE, *by_hand):
            add_fact(error, fact)

    def _replace(self, indexes: list[int]) -> None:
        replacements: list[Replacement] = []
        modes = {edit.path: edit.mode for edit in self._work.edits if edit.mode is not None}
        for index in indexes:
            target, file = self._targets[index], self._journal.files[index]
            if target.missing:
                self._root.make_directories(target.final.parent, NEW_DIRECTORY_MODE)
            metadata = self._work.metadata.get(target.path, target.metadata)
            mode = modes.get(target.path, NEW_FILE_MODE)
            if metadata is not None and target.path in modes:
                metadata = metadata._replace(mode=mode)
            expected = file.before_sha256
            replacements.append(Replacement(target.final, file.temporary, expected, target.after, metadata, mode=mode))
        replace_files(self._root, replacements)


def _failure(error: IommuctlError | InterruptedRun) -> str:
    return f"failed: {error.brief}" if isinstance(error, IommuctlError) else f"was interrupted by {error.signal.name}"
