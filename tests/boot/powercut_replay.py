# SPDX-License-Identifier: Apache-2.0
"""Replay: a cut disk after each of its writes, and what is wrong with it then.

The contract: `survey` looks at every prefix of a log (each write that touches a partition is a moment) and, for each
window between two flushes, at one seeded subset of its writes, since a disk may keep any of them and lose the others.
`trees` has each different state of all files once, with the moment that it was first seen at.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from boot.blocklog import Area, Record, Write, cut_out, patch, windows
from boot.cutdisk import ESP, EXT4, Moment, Reader

SEED = 20260101
_KEPT = 0.5

Judge = Callable[[Mapping[str, bytes]], tuple[str, ...]]


@dataclass(slots=True)
class Survey:
    """What was seen: how many moments of each kind, how many of them at fault, all faults, and the states of files."""

    moments: Counter[str] = field(default_factory=Counter)
    faulty: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    trees: dict[frozenset[tuple[str, bytes]], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    area: Area
    image: Path
    read: Callable[[Path], Moment]


def survey(disk: Path, records: tuple[Record, ...], judge: Judge, scratch: Path) -> Survey:
    """Bring a disk forward write by write. `judge` tells what is wrong with the files of one moment."""
    reader = Reader(scratch)
    parts = (
        _Part("vfat", ESP, cut_out(disk, ESP, scratch / "esp.raw"), reader.esp),
        _Part("ext4", EXT4, cut_out(disk, EXT4, scratch / "ext4.raw"), reader.ext4),
    )
    now = {part.name: part.read(part.image) for part in parts}
    found = Survey()
    chance = random.Random(SEED)
    number = 0
    for window in windows(records):
        for part in parts:
            kept = [record for record in _touching(part.area, window) if chance.random() < _KEPT]
            if kept:
                torn = Path(shutil.copy(part.image, part.image.with_suffix(".torn")))
                for record in kept:
                    patch(torn, part.area, record)
                seen = {**now, part.name: part.read(torn)}
                _note(found, f"{part.name} subset", f"the window of write {number + 1}", seen, judge)
        for record in window:
            number += 1
            for part in parts:
                if patch(part.image, part.area, record):
                    now[part.name] = part.read(part.image)
                    _note(found, f"{part.name} prefix", f"write {number}", now, judge)
    return found


def _touching(area: Area, window: tuple[Record, ...]) -> list[Record]:
    return [
        record
        for record in window
        if isinstance(record, Write) and area.offset <= record.offset < area.offset + area.size
    ]


def _note(found: Survey, kind: str, when: str, now: Mapping[str, Moment], judge: Judge) -> None:
    files = {path: content for moment in now.values() for path, content in moment.files.items()}
    faults = [*judge(files), *(complaint for moment in now.values() for complaint in moment.complaints)]
    found.moments[kind] += 1
    found.faulty[kind] += bool(faults)
    found.faults += [f"{kind}, {when}: {fault}" for fault in faults]
    found.trees.setdefault(frozenset(files.items()), f"{kind}, {when}")
