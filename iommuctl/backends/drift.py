# SPDX-License-Identifier: Apache-2.0
"""Drift: sources of one host's command lines that do not say the same, each pair told once. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.value import NamedTuple

_HINT = "apply a profile, which brings them in step: iommuctl profile list"


class Source(NamedTuple):
    """One place that a command line comes from. `use` says who reads it and what for, such as `GRUB boots`."""

    where: str
    use: str
    cmdline: Cmdline


def disagreements(sources: Sequence[Source], entries: Iterable[Source], catalogue: Catalogue) -> tuple[Finding, ...]:
    """Return one finding for each pair that differs in parameters of the catalogue.

    `sources` are each compared with one another and with the first of `entries`, the one that boots by default; the
    other entries with that one, those that say the same together. Takes time by the number of entries.
    """
    alike: dict[frozenset[str], list[Source]] = {}
    seen: dict[int, frozenset[str]] = {}
    for entry in tuple(entries):
        line = id(entry.cmdline)
        if line not in seen:
            seen[line] = _known(entry.cmdline, catalogue)
        alike.setdefault(seen[line], []).append(entry)
    groups = [(known, _together(each)) for known, each in alike.items()]
    files = [(_known(each.cmdline, catalogue), each) for each in sources]
    pairs = (*combinations(files, 2), *((file, group) for file in files for group in groups[:1]))
    pairs += tuple((groups[0], group) for group in groups[1:])
    return tuple(_finding(one, other) for one, other in pairs if one[0] != other[0])


def _known(cmdline: Cmdline, catalogue: Catalogue) -> frozenset[str]:
    return frozenset(token.text for token in cmdline.parameters if catalogue.known(token.name) is not None)


def _together(entries: list[Source]) -> Source:
    first, *others = entries
    return first._replace(where=f"{first.where} (and {len(others)} more)") if others else first


def _finding(one: tuple[frozenset[str], Source], other: tuple[frozenset[str], Source]) -> Finding:
    said = "; ".join((*_lacks(one, other), *_lacks(other, one)))
    here, there = one[1], other[1]
    uses = f"{here.use} both" if here.use == there.use else f"{here.use} {here.where}, {there.use} {there.where}"
    return Finding(Rule.SOURCES_DISAGREE, Severity.WARNING, f"{said} ({uses})", hint=_HINT)


def _lacks(one: tuple[frozenset[str], Source], other: tuple[frozenset[str], Source]) -> Iterator[str]:
    more = [token.text for token in one[1].cmdline.parameters if token.text in one[0] - other[0]]
    if more:
        yield f"{one[1].where} has {' '.join(dict.fromkeys(more))}, which is not in {other[1].where}"
