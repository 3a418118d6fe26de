# SPDX-License-Identifier: Apache-2.0
"""Segments: stretches of a command line, and changes of their tokens. Pure."""

from collections.abc import Iterable

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.value import NamedTuple


class Segment(NamedTuple):
    """One stretch of the line that the kernel sees, in the order in which the bootloader joins the stretches.

    Additions go into the first segment that `takes_additions`; removals into whichever holds the token.
    """

    cmdline: Cmdline
    takes_additions: bool


class TokenChange(NamedTuple):
    """One token of one segment. `position` is None for an addition (after the segment's last kernel parameter).

    `before` is None for an addition, `after` for a removal.
    """

    segment: int
    position: int | None
    before: str | None
    after: str | None
    reason: str


class SegmentError(ValueError):
    """A segment in which a change would not reach the kernel, or cannot be written exactly.

    `segment` and `index` say which token is in the way (a `--`, an open quote); the backend knows file and line.
    `index` is None where no segment takes additions.
    """

    def __init__(self, segment: int, index: int | None, message: str) -> None:
        super().__init__(message)
        self.segment = segment
        self.index = index
        self.message = message


def apply_changes(cmdline: Cmdline, changes: Iterable[TokenChange]) -> Cmdline:
    """Return one segment's command line with its changes made; indices are those of the unchanged line."""
    pending = tuple(changes)
    edits = sorted((change.position, change.after) for change in pending if change.position is not None)
    for index, after in reversed(edits):
        cmdline = cmdline.remove(index) if after is None else cmdline.substitute(index, after)
    for change in pending:
        if change.position is None and change.after is not None:
            cmdline = cmdline.append(change.after)
    return cmdline


def count_live(segments: tuple[Segment, ...]) -> int:
    """Return how many segments the kernel reads: those up to the first with a `--`.

    Raises SegmentError where an open quote swallows a segment.
    """
    for number, segment in enumerate(segments):
        for index, token in enumerate(segment.cmdline.parameters):
            if not token.is_closed and any(later.cmdline.tokens for later in segments[number + 1 :]):
                raise SegmentError(number, index, f"an open quote in {token.text!r} swallows what follows")
        if segment.cmdline.kernel_count < len(segment.cmdline.tokens):
            return number + 1
    return len(segments)
