# SPDX-License-Identifier: Apache-2.0
"""Lint: what a rule looks at, and how what the rules say becomes findings. Knows no rule itself; pure.

Tuples with names, where a dataclass would do: every dry-run imports this, and they cost a seventh to define.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from iommuctl.facts import KernelVersion, Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline, Parameter, canonical_name, join
from iommuctl.kernel.environment import Surroundings
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import (
    Assignment,
    Catalogue,
    Definition,
    Grammar,
    Manages,
    Token,
    architecture_of,
)
from iommuctl.profile.desired import DesiredArguments
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.running.state import Device

# The newest kernel whose sources the catalogue was read from; it stands for kernels that are not known.
NEWEST_KERNEL = Kernel.upstream(KernelVersion(7, 2))
_CONCRETE = (Platform.INTEL, Platform.AMD, Platform.ARM64)
_VTD_ON = Assignment("intel_iommu:state", "on")
_ISOLATION = frozenset({Assignment("iommu.passthrough", "0"), Assignment("iommu.strict", "1")})


_NOTHING_KNOWN = Surroundings()


class Item(NamedTuple):
    """One unit of a value (a token of a list, else all of it) of a parameter that the catalogue knows.

    `is_read` is False after a token at which the kernel stops reading the list.
    """

    parameter: Parameter
    definition: Definition
    text: str | None
    tokens: tuple[Token, ...]
    is_read: bool

    @property
    def single(self) -> str:
        """The item written as a parameter of its own."""
        return self.parameter.name if self.text is None else f"{self.parameter.name}={self.text}"


class Subject:
    """One command line with what is known of where it is used.

    `platform` None: it may be any. `kernels` empty: the newest. `desired` is the profile that the line came from.
    `items` are those of every parameter that the catalogue knows, in order. `devices` are those of the machine; none
    where they are not known.
    """

    def __init__(
        self,
        cmdline: Cmdline,
        catalogue: Catalogue,
        platform: Platform | None = None,
        kernels: tuple[Kernel, ...] = (),
        desired: DesiredArguments | None = None,
        surroundings: Surroundings = _NOTHING_KNOWN,
        devices: "tuple[Device, ...]" = (),
    ) -> None:
        self.cmdline = cmdline
        self.catalogue = catalogue
        self.platform = platform
        self.kernels = kernels
        self.desired = desired
        self.surroundings = surroundings
        self.devices = devices
        self.items = tuple(_items(cmdline, catalogue))
        # The concrete platforms that the line may meet.
        self.platforms = tuple(one for one in _CONCRETE if platform is None or one in platform.members)
        self._effects: dict[tuple[Platform, Kernel], frozenset[Assignment]] = {}

    @property
    def readers(self) -> tuple[Kernel, ...]:
        """The kernels that read the line."""
        return self.kernels or (NEWEST_KERNEL,)

    @property
    def isolates(self) -> bool:
        """Whether the profile promises that every device is translated, strictly."""
        wanted = () if self.desired is None else self.desired.wanted
        promised = {
            assignment
            for one in wanted
            for item in self.catalogue.define(one.name).items(one.value)
            for assignment in self.catalogue.assignments(one.name, item)
        }
        return promised >= _ISOLATION

    def acts(self, definition: Definition) -> bool:
        """Whether a driver of a platform that the line may meet acts on a parameter, or would if any kernel had it."""
        return self.platform is None or not definition.available or not definition.acting.isdisjoint(self.platforms)

    def effects(self, platform: Platform, kernel: Kernel) -> frozenset[Assignment]:
        """Return the variables that the line sets in one platform's drivers, VT-d's default included where known."""
        found = self._effects.get((platform, kernel))
        if found is not None:
            return found
        from iommuctl.kernel.predict import effective  # noqa: PLC0415 - a line with nothing to weigh does not need it

        variables = effective(self.cmdline, platform, kernel, self.catalogue)
        if self.surroundings.vtd_default_on and platform is Platform.INTEL:
            variables.setdefault(_VTD_ON.variable, _VTD_ON.value)
        found = frozenset(Assignment(variable, value) for variable, value in variables.items())
        self._effects[platform, kernel] = found
        return found

    def has(self, text: str) -> bool:
        """Whether the line does what a parameter asks for, on some platform that acts on it and some kernel."""
        name, _, value = text.partition("=")
        asked = self.catalogue.assignments(name, value or None)
        acting = [one for one in self.platforms if one in self.catalogue.define(name).acting]
        return any(asked <= self.effects(platform, kernel) for platform in acting for kernel in self.readers)

    def knows(self, item: Item, platform: Platform, kernel: Kernel) -> bool | None:
        """Whether that kernel has the parameter, and one of the tokens where the item is a token of a list.

        None where its line and release do not tell.
        """
        return item.definition.is_known(architecture_of(platform), kernel, item.text)

    def wants(self, item: Item) -> bool:
        """Whether the profile itself asks for an item."""
        wanted = () if self.desired is None else self.desired.wanted
        return any(
            canonical_name(one.name) == item.parameter.key and item.definition.serves(item.text, value)
            for one in wanted
            for value in item.definition.items(one.value)
        )

    def is_watched(self, item: Item) -> bool:
        """Whether the profile has a finding of its own for an item that it lets stay."""
        watched = () if self.desired is None else self.desired.watched
        return any(
            canonical_name(one.name) == item.parameter.key and item.definition.matches(item.text, one.value)
            for one in watched
        )


class Remark(NamedTuple):
    """What a rule says of one line. `severity` None: that of the rule."""

    message: str
    parameter: str | None = None
    hint: str | None = None
    severity: Severity | None = None


Check = Callable[[Subject], Iterable[Remark]]


class LintRule(NamedTuple):
    """One thing to look for. `severity` is the usual one; `source` says where the fact of the rule is from.

    `of_items`: of a line it looks at nothing but its items, so lines with the same known parameters are told the same.
    """

    id: Rule
    severity: Severity
    source: str
    check: Check
    of_items: bool = False


class RuleBook:
    """The rules of a module, as a decorator that enters the function below it: `@rule(Rule.MYTH, …)`."""

    def __init__(self) -> None:
        self._rules: list[LintRule] = []

    @property
    def rules(self) -> tuple[LintRule, ...]:
        """The rules, in the order of their definition."""
        return tuple(self._rules)

    def __call__(
        self, rule: Rule, severity: Severity, source: str, *, of_items: bool = False
    ) -> Callable[[Check], Check]:
        """Return what enters a function, and leaves it as it is."""

        def enter(check: Check) -> Check:
            self._rules.append(LintRule(rule, severity, source, check, of_items))
            return check

        return enter


class Linter:
    """Lints lines that differ in nothing but their text: of one host, with one profile and the same kernels.

    What rules say of known parameters is worked out once for all the lines that have the same.
    """

    def __init__(self, rules: Iterable[LintRule]) -> None:
        listed = tuple(rules)
        self._of_items = tuple(rule for rule in listed if rule.of_items)
        self._of_lines = tuple(rule for rule in listed if not rule.of_items)
        self._told: dict[tuple[str, ...], frozenset[Finding]] = {}

    def lint(self, subject: Subject) -> tuple[Finding, ...]:
        """Return what the rules find on a line: worst first, then by rule and parameter, each once."""
        key = tuple(item.parameter.text for item in subject.items)
        if key not in self._told:
            self._told[key] = _found(subject, self._of_items)
        findings = self._told[key] | _found(subject, self._of_lines)
        order = list(Severity)
        return tuple(
            sorted(findings, key=lambda one: (order.index(one.severity), one.rule, one.parameter or "", one.message))
        )


def lint(subject: Subject, rules: Iterable[LintRule]) -> tuple[Finding, ...]:
    """Return what the rules find on one line, as a Linter does."""
    return Linter(rules).lint(subject)


def _found(subject: Subject, rules: Iterable[LintRule]) -> frozenset[Finding]:
    return frozenset(
        Finding(rule.id, remark.severity or rule.severity, remark.message, remark.parameter, remark.hint)
        for rule in rules
        for remark in rule.check(subject)
    )


def lint_desired(
    desired: DesiredArguments, catalogue: Catalogue, kernels: tuple[Kernel, ...], rules: Iterable[LintRule]
) -> tuple[Finding, ...]:
    """Return what the rules find on the line that a profile makes by itself.

    Of an isolating profile what it asks for is judged by its promise, of any other one as if an operator asked.
    """
    line = Cmdline.parse(join(map(str, desired.wanted)))
    subject = Subject(line, catalogue, desired.platform, kernels, desired)
    judged = subject if subject.isolates else Subject(line, catalogue, desired.platform, kernels)
    return lint(judged, rules)


def _items(cmdline: Cmdline, catalogue: Catalogue) -> Iterable[Item]:
    for parameter in cmdline.parameters:
        definition = catalogue.by_key.get(parameter.key)
        if definition is None:
            continue
        is_read = True
        for text in definition.items(parameter.value):
            yield Item(parameter, definition, text, definition.tokens_of(text), is_read)
            is_read = is_read and not definition.ends_list(text)


def is_managed(definition: Definition, item: str | None) -> bool:
    """Whether a parameter, or this item of it, is one of the IOMMU's."""
    match definition.manages:
        case Manages.ALL:
            return True
        case Manages.TOKENS:
            return any(not token.foreign for token in definition.tokens_of(item))
        case Manages.NOTHING:
            return False


def is_weakening(item: Item) -> bool:
    """Whether an item is what the catalogue calls unsafe."""
    unsafe = item.definition.unsafe
    if item.definition.grammar is Grammar.BOOL:
        return unsafe is not None and item.definition.matches(item.text, unsafe)
    return unsafe is not None or any(token.unsafe for token in item.tokens)


def sets(subject: Subject, item: Item) -> frozenset[Assignment]:
    """Return the variables that an item sets, on whatever platform and kernel."""
    return subject.catalogue.assignments(item.definition.name, item.text)


def assigned(subject: Subject, parameter: str) -> frozenset[Assignment]:
    """Return the variables that a parameter, as `name=value`, would set."""
    name, _, value = parameter.partition("=")
    return subject.catalogue.assignments(name, value or None)


def acts_on(subject: Subject, parameter: str) -> bool:
    """Whether a driver that the line may meet acts on a parameter, as `name=value`."""
    return subject.acts(subject.catalogue.define(parameter.partition("=")[0]))
