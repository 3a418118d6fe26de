# SPDX-License-Identifier: Apache-2.0
"""Wayback: what becomes of one file, by its class, when snapshots are taken back. Values in, values out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.app.rollback.inverse import invert_block, invert_entry, parameters
from iommuctl.errors import BootConfigError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.plan import Change
from iommuctl.tree import Tree, digest
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.transaction.durable import Metadata


class Step(NamedTuple):
    """What one snapshot did to one file: its content and metadata before, the hash of what it left, its changes.

    `is_own` is False where the file appeared later, made of what the snapshot changed: then only the changes count.
    """

    changes: tuple[Change, ...]
    before: bytes | None = None
    left: str | None = None
    metadata: "Metadata | None" = None
    is_own: bool = True


class Reversal(NamedTuple):
    """A file as it goes back; without `metadata` it keeps that of now. `is_safe`: nothing of others is lost by it."""

    content: bytes | None
    metadata: "Metadata | None" = None
    is_safe: bool = True


def source_back(steps: Iterable[Step], now: bytes | None) -> Reversal:
    """Take a source back byte for byte; safe where every step finds what it left."""
    back = Reversal(now)
    for step in steps:
        back = Reversal(step.before, step.metadata, back.is_safe and digest(back.content) == step.left)
    return back


def shared_back(path: PurePosixPath, steps: Iterable[Step], now: bytes | None) -> Reversal:
    """Take the variables that we wrote back in an environment block; safe where they hold what we left.

    Raises BootConfigError for a block that is none.
    """
    back = Reversal(now)
    for step in steps:
        if back.content is None or step.before is None or digest(back.content) == step.left:
            is_safe = back.is_safe and digest(back.content) == step.left
            back = Reversal(step.before, step.metadata, is_safe)
            continue
        names = tuple(dict.fromkeys(change.target for change in step.changes))
        old, block = GrubEnv.parse(path, step.before), GrubEnv.parse(path, back.content)
        # Others write to the block too, so its hash tells nothing; with our variables as they are now, the block that
        # we found has the hash of the one that we left if, and only if, they are as we left them.
        is_safe = back.is_safe and _hash_with(names, block, old) == step.left
        back = Reversal(invert_block(names, old, block).block, is_safe=is_safe)
    return back


def entry_back(path: PurePosixPath, steps: Iterable[Step], now: bytes) -> Reversal:
    """Take an entry back: byte for byte where it is what a step left, else without its changes.

    Raises BootConfigError, LensError where that cannot be written exactly.
    """
    content: bytes | None = now
    metadata = None
    for step in steps:
        if content is None:
            break
        if step.is_own and digest(content) == step.left:
            content, metadata = step.before, step.metadata
        elif step.is_own or _has_any(path, step.changes, content):
            content = invert_entry(path, step.changes, content)
    return Reversal(content, metadata)


def parameters_to_remove(
    path: PurePosixPath, steps: Sequence[Step], now: Sequence[str], known: Mapping[bytes, Sequence[str]]
) -> frozenset[str]:
    """Return the parameters of an entry that are ours alone, none of which it may have when it has gone back.

    `now` are those that it has, `known` those of contents that were read already.
    """
    changes = [change for step in steps for change in step.changes]
    kept = {change.before for change in changes}
    oldest = next((step.before for step in reversed(steps) if step.before is not None), None)
    if oldest is not None:
        kept.update(known[oldest] if oldest in known else parameters(path, oldest))
    counts = Counter(now)
    # One that is there twice is somebody else's as well.
    return frozenset(one.after for one in changes if one.after and one.after not in kept and counts[one.after] == 1)


def still_there(tree: Tree, gone: Mapping[PurePosixPath, frozenset[str]]) -> tuple[str, ...]:
    """Tell, in words, which entries have parameters that they may not have any more."""
    return tuple(
        f"{path}: still has {text!r}"
        for path, texts in gone.items()
        for text in parameters(path, tree.read(path) or b"")
        if text in texts
    )


def _hash_with(names: Iterable[str], block: GrubEnv, old: GrubEnv) -> str | None:
    try:
        return digest(invert_block(names, block, old).block)
    except BootConfigError:  # what the variables hold now would not have fitted
        return None


def _has_any(path: PurePosixPath, changes: Iterable[Change], content: bytes) -> bool:
    present = set(parameters(path, content))
    return any(change.after in present for change in changes)
