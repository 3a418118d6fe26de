# SPDX-License-Identifier: Apache-2.0
"""Rules: what can be wrong with a line by itself, each a small pure function. Facts come from the catalogue."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

from iommuctl.facts import COMMAND_LINE_SIZE, Platform
from iommuctl.findings import Rule, Severity
from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.choice import choice_on
from iommuctl.kernel.parameters import Assignment, Catalogue, Grammar, Kind, Manages, any_of
from iommuctl.kernel.spelling import nearest
from iommuctl.kernel.tables import host, kvm
from iommuctl.kernel.trial import HELPER_NAMES, PARAMETER
from iommuctl.lint.engine import Item, Remark, RuleBook, Subject, acts_on, assigned, is_managed, is_weakening, sets
from iommuctl.lint.hints import elsewhere, instead, is_patch, successor, written
from iommuctl.lint.kernel_rules import KERNEL_RULES

rule = RuleBook()

# Where the facts are from.
_HANDLERS = "arch/x86/kernel/pci-dma.c iommu_setup; drivers/iommu/{intel/iommu.c,amd/init.c}"
_PARAMS = "kernel/params.c parse_args; init/main.c unknown_bootoption"

# What somebody relies on who writes a myth: without it devices reach more than is believed.
_PROTECTION = frozenset(
    {Assignment("intel_iommu:state", "on"), Assignment("iommu.strict", "1"), Assignment("iommu.passthrough", "0")}
)
_NO_PROTECTION = "guides promise protection by it, and it gives none, whatever else is on the line"
_IOMMU_NAMESPACE = "iommu."
# Names that are known, but of which no slip is looked for: they are not about the IOMMU.
_OF_HOSTS = frozenset(one.name for one in (*host.PARAMETERS, *kvm.PARAMETERS))


@rule(Rule.MYTH, Severity.WARNING, _HANDLERS, of_items=True)
def _myth(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        myth = item.definition.myth_of(item.text)
        if myth is None or not subject.acts(item.definition):
            continue
        meant = (myth.mend or "").split()
        lacking = [one for one in meant if acts_on(subject, one) and not subject.has(one)]
        # What is believed of it weighs, and neither the processor nor what else the line has: it does nothing anyhow.
        believed = any(assigned(subject, one) & _PROTECTION for one in meant)
        settled = subject.desired is not None and not subject.wants(item)
        weighs = believed and not settled
        yield Remark(
            f"{myth.meaning}; {_NO_PROTECTION}" if weighs else myth.meaning,
            item.parameter.text,
            instead(item, lacking),
            Severity.ERROR if weighs else Severity.WARNING,
        )


@rule(Rule.UNKNOWN_TOKEN, Severity.WARNING, _HANDLERS, of_items=True)
def _unknown_token(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        definition = item.definition
        if definition.manages is not Manages.ALL or not definition.tokens or item.tokens or item.text == "":
            continue
        if definition.myth_of(item.text) is not None or not subject.acts(definition):
            continue
        if item.text is None:
            yield Remark(f"{definition.name} without a value does nothing", item.parameter.text)
            continue
        close = nearest(item.text, tuple(token.name for token in definition.tokens))
        hint = f"write {definition.name}={close} instead" if close else f"remove {item.text!r}"
        yield Remark(
            f"{item.text!r} is no token of {definition.name}= that an IOMMU acts on", item.parameter.text, hint
        )


@rule(Rule.SLOPPY_TOKEN, Severity.WARNING, _HANDLERS, of_items=True)
def _sloppy_token(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        name = item.definition.taken_for(item.text)
        if name is not None and subject.acts(item.definition):
            yield Remark(
                f"the kernel compares only the beginning and reads {item.text!r} as {name!r}",
                item.parameter.text,
                f"write {item.definition.name}={name} instead",
            )


@rule(Rule.UNKNOWN_PARAMETER, Severity.ERROR, _PARAMS)
def _unknown_parameter(subject: Subject) -> Iterable[Remark]:
    names, ours_only = _looked_among(subject.catalogue)
    for parameter in subject.cmdline.parameters:
        if subject.catalogue.known(parameter.name.partition("[")[0]) is not None:
            continue
        ours = parameter.key.startswith(_IOMMU_NAMESPACE)
        close = nearest(parameter.name, ours_only if ours else names)
        if close is None and not ours:
            continue
        value = "" if parameter.value is None else f"={parameter.value}"
        fate = "ignores it without a message" if "." in parameter.name else "hands it to init"
        yield Remark(
            f"no such parameter; the kernel {fate}",
            parameter.text,
            f"write {close}{value} instead" if close else f"remove {parameter.text}",
        )


@rule(Rule.BAD_BOOL, Severity.ERROR, "lib/kstrtox.c kstrtobool", of_items=True)
def _bad_bool(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        definition = item.definition
        if definition.grammar is not Grammar.BOOL or definition.truth(item.text) is not None:
            continue
        # A word next to the truth values, such as auto, is wrong only where no kernel that reads the line takes it.
        acting = [one for one in subject.platforms if one in definition.acting]
        words = [subject.knows(item, one, kernel) for one in acting for kernel in subject.readers if item.tokens]
        if any_of(words) is False:
            shown = "a missing value" if item.text is None else repr(item.text)
            yield Remark(
                f"{shown} is no truth value, so the kernel refuses the parameter",
                item.parameter.text,
                f"write {definition.name}=1 or {definition.name}=0",
            )


@rule(Rule.WRONG_PLATFORM, Severity.WARNING, "the catalogue", of_items=True)
def _wrong_platform(subject: Subject) -> Iterable[Remark]:
    if subject.platform is None:
        return
    x86 = Platform.ARM64 not in subject.platforms
    for item in subject.items:
        definition = item.definition
        if subject.acts(definition) or definition.manages is Manages.NOTHING:
            continue
        same = x86 and bool(definition.acting & Platform.X86.members)
        yield Remark(
            f"no driver of {subject.platform} acts on {definition.name}",
            item.parameter.text,
            elsewhere(subject, item),
            Severity.INFO if same else Severity.WARNING,
        )


@rule(Rule.DEPRECATED, Severity.WARNING, "the catalogue")
def _deprecated(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        if not subject.acts(item.definition):
            continue
        for since, replacement in _retired(item):
            if replacement is None or _all_read(subject, replacement):
                by = f" of {replacement}" if replacement else ""
                message = f"{item.single} is a deprecated spelling{by} since {since}"
                yield Remark(message, item.parameter.text, successor(subject, item, replacement))
    for parameter in subject.cmdline.parameters:
        name, bracket, rest = parameter.name.partition("[")
        definition = subject.catalogue.known(name) if bracket else None
        if definition is not None and definition.grammar is Grammar.ACCUMULATING and subject.acts(definition):
            number = rest.removesuffix("]")
            place = f"{parameter.value}@{number}" if ":" in number else f"{number}@{parameter.value}"
            yield Remark("; ".join(definition.notes), parameter.text, f"write {definition.name}={place} instead")


@rule(Rule.NO_EFFECT, Severity.INFO, "the catalogue", of_items=True)
def _no_effect(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        definition = item.definition
        if not item.is_read:
            yield Remark(f"{item.text!r} stands behind a token at which the kernel stops reading", item.parameter.text)
        elif definition.kind is Kind.HYPERVISOR or (definition.kind is Kind.NOBODY and is_managed(definition, None)):
            yield Remark(definition.summary, item.parameter.text, f"remove {item.parameter.text}", Severity.WARNING)
        elif subject.acts(definition) and _is_inert(subject, item):
            yield Remark(item.tokens[0].meaning, item.parameter.text, f"remove {item.text!r}")


@rule(Rule.CONTRADICTION, Severity.ERROR, _PARAMS, of_items=True)
def _contradiction(subject: Subject) -> Iterable[Remark]:
    setters: dict[str, dict[str, Item]] = {}
    for item in subject.items:
        if item.is_read and subject.acts(item.definition) and is_managed(item.definition, item.text):
            for one in sets(subject, item):
                setters.setdefault(one.variable, {})[one.value] = item
    for variable, values in sorted(setters.items()):
        if len(values) > 1:
            texts = [item.single for item in values.values()]
            winner = next((item.single for value, item in values.items() if _wins(subject, variable, value)), texts[-1])
            together = " and ".join(map(repr, texts))
            losers = " and ".join(text for text in texts if text != winner)
            yield Remark(f"{together} contradict each other; {winner!r} takes effect", winner, f"remove {losers}")


@rule(Rule.CONFLICT, Severity.ERROR, "the catalogue", of_items=True)
def _conflict(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        definition = item.definition
        asked = definition.grammar is not Grammar.BOOL or definition.truth(item.text) is True
        if not asked or not item.is_read or not subject.acts(definition):
            continue
        for other in (*definition.conflicts, *(text for token in item.tokens for text in token.conflicts)):
            if acts_on(subject, other) and subject.has(other):
                about = item.tokens[0].meaning if item.tokens else definition.effect or definition.summary
                beside = written(subject, other)
                lifted = next((one for one in definition.lifted if one.parameter == other), None)
                if lifted is not None and all(lifted.kernels.cover(one) is True for one in subject.readers):
                    message, severity = f"beside {beside}: {lifted.condition}", Severity.WARNING
                else:
                    message, severity = f"makes no sense beside {beside}: {about}", Severity.ERROR
                yield Remark(message, item.parameter.text, f"remove {item.single} or {beside}", severity)


@rule(Rule.DUPLICATE, Severity.WARNING, "lib/cmdline.c; kernel/params.c", of_items=True)
def _duplicate(subject: Subject) -> Iterable[Remark]:
    items = [item for item in subject.items if item.definition.kind is not Kind.USERSPACE]
    for _, group in groupby(sorted(items, key=lambda item: item.parameter.key), key=lambda item: item.parameter.key):
        same = list(group)
        definition = same[0].definition
        occurrences = {id(item.parameter): item.parameter for item in same}
        if definition.grammar is Grammar.LAST_WINS_LIST and len(occurrences) > 1:
            merged = ",".join(dict.fromkeys(item.text.lower() for item in same if item.text))
            *lost, _ = occurrences.values()
            message = f"only the last {definition.name}= counts, this one has no effect"
            yield from (Remark(message, one.text, f"write one {definition.name}={merged}") for one in lost)
        elif definition.manages is not Manages.NOTHING:
            seen: set[str] = set()
            for item in same:
                if item.single in seen or (seen and definition.grammar is Grammar.FLAG):
                    yield Remark(f"{item.single} stands on the line more than once", item.parameter.text, "remove one")
                seen.add(item.single)


@rule(Rule.MIXED_SPELLING, Severity.WARNING, "kernel/params.c dash2underscore", of_items=True)
def _mixed_spelling(subject: Subject) -> Iterable[Remark]:
    spellings: dict[str, dict[str, None]] = {}
    for item in subject.items:
        spellings.setdefault(item.parameter.key, {}).setdefault(item.parameter.name)
    for names in spellings.values():
        if len(names) > 1:
            first, *others = names
            message = f"{first} and {' and '.join(others)} are one parameter: - and _ are equal in names"
            yield Remark(message, others[-1], f"write {first} throughout")


@rule(Rule.UNSAFE, Severity.WARNING, "the catalogue", of_items=True)
def _unsafe(subject: Subject) -> Iterable[Remark]:
    for item in subject.items:
        if not is_weakening(item) or not item.is_read or subject.wants(item) or subject.is_watched(item):
            continue
        if not subject.acts(item.definition) or _is_inert(subject, item):
            continue
        # Where no kernel is named, it may be one that reads what only a patch brings.
        if _is_overruled(subject, item) and (subject.kernels or not is_patch(item)):
            continue
        token = next((one for one in item.tokens if one.unsafe), None)
        message = token.meaning if token else item.definition.effect or item.definition.summary
        severity = Severity.ERROR if subject.isolates else Severity.WARNING
        gone = item.single if token else item.parameter.text
        hint = f"keep {gone} only where a device needs it" if is_patch(item) and token else f"remove {gone}"
        yield Remark(message, item.parameter.text, hint, severity)


@rule(Rule.BEHIND_SEPARATOR, Severity.ERROR, "kernel/params.c parse_args")
def _behind_separator(subject: Subject) -> Iterable[Remark]:
    for parameter in subject.cmdline.init_arguments:
        definition = subject.catalogue.known(parameter.name)
        if definition is None:
            continue
        module = definition.kind is Kind.MODULE
        if not module and not any(is_managed(definition, item) for item in definition.items(parameter.value)):
            continue
        message = (
            "stands behind --, where modprobe reads it and a built-in driver does not"
            if module
            else "stands behind --, where the kernel reads nothing"
        )
        severity = Severity.WARNING if module else Severity.ERROR
        yield Remark(message, parameter.text, f"write {parameter.text} before --, or remove it", severity)


@rule(Rule.TOO_LONG, Severity.ERROR, "arch/*/include/*/asm/setup.h")
def _too_long(subject: Subject) -> Iterable[Remark]:
    size = len(str(subject.cmdline).encode("utf-8", "surrogateescape"))
    limit = COMMAND_LINE_SIZE[subject.platform or Platform.X86] - 1
    if size > limit:
        yield Remark(f"the line is {size} bytes long; the kernel reads {limit} and cuts the rest without a message")


@rule(Rule.OPEN_QUOTE, Severity.WARNING, "lib/cmdline.c next_arg")
def _open_quote(subject: Subject) -> Iterable[Remark]:
    for parameter in subject.cmdline.parameters:
        if not parameter.is_closed:
            yield Remark("the quote is never closed, so all that follows is part of this value", parameter.text)


@rule(Rule.TRIAL_HELPERS, Severity.WARNING, "iommuctl trial: the token of one boot")
def _trial_helpers(subject: Subject) -> Iterable[Remark]:
    for token in subject.cmdline.named(PARAMETER):
        message = "is of a trial boot: either this is one, or its line was taken for one that stays"
        hint = f"iommuctl trial status; where none runs, take it and {', '.join(HELPER_NAMES)} out"
        yield Remark(message, token.text, hint)


@rule(Rule.CHOICE_MALFORMED, Severity.ERROR, "iommuctl apply --device: address@vendor:device, as sysfs has them")
def _choice_malformed(subject: Subject) -> Iterable[Remark]:
    try:
        choice_on(subject.cmdline)
    except ValueError as error:
        token = subject.cmdline.named(CHOICE)[-1]
        yield Remark(f"binds nothing: {error}", token.text, "iommuctl apply vfio-bind --device ADDRESS writes it")


def _wins(subject: Subject, variable: str, value: str) -> bool:
    one = Assignment(variable, value)
    return any(one in subject.effects(platform, kernel) for platform in subject.platforms for kernel in subject.readers)


def _is_overruled(subject: Subject, item: Item) -> bool:
    """Whether something else on the line takes an item back."""
    own = sets(subject, item)
    early_or_setup = item.definition.kind in {Kind.EARLY, Kind.SETUP}
    return early_or_setup and bool(own) and not any(_wins(subject, one.variable, one.value) for one in own)


@lru_cache(maxsize=1)
def _looked_among(catalogue: Catalogue) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of which a slip is looked for, and those of them in the namespace of the IOMMU."""
    names = tuple(name for name in catalogue.names if name not in _OF_HOSTS)
    return names, tuple(name for name in names if name.startswith(_IOMMU_NAMESPACE))


def _is_inert(subject: Subject, item: Item) -> bool:
    return bool(item.tokens) and all(
        token.inert_since is not None and token.inert_since.cover(kernel) is True
        for token in item.tokens
        for kernel in subject.readers
    )


def _retired(item: Item) -> Iterable[tuple[str, str | None]]:
    """Return since when an item is deprecated and what replaces it; nothing where it is not."""
    definition = item.definition
    if definition.deprecated_since is not None:
        yield str(definition.deprecated_since.since), definition.replacement or definition.same_as
    for token in item.tokens:
        if token.deprecated_since is not None:
            yield str(token.deprecated_since.since), token.replacement or token.same_as


def _all_read(subject: Subject, parameter: str) -> bool:
    definition = subject.catalogue.define(parameter.partition("=")[0])
    acting = [one for one in subject.platforms if one in definition.acting]
    return all(definition.reads(platform, kernel) is True for platform in acting for kernel in subject.readers)


RULES = (*rule.rules, *KERNEL_RULES)
