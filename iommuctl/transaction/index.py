# SPDX-License-Identifier: Apache-2.0
"""Index: a line for each snapshot with all that reading commands need of it, so that they read no manifest.

It is a copy, and never believed alone: a line counts for the manifest whose size and time it has. A manifest that
is newer, older or not in it is read itself, and so is every one where a single line is not exactly as written here.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from iommuctl.facts import Platform
from iommuctl.pattern import pattern
from iommuctl.profile.beside import Beside
from iommuctl.transaction.snapshot import Action, Origin, State, Summary, time_text
from iommuctl.value import NamedTuple

SNAPSHOT_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"
# A clock that is wrong by millennia would leave no time for the next snapshot to be later.
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

_HEAD = "iommuctl index 2"
_NONE = "-"
_FIXED = 15  # fields before the files
_ID = pattern(SNAPSHOT_ID)
_PROFILE = pattern(r"[a-z0-9][a-z0-9-]{0,63}")


class Stamp(NamedTuple):
    """What a manifest that was written anew differs in from the one before: the states' names differ in length."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Return the stamp of a manifest by its status."""
        return cls(status.st_size, status.st_mtime_ns)


Rows = Mapping[str, tuple[Stamp, Summary]]  # by the snapshot's id


def encode_rows(rows: Iterable[tuple[Stamp, Summary]]) -> bytes:
    """Return the index of these snapshots."""
    return "".join(f"{line}\n" for line in (_HEAD, *(_line(stamp, one) for stamp, one in rows))).encode()


def decode_rows(content: bytes) -> Rows:
    """Return what an index holds, by id; nothing where any of it is not exactly what `encode_rows` writes."""
    try:
        head, *lines, end = content.decode("ascii").split("\n")
        if head != _HEAD or end:
            return {}
        rows = [_row(line) for line in lines]
    except ValueError:
        return {}
    found = {one.id: (stamp, one) for stamp, one in rows}
    return found if len(found) == len(rows) else {}


def _line(stamp: Stamp, one: Summary) -> str:
    inputs = ",".join(f"{_quoted(name)}={_quoted(value)}" for name, value in one.inputs.items())
    fields = (
        one.id,
        str(stamp.size),
        str(stamp.mtime_ns),
        time_text(one.created),
        one.action,
        one.of or _NONE,
        one.profile,
        one.platform,
        one.state,
        inputs or _NONE,
        *(f"={_quoted(text)}" for text in one.origin),
        *("=" + ",".join(map(_quoted, texts)) for texts in one.beside),
        *(_quoted(str(path)) for path in one.files),
    )
    return " ".join(fields)


def _row(line: str) -> tuple[Stamp, Summary]:
    """Read a line. Raises ValueError for one that `_line` does not write."""
    fields = line.split(" ")
    if len(fields) < _FIXED:
        raise ValueError("too few fields")
    name, size, mtime_ns, created, action, of, profile, platform, state, inputs, *more = fields[:_FIXED]
    user, command, why, added, removed = (field.removeprefix("=") for field in more)
    pairs = [] if inputs == _NONE else [pair.split("=") for pair in inputs.split(",")]
    one = Summary(
        id=name,
        created=datetime.fromisoformat(created),
        action=Action(action),
        of=None if of == _NONE else of,
        profile=profile,
        platform=Platform(platform),
        inputs={_unquoted(key): _unquoted(value) for key, value in pairs},
        state=State(state),
        files=tuple(PurePosixPath(_unquoted(path)) for path in fields[_FIXED:]),
        origin=Origin(_unquoted(user), _unquoted(command), _unquoted(why)),
        beside=Beside(_several(added), _several(removed)),
    )
    stamp = Stamp(int(size), int(mtime_ns))
    # What is written anew as the same line has no second spelling, and nothing that was passed over.
    is_ours = (
        _line(stamp, one) == line
        and all(_ID.fullmatch(each) for each in (one.id, one.of or one.id))
        and _PROFILE.fullmatch(profile)
        and one.created < LATEST
        and all(path.is_absolute() and ".." not in path.parts for path in one.files)
    )
    if not is_ours:
        raise ValueError("not what is written")
    return stamp, one


def _several(field: str) -> tuple[str, ...]:
    return tuple(map(_unquoted, field.split(","))) if field else ()


def _quoted(text: str) -> str:
    return quote(text, errors="surrogateescape")


def _unquoted(field: str) -> str:
    return unquote(field, errors="surrogateescape") if "%" in field else field
