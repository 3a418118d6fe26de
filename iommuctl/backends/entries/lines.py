# SPDX-License-Identifier: Apache-2.0
"""Lines: command lines that stand on one or several lines of a file, with the places of variables in them."""

from collections.abc import Callable, Sequence

from iommuctl.formats.blsentry import expand, is_word
from iommuctl.kernel.cmdline import Cmdline, Parameter
from iommuctl.plan import Op
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import Segment, SegmentError, TokenChange, apply_changes
from iommuctl.value import NamedTuple

Lookup = Callable[[str], str | None]


class LineError(ValueError):
    """A line in which a change cannot be made. `word` is the variable's place that holds what is in the way, if any."""

    def __init__(self, line: int, message: str, word: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.word = word


class Stretch(NamedTuple):
    """A run of tokens as written, or what a variable's place, `word`, stands for; `offset` is its first index."""

    cmdline: Cmdline
    offset: int
    word: str | None = None


def stretches(text: str, value_of: Lookup | None) -> tuple[Stretch, ...]:
    """Cut a line at its variables' places. Without `value_of` nothing is put in, and `$x` is a token like any other."""
    cmdline = Cmdline.parse(text)
    if value_of is None or "$" not in text:
        return (Stretch(cmdline, 0),)
    cut: list[Stretch] = []
    start = 0
    for index, token in enumerate(cmdline.tokens):
        if is_word(token.text):
            cut += (
                Stretch(_run(cmdline.tokens[start:index]), start),
                Stretch(expand(token.text, value_of), index, token.text),
            )
            start = index + 1
    return (*cut, Stretch(_run(cmdline.tokens[start:]), start))


def conform_lines(
    lines: Sequence[tuple[Stretch, ...]], conformer: Conformer, *, joined: bool, target: int = 0
) -> tuple[tuple[TokenChange, ...], ...]:
    """Return the changes of each line; indices are those of the line's tokens. Additions go to the line `target`.

    `joined`: every reader joins the lines. Otherwise some read only the first, which then has all that is wanted by
    itself, and the others only lose what conflicts. Raises LineError.
    """
    if joined or len(lines) == 1:
        return _conform(lines, conformer, target)
    first = _conform(lines[:1], conformer, 0)[0]
    whole = _whole(lines[0])
    others = [(Stretch(apply_changes(whole, first), 0)), *(stretch for line in lines[1:] for stretch in line)]
    numbers = [0, *(number for number, line in enumerate(lines[1:], 1) for _ in line)]
    try:
        changes = conformer.conform(
            tuple(Segment(each.cmdline, number == 0) for number, each in zip(numbers, others, strict=True))
        )
    except SegmentError as error:
        raise LineError(numbers[error.segment], error.message) from error
    result: list[list[TokenChange]] = [list(first), *([] for _ in lines[1:])]
    for change in changes:
        number = numbers[change.segment]
        if number > 0 and change.after is None:
            result[number].append(_placed(change, others[change.segment], number))
    return tuple(tuple(each) for each in result)


def op_of(change: TokenChange) -> Op:
    """What a change of a token is, as a plan names it."""
    return Op.ADD if change.before is None else Op.REMOVE if change.after is None else Op.REPLACE


def _conform(
    lines: Sequence[tuple[Stretch, ...]], conformer: Conformer, target: int
) -> tuple[tuple[TokenChange, ...], ...]:
    flat = [(number, stretch) for number, line in enumerate(lines) for stretch in line]
    taking = _target(lines[target])
    segments = tuple(Segment(stretch.cmdline, stretch is taking) for _, stretch in flat)
    try:
        changes = conformer.conform(segments)
    except SegmentError as error:
        raise LineError(flat[error.segment][0], error.message) from error
    result: list[list[TokenChange]] = [[] for _ in lines]
    for change in changes:
        number, stretch = flat[change.segment]
        result[number].append(_placed(change, stretch, number))
    return tuple(tuple(each) for each in result)


def _target(line: tuple[Stretch, ...]) -> Stretch:
    """The stretch that takes additions: the last one as written that the kernel reads."""
    target = line[0]
    for stretch in line:
        if stretch.word is None:
            target = stretch
        if stretch.cmdline.kernel_count < len(stretch.cmdline.tokens):
            break
    return target


def _placed(change: TokenChange, stretch: Stretch, number: int) -> TokenChange:
    """The change with the index of its token in the line. Raises LineError for a token that a variable holds."""
    if stretch.word is not None:
        raise LineError(
            number, f"{stretch.word} holds {change.before!r}, which the profile must not have", stretch.word
        )
    position = None if change.position is None else change.position + stretch.offset
    return change._replace(segment=number, position=position)


def _run(tokens: tuple[Parameter, ...]) -> Cmdline:
    return Cmdline.of(tokens, ("", *(" " for _ in tokens[1:]), "") if tokens else ("",))


def _whole(line: tuple[Stretch, ...]) -> Cmdline:
    return Cmdline.parse(" ".join(str(stretch.cmdline) for stretch in line))
