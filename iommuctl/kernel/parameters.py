# SPDX-License-Identifier: Apache-2.0
"""Parameters: the catalogue of what the kernel reads, and how it reads it. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.span import ALWAYS, Spans
from iommuctl.value import NamedTuple


class Kind(StrEnum):
    """Who reads the parameter, and when: all early ones are read before any setup one, wherever they stand."""

    EARLY = "early"
    SETUP = "setup"
    MODULE = "module"
    USERSPACE = "userspace"
    HYPERVISOR = "hypervisor"
    NOBODY = "nobody"


class Grammar(StrEnum):
    """What a value is, and what a second occurrence does; of an accumulating one each whole value counts."""

    FLAG = "flag"
    BOOL = "bool"
    SCALAR = "scalar"
    OPTION_LIST = "option-list"
    LAST_WINS_LIST = "last-wins-list"
    ACCUMULATING = "accumulating"


class Manages(StrEnum):
    """What counts as an IOMMU parameter: all of it, only the tokens that the catalogue names, or nothing."""

    ALL = "all"
    TOKENS = "tokens"
    NOTHING = "nothing"


class Architecture(StrEnum):
    """A kernel architecture, as the catalogue names them."""

    X86 = "x86"
    ARM64 = "arm64"
    RISCV = "riscv"
    S390 = "s390"
    POWERPC = "powerpc"


class Availability(NamedTuple):
    """On which architecture, and which kernels of it."""

    on: Architecture
    kernels: Spans = ALWAYS

    @property
    def since(self) -> KernelVersion | None:
        """The oldest upstream release that was seen to have it; None where every one has."""
        return self.kernels.since

    @property
    def until(self) -> KernelVersion | None:
        """The newest upstream release that has it, where a later one was seen without it."""
        return self.kernels.until


def any_of(answers: Iterable[bool | None]) -> bool | None:
    """Return whether one of several is so: None where none is known to be and one is not known."""
    known = tuple(answers)
    return True if True in known else None if None in known else False


def covered(spans: Iterable[Availability], architecture: Architecture, kernel: Kernel) -> bool | None:
    """Whether a kernel of an architecture has what is available so; None where nothing tells."""
    return any_of(span.kernels.cover(kernel) for span in spans if span.on is architecture)


def is_left_out(symbol: str | None, architecture: Architecture, kernel: Kernel) -> bool:
    """Whether the kernels of a line are built without a symbol of their configuration."""
    if symbol is None:
        return False
    from iommuctl.kernel.tables.configuration import configured  # noqa: PLC0415 - few parameters need a symbol

    return configured(kernel, symbol, architecture) == "n"


class Token(NamedTuple):
    """One token of an option list.

    Tokens of one `group` override each other, the last one wins; without a group a token cannot be undone.
    `same_as` is another parameter (`name=value`) that sets the same variable. `exact` is False where the kernel
    compares only as many characters as the name has. `takes_value`: followed by `=` and something. From `inert_since`
    on no driver of an IOMMU acts on it. `conflicts` are parameters (`name=value`) next to which it makes no sense.
    `needs` is a symbol of the kernel's configuration without which it is not there. `foreign`: known, but none of the
    IOMMU's, in a parameter of which other tokens are.
    """

    name: str
    meaning: str
    group: str | None = None
    same_as: str | None = None
    available: tuple[Availability, ...] = ()
    deprecated_since: Spans | None = None
    replacement: str | None = None
    unsafe: bool = False
    exact: bool = False
    takes_value: bool = False
    ends_list: bool = False
    inert_since: Spans | None = None
    conflicts: tuple[str, ...] = ()
    foreign: bool = False
    needs: str | None = None

    def reads(self, item: str) -> bool:
        """Whether the kernel takes one item of a list for this token."""
        if self.takes_value:
            return item.startswith(f"{self.name}=")
        return item == self.name if self.exact else item.startswith(self.name)


class Myth(NamedTuple):
    """A value that guides recommend and no kernel reads as they say.

    `mend` is what its authors mean, if anything: parameters with a blank between. `is_number`: any other number is
    read alike.
    """

    value: str
    meaning: str
    mend: str | None = None
    is_number: bool = False

    def reads(self, item: str | None) -> bool:
        """Whether an item is this value, or any other number where it stands for numbers."""
        return item is not None and (item == self.value or (self.is_number and item[:1].isdecimal()))


class Advice(NamedTuple):
    """A question that people ask about some values of a parameter, none named: about all. The answer is paragraphs."""

    question: str
    answer: tuple[str, ...]
    values: tuple[str, ...] = ()


class Lifted(NamedTuple):
    """A conflict that newer kernels have no more, and what they ask for instead."""

    parameter: str
    kernels: Spans
    condition: str


class Definition(NamedTuple):
    """One parameter. `unsafe` is the value that weakens isolation, `platforms` those whose driver acts on it.

    `conflicts` are parameters (`name=value`) next to which it makes no sense. `needs` is a symbol of the kernel's
    configuration without which it is not there.
    """

    name: str
    kind: Kind
    grammar: Grammar
    manages: Manages
    summary: str
    source: str
    available: tuple[Availability, ...] = ()
    platforms: tuple[Platform, ...] = ()
    default: str | None = None
    kconfig: tuple[str, ...] = ()
    effect: str | None = None
    notes: tuple[str, ...] = ()
    same_as: str | None = None
    deprecated_since: Spans | None = None
    replacement: str | None = None
    unsafe: str | None = None
    tokens: tuple[Token, ...] = ()
    myths: tuple[Myth, ...] = ()
    conflicts: tuple[str, ...] = ()
    needs: str | None = None
    lifted: tuple[Lifted, ...] = ()
    advice: tuple[Advice, ...] = ()

    def __hash__(self) -> int:  # of the name alone: a definition is a key of caches, and has hundreds of parts
        return hash(self.name)

    @property
    def is_list(self) -> bool:
        """Whether a comma separates items in its value."""
        return self.grammar in {Grammar.OPTION_LIST, Grammar.LAST_WINS_LIST}

    def items(self, value: str | None) -> tuple[str | None, ...]:
        """Split a value into the units that are wanted, kept or dropped one by one."""
        return (value,) if value is None or not self.is_list else tuple(value.split(","))

    def tokens_of(self, item: str | None) -> tuple[Token, ...]:
        """Return the tokens that the kernel reads in one item: usually one, none for an item that it does not know."""
        return () if item is None or not self.tokens else _tokens_of(self, item)

    def taken_for(self, item: str | None) -> str | None:
        """Return the token that the kernel takes an item for which only begins like it; None where it is written so."""
        tokens = self.tokens_of(item)
        names = [token.name for token in tokens]
        if item is None or not names or item in names:
            return None
        has_value = any(token.takes_value or token.inert_since is not None for token in tokens)
        return None if has_value and item.partition("=")[0] in names else names[0]

    def myth_of(self, item: str | None) -> Myth | None:
        """Return the myth that an item is; None for what is none."""
        return next((myth for myth in self.myths if myth.reads(item)), None)

    def ends_list(self, item: str | None) -> bool:
        """Whether the kernel reads nothing of the list after this item."""
        return any(token.ends_list for token in self.tokens_of(item))

    def serves(self, item: str | None, wanted: str | None) -> bool:
        """Whether an item does what `wanted` asks for, on every kernel that has the parameter."""
        if self.grammar is Grammar.BOOL:
            return portable_bool(item) is not None and portable_bool(item) == portable_bool(wanted)
        return self._equal(item, wanted)

    def matches(self, item: str | None, unwanted: str | None) -> bool:
        """Whether an item is what `unwanted` names (None: whatever it is), on any kernel."""
        if unwanted is None:
            return True
        if self.grammar is Grammar.BOOL:
            return self.truth(item) is not None and self.truth(item) == kernel_bool(unwanted)
        if self.grammar is Grammar.OPTION_LIST and any(
            token.name == unwanted and token.takes_value for token in self.tokens_of(item)
        ):
            return True
        return self._equal(item, unwanted)

    def truth(self, item: str | None) -> bool | None:
        """Read the value of a bool as the newest kernel does; a module takes a missing one for true."""
        return True if item is None and self.kind is Kind.MODULE else kernel_bool(item)

    def reads(self, platform: Platform, kernel: Kernel, item: str | None = None) -> bool | None:
        """Whether that kernel, on that concrete platform, acts on the parameter, or on a token of it.

        None where neither the kernel's line nor its number tells. An item that is no token counts like the parameter.
        """
        return platform in self.acting and self.is_known(architecture_of(platform), kernel, item)

    def is_known(self, architecture: Architecture, kernel: Kernel, item: str | None = None) -> bool | None:
        """Whether a kernel of an architecture has the parameter, or one of the tokens that it takes an item for."""
        tokens = self.tokens_of(item)
        spans = [span for token in tokens for span in (token.available or self.available)]
        if any(is_left_out(symbol, architecture, kernel) for symbol in (self.needs, *(one.needs for one in tokens))):
            return False
        return covered(spans or self.available, architecture, kernel)

    @property
    def acting(self) -> frozenset[Platform]:
        """The concrete platforms whose drivers act on the parameter."""
        if self.platforms:
            return frozenset(self.platforms)
        architectures = {span.on for span in self.available}
        return frozenset(platform for platform in _ARCHITECTURE if architecture_of(platform) in architectures)

    def _equal(self, item: str | None, other: str | None) -> bool:
        match self.grammar:
            case Grammar.FLAG:
                return True
            case Grammar.LAST_WINS_LIST:
                return item is not None and other is not None and same_id(item, other)
            case Grammar.OPTION_LIST:
                known = {token.name for token in self.tokens_of(other) if not token.takes_value}
                myth = self.myth_of(other)
                is_alike = myth is not None and myth.reads(item)
                return item == other or is_alike or any(token.name in known for token in self.tokens_of(item))
            case Grammar.BOOL | Grammar.SCALAR | Grammar.ACCUMULATING:
                return item == other


@lru_cache(maxsize=1024)  # a thousand entries compare the same items with the same tokens
def _tokens_of(definition: Definition, item: str) -> tuple[Token, ...]:
    return tuple(token for token in definition.tokens if token.reads(item))


class Assignment(NamedTuple):
    """A variable of the kernel and what a parameter sets it to. Two spellings of one variable share its name."""

    variable: str
    value: str


class Catalogue(NamedTuple):
    """Every parameter that is known, found by name in any spelling. `names` are theirs, as they are written here."""

    definitions: tuple[Definition, ...]
    by_key: Mapping[str, Definition]
    names: tuple[str, ...]

    @classmethod
    def of(cls, definitions: tuple[Definition, ...]) -> "Catalogue":
        """Make a catalogue of definitions, each of a name of its own."""
        by_key = {canonical_name(one.name): one for one in definitions}
        return cls(definitions, by_key, tuple(one.name for one in definitions))

    def __hash__(self) -> int:  # of the names alone: a catalogue is a key of caches, and has thousands of parts
        return hash(self.names)

    def known(self, name: str) -> Definition | None:
        """Return a parameter's definition; None where the catalogue has none."""
        return self.by_key.get(canonical_name(name))

    def reads(self, text: str, platform: Platform, kernel: Kernel) -> bool | None:
        """Whether a kernel acts on a parameter as `name=value`, each token of it; None where that is not known."""
        name, equals, value = text.partition("=")
        definition = self.known(name)
        if definition is None:
            return None
        answers = {definition.reads(platform, kernel, item) for item in definition.items(value if equals else None)}
        return False if False in answers else None if None in answers else True

    def define(self, name: str) -> Definition:
        """Return a parameter's definition; for an unknown one such that no other value of it is ever touched."""
        return self.known(name) or Definition(
            name, Kind.NOBODY, Grammar.ACCUMULATING, Manages.NOTHING, "not in the catalogue", "none"
        )

    def assignments(self, name: str, item: str | None) -> frozenset[Assignment]:
        """Return what one item of a parameter sets; empty for what the kernel does not read."""
        definition = self.known(name)
        if definition is None:
            return frozenset()
        if definition.same_as is not None:
            return self._alias(definition.same_as)
        match definition.grammar:
            case Grammar.FLAG:
                return frozenset({Assignment(definition.name, "set")})
            case Grammar.BOOL:
                truth = definition.truth(item)
                return frozenset() if truth is None else frozenset({Assignment(definition.name, str(int(truth)))})
            case Grammar.SCALAR:
                return frozenset() if item is None else frozenset({Assignment(definition.name, item)})
            case Grammar.OPTION_LIST:
                return frozenset().union(
                    *(self.token_assignments(definition, token) for token in definition.tokens_of(item))
                )
            case Grammar.LAST_WINS_LIST | Grammar.ACCUMULATING:
                return frozenset()

    def token_assignments(self, definition: Definition, token: Token) -> frozenset[Assignment]:
        """Return what one token sets."""
        if token.same_as is not None:
            return self._alias(token.same_as)
        return frozenset({Assignment(f"{definition.name}:{token.group or token.name}", token.name)})

    def _alias(self, parameter: str) -> frozenset[Assignment]:
        name, _, value = parameter.partition("=")
        return self.assignments(name, value)


_ARCHITECTURE = {
    Platform.INTEL: Architecture.X86,
    Platform.AMD: Architecture.X86,
    Platform.ARM64: Architecture.ARM64,
}


def architecture_of(platform: Platform) -> Architecture:
    """Return the kernel architecture of a platform."""
    return Architecture.X86 if platform is Platform.X86 else _ARCHITECTURE[platform]


# lib/kstrtox.c kstrtobool(): the first letters that it learned later (true, false, enable, disable).
_LATER_TRUTHS = frozenset("tfed")


def kernel_bool(text: str | None) -> bool | None:
    """Read a truth value as kstrtobool() of the newest kernel does (lib/kstrtox.c); None for what it refuses."""
    first = (text or "")[:1].lower()
    return first in {"e", "t"} if first in _LATER_TRUTHS else portable_bool(text)


def portable_bool(text: str | None) -> bool | None:
    """Read a truth value that every kernel takes alike; None for the rest. Only one or two characters are looked at."""
    lowered = (text or "").lower()
    if lowered[:1] in {"1", "y"} or lowered[:2] == "on":
        return True
    if lowered[:1] in {"0", "n"} or lowered[:2] == "of":
        return False
    return None


def same_id(left: str, right: str) -> bool:
    """Whether two device ids (`10de:1b80`) are one: the kernel reads each field as a hexadecimal number."""
    return _id_fields(left) == _id_fields(right)


def _id_fields(text: str) -> tuple[str, ...]:
    return tuple(part.lower().lstrip("0") for part in text.split(":"))
