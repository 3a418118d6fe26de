# SPDX-License-Identifier: Apache-2.0
"""Mends: what to write instead of something that is wrong with a line, as a finding's hint says it. Pure."""

from collections.abc import Iterable

from iommuctl.facts import Platform
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Availability, architecture_of, covered
from iommuctl.kernel.span import Span
from iommuctl.lint.engine import Item, Subject, acts_on, assigned, sets


def instead(item: Item, mend: list[str]) -> str:
    """Name the parameters that do what was meant, or tell to remove an item that does nothing."""
    return f"write {' '.join(mend)} instead of {item.single}" if mend else f"remove {item.single}"


def successor(subject: Subject, item: Item, replacement: str | None) -> str | None:
    """Say what to do about a deprecated item: to write its replacement, or to remove it where that is too."""
    if replacement is None:
        return None
    name = subject.catalogue.define(replacement.partition("=")[0]).name
    asked = assigned(subject, replacement)
    others = (one for one in subject.items if one.definition.name == name and one is not item)
    is_there = any(asked and asked <= sets(subject, one) for one in others)
    return f"remove {item.single}" if is_there else f"write {replacement} instead"


def elsewhere(subject: Subject, item: Item) -> str:
    """Say what to do about a parameter of another platform: the one that means the same on this, if there is one."""
    same = next((token.same_as for token in item.tokens if token.same_as), item.definition.same_as)
    if same is None or not acts_on(subject, same) or subject.has(same):
        return f"remove {item.parameter.text}"
    return f"write {same} instead of {item.single}"


def older_spelling(
    subject: Subject, item: Item, platforms: Iterable[Platform], kernels: Iterable[Kernel]
) -> str | None:
    """Return the token that does the same on kernels that do not know an item, to be written next to it."""
    own = sets(subject, item)
    for definition in subject.catalogue.definitions if own else ():
        for token in definition.tokens:
            spans = token.available or definition.available
            if subject.catalogue.token_assignments(definition, token) == own and all(
                platform in definition.acting and covered(spans, architecture_of(platform), kernel) is True
                for platform in platforms
                for kernel in kernels
            ):
                return f"write {definition.name}={token.name} beside it"
    return None


def written(subject: Subject, parameter: str) -> str:
    """Return what is on the line for a parameter: itself, or another spelling of it."""
    asked = assigned(subject, parameter)
    return next((item.single for item in subject.items if asked & sets(subject, item)), parameter)


def is_patch(item: Item) -> bool:
    """Whether only the patched kernels of some line read an item, and none of upstream."""
    spans = [one.kernels for one in _spans(item)]
    return any(one.lines for one in spans) and all(one.upstream.is_never for one in spans)


def upstream_bounds(item: Item, platforms: Iterable[Platform]) -> str:
    """Say which kernels are known to read an item: upstream's, or else those of the lines that patch it in.

    Of the architectures of `platforms`, each apart where they differ.
    """
    if is_patch(item):
        patched = (one.kernels.lines for one in _spans(item))
        return ", ".join(
            dict.fromkeys(f"{line} from {span.since}" for own in patched for line, span in own if span.since)
        )
    architectures = {architecture_of(platform) for platform in platforms}
    told = {one.on: _bounds(one.kernels.upstream) for one in _spans(item) if one.on in architectures}
    if len(set(told.values())) > 1:
        return "; ".join(f"on {architecture} {bounds}" for architecture, bounds in told.items())
    return next(iter(told.values()), "no kernel of upstream does")


def _bounds(span: Span) -> str:
    if span.is_never:
        return "no kernel of upstream does"
    until = f" to {span.until}" if span.until else " on"
    if span.since:
        return f"upstream does from {span.since}{until}"
    return f"upstream does up to {span.until}" if span.until else "upstream does"


def _spans(item: Item) -> tuple[Availability, ...]:
    return tuple(one for token in item.tokens for one in token.available) or item.definition.available
