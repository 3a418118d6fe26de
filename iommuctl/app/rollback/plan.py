# SPDX-License-Identifier: Apache-2.0
"""Rollback: from a snapshot to a plan that brings every file back by its class (architecture, promise 8)."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, assert_never

from iommuctl.app.change.basis import Item, basis, fingerprint
from iommuctl.app.change.interrupted import settle_view
from iommuctl.app.change.plan import RollbackPlan, Steps
from iommuctl.app.change.planning import (
    Choices,
    lagging,
    obstacles,
    pending,
    require_known,
    runs_commands,
    stop_on_errors,
)
from iommuctl.app.host import Host, Survey, survey_host
from iommuctl.app.initramfs.groundwork import left_by_rollback
from iommuctl.app.look.history import newest_applied, require_whole
from iommuctl.app.rollback.history import Way, find_entries, touched_files
from iommuctl.app.rollback.inverse import differences, parameters
from iommuctl.app.rollback.reversal import Reversal, entry_back, parameters_to_remove, shared_back, source_back
from iommuctl.errors import BootConfigError, ConflictError, NotFoundError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.plan import Change, Command, FileClass, FileEdit, Op
from iommuctl.transaction.snapshot import Action, Manifest, State, Summary
from iommuctl.transaction.store import DAMAGED, Listing
from iommuctl.tree import Overlay, digest

if TYPE_CHECKING:
    from iommuctl.transaction.durable import Metadata

CHANGED_SINCE = Rule.CHANGED_SINCE_SNAPSHOT


class _Draft:
    """What becomes of the files, in the making. `again` is the command that plans the same."""

    def __init__(self, found: Survey, again: str, reason: str, force: frozenset[str]) -> None:
        self.found = found
        self.again = again
        self.reason = reason
        self.force = force
        self.edits: list[FileEdit] = []
        self.changes: list[Change] = []
        self.findings: list[Finding] = []
        self.metadata: dict[PurePosixPath, Metadata] = {}
        self.parameters_to_remove: dict[PurePosixPath, frozenset[str]] = {}

    def take_back(self, way: Way) -> bool:
        """Note what becomes of one file; False for a generated one that is to be made anew.

        Raises ConflictError where something of others would be lost, and that is not forced.
        """
        now = self.found.tree.read(way.path)
        if way.file_class is not FileClass.ENTRY and digest(now) == digest(way.steps[-1].before):
            return True
        match way.file_class:
            case FileClass.SOURCE:
                self._put(way, now, source_back(way.steps, now))
            case FileClass.SHARED:
                self._put(way, now, shared_back(way.path, way.steps, now))
            case FileClass.ENTRY:
                self._take_entry_back(way, now or b"")
            case FileClass.GENERATED if digest(now) == way.steps[0].left:
                self._put(way, now, Reversal(way.steps[-1].before, way.steps[-1].metadata))
            case FileClass.GENERATED:
                return False
            case _:
                assert_never(way.file_class)
        return True

    def _take_entry_back(self, way: Way, now: bytes) -> None:
        back = entry_back(way.path, way.steps, now)
        self._put(way, now, back)
        if back.content is not None and back.content != now:
            old, new = parameters(way.path, now), parameters(way.path, back.content)
            self.changes.extend(differences(way.path, old, new, self.reason))
            self.parameters_to_remove[way.path] = parameters_to_remove(way.path, way.steps, old, {back.content: new})

    def _put(self, way: Way, now: bytes | None, back: Reversal) -> None:
        if back.content == now:
            return
        edit = FileEdit(way.path, way.file_class, now, back.content, self.reason)
        if not back.is_safe:
            self.findings.append(self._changed_since(edit))
        self.edits.append(edit)
        if back.metadata is not None:
            self.metadata[way.path] = back.metadata

    def _changed_since(self, edit: FileEdit) -> Finding:
        if CHANGED_SINCE not in self.force:
            raise ConflictError(
                f"{edit.path} was changed since: going back would lose that",
                details=edit.diff.removesuffix("\n").split("\n"),
                hint=f"keep what is there, or snapshot it and go back: {self.again} --force {CHANGED_SINCE}",
            )
        message = f"{edit.path} was changed since; the snapshot taken now keeps that"
        return Finding(CHANGED_SINCE, Severity.WARNING, message)


def plan_rollback(host: Host, name: str | None, choices: Choices) -> RollbackPlan:
    """Plan to go back to before a snapshot, or before the newest apply in force.

    Raises NotFoundError where there is none, ConflictError for what was changed since and is not forced.
    """
    require_known("rollback", choices.force, (CHANGED_SINCE, DAMAGED))
    store = host.store
    settled = settle_view(host)
    listing = settled.states(store.list())
    undone = _range(host, listing, name, choices.force)
    oldest = undone[-1]
    found = survey_host(host, platform=oldest.platform, backend=choices.backend or oldest.backend, files=settled.tree)
    draft = _Draft(found, host.root.command("rollback", oldest.id), f"as it was before {oldest.id}", choices.force)
    touched = touched_files(store, undone)
    entries = find_entries(found, undone, touched)
    files = tuple(one.way for one in touched if one.file_class is not FileClass.ENTRY)
    taken = [draft.take_back(way) for way in (*entries.ways, *files)]
    draft.edits.extend(found.backend.refresh_mtimes(found.tree, draft.edits))
    is_repeated = undone[0].action is Action.ROLLBACK and undone[0].of == oldest.id
    commands = _commands(draft, stale=not all(taken), is_repeated=is_repeated)
    runs = runs_commands(host, choices.regenerate)
    findings = (
        *settled.findings,
        *listing.findings,
        *draft.findings,
        *map(_vanished, entries.vanished),
        *left_by_rollback(found.tree, draft.edits),
        *(() if runs else pending(host, commands, again=_again(host, oldest, choices))),
        *lagging(host, tuple(draft.edits), commands, runs=runs),
        *obstacles(host, tuple(draft.edits), commands, runs=runs),
    )
    stop_on_errors(findings, choices.force)
    is_done = is_repeated and not draft.edits and not (runs and commands)
    kept = set() if is_done else {way.path for way in files}
    inverse = (_inverse(change, draft.reason) for one in undone for change in reversed(one.changes))
    marks = {} if is_done else _marks(listing.snapshots, undone)
    asked = (Item("asked", "before", oldest.id), *(Item("mark", name, state) for name, state in marks.items()))
    kernels = tuple(sorted({*found.facts.kernels, *found.facts.modules}))
    rests_on = basis(found, asked, draft.edits, commands, kernels=kernels, runs=runs)
    steps = Steps(
        survey=found,
        changes=(*(change for change in inverse if change.path in kept), *draft.changes),
        edits=tuple(draft.edits),
        commands=commands,
        runs=runs,
        findings=findings,
        basis=rests_on,
        fingerprint=fingerprint(rests_on),
        entries=entries.there,
        kernels=kernels,
    )
    return RollbackPlan(
        steps=steps,
        of=oldest.id,
        profile=oldest.profile,
        inputs=oldest.inputs,
        metadata=draft.metadata,
        removed_directories=tuple(path for one in undone for path in one.made_directories),
        marks=marks,
        parameters_to_remove=draft.parameters_to_remove,
    )


def _range(host: Host, listing: Listing, name: str | None, force: frozenset[str]) -> tuple[Manifest, ...]:
    """The snapshots to go back over, newest first: the named one and everything after it that was not undone.

    One that cannot be read may be among them: what is after the named one would then go back without it.
    """
    snapshots = listing.snapshots
    wanted = newest_applied(listing) if name is None else host.store.load(name).summary
    if DAMAGED not in force:
        again = host.root.command("rollback", *(() if name is None else (name,)), "--force", DAMAGED)
        require_whole(host, listing, wanted, again)
    if wanted is None:
        hint = host.root.command("history")
        raise NotFoundError("there is nothing to roll back: no apply is in force", hint=hint)
    if wanted.state is State.UNDONE:
        raise NotFoundError(f"snapshot {wanted.id} was undone when it was taken: nothing of it is in force")
    ids = [one.id for one in snapshots]
    in_range = snapshots[: ids.index(wanted.id) + 1]
    return tuple(host.store.load(one.id)._replace(state=one.state) for one in in_range if one.state is not State.UNDONE)


def _marks(snapshots: tuple[Summary, ...], undone: tuple[Manifest, ...]) -> dict[str, State]:
    """The states after going back: what is in range is rolled back; what a rollback in range took back is in force."""
    marks = {one.id: State.ROLLED_BACK for one in undone if one.state is State.APPLIED}
    ids = [one.id for one in snapshots]
    gone = {one.id for one in undone}
    for manifest in undone:
        if manifest.action is Action.ROLLBACK and manifest.of in ids and manifest.id in marks:
            taken_back = snapshots[ids.index(manifest.id) + 1 : ids.index(manifest.of) + 1]
            marks |= {
                one.id: State.APPLIED for one in taken_back if one.state is State.ROLLED_BACK and one.id not in gone
            }
    return marks


def _again(host: Host, oldest: Manifest, choices: Choices) -> str:
    """The command that carries out the same with generators in it, also after this was done without them."""
    words = ["rollback", oldest.id]
    words += () if choices.backend is None else ("--backend", choices.backend)
    for rule in sorted(choices.force):
        words += ("--force", rule)
    return host.root.command(*words, "--regenerate", "always")


def _commands(draft: _Draft, *, stale: bool, is_repeated: bool) -> tuple[Command, ...]:
    """Return the commands that make what is generated follow the files put back; none where it does.

    Where the same was done before, `is_repeated`, the files are back, and what is generated may have been left
    out. The way back must not depend on understanding the sources: where they are not, what follows them is made anew.
    """
    found, edits = draft.found, draft.edits
    if not edits and not stale and not is_repeated:
        return ()
    after = Overlay(found.tree, {edit.path: edit.after for edit in edits})
    try:
        follows = not found.backend.out_of_step(after, found.facts, generated=True)
    except BootConfigError as error:
        follows = False
        message = f"what is generated is not compared with its sources: {error.brief}"
        draft.findings.append(Finding(Rule.SOURCES_NOT_UNDERSTOOD, Severity.WARNING, message))
    # A generated file put back byte for byte need not follow: it did not before. Else somebody ran the generator since.
    stale = stale or not (follows or any(edit.file_class is FileClass.GENERATED for edit in edits))
    commands = found.backend.regenerate(after, found.facts)
    # What is not published is not read either, so whether it follows is not known.
    return commands if stale or not any(command.output for command in commands) else ()


def _vanished(path: PurePosixPath) -> Finding:
    return Finding(Rule.ENTRY_VANISHED, Severity.INFO, f"{path} has gone since, and is not made again")


def _inverse(change: Change, reason: str) -> Change:
    op = {Op.ADD: Op.REMOVE, Op.REMOVE: Op.ADD, Op.REPLACE: Op.REPLACE}[change.op]
    return Change(op, change.after, change.before, change.path, change.target, reason)
