# SPDX-License-Identifier: Apache-2.0
"""Variables of shell files: the value that sourcing them gives, where each character of it is spelled, and edits. Pure.

What only a running shell could know is refused, with file and line; it is never guessed.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.assignments import Hazard, ShellAssignment, ShellFile, parse_shell_file
from iommuctl.formats.shell.grammar import IN_FUNCTIONS
from iommuctl.formats.shell.words import Char, Opaque, Part, Quoting, Reach, Reference, Word, walk

# Far beyond what any kernel takes (COMMAND_LINE_SIZE, 2048 to 4096), and a bound on what a file can make of us.
MAX_VALUE = 16384

# Characters that a word may have outside quotes and still be spelled the same inside double quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/@%+-]*")
_PLAIN_OR_BLANK = re.compile(r"[A-Za-z0-9_.,:=/@%+ -]*")
_ESCAPED_IN_DOUBLE_QUOTES = re.compile(r'(["$`\\])')
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Set by the shell itself, whatever a file says: dash(1) and bash(1), "Shell Variables".
_SET_BY_SHELL = re.compile(
    r"_|BASH.*|COMP_.*|DIRSTACK|E?UID|EPOCH.*|FUNCNAME|GROUPS|HOST(NAME|TYPE)|IFS|LINENO|MACHTYPE|MAPFILE|OLDPWD|OPTARG"
    r"|OPT(ERR|IND)|OSTYPE|PIPESTATUS|POSIXLY_CORRECT|PPID|PS[0-4]|PWD|READLINE_.*|REPLY|SECONDS|SHELLOPTS|SHLVL|S?RANDOM"
)
# Not empty although no file assigns them: the environment, and what grub-mkconfig (2.06 to 2.14) sets before sourcing.
_SET_BEFORE = re.compile(
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
    """

    name: str
    links: tuple[ShellAssignment, ...]
    base: ShellAssignment | None
    cells: tuple[Cell, ...]
    files: tuple[ShellFile, ...]

    @property
    def value(self) -> str:
        """The value as the shell has it after the last file."""
        return "".join(cell.char for cell in self.cells)

    @property
    def base_value(self) -> str:
        """The part of the value that the first link's own text spells: where additions go to the end of."""
        return "".join(cell.char for cell in self.cells if self.links and cell.assignment == self.links[0])


class ValueEdit(NamedTuple):
    """Write `text` for the characters `start` to `end` of a value; either may be empty.

    An insertion at the very end goes to the end of the chain's first link instead, before what later links append.
    The blanks around it are the caller's.
    """

    start: int
    end: int
    text: str


def chain(files: Sequence[ShellFile], name: str) -> Chain:
    """Evaluate a variable over files in the order in which they are sourced, as dash and bash --posix would.

    Raises BootConfigError, with file and line, where an assignment in effect is conditional, `+=`, or has an expansion
    that is not of a known variable, or where a hazard could have changed it.
    """
    evaluation = _Evaluation(files)
    try:
        cells = evaluation.value_of(name)
    except RecursionError:
        path = files[-1].path
        raise BootConfigError(path, None, f"{name} refers to itself too many times to be followed") from None
    links: list[ShellAssignment] = []
    base = None
    for assignment in reversed(evaluation.assignments_of(name)):
        links.insert(0, assignment)
        if not _refers_to(assignment.word, name):
            base = assignment
            break
    return Chain(name, tuple(links), base, cells, tuple(files))


def splice(chain_: Chain, edits: Sequence[ValueEdit]) -> dict[ShellAssignment, str]:
    """Return the raw words that make the edits; they apply to the value as it is, in any order, and must not overlap.

    A removal takes exactly the spans of the removed characters, an insertion goes inside the quotes at its place. The
    result is evaluated before it is returned. Only where a link says `${V:+...}` or the like may blanks between
    parameters differ from the edited value.

    Raises BootConfigError where a character belongs to another variable, or the result cannot be spelled in place.
    """
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    _require_sane(ordered, len(chain_.cells))
    if not chain_.links:
        raise ValueError("a variable that is never assigned has nothing to edit")
    patches: dict[ShellAssignment, list[_Patch]] = {}
    for edit in ordered:
        for cell in chain_.cells[edit.start : edit.end]:
            patch = _Patch(cell.start, cell.end, "", Quoting.BARE)
            _require_own(chain_, cell)
            if patch not in patches.setdefault(cell.assignment, []):
                patches[cell.assignment].append(patch)
        if edit.text:
            assignment, patch = _insertion(chain_, edit)
            patches.setdefault(assignment, []).append(patch)
    words = {assignment: _patched(assignment, each) for assignment, each in patches.items()}
    _require_exact(chain_, ordered, words)
    return words


def rewrite(file: ShellFile, words: Mapping[ShellAssignment, str]) -> str:
    """Return the file's text with new raw words in the place of those of its assignments; other files' are ignored."""
    text = file.text
    for assignment in sorted(words, key=lambda each: each.start, reverse=True):
        if assignment in file.assignments:
            text = text[: assignment.start] + words[assignment] + text[assignment.end :]
    return text


def requote(text: str) -> str:
    """Spell a whole value as one double-quoted word. Raises ValueError for control characters other than a tab."""
    _require_printable(text)
    return f'"{_escape(text)}"'


class _Evaluation:
    """The assignments and hazards of all files, in the order in which the shell meets them."""

    def __init__(self, files: Sequence[ShellFile]) -> None:
        self._events: list[ShellAssignment | Hazard] = []
        self._known: dict[tuple[str, int], tuple[Cell, ...]] = {}
        self._places: dict[str, tuple[int, ...]] = {}
        for file in files:
            self._events += sorted((*file.assignments, *file.hazards), key=_offset)
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
        """Where a variable is assigned, or may be. Raises BootConfigError where something may act on it at any time."""
        if name not in self._places:
            touching = sorted((*self._named.get(name, ()), *self._unnamed))
            for at in touching:
                if _lasts(self._events[at]):
                    raise _doubt(self._events[at], name)
            self._places[name] = tuple(at for at in touching if _assigns(self._events[at]))
        return self._places[name]

    def _assigned_at(self, name: str, found: int) -> tuple[Cell, ...]:
        event = self._events[found]
        for earlier in self._events[:found]:
            if isinstance(earlier, Hazard) and earlier.reach is Reach.LATER:
                raise _doubt(earlier, name)
        if isinstance(event, Hazard) or event.obstacle is not None:
            raise _doubt(event, name)
        if event.append:
            raise BootConfigError(event.path, event.line, f"{name}+=, which dash does not know")
        for part in walk(event.word):
            _require_known(event, part)
        cells = tuple(islice(self._expand(event, event.word, found), MAX_VALUE + 1))
        if len(cells) > MAX_VALUE:
            raise _unknown(event, f"more than {MAX_VALUE} characters")
        return cells

    def _expand(self, assignment: ShellAssignment, word: Word, at: int) -> Iterator[Cell]:
        for part in word:
            match part:
                case Char(char, start, end):
                    yield Cell(char, assignment, start, end)
                case Reference():
                    yield from self._refer(assignment, part, at)
                case Opaque():
                    raise _unknown(assignment, part.what)

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


class _Patch(NamedTuple):
    """New text for a span of a file, to be spelled for what surrounds it."""

    start: int
    end: int
    text: str
    quoting: Quoting


def _offset(event: ShellAssignment | Hazard) -> int:
    return event.start if isinstance(event, ShellAssignment) else event.offset


def _lasts(event: ShellAssignment | Hazard) -> bool:
    """Whether an event may act on a variable at any time: the body of a function, an alias, an attribute."""
    return event.obstacle in IN_FUNCTIONS if isinstance(event, ShellAssignment) else event.reach is Reach.ALL


def _assigns(event: ShellAssignment | Hazard) -> bool:
    return isinstance(event, ShellAssignment) or event.reach is Reach.EARLIER


def _refers_to(word: Word, name: str) -> bool:
    return any(isinstance(part, Reference) and part.name == name for part in walk(word))


def _doubt(event: ShellAssignment | Hazard, name: str) -> BootConfigError:
    if isinstance(event, ShellAssignment):
        return BootConfigError(event.path, event.line, f"{name} is assigned {event.obstacle}")
    return BootConfigError(event.path, event.line, f"{event.what!r} may change what {name} is")


def _unknown(assignment: ShellAssignment, what: str) -> BootConfigError:
    return BootConfigError(assignment.path, assignment.line, f"the value of {assignment.name} has {what}")


def _require_known(assignment: ShellAssignment, part: Part) -> None:
    match part:
        case Opaque(what):
            raise _unknown(assignment, what)
        case Char("\n"):
            raise _unknown(assignment, "a line's end in it")
        case Char(char) if _CONTROL.match(char):
            raise _unknown(assignment, f"the control character {char!r}")
        case Reference(name) if _SET_BY_SHELL.fullmatch(name):
            raise _unknown(assignment, f"${name}, which the shell itself sets")
        case _:
            pass


def _require_sane(edits: Sequence[ValueEdit], length: int) -> None:
    end = 0
    for edit in edits:
        if not end <= edit.start <= edit.end <= length:
            raise ValueError("edits overlap or lie outside the value")
        end = edit.end
        _require_printable(edit.text)


def _require_printable(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("control characters cannot be written")


def _require_own(chain_: Chain, cell: Cell) -> None:
    if cell.assignment not in chain_.links:
        other = cell.assignment
        message = f"what would change in {chain_.name} comes from {other.name}"
        raise BootConfigError(other.path, other.line, message)


def _insertion(chain_: Chain, edit: ValueEdit) -> tuple[ShellAssignment, _Patch]:
    """Choose where a text goes: before what it replaces, else into the first link where that touches, else next to."""
    cells, first = chain_.cells, chain_.links[0]
    if edit.start == edit.end == len(cells):
        return first, _end_of(first, edit.text)
    after = cells[edit.start]
    before = cells[edit.start - 1] if edit.start > 0 and edit.start == edit.end else after
    if after.assignment == first or before.assignment not in chain_.links:
        _require_own(chain_, after)
        return after.assignment, _Patch(after.start, after.start, edit.text, _quoting_of(after))
    if before.assignment == first or after.assignment not in chain_.links:
        return before.assignment, _Patch(before.end, before.end, edit.text, _quoting_of(before))
    return after.assignment, _Patch(after.start, after.start, edit.text, _quoting_of(after))


def _quoting_of(cell: Cell) -> Quoting:
    parts = walk(cell.assignment.word)
    return next(part.quoting for part in parts if isinstance(part, Char) and part.start == cell.start)


def _end_of(assignment: ShellAssignment, text: str) -> _Patch:
    """Put a text at the end of a word, inside the quotes that close it if some do."""
    end = assignment.end
    closed = assignment.raw[-1:] in ('"', "'") and not any(part.end == end for part in assignment.word)
    if closed:
        quoting = Quoting.DOUBLE if assignment.raw.endswith('"') else Quoting.SINGLE
        return _Patch(end - 1, end - 1, text, quoting)
    return _Patch(end, end, text, Quoting.BARE)


def _patched(assignment: ShellAssignment, patches: Sequence[_Patch]) -> str:
    """Apply patches to a raw word. A bare word that gains something is put into double quotes as a whole."""
    wrapped = _PLAIN.fullmatch(assignment.raw) is not None and any(patch.text for patch in patches)
    raw = assignment.raw
    # From the end, so that offsets hold; an insertion goes before a removal that begins at the same place.
    for patch in sorted(patches, key=lambda each: (each.start, each.end), reverse=True):
        start, end = patch.start - assignment.start, patch.end - assignment.start
        spelled = _escape(patch.text) if wrapped else _spell(assignment, patch)
        raw = raw[:start] + spelled + raw[end:]
    return f'"{raw}"' if wrapped else raw


def _spell(assignment: ShellAssignment, patch: _Patch) -> str:
    if not patch.text:
        return ""
    match patch.quoting:
        case Quoting.DOUBLE:
            return _escape(patch.text)
        case Quoting.BARE:
            return requote(patch.text)
        case Quoting.SINGLE if "'" not in patch.text:
            return patch.text
        case Quoting.BRACED if _PLAIN_OR_BLANK.fullmatch(patch.text):
            return patch.text
        case Quoting.SINGLE | Quoting.BRACED:
            message = f"{patch.text!r} cannot be written inside the quotes or braces of {assignment.name}"
            raise BootConfigError(assignment.path, assignment.line, message)


def _escape(text: str) -> str:
    return _ESCAPED_IN_DOUBLE_QUOTES.sub(r"\\\1", text)


def _require_exact(chain_: Chain, edits: Sequence[ValueEdit], words: Mapping[ShellAssignment, str]) -> None:
    """Evaluate the edited files: the value must be the edited one, made by the same assignments."""
    changed = chain([parse_shell_file(file.path, rewrite(file, words)) for file in chain_.files], chain_.name)
    value = changed.value
    rest, addition = chain_.value, ""
    for edit in reversed(edits):
        if edit.start == edit.end == len(chain_.cells):
            addition = edit.text + addition
        else:
            rest = rest[: edit.start] + edit.text + rest[edit.end :]
    places = range(len(rest) + 1)
    exact = any(rest[:at] + addition + rest[at:] == value for at in places)
    if not exact and any(_is_conditional(link) for link in chain_.links):
        was, added = rest.split(), addition.split()
        exact = any([*was[:at], *added, *was[at:]] == value.split() for at in range(len(was) + 1))
    same_lines = [(link.path, link.start) for link in changed.links[:1]] == [
        (link.path, link.start) for link in chain_.links[:1]
    ]
    if not exact or len(changed.links) != len(chain_.links) or not same_lines:
        link = chain_.links[0]
        raise BootConfigError(link.path, link.line, f"the change of {chain_.name} cannot be written in place")


def _is_conditional(assignment: ShellAssignment) -> bool:
    return any(isinstance(part, Reference) and part.operator for part in walk(assignment.word))
