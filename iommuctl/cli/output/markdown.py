# SPDX-License-Identifier: Apache-2.0
"""Markdown: many hosts as a text that is read as it is or rendered. What a host says is escaped."""

import re
from collections.abc import Iterable, Iterator

from iommuctl.app.fleet.record import Record
from iommuctl.app.fleet.summary import Summary
from iommuctl.cli.output.text import visible, visible_lines

_SIGNS = re.compile(r"([\\`*_{}\[\]()#+!|~$^=:@.-])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SHOWN_NAMES = 50


def markdown(summary: Summary) -> str:
    """Return the report as Markdown, as GitHub and GitLab read it."""
    return "".join(f"{line}\n" for line in _all(summary))


def _all(summary: Summary) -> Iterator[str]:
    counts = (len(summary.records), len(summary.groups), len(summary.stopped))
    yield "# IOMMU on the hosts"
    yield ""
    yield "{} hosts, {} kinds of change, {} stopped.".format(*counts)
    for name, rows in summary.counts:
        yield ""
        yield from _table((name, "hosts"), ((value, str(count)) for value, count in rows))
    for number, group in enumerate(summary.groups, 1):
        one = group.example
        yield ""
        yield f"## Change {number}: {len(group.records)} hosts"
        yield ""
        yield f"{_text(one.profile)} on {_text(one.platform)} by {_text(one.backend)}, as on {_text(one.name)}:"
        yield ""
        if one.diff:
            yield from _fenced(one.diff, "diff")
        if one.commands:
            yield from _fenced("\n".join(one.commands), "")
        yield f"Hosts: {_names(group.records)}"
    yield ""
    yield "## Stopped"
    yield ""
    head = ("host", "what", "why", "next")
    yield from _table(head, ((one.name, one.standing.value, *_why(one)) for one in summary.stopped))
    yield ""
    yield "## Waiting"
    yield ""
    yield f"- for a reboot: {_names(summary.waiting)}"
    yield f"- drifted: {_names(summary.drifted)}"
    yield ""
    yield "## Hosts"
    yield ""
    columns = ("host", "what", "verdict", "profile", "backend", "kernel line", "change")
    yield from _table(
        columns,
        (
            (one.name, one.standing.value, one.verdict, one.profile, one.backend, one.line, one.shape[:12])
            for one in summary.records
        ),
    )


def _why(record: Record) -> tuple[str, str]:
    """Return what stopped a host, and what to do next."""
    if record.trouble is None:
        return "", ""
    return "; ".join((record.trouble.brief, *record.trouble.details)), record.trouble.hint


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_text, row))} |"


def _fenced(text: str, language: str) -> Iterator[str]:
    shown = visible_lines(text).removesuffix("\n")
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    yield shown
    yield fence
    yield ""


def _text(text: str) -> str:
    """Return a text that no reader of Markdown takes for a sign of it, on one line."""
    return _SIGNS.sub(r"\\\1", visible(text).translate(_ENTITIES))


def _names(records: tuple[Record, ...]) -> str:
    names = ", ".join(_text(one.name) for one in records[:_SHOWN_NAMES])
    more = len(records) - _SHOWN_NAMES
    return f"{names} and {more} more" if more > 0 else names or "none"
