# SPDX-License-Identifier: Apache-2.0
"""Resolve: from a profile, the catalogue and a host's facts to the arguments that are desired. Pure."""

from collections.abc import Iterable, Mapping

from iommuctl.errors import ProfileError
from iommuctl.facts import Facts, Platform
from iommuctl.findings import DeclaredRule, Finding, Rule, Severity
from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.choice import parse_choice
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.lines import Kernel, distinct, parse_kernels
from iommuctl.kernel.parameters import (
    Catalogue,
    Definition,
    Grammar,
    Kind,
    Manages,
    Token,
    architecture_of,
    portable_bool,
)
from iommuctl.kernel.span import ALWAYS
from iommuctl.kernel.spelling import meant
from iommuctl.profile.beside import NONE
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted, Watched, may_repeat
from iommuctl.profile.profile import Absence, InputType, Notice, Profile, Refusal, Setting, Warn, members
from iommuctl.value import NamedTuple

_IDS = "vfio-pci.ids"


def resolve(profile: Profile, catalogue: Catalogue, facts: Facts, inputs: Mapping[str, str]) -> DesiredArguments:
    """Return what a merged profile asks for on one host; `inputs` are the values of `--set`, by name.

    The platform x86 takes what Intel and AMD take. Where an installed kernel is too old for a parameter, the older
    spelling is wanted as well. Raises ProfileError for a missing, unknown or invalid input, for a platform on which the
    profile is impossible, and for a profile that contradicts itself.
    """
    return _Resolution(profile, catalogue, facts, inputs).desired()


class _OlderSpelling(NamedTuple):
    """A deprecated spelling that is wanted as well, and the oldest kernel that is not known to read the new one."""

    wanted: Wanted
    kernel: Kernel


class _Resolution:
    """One profile on its way to one host."""

    def __init__(self, profile: Profile, catalogue: Catalogue, facts: Facts, inputs: Mapping[str, str]) -> None:
        self.profile = profile
        self.catalogue = catalogue
        self.facts = facts
        self.values = _values(profile, inputs)
        self.kernels = distinct(parse_kernels(facts.kernels))

    def desired(self) -> DesiredArguments:
        """Put everything together, and refuse what contradicts itself."""
        for refusal in self.profile.refusals:
            if self._holds(refusal):
                raise ProfileError(
                    f"profile {self.profile.name!r} is impossible on {self.facts.platform}: {refusal.reason}"
                )
        asked = self._wanted()
        older = tuple(self._older_spellings(asked))
        legacy = tuple(one.wanted for one in older)
        wanted = self._with_older_spellings(asked, legacy)
        unwanted = self._unwanted(asked, legacy)
        self._refuse_contradictions(wanted, unwanted)
        return DesiredArguments(
            self.profile.name,
            self.facts.platform,
            wanted,
            unwanted,
            (*self._notices(), *_legacy_findings(older)),
            tuple(self._watched()),
        )

    def _holds(self, entry: Setting | Absence | Warn | Notice | Refusal) -> bool:
        on = bool(members(entry.platforms) & self.facts.platform.members)
        return on and (entry.when is None or self._is_given(entry.when))

    def _is_given(self, name: str) -> bool:
        """Whether a bool input is true, or another one has a value."""
        is_bool = any(one.name == name and one.type is InputType.BOOL for one in self.profile.inputs)
        return self.values.get(name) == "true" if is_bool else name in self.values

    def _value(self, entry: Setting | Absence | Warn) -> str | None:
        return entry.parameter.value if entry.value_from is None else self.values.get(entry.value_from)

    def _wanted(self) -> tuple[Wanted, ...]:
        """Return each parameter once, with the tokens of all its tables, in the order in which it is first set; of one
        that the kernel reads at every occurrence, each of its values, and where its place counts, every occurrence.
        """
        merged: dict[tuple[str, str | None, int], Wanted] = {}
        for number, setting in enumerate(self.profile.sets):
            value = self._value(setting)
            if self._holds(setting) and not (setting.value_from is not None and value is None):
                name = setting.parameter.name
                repeats = self.catalogue.define(name).grammar is Grammar.ACCUMULATING
                place = number if may_repeat(setting.parameter.key) else 0
                key = setting.parameter.key, value if repeats else None, place
                wanted = Wanted(name, value, setting.reason)
                merged[key] = self._joined(merged[key], wanted) if key in merged else wanted
        return tuple(merged.values())

    def _joined(self, first: Wanted, second: Wanted) -> Wanted:
        if first.value == second.value:
            return first
        definition = self.catalogue.define(first.name)
        if not definition.is_list or first.value is None or second.value is None:
            raise ProfileError(f"profile {self.profile.name!r} wants both {str(first)!r} and {str(second)!r}")
        tokens = dict.fromkeys((*first.value.split(","), *second.value.split(",")))
        return Wanted(first.name, ",".join(tokens), "; ".join(dict.fromkeys((first.reason, second.reason))))

    def _with_older_spellings(self, wanted: tuple[Wanted, ...], legacy: tuple[Wanted, ...]) -> tuple[Wanted, ...]:
        """Add the deprecated spellings that an installed kernel needs.

        They go to the parameter that is there already, else after the other parameters of the drivers.
        """
        result = list(wanted)
        for one in legacy:
            keys = [canonical_name(other.name) for other in result]
            if canonical_name(one.name) in keys:
                at = keys.index(canonical_name(one.name))
                result[at] = self._joined(result[at], one)
            else:
                drivers = [at for at, other in enumerate(result, 1) if self._is_driver(other)]
                result.insert(max(drivers, default=0), one)
        return tuple(result)

    def _is_driver(self, wanted: Wanted) -> bool:
        definition = self.catalogue.define(wanted.name)
        return definition.kind is Kind.SETUP and definition.manages is not Manages.NOTHING

    def _older_spellings(self, wanted: tuple[Wanted, ...]) -> "Iterable[_OlderSpelling]":
        """Return the older spelling of each parameter that an installed kernel is not known to read."""
        for one in wanted:
            modern = self.catalogue.define(one.name)
            sets = self.catalogue.assignments(one.name, one.value)
            for platform in (platform for platform in Platform if platform in self.facts.platform.members):
                lacking = self._lacking(modern, platform)
                if not sets or platform not in modern.acting or not lacking:
                    continue
                for definition, token in self._deprecated(platform):
                    if self.catalogue.token_assignments(definition, token) == sets:
                        before = _first(modern, platform, lacking[0])
                        reason = f"kernels before {before} do not know {one.name}: {one.reason}"
                        yield _OlderSpelling(Wanted(definition.name, token.name, reason), lacking[0])

    def _lacking(self, definition: Definition, platform: Platform) -> tuple[Kernel, ...]:
        """Return the installed kernels that are not known to read a parameter, oldest first."""
        return tuple(kernel for kernel in self.kernels if definition.reads(platform, kernel) is not True)

    def _deprecated(self, platform: Platform) -> Iterable[tuple[Definition, Token]]:
        for definition in self.catalogue.definitions:
            if platform in definition.acting:
                yield from ((definition, token) for token in definition.tokens if token.deprecated_since is not None)

    def _unwanted(self, asked: tuple[Wanted, ...], legacy: tuple[Wanted, ...]) -> tuple[Unwanted, ...]:
        """Return what must go, without the older spellings that stay and without what one vendor of x86 sets itself."""
        several = len(self.facts.platform.members) > 1
        ours, older, both = _by_key(asked), _by_key(legacy), _by_key((*asked, *legacy))
        result: dict[tuple[str, str | None], Unwanted] = {}
        for one in asked:
            # vfio-pci would take a twin by the id, and its ids are of no use to what is bound by its address.
            for device in parse_choice(one.value or "") if one.name == CHOICE else ():
                ident = f"{device.vendor}:{device.device}"
                result[canonical_name(_IDS), ident] = Unwanted(_IDS, ident, f"{device.address} is bound by its address")
        for absence in self.profile.absent:
            value = self._value(absence)
            if not self._holds(absence) or (absence.value_from is not None and value is None):
                continue
            definition = self.catalogue.define(absence.parameter.name)
            for item in definition.items(value):
                unwanted = Unwanted(absence.parameter.name, item, absence.reason)
                vendor_only = several and not self.facts.platform.members <= members(absence.platforms)
                if self._hits(unwanted, older) or (vendor_only and self._hits(unwanted, ours)):
                    continue
                result.setdefault((absence.parameter.key, item), unwanted)
        is_profile = self.profile.reset is None and self.profile.name != NONE
        for unwanted in _myths(self.catalogue) if is_profile else ():
            if not self._hits(unwanted, both):
                result.setdefault((canonical_name(unwanted.name), unwanted.value), unwanted)
        if self.profile.reset is not None:
            for unwanted in _managed(self.catalogue, self.profile.reset.reason):
                result.setdefault((canonical_name(unwanted.name), unwanted.value), unwanted)
        return tuple(result.values())

    def _hits(self, unwanted: Unwanted, wanted: Mapping[str, list[Wanted]]) -> bool:
        rivals = wanted.get(canonical_name(unwanted.name))
        if rivals is None:
            return False
        definition = self.catalogue.define(unwanted.name)
        return any(definition.matches(item, unwanted.value) for one in rivals for item in definition.items(one.value))

    def _replaces(self, unwanted: Unwanted, wanted: Iterable[Wanted]) -> bool:
        """Whether a parameter is named whatever its value and set to another: this value, in the place of any."""
        key, definition = canonical_name(unwanted.name), self.catalogue.define(unwanted.name)
        if unwanted.value is not None or definition.is_list:
            return False
        absent = (one for one in self.profile.absent if one.parameter.key == key and self._holds(one))
        asked = any(one.parameter.value is None and one.value_from is None for one in absent)
        return asked and all(one.value is not None for one in wanted if canonical_name(one.name) == key)

    def _refuse_contradictions(self, wanted: tuple[Wanted, ...], unwanted: tuple[Unwanted, ...]) -> None:
        named = _by_key(wanted)
        for absent in unwanted:
            if self._hits(absent, named) and not self._replaces(absent, wanted):
                raise ProfileError(f"profile {self.profile.name!r} wants and forbids {str(absent)!r}")
        seen: dict[str, tuple[str, Wanted]] = {}
        for one in wanted:
            definition = self.catalogue.define(one.name)
            self._check_value(definition, one)
            for item in definition.items(one.value):
                for assignment in self.catalogue.assignments(one.name, item):
                    value, other = seen.setdefault(assignment.variable, (assignment.value, one))
                    if value != assignment.value:
                        raise ProfileError(
                            f"profile {self.profile.name!r} contradicts itself: {str(other)!r} and {str(one)!r}"
                        )

    def _check_value(self, definition: Definition, wanted: Wanted) -> None:
        if definition.grammar is Grammar.BOOL and portable_bool(wanted.value) is None:
            raise ProfileError(f"profile {self.profile.name!r}: {str(wanted)!r} is no truth value, write 0 or 1")
        if definition.is_list and not all(definition.items(wanted.value)):
            raise ProfileError(f"profile {self.profile.name!r}: {str(wanted)!r} lacks a value")

    def _watched(self) -> Iterable[Watched]:
        for warn in self.profile.warns:
            if self._holds(warn):
                finding = Finding(DeclaredRule(warn.rule), warn.severity, warn.message, None, warn.hint)
                yield Watched(warn.parameter.name, self._value(warn), finding)

    def _notices(self) -> Iterable[Finding]:
        for notice in self.profile.notices:
            if self._holds(notice):
                yield Finding(DeclaredRule(notice.rule), notice.severity, notice.message, None, notice.hint)


def _by_key(wanted: Iterable[Wanted]) -> dict[str, list[Wanted]]:
    found: dict[str, list[Wanted]] = {}
    for one in wanted:
        found.setdefault(canonical_name(one.name), []).append(one)
    return found


def _legacy_findings(older: Iterable[_OlderSpelling]) -> Iterable[Finding]:
    for one in older:
        yield Finding(
            Rule.LEGACY_SPELLING,
            Severity.INFO,
            f"kernel {one.kernel} is installed, and one line serves all kernels: {one.wanted.reason}",
            str(one.wanted),
        )


def _values(profile: Profile, given: Mapping[str, str]) -> dict[str, str]:
    """Return the value of each input: what was given, else its default; a bool without one is false."""
    declared = {one.name: one for one in profile.inputs}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        known = ", ".join(declared) or "none"
        raise ProfileError(
            f"profile {profile.name!r} has no input {unknown[0]!r}",
            details=(f"inputs: {known}",),
            hint=f"iommuctl profile show {profile.name}",
            correction=(unknown[0], meant(unknown[0], declared)),
        )
    values: dict[str, str] = {}
    for name, one in declared.items():
        if one.alternative in given:
            if name in given:
                raise ProfileError(
                    f"profile {profile.name!r} takes either {name!r} or {one.alternative!r}, not both",
                    hint=f"iommuctl profile show {profile.name}",
                )
            continue
        value = given.get(name, one.default)
        if value is None and one.type is InputType.BOOL:
            value = "false"
        if value is None and one.required:
            raise ProfileError(
                f"profile {profile.name!r} needs the input {name!r}: {one.description}",
                hint=f"run the same command with --set {name}=VALUE",
            )
        if value is not None:
            try:
                values[name] = one.check(value)
            except ValueError as error:
                raise ProfileError(f"input {name!r}: {error}") from error
    return values


def _managed(catalogue: Catalogue, reason: str) -> Iterable[Unwanted]:
    """Return every IOMMU parameter of the catalogue, and the single tokens of those that are only partly one."""
    for definition in catalogue.definitions:
        match definition.manages:
            case Manages.ALL:
                yield Unwanted(definition.name, None, reason)
            case Manages.TOKENS:
                own = (token for token in definition.tokens if not token.foreign)
                yield from (Unwanted(definition.name, token.name, reason) for token in own)
            case Manages.NOTHING:
                pass


def _myths(catalogue: Catalogue) -> Iterable[Unwanted]:
    """Return the values of IOMMU parameters that no kernel reads as guides say: no profile leaves them on a line."""
    for definition in catalogue.definitions:
        if definition.manages is Manages.ALL:
            yield from (Unwanted(definition.name, myth.value, f"a myth: {myth.meaning}") for myth in definition.myths)


def _first(definition: Definition, platform: Platform, kernel: Kernel) -> str:
    """Return the first release that reads a parameter, of the kernel's own line where that is known."""
    spans = next((span.kernels for span in definition.available if span.on is architecture_of(platform)), ALWAYS)
    own = next((span.since for line, span in spans.lines if line is kernel.line), None)
    return f"{kernel.line} {own}" if own else str(spans.since or "this one")
