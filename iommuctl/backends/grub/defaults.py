# SPDX-License-Identifier: Apache-2.0
"""/etc/default/grub and its drop-ins: the edits that bring them to a profile."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from iommuctl.backends.grub.distributions import GrubFamily
from iommuctl.backends.grub.notes import left_alone, require_unmanaged
from iommuctl.backends.grub.sources import MAIN, Sources, read
from iommuctl.errors import BootConfigError
from iommuctl.findings import Finding
from iommuctl.formats.lens import Lens, Span
from iommuctl.formats.shell.assignments import ShellAssignment
from iommuctl.formats.shell.edits import ValueEdit, requote, splice
from iommuctl.formats.shell.variables import Chain
from iommuctl.formats.shell.words import Char
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit, Op
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.segments import Segment, SegmentError, TokenChange
from iommuctl.tree import Overlay, Tree
from iommuctl.value import NamedTuple

_LENS = "Grubdefault.lns"


class SourceEdit(NamedTuple):
    """The edits of the sources, and the command line that they give.

    `unproven` is why only the generated menu shows what they come to; None where that is known without.
    """

    changes: tuple[Change, ...]
    files: tuple[FileEdit, ...]
    after: Cmdline
    findings: tuple[Finding, ...] = ()
    unproven: BootConfigError | None = None


def conform_sources(
    tree: Tree, family: GrubFamily, conformer: Conformer, *, additions: str, menu_proves: bool = False
) -> SourceEdit:
    """Return the edits that bring the sources to what is desired; `additions` is the variable that gains parameters.

    What conflicts is removed from both. The edited files are evaluated again before they are given out. `menu_proves`:
    the caller has a menu generated and read back, which shows what a value that goes through a command comes to.
    Raises BootConfigError, with file and line, where that cannot be done exactly.
    """
    sources = read(tree, family)
    unproven = require_unmanaged(sources, conformer)
    if unproven is not None and not menu_proves:
        raise unproven
    notes = left_alone(sources)
    segments = tuple(Segment(Cmdline.parse(each.value), each.name == additions) for each in sources.chains)
    try:
        token_changes = conformer.conform(segments)
    except SegmentError as error:
        raise _in_the_way(sources, error) from error
    if not token_changes:
        return SourceEdit((), (), sources.cmdline, notes, unproven)
    words: dict[ShellAssignment, str] = {}
    new_lines: list[tuple[str, str]] = []
    for number, value in enumerate(sources.chains):
        edit = _ChainEdit(value, tuple(change for change in token_changes if change.segment == number))
        if value.links:
            words |= splice(value, edit.value_edits())
        elif edit.additions:
            new_lines.append((value.name, requote(edit.additions)))
    files = _file_edits(tree, sources, words, tuple(new_lines), conformer.desired)
    after = read(Overlay(tree, {edit.path: edit.after for edit in files}), family)
    if problems := conformer.shortcomings(after.cmdline):
        raise BootConfigError(MAIN, None, f"the edit would not give what is wanted: {problems[0]}")
    require_unmanaged(after, conformer)
    changes = tuple(_record(sources.chains[change.segment], change) for change in token_changes)
    return SourceEdit(changes, files, after.cmdline, notes, unproven)


class _ChainEdit:
    """Changes of one variable's tokens, as edits of its characters."""

    def __init__(self, value: Chain, changes: Sequence[TokenChange]) -> None:
        self._chain = value
        self._cmdline = Cmdline.parse(value.value)
        self._at = _character_offsets(value.value)
        self._replaced = {
            change.position: change.after for change in changes if change.position is not None and change.after
        }
        self._removed = [change.position for change in changes if change.position is not None and change.after is None]
        self.additions = " ".join(change.after for change in changes if change.position is None and change.after)

    def value_edits(self) -> list[ValueEdit]:
        """Return the edits, none overlapping."""
        gone: set[int] = set()
        for index in self._removed:
            gone |= self._with_blank(index, gone)
        edits = [ValueEdit(run[0], run[-1] + 1, "") for run in _runs(gone)]
        edits += [ValueEdit(*self._span(index), text) for index, text in self._replaced.items()]
        return [*edits, self._addition(gone)] if self.additions else edits

    def _span(self, index: int) -> tuple[int, int]:
        start, end = self._cmdline.span(index)
        try:
            return self._at[start], self._at[end]
        except KeyError as error:
            link = self._chain.links[0]
            message = "the kernel splits a character beside what would change (its bytes hold 0xA0, a blank to it)"
            raise BootConfigError(link.path, link.line, message) from error

    def _with_blank(self, index: int, gone: set[int]) -> set[int]:
        """A token's characters and one blank next to it: the one before, else the one after, of the same assignment."""
        cells = self._chain.cells
        start, end = self._span(index)
        own = {cell.assignment for cell in cells[start:end]}
        before, behind = start, end
        while before > 0 and cells[before - 1].char.isspace():
            before -= 1
        while behind < len(cells) and cells[behind].char.isspace():
            behind += 1
        for blank in (range(before, start) if before > 0 else range(0), range(end, behind)):
            taken = {at for at in blank if cells[at].assignment in own} - gone
            if taken:
                return set(range(start, end)) | taken
        return set(range(start, end))

    def _addition(self, gone: set[int]) -> ValueEdit:
        """Before a `--`, else at the end of the chain's first link."""
        if self._cmdline.kernel_count < len(self._cmdline.tokens):
            at = self._span(self._cmdline.kernel_count)[0]
            return ValueEdit(at, at, f"{self.additions} ")
        end = len(self._chain.cells)
        return ValueEdit(end, end, f"{' ' if self._needs_blank(gone) else ''}{self.additions}")

    def _needs_blank(self, gone: set[int]) -> bool:
        """Whether what is kept of the first link's word ends in something that an addition would run into."""
        first = self._chain.links[0]
        own = [(at, cell) for at, cell in enumerate(self._chain.cells) if cell.assignment == first]
        removed = {cell.start for at, cell in own if at in gone}
        kept = [cell for at, cell in own if at not in gone]
        last = next((part for part in reversed(first.word) if part.start not in removed), None)
        if isinstance(last, Char):
            return not last.char.isspace()
        # What another variable gives may end in anything, and its name would go on.
        return last is not None and (not kept or kept[-1].start < last.start or not kept[-1].char.isspace())


def _in_the_way(sources: Sources, error: SegmentError) -> BootConfigError:
    value = sources.chains[error.segment]
    if error.index is None or not value.cells:
        return BootConfigError(MAIN, None, f"{value.name}: {error.message}")
    start, _ = Cmdline.parse(value.value).span(error.index)
    cell = value.cells[_character_offsets(value.value).get(start, 0)]
    return BootConfigError(cell.assignment.path, cell.assignment.line, f"{value.name}: {error.message}")


def _file_edits(
    tree: Tree,
    sources: Sources,
    words: dict[ShellAssignment, str],
    new_lines: tuple[tuple[str, str], ...],
    desired: DesiredArguments,
) -> tuple[FileEdit, ...]:
    lens = Lens(_LENS)
    edits: list[FileEdit] = []
    for file in sources.files:
        values = {Span(link.start, link.end): word for link, word in words.items() if link.path == file.path}
        added = new_lines if file.path == MAIN else ()
        if values or added:
            after = lens.rewrite(file.path, file.text, values, added=added).encode("utf-8")
            reason = f"profile {desired.profile} on {desired.platform}"
            edits.append(FileEdit(file.path, FileClass.SOURCE, tree.read(file.path), after, reason))
    return tuple(edits)


def _record(value: Chain, change: TokenChange) -> Change:
    op = Op.ADD if change.before is None else Op.REMOVE if change.after is None else Op.REPLACE
    path = value.links[0].path if value.links else MAIN
    if change.position is not None:
        start = Cmdline.parse(value.value).span(change.position)[0]
        path = value.cells[_character_offsets(value.value)[start]].assignment.path
    return Change(op, change.before, change.after, path, value.name, change.reason)


def _character_offsets(text: str) -> dict[int, int]:
    """Map each offset in the UTF-8 bytes of a text where a character begins, and its end, to that character's index."""
    offsets = {0: 0}
    octets = 0
    for index, char in enumerate(text):
        octets += len(char.encode("utf-8", "surrogateescape"))
        offsets[octets] = index + 1
    return offsets


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Group numbers into runs of consecutive ones."""
    ordered = sorted(numbers)
    return [[number for _, number in run] for _, run in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])]
