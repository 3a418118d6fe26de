# SPDX-License-Identifier: Apache-2.0
"""Rollback: from a snapshot to a plan that brings every file back by its class (design, promise 8)."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from iommuctl.app.apply import Choices, fingerprint, runs_commands, stop_on_errors
from iommuctl.app.host import Host, Survey, survey
from iommuctl.app.plan import Plan, pending
from iommuctl.backends.base import Overlay
from iommuctl.durable import Metadata
from iommuctl.errors import ConflictError, NotFoundError
from iommuctl.plan import Change, Command, FileClass, FileEdit, Finding, Op, Severity, digest
from iommuctl.snapshot import Action, Manifest, State, Store

CHANGED_SINCE = "changed-since-snapshot"


@dataclass(frozen=True, slots=True)
class _Way:
    """One file's way back over every snapshot in range: what the newest left, and what the oldest found."""

    file_class: FileClass
    left: str | None
    found: str | None
    content: bytes | None
    metadata: Metadata | None


def plan_rollback(host: Host, name: str | None, choices: Choices) -> Plan:
    """Plan to go back to before a snapshot, or before the newest apply in force.

    Raises NotFoundError where there is none, ConflictError for a source that was changed since and is not forced.
    """
    store = host.store
    snapshots = store.list().snapshots
    undone = _range(store, snapshots, name)
    oldest = undone[-1]
    found = survey(host, platform=oldest.platform, backend=choices.backend or oldest.backend)
    ways = _ways(store, undone)
    edits: list[FileEdit] = []
    findings: list[Finding] = []
    regenerate = False
    for path, way in ways.items():
        current = found.tree.read(path)
        now = digest(current)
        if now == way.found:
            continue
        edit = FileEdit(path, way.file_class, current, way.content, f"as it was before {oldest.id}")
        if now == way.left:
            edits.append(edit)
        elif way.file_class is FileClass.GENERATED:
            regenerate = True
        else:
            findings.append(_changed_since(edit, choices.force))
            edits.append(edit)
    if not regenerate and not any(edit.file_class is FileClass.GENERATED for edit in edits):
        regenerate = _leaves_behind(found, edits)
    commands: tuple[Command, ...] = found.backend.regenerate(found.tree, found.facts) if regenerate else ()
    runs = runs_commands(host, choices.regenerate)
    findings += () if runs else pending(commands)
    stop_on_errors(tuple(findings), choices.force)
    return Plan(
        profile=oldest.profile,
        of=oldest.id,
        survey=found,
        desired=None,
        changes=tuple(_inverse(change, oldest.id) for manifest in undone for change in reversed(manifest.changes)),
        edits=tuple(edits),
        commands=commands,
        runs=runs,
        findings=tuple(findings),
        fingerprint=fingerprint(found, oldest.id, str(runs)),
        metadata={path: way.metadata for path, way in ways.items() if way.metadata is not None},
        removed_directories=tuple(path for one in undone for path in one.made_directories),
        marks=_marks(snapshots, undone),
    )


def _range(store: Store, snapshots: tuple[Manifest, ...], name: str | None) -> tuple[Manifest, ...]:
    """The snapshots to go back over, newest first: the named one and everything after it that was not undone."""
    if name is None:
        wanted = next((one for one in snapshots if one.action is Action.APPLY and one.state is State.APPLIED), None)
        if wanted is None:
            raise NotFoundError("there is nothing to roll back: no apply is in force", hint="iommuctl history")
    else:
        wanted = store.load(name)
        if wanted.state is State.UNDONE:
            raise NotFoundError(f"snapshot {wanted.id} was undone when it was taken: nothing of it is in force")
    ids = [one.id for one in snapshots]
    return tuple(one for one in snapshots[: ids.index(wanted.id) + 1] if one.state is not State.UNDONE)


def _ways(store: Store, undone: tuple[Manifest, ...]) -> dict[PurePosixPath, _Way]:
    """The way back of every file that the snapshots in range touched."""
    ways: dict[PurePosixPath, _Way] = {}
    for manifest in undone:
        for file in manifest.files:
            newer = ways.get(file.path)
            left = newer.left if newer else file.after_sha256
            content = store.content(manifest, file)
            ways[file.path] = _Way(file.file_class, left, file.before_sha256, content, file.before)
    return ways


def _marks(snapshots: tuple[Manifest, ...], undone: tuple[Manifest, ...]) -> dict[str, State]:
    """The states after going back: what is in range is rolled back; what a rollback in range took back is in force."""
    marks = {one.id: State.ROLLED_BACK for one in undone if one.state is State.APPLIED}
    ids = [one.id for one in snapshots]
    for manifest in undone:
        if manifest.action is Action.ROLLBACK and manifest.of in ids and manifest.id in marks:
            taken_back = snapshots[ids.index(manifest.id) + 1 : ids.index(manifest.of) + 1]
            marks |= {
                one.id: State.APPLIED for one in taken_back if one.state is State.ROLLED_BACK and one not in undone
            }
    return marks


def _leaves_behind(found: Survey, edits: list[FileEdit]) -> bool:
    """Whether generated files would not follow the sources put back: somebody ran the generator since."""
    after = Overlay(found.tree, {edit.path: edit.after for edit in edits})
    return bool(edits) and bool(found.backend.read_back(after, found.facts, None, generated=True))


def _changed_since(edit: FileEdit, force: frozenset[str]) -> Finding:
    if CHANGED_SINCE not in force:
        raise ConflictError(
            f"{edit.path} was changed since: going back would lose that",
            details=edit.diff.removesuffix("\n").split("\n"),
            hint=f"keep what is there, or take a snapshot of it and go back: --force {CHANGED_SINCE}",
        )
    return Finding(CHANGED_SINCE, Severity.WARNING, f"{edit.path} was changed since; the snapshot taken now keeps that")


def _inverse(change: Change, snapshot: str) -> Change:
    op = {Op.ADD: Op.REMOVE, Op.REMOVE: Op.ADD, Op.REPLACE: Op.REPLACE}[change.op]
    return Change(op, change.after, change.before, change.path, change.target, f"as it was before {snapshot}")
