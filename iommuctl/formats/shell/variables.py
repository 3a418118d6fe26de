# SPDX-License-Identifier: Apache-2.0
"""Variables of shell files: the value that sourcing them gives, and where each character of it is spelled. Pure.

What only a running shell could know is refused, with file and line; it is never guessed.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain as chain_iterables
from itertools import islice

from iommuctl.errors import NotRepresentableError
from iommuctl.formats.shell.assignments import Hazard, ShellAssignment, ShellFile
from iommuctl.formats.shell.filters import Filter, carries
from iommuctl.formats.shell.obstacles import IN_FUNCTIONS, is_conditional
from iommuctl.formats.shell.words import Char, Opaque, Part, Reach, Reference, Word, walk
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# Far beyond what any kernel takes (COMMAND_LINE_SIZE, 2048 to 4096), and a bound on what a file can make of us.
MAX_VALUE = 16384
# No file that was seen assigns one of them more often than fifty times; it bounds the time that an edit takes.
MAX_ASSIGNMENTS = 1000

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VALUE = "\0"  # stands for the value before, in what an assignment spells
_RUNS_TOGETHER = pattern(rf"\S{_VALUE}|{_VALUE}\S")
# What would reach beyond its own word: a quote, and the end of the kernel's parameters.
_ODD_WORD = pattern(r"\"|(?:^|\s)--(?:\s|\Z)")
# Set by the shell itself, whatever a file says: dash(1) and bash(1), "Shell Variables".
_SET_BY_SHELL = pattern(
    r"_|BASH.*|COMP_.*|DIRSTACK|E?UID|EPOCH.*|FUNCNAME|GROUPS|HOST(NAME|TYPE)|IFS|LINENO|MACHTYPE|MAPFILE|OLDPWD|OPTARG"
    r"|OPT(ERR|IND)|OSTYPE|PIPESTATUS|POSIXLY_CORRECT|PPID|PS[0-4]|PWD|READLINE_.*|REPLY|SECONDS|SHELLOPTS|SHLVL|S?RANDOM"
)
# Not empty although no file assigns them: the environment, and what grub-mkconfig (2.06 to 2.14) sets before sourcing.
_SET_BEFORE = pattern(
    r"HOME|LANG(UAGE)?|LC_.*|LOGNAME|MAIL|PATH|SHELL|SUDO_.*|TERM|TZ|USER|XDG_.*"
    r"|EUID|GRUB_DEVICE.*|GRUB_DISABLE_OS_PROBER|GRUB_EARLY_INITRD_LINUX_STOCK|GRUB_FS|PACKAGE_(NAME|VERSION)"
    r"|TEXTDOMAIN(DIR)?|(exec_)?prefix|bindir|data(root)?dir|grub_[a-z_]+|host_os|opt(ion)?|pkgdatadir|root|sbindir|self"
    r"|sysconfdir|[gx]"
)


class Cell(NamedTuple):
    """One character of a value: the assignment that spells it, and the span in that file's text that does."""

    char: str
    assignment: ShellAssignment
    start: int
    end: int


class Chain(NamedTuple):
    """A variable's value and the assignments that make it.

    `links` are the last assignment that does not refer to the variable (the base) and each later one, which do; without
    a base, all of them; none for a variable that is never assigned. `cells` may come from other variables too.
    `optional` are assignments under a condition that append a literal text: the value is that without them. `filters`
    are commands that it goes through on the way: the value is that as if they left it alone.
    """

    name: str
    links: tuple[ShellAssignment, ...]
    base: ShellAssignment | None
    cells: tuple[Cell, ...]
    files: tuple[ShellFile, ...]
    optional: tuple[ShellAssignment, ...] = ()
    filters: tuple[Filter, ...] = ()

    @property
    def value(self) -> str:
        """The value as the shell has it after the last file."""
        return "".join(cell.char for cell in self.cells)

    @property
    def base_value(self) -> str:
        """The part of the value that the first link's own text spells: where additions go to the end of."""
        return "".join(cell.char for cell in self.cells if self.links and cell.assignment == self.links[0])


def chain(files: Sequence[ShellFile], name: str) -> Chain:
    """Evaluate a variable over files in the order in which they are sourced, as dash and bash --posix would.

    Raises NotRepresentableError, with file and line, where an assignment in effect is conditional and more than
    `V="$V literal"`, or has an expansion that is not of a known variable, or where a hazard could have changed it.
    """
    evaluation = _Evaluation(files)
    try:
        cells = evaluation.value_of(name)
    except RecursionError:
        path = files[-1].path
        raise NotRepresentableError(path, None, f"{name} refers to itself too many times to be followed") from None
    links: list[ShellAssignment] = []
    optional: list[ShellAssignment] = []
    base = None
    for assignment in reversed(evaluation.assignments_of(name)):
        if appends_under_condition(assignment):
            optional.append(assignment)
            continue
        links.append(assignment)
        if not _refers_to(assignment, name):
            base = assignment
            break
    filters = tuple(each for each in evaluation.filters if each.assignment in links)
    return Chain(name, tuple(reversed(links)), base, cells, tuple(files), tuple(reversed(optional)), filters)


def appends_under_condition(assignment: ShellAssignment) -> bool:
    """Whether an assignment does no more than to add whole literal words to its variable, where a condition holds."""
    if not is_conditional(assignment.obstacle):
        return False
    name = assignment.name
    spelled = "".join(_with_blanks(assignment.word))
    if _RUNS_TOGETHER.search(spelled if not assignment.append else f"{_VALUE}{spelled}") or _ODD_WORD.search(spelled):
        return False
    own = [part for part in assignment.word if isinstance(part, Reference)]
    plain = all(
        part.name == name if isinstance(part, Reference) else isinstance(part, Char) and not CONTROL.match(part.char)
        for part in walk(assignment.word)
    )
    return (
        plain and len(own) == (0 if assignment.append else 1) and all(each.operator in ("", "+", ":+") for each in own)
    )


def _with_blanks(word: Word) -> Iterator[str]:
    """The text of a word, with a mark for what it refers to."""
    for part in word:
        match part:
            case Char(char):
                yield char
            case Reference(operator=""):
                yield _VALUE
            case Reference(word=inner):
                yield from _with_blanks(inner)
            case Opaque():
                yield _VALUE


def literal_text(assignment: ShellAssignment) -> str:
    """Return the characters that an assignment itself spells, outside of what it refers to."""
    return "".join(part.char for part in assignment.word if isinstance(part, Char))


class _Evaluation:
    """The assignments and hazards of all files, in the order in which the shell meets them."""

    def __init__(self, files: Sequence[ShellFile]) -> None:
        self._events: list[ShellAssignment | Hazard] = []
        self._known: dict[tuple[str, int], tuple[Cell, ...]] = {}
        self._places: dict[str, tuple[int, ...]] = {}
        self.filters: list[Filter] = []
        for file in files:
            self._events += sorted((*file.assignments, *file.hazards), key=_offset)
        self._first_exit = next((at for at, event in enumerate(self._events) if _ends_file(event)), len(self._events))
        self._named: dict[str, list[int]] = {}
        self._unnamed: list[int] = []
        for at, event in enumerate(self._events):
            names = (event.name,) if isinstance(event, ShellAssignment) else event.names
            for name in set(names or ()):
                self._named.setdefault(name, []).append(at)
            if names is None:
                self._unnamed.append(at)

    def assignments_of(self, name: str) -> tuple[ShellAssignment, ...]:
        return tuple(event for event in self._events if isinstance(event, ShellAssignment) and event.name == name)

    def value_of(self, name: str) -> tuple[Cell, ...]:
        return self._value_at(name, len(self._events)) or ()

    def _value_at(self, name: str, before: int) -> tuple[Cell, ...] | None:
        """Return what a variable holds when event `before` begins; None where it is not set."""
        places = self._places_of(name)
        index = bisect_left(places, before)
        if index == 0:
            return None
        found = places[index - 1]
        if (name, found) not in self._known:
            self._known[name, found] = self._assigned_at(name, found)
        return self._known[name, found]

    def _places_of(self, name: str) -> tuple[int, ...]:
        """Where a variable is assigned, or may be. Raises where something may act on it at any time."""
        if name not in self._places:
            touching = sorted((*self._named.get(name, ()), *self._unnamed))
            if len(touching) > MAX_ASSIGNMENTS:
                event = self._events[touching[MAX_ASSIGNMENTS]]
                raise NotRepresentableError(
                    event.path, event.line, f"{name} is assigned more than {MAX_ASSIGNMENTS} times"
                )
            for at in touching:
                if _lasts(self._events[at]):
                    raise _doubt(self._events[at], name)
            self._places[name] = tuple(at for at in touching if _assigns(self._events[at], name))
        return self._places[name]

    def _assigned_at(self, name: str, found: int) -> tuple[Cell, ...]:
        event = self._events[found]
        if self._first_exit < found:
            raise _doubt(self._events[self._first_exit], name)
        if isinstance(event, Hazard) or event.obstacle is not None:
            raise _doubt(event, name)
        before = (self._value_at(name, found) or ()) if event.append else ()
        for part in walk(event.word):
            if not self._passes_on(event, part):
                _require_known(event, part)
        cells = tuple(islice(chain_iterables(before, self._expand(event, event.word, found)), MAX_VALUE + 1))
        if len(cells) > MAX_VALUE:
            raise _unknown(event, f"more than {MAX_VALUE} characters")
        return cells

    def _passes_on(self, assignment: ShellAssignment, part: Part) -> bool:
        """Whether a part is a command that the variable's own value goes through."""
        return isinstance(part, Opaque) and part.is_command and carries(_source_of(assignment, part), assignment.name)

    def _expand(self, assignment: ShellAssignment, word: Word, at: int) -> Iterator[Cell]:
        for part in word:
            match part:
                case Char(char, start, end):
                    yield Cell(char, assignment, start, end)
                case Reference():
                    yield from self._refer(assignment, part, at)
                case Opaque(what):
                    if not self._passes_on(assignment, part):
                        raise _unknown(assignment, what)
                    value = self._value_at(assignment.name, at) or ()
                    before = "".join(cell.char for cell in value)
                    self.filters.append(Filter(assignment, _source_of(assignment, part), before))
                    yield from value

    def _refer(self, assignment: ShellAssignment, reference: Reference, at: int) -> Iterator[Cell]:
        value = self._value_at(reference.name, at)
        if value is None and _SET_BEFORE.fullmatch(reference.name):
            raise _unknown(assignment, f"${reference.name}, which no file assigns and the environment may")
        present = value is not None if reference.operator in ("+", "-") else bool(value)
        match reference.operator:
            case "+" | ":+":
                chosen = self._expand(assignment, reference.word, at) if present else iter(())
            case "-" | ":-" if not present:
                chosen = self._expand(assignment, reference.word, at)
            case _:
                chosen = iter(value or ())
        yield from chosen


def _offset(event: ShellAssignment | Hazard) -> int:
    return event.start if isinstance(event, ShellAssignment) else event.offset


def _lasts(event: ShellAssignment | Hazard) -> bool:
    """Whether an event may act on a variable at any time: the body of a function, an alias, an attribute."""
    return event.obstacle in IN_FUNCTIONS if isinstance(event, ShellAssignment) else event.reach is Reach.ALL


def _ends_file(event: ShellAssignment | Hazard) -> bool:
    return isinstance(event, Hazard) and event.reach is Reach.LATER


def _assigns(event: ShellAssignment | Hazard, name: str) -> bool:
    if isinstance(event, ShellAssignment):
        return event.name != name or not appends_under_condition(event)
    return event.reach is Reach.EARLIER


def _source_of(assignment: ShellAssignment, part: Opaque) -> str:
    return assignment.raw[part.start - assignment.start : part.end - assignment.start]


def _refers_to(assignment: ShellAssignment, name: str) -> bool:
    """Whether what the variable held before has a part in what it holds then."""
    return assignment.append or any(
        part.name == name
        if isinstance(part, Reference)
        else isinstance(part, Opaque) and part.is_command and carries(_source_of(assignment, part), name)
        for part in walk(assignment.word)
    )


def _doubt(event: ShellAssignment | Hazard, name: str) -> NotRepresentableError:
    if isinstance(event, ShellAssignment):
        return NotRepresentableError(event.path, event.line, f"{name} is assigned {event.obstacle}")
    return NotRepresentableError(event.path, event.line, f"{event.what!r} may change what {name} is")


def _unknown(assignment: ShellAssignment, what: str) -> NotRepresentableError:
    return NotRepresentableError(assignment.path, assignment.line, f"the value of {assignment.name} has {what}")


def _require_known(assignment: ShellAssignment, part: Part) -> None:
    match part:
        case Opaque(what):
            raise _unknown(assignment, what)
        case Char("\n"):
            raise _unknown(assignment, "a line's end in it")
        case Char(char) if CONTROL.match(char):
            raise _unknown(assignment, f"the control character {char!r}")
        case Reference(name) if _SET_BY_SHELL.fullmatch(name):
            raise _unknown(assignment, f"${name}, which the shell itself sets")
        case _:
            pass
