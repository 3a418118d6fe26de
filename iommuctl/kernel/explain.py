# SPDX-License-Identifier: Apache-2.0
"""Explain: what a parameter does, in words. Every fact comes from the catalogue; pure."""

import textwrap
from collections.abc import Iterable, Iterator

from iommuctl.errors import NotFoundError
from iommuctl.kernel.by_default import DefaultAnswer, architectures, default_answers, default_words
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import (
    Advice,
    Architecture,
    Assignment,
    Availability,
    Catalogue,
    Definition,
    Grammar,
    Kind,
    Token,
    is_left_out,
)
from iommuctl.kernel.span import Span, Spans
from iommuctl.kernel.spelling import nearest
from iommuctl.kernel.tables import kvm
from iommuctl.kernel.tables.configuration import SOURCES
from iommuctl.value import NamedTuple

WIDTH = 100  # columns of the text
_READERS = {
    Kind.EARLY: "the kernel, before anything else (early parameter)",
    Kind.SETUP: "the kernel, after every early parameter (setup parameter)",
    Kind.MODULE: "the module as it is loaded, or the kernel where it is built in",
    Kind.USERSPACE: "programs of the system, not the kernel",
    Kind.HYPERVISOR: "the hypervisor, not Linux",
    Kind.NOBODY: "nobody",
}
_OF_KVM = frozenset(one.name for one in kvm.PARAMETERS)
_REPEATS = {
    Grammar.FLAG: "takes no value",
    Grammar.BOOL: "0 or 1; the last one on the line counts",
    Grammar.SCALAR: "one value; the last one on the line counts",
    Grammar.OPTION_LIST: "tokens with commas between; repeats accumulate",
    Grammar.LAST_WINS_LIST: "values with commas between; only the last occurrence counts",
    Grammar.ACCUMULATING: "one value; every occurrence counts",
}


class Said(NamedTuple):
    """What one item of the value that was asked about does."""

    item: str
    meaning: str


class Answer(NamedTuple):
    """Whether a kernel reads a parameter, or one item of its value; None where neither line nor release tells.

    `architecture` is None where all that were asked about agree.
    """

    item: str
    kernel: Kernel
    architecture: Architecture | None
    reads: bool | None
    source: str


class Explanation(NamedTuple):
    """A parameter, and what of its value was asked about. `rivals` set the same to something else, as `name=value`.

    `defaults`: what the kernels that were asked about do where the parameter is not on the line.
    """

    asked: str
    definition: Definition
    said: tuple[Said, ...]
    rivals: tuple[str, ...]
    advice: tuple[Advice, ...]
    answers: tuple[Answer, ...] = ()
    defaults: tuple[DefaultAnswer, ...] = ()


def explain(text: str, catalogue: Catalogue, kernels: tuple[Kernel, ...] = ()) -> Explanation:
    """Explain a parameter, with a value or without; and whether `kernels` read it.

    Raises NotFoundError, with the names that are nearest, for one that the catalogue does not have.
    """
    name, equals, value = text.partition("=")
    definition = catalogue.known(name)
    if definition is None:
        raise _unknown(name, catalogue)
    items = definition.items(value) if equals else ()
    sets = (None,) if definition.grammar is Grammar.FLAG else items
    return Explanation(
        text,
        definition,
        tuple(Said(item or "", _meaning(definition, item)) for item in items),
        tuple(_rivals(definition, sets, catalogue)),
        tuple(one for one in definition.advice if not items or not one.values or _asked_of(definition, items, one)),
        tuple(one for kernel in kernels for item in items or (None,) for one in _answers(definition, item, kernel)),
        default_answers(definition, kernels),
    )


def _answers(definition: Definition, item: str | None, kernel: Kernel) -> Iterator[Answer]:
    """Say whether a kernel reads a parameter or an item, and where that was read: once where architectures agree."""
    name = definition.name if item is None else f"{definition.name}={item}"
    tokens = definition.tokens_of(item)
    is_unknown = item is not None and bool(definition.tokens) and definition.grammar is Grammar.OPTION_LIST
    spans = [one for token in tokens for one in token.available] or list(definition.available)
    if not spans or (is_unknown and not tokens):
        yield Answer(name, kernel, None, definition.kind is Kind.USERSPACE, definition.source)
        return
    found: dict[Architecture, tuple[bool | None, str]] = {}
    for architecture in dict.fromkeys(one.on for one in spans):
        own = [one.kernels for one in spans if one.on is architecture]
        source = next((text for one in own if (text := one.source(kernel))), definition.source)
        needed = (definition.needs, *(token.needs for token in tokens))
        left_out = next((one for one in needed if is_left_out(one, architecture, kernel)), None)
        source = source if left_out is None else f"{left_out}=n, {SOURCES[kernel.line]}"
        found[architecture] = definition.is_known(architecture, kernel, item), source
    asked = [one for one in found if one in architectures(kernel)] or list(found)
    if len({found[one][0] for one in asked}) == 1:
        yield Answer(name, kernel, None, *found[asked[0]])
    else:
        yield from (Answer(name, kernel, one, *found[one]) for one in asked)


def _asked_of(definition: Definition, items: Iterable[str | None], advice: Advice) -> bool:
    """Whether a question is about one of the items; a myth is its value, whichever number it was written with."""
    myths = (definition.myth_of(item) for item in items)
    named = {*items, *(myth.value for myth in myths if myth is not None)}
    return bool(named & set(advice.values))


def describe(explanation: Explanation) -> str:
    """Return an explanation as text, WIDTH columns wide."""
    return "".join(f"{line}\n" for line in _lines(explanation))


def completions(text: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the parameters that begin with a text; after `=` and each comma the values, myths left out."""
    name, equals, value = text.partition("=")
    if not equals:
        return tuple(sorted(one.name for one in catalogue.definitions if one.name.startswith(name)))
    definition = catalogue.known(name)
    if definition is None:
        return ()
    before, comma, last = value.rpartition(",") if definition.is_list else ("", "", value)
    values = ("0", "1") if definition.grammar is Grammar.BOOL else tuple(_spelling(one) for one in definition.tokens)
    return tuple(f"{name}={before}{comma}{one}" for one in values if one.startswith(last))


def span(available: Availability) -> str:
    """Return an architecture with the releases, as words."""
    return f"{available.on}{_releases(available.kernels)}"


def _releases(spans: Spans) -> str:
    """Say from which release on and up to which, upstream's and those of lines that differ."""
    own = "".join(f"; {line}{_bounds(span)}" for line, span in spans.lines)
    return f"{_bounds(spans.upstream)}{own}"


def _bounds(span: Span) -> str:
    if span.is_never:
        return ": never"
    since = f" from {span.since}" if span.since else ""
    return f"{since}{f' up to {span.until}' if span.until else ''}"


def _unknown(name: str, catalogue: Catalogue) -> NotFoundError:
    """Say that a parameter is not in the catalogue; name another only where this is a slip of it."""
    names = catalogue.names
    # KVM has many parameters of a few letters that are not here: eptad is no slip of ept.
    candidates = tuple(one for one in names if one not in _OF_KVM)
    # Names are told apart by case, and one slip is that.
    close = nearest(name, candidates) or nearest(name.lower(), candidates)
    if close is not None:
        brief = f"no parameter {name!r} in the catalogue of IOMMU parameters"
        return NotFoundError(brief, hint=f"iommuctl explain {close}", correction=(name, close))
    module = name.partition(".")[0] if "." in name else None
    known = [one for one in names if module and one.partition(".")[0] == module]
    of_module = (f"of {module} the catalogue has {', '.join(known)}",) if known else ()
    return NotFoundError(
        f"{name!r} is outside the catalogue of IOMMU parameters",
        details=(
            "it is kept as it is, unless a profile names it, and nothing is said of it",
            *of_module,
            *_as_a_value(name, catalogue),
        ),
        hint="see https://docs.kernel.org/admin-guide/kernel-parameters.html",
    )


def _as_a_value(word: str, catalogue: Catalogue) -> Iterator[str]:
    """Say of which parameters a word that is none is a value: such as efifb of video=efifb:off."""
    for definition in catalogue.definitions:
        for token in definition.tokens:
            if word in {token.name, token.name.partition(":")[0]}:
                yield f"no parameter by itself, but a value: {definition.name}={_spelling(token)}"


def _meaning(definition: Definition, item: str | None) -> str:
    """Say what one item does."""
    tokens = definition.tokens_of(item)
    if tokens:
        taken = definition.taken_for(item)
        as_what = f"read as {taken}, for the kernel compares only the beginning: " if taken else ""
        return as_what + "; ".join(_token_words(token) for token in tokens)
    myth = definition.myth_of(item)
    if myth is not None:
        return f"a myth: {myth.meaning}{f'; what is meant is {myth.mend}' if myth.mend else ''}"
    match definition.grammar:
        case Grammar.OPTION_LIST:
            close = nearest(item or "", tuple(token.name for token in definition.tokens))
            near = f"; near it: {close}" if close else ""
            return f"no token that an IOMMU acts on{near}" if definition.tokens else definition.summary
        case Grammar.BOOL:
            truth = definition.truth(item)
            weak = "; weakens isolation" if definition.unsafe and definition.matches(item, definition.unsafe) else ""
            return "no truth value: the kernel refuses it" if truth is None else f"read as {int(truth)}{weak}"
        case Grammar.FLAG:
            return "the value is not read: the parameter counts wherever it stands"
        case Grammar.SCALAR | Grammar.LAST_WINS_LIST | Grammar.ACCUMULATING:
            return definition.summary


def _token_words(token: Token) -> str:
    facts = [f"sets {token.same_as}"] if token.same_as else []
    facts += [f"only {', '.join(map(span, token.available))}"] if token.available else []
    facts += [f"deprecated since {token.deprecated_since.since}"] if token.deprecated_since else []
    facts += ["weakens isolation"] if token.unsafe else []
    return f"{token.meaning} ({'; '.join(facts)})" if facts else token.meaning


def _rivals(definition: Definition, items: Iterable[str | None], catalogue: Catalogue) -> Iterator[str]:
    """Return what contradicts the items: another value of the same variable, and what the catalogue names."""
    sets = {one for item in items for one in catalogue.assignments(definition.name, item)}
    asked = {one.variable: one.value for one in sets}
    tokens = [token for item in items for token in definition.tokens_of(item)]
    found = dict.fromkeys((*definition.conflicts, *(text for token in tokens for text in token.conflicts)))
    for other in catalogue.definitions:
        for text, assignments, conflicts in _settings(other, catalogue):
            contradicts = any(asked.get(one.variable, one.value) != one.value for one in assignments)
            if contradicts or any(_assigned(conflict, catalogue) & sets for conflict in conflicts):
                found.setdefault(text)
    yield from found


def _settings(
    definition: Definition, catalogue: Catalogue
) -> Iterator[tuple[str, frozenset[Assignment], tuple[str, ...]]]:
    """Return every setting of a parameter that the catalogue can name, what it sets, and what it conflicts with."""
    match definition.grammar:
        case Grammar.BOOL:
            for value in ("0", "1"):
                conflicts = definition.conflicts if value == "1" else ()
                yield f"{definition.name}={value}", catalogue.assignments(definition.name, value), conflicts
        case Grammar.OPTION_LIST:
            for token in definition.tokens:
                sets = catalogue.token_assignments(definition, token)
                yield f"{definition.name}={_spelling(token)}", sets, (*definition.conflicts, *token.conflicts)
        case Grammar.FLAG:
            yield definition.name, catalogue.assignments(definition.name, None), definition.conflicts
        case Grammar.SCALAR | Grammar.LAST_WINS_LIST | Grammar.ACCUMULATING:
            yield definition.name, frozenset(), definition.conflicts


def _assigned(parameter: str, catalogue: Catalogue) -> frozenset[Assignment]:
    name, _, value = parameter.partition("=")
    return catalogue.assignments(name, value or None)


def _spelling(token: Token) -> str:
    return f"{token.name}=" if token.takes_value else token.name


def _lines(explanation: Explanation) -> Iterator[str]:
    definition = explanation.definition
    yield from _wrapped(f"{definition.name}: {definition.summary}", "", "    ")
    for said in explanation.said:
        yield ""
        yield from _wrapped(f"{definition.name}={said.item}: {said.meaning}", "", "    ")
    for answer in explanation.answers:
        yield ""
        yield from _wrapped(f"kernel {answer.kernel}: {_verdict(answer)} ({answer.source})", "", "    ")
    for kernel in dict.fromkeys(answer.kernel for answer in explanation.defaults):
        own = tuple(one for one in explanation.defaults if one.kernel == kernel)
        yield from _wrapped(f"kernel {kernel} by itself: {default_words(own)}", "", "    ")
    for advice in explanation.advice:
        yield from ("", advice.question)
        for paragraph in advice.answer:
            yield from _wrapped(paragraph, "  - ", "    ")
    yield ""
    for label, text in _facts(explanation):
        yield from _wrapped(text, f"{label + ':':<15}", " " * 15)
    for title, rows in _tables(explanation):
        yield from ("", title)
        for row in rows:
            yield from _wrapped(row, "  ", "      ")
    yield ""
    yield from _wrapped(f"source: {definition.source}", "", "    ")


def _verdict(answer: Answer) -> str:
    on = "" if answer.architecture is None else f" on {answer.architecture}"
    match answer.reads:
        case True:
            return f"{answer.item} is read{on}"
        case False:
            return f"{answer.item} is not read{on}"
        case None:
            return f"whether {answer.item} is read{on} is not known; iommuctl verify tells after a boot"


def _facts(explanation: Explanation) -> Iterator[tuple[str, str]]:
    definition = explanation.definition
    yield "read by", _READERS[definition.kind]
    if definition.available:
        drivers = f" (drivers: {', '.join(definition.platforms)})" if definition.platforms else ""
        yield "on", f"{', '.join(map(span, definition.available))}{drivers}"
    yield "value", _REPEATS[definition.grammar]
    if definition.default:
        yield "default", definition.default
    if definition.kconfig:
        yield "configured by", ", ".join(definition.kconfig)
    if definition.effect:
        yield "effect", definition.effect
    if definition.same_as:
        yield "same as", definition.same_as
    if definition.deprecated_since:
        yield "deprecated", f"since {definition.deprecated_since.since}"
    if definition.unsafe:
        weak = definition.name if definition.unsafe == "set" else f"{definition.name}={definition.unsafe}"
        yield "unsafe", f"{weak} weakens isolation"
    if explanation.rivals:
        yield "conflicts", ", ".join(explanation.rivals)


def _tables(explanation: Explanation) -> Iterator[tuple[str, tuple[str, ...]]]:
    definition = explanation.definition
    if definition.tokens and not explanation.said:
        yield "values", tuple(f"{_spelling(token)}: {_token_words(token)}" for token in definition.tokens)
    if definition.myths and not explanation.said:
        myths = (f"{definition.name}={one.value}: {one.meaning}" for one in definition.myths)
        yield "myths", tuple(myths)
    if definition.notes:
        yield "notes", definition.notes


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
