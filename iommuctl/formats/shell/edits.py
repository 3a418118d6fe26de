# SPDX-License-Identifier: Apache-2.0
"""Edits of a variable's value, written into the words of the assignments that spell it. Pure."""

import re
from collections.abc import Mapping, Sequence

from iommuctl.errors import NotRepresentableError
from iommuctl.formats.shell.assignments import ShellAssignment, ShellFile, parse_shell_file
from iommuctl.formats.shell.variables import CONTROL, Cell, Chain, chain
from iommuctl.formats.shell.words import Char, Quoting, Reference, walk
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# Characters that a word may have outside quotes and still be spelled the same inside double quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/@%+-]*")
_PLAIN_OR_BLANK = pattern(r"[A-Za-z0-9_.,:=/@%+ -]*")
_ESCAPED_IN_DOUBLE_QUOTES = re.compile(r'(["$`\\])')


class ValueEdit(NamedTuple):
    """Write `text` for the characters `start` to `end` of a value; either may be empty.

    An insertion at the very end goes to the end of the chain's first link instead, before what later links append.
    The blanks around it are the caller's.
    """

    start: int
    end: int
    text: str


def splice(chain_: Chain, edits: Sequence[ValueEdit]) -> dict[ShellAssignment, str]:
    """Return the raw words that make the edits; they apply to the value as it is, in any order, and must not overlap.

    A removal takes exactly the spans of the removed characters, an insertion goes inside the quotes at its place. The
    result is evaluated before it is returned. Only where a link says `${V:+...}` or the like may blanks between
    parameters differ from the edited value.

    Raises NotRepresentableError where a character belongs to another variable, or the result has no spelling in place.
    """
    ordered = sorted(edits, key=lambda edit: (edit.start, edit.end))
    _require_sane(ordered, len(chain_.cells))
    if not chain_.links:
        raise ValueError("a variable that is never assigned has nothing to edit")
    patches: dict[ShellAssignment, dict[_Patch, None]] = {}
    for edit in ordered:
        for cell in chain_.cells[edit.start : edit.end]:
            _require_own(chain_, cell)
            patches.setdefault(cell.assignment, {})[_Patch(cell.start, cell.end, "", Quoting.BARE)] = None
        if edit.text:
            assignment, patch = _insertion(chain_, edit)
            patches.setdefault(assignment, {})[patch] = None
    words = {assignment: _patched(assignment, tuple(each)) for assignment, each in patches.items()}
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


class _Patch(NamedTuple):
    """New text for a span of a file, to be spelled for what surrounds it."""

    start: int
    end: int
    text: str
    quoting: Quoting


def _require_sane(edits: Sequence[ValueEdit], length: int) -> None:
    end = 0
    for edit in edits:
        if not end <= edit.start <= edit.end <= length:
            raise ValueError("edits overlap or lie outside the value")
        end = edit.end
        _require_printable(edit.text)


def _require_printable(text: str) -> None:
    if CONTROL.search(text):
        raise ValueError("control characters cannot be written")


def _require_own(chain_: Chain, cell: Cell) -> None:
    if cell.assignment not in chain_.links:
        other = cell.assignment
        message = f"what would change in {chain_.name} comes from {other.name}"
        raise NotRepresentableError(other.path, other.line, message)


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
            raise NotRepresentableError(assignment.path, assignment.line, message)


def _escape(text: str) -> str:
    return _ESCAPED_IN_DOUBLE_QUOTES.sub(r"\\\1", text)


def _require_exact(chain_: Chain, edits: Sequence[ValueEdit], words: Mapping[ShellAssignment, str]) -> None:
    """Evaluate the edited files: the value must be the edited one, made by the same assignments."""
    changed = chain([_read_again(file, rewrite(file, words)) for file in chain_.files], chain_.name)
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
        raise NotRepresentableError(link.path, link.line, f"the change of {chain_.name} cannot be written in place")


def _read_again(file: ShellFile, text: str) -> ShellFile:
    """Read an edited file, whose hazards are those that were there before, with what was found out about them."""
    known = {(hazard.line, hazard.what): hazard.names for hazard in file.hazards}
    changed = parse_shell_file(file.path, text, file.shell)
    hazards = ((each, (each.line, each.what)) for each in changed.hazards)
    return changed._replace(hazards=tuple(each._replace(names=known[at]) for each, at in hazards if at in known))


def _is_conditional(assignment: ShellAssignment) -> bool:
    return any(isinstance(part, Reference) and part.operator for part in walk(assignment.word))
