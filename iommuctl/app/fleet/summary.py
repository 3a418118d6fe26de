# SPDX-License-Identifier: Apache-2.0
"""Summary: hosts grouped by what changes on them, and counted. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable

from iommuctl.app.fleet.record import Record, Standing
from iommuctl.value import NamedTuple

_STOPPED = (Standing.UNREADABLE, Standing.FAILED, Standing.STALE, Standing.REFUSED, Standing.BUSY)


class Group(NamedTuple):
    """Hosts that change alike, by name. The first stands for all: its diff is shown."""

    shape: str
    records: tuple[Record, ...]

    @property
    def example(self) -> Record:
        """The host whose diff is shown."""
        return self.records[0]


class Summary(NamedTuple):
    """What many hosts come to: `groups` with the largest first, `stopped` with the worst first, counts by name."""

    records: tuple[Record, ...]
    groups: tuple[Group, ...]
    stopped: tuple[Record, ...]
    drifted: tuple[Record, ...]
    waiting: tuple[Record, ...]
    counts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


def _changes(record: Record) -> bool:
    """Return whether anything changes on a host. A stale menu alone has commands, and no difference before they ran."""
    return bool(record.diff or (record.commands and record.standing is not Standing.UNCHANGED))


def summarize(records: Iterable[Record]) -> Summary:
    """Return what many hosts come to. Every host is in `records`, whatever became of it."""
    found = tuple(records)
    shapes: dict[str, list[Record]] = {}
    for one in found:
        if one.shape and _changes(one):
            shapes.setdefault(one.shape, []).append(one)
    groups = [Group(shape, tuple(members)) for shape, members in shapes.items()]
    order = list(Standing)
    stopped = sorted((one for one in found if one.standing in _STOPPED), key=lambda one: order.index(one.standing))
    kinds: tuple[tuple[str, Callable[[Record], str]], ...] = (
        ("standing", lambda one: one.standing.value),
        ("backend", lambda one: one.backend),
        ("platform", lambda one: one.platform),
        ("kernel line", lambda one: one.line),
        ("verdict", lambda one: one.verdict),
        ("profile", lambda one: one.profile),
    )
    counted = ((name, Counter(value(one) for one in found)) for name, value in kinds)
    return Summary(
        found,
        tuple(sorted(groups, key=lambda group: (-len(group.records), group.shape))),
        tuple(stopped),
        tuple(one for one in found if one.drift or one.verdict == "drift"),
        tuple(one for one in found if one.reboot_required),
        tuple(
            (name, tuple((value or "not known", count) for value, count in counts.most_common()))
            for name, counts in counted
            if any(counts)
        ),
    )
