# SPDX-License-Identifier: Apache-2.0
"""Conform: the token changes that give a command line what it must have and nothing that it must not. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from iommuctl.findings import Finding
from iommuctl.kernel.cmdline import Cmdline, Parameter, canonical_name
from iommuctl.kernel.parameters import Catalogue, Definition, Grammar, same_id
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted, Watched


class Segment(NamedTuple):
    """One stretch of the line that the kernel sees, in the order in which the bootloader joins the stretches.

    Additions go into the first segment that `takes_additions`; removals into whichever holds the token.
    """

    cmdline: Cmdline
    takes_additions: bool


class TokenChange(NamedTuple):
    """One token of one segment. `position` is None for an addition (after the segment's last kernel parameter).

    `before` is None for an addition, `after` for a removal.
    """

    segment: int
    position: int | None
    before: str | None
    after: str | None
    reason: str


class SegmentError(ValueError):
    """A segment in which a change would not reach the kernel, or cannot be written exactly.

    `segment` and `index` say which token is in the way (a `--`, an open quote); the backend knows file and line.
    `index` is None where no segment takes additions.
    """

    def __init__(self, segment: int, index: int | None, message: str) -> None:
        super().__init__(message)
        self.segment = segment
        self.index = index
        self.message = message


class Conformer:
    """Holds lines against one set of desired arguments, by one catalogue. Built once a plan, for all of its lines."""

    def __init__(self, desired: DesiredArguments, catalogue: Catalogue) -> None:
        self.desired = desired
        self.catalogue = catalogue
        self._wishes = _wishes(desired, catalogue)

    def conform(self, segments: tuple[Segment, ...]) -> tuple[TokenChange, ...]:
        """Return the changes that bring the joined segments to what is desired; none when they are there already.

        Option lists gain or lose single tokens; what contradicts or is unwanted goes wherever it is; what is wanted and
        effective stays where it is. Nothing after a `--` is read, also where it is in an earlier segment. Changes of
        existing tokens come first, by segment and index; then the additions in the order of `desired.wanted`.
        Raises SegmentError where an addition would not be read by the kernel.
        """
        return _Draft(segments, self.desired, self.catalogue, self._wishes).changes()

    def shortfall(self, cmdline: Cmdline) -> tuple[TokenChange, ...]:
        """Return the changes that a whole line lacks; none when it is fine. Raises SegmentError as `conform` does."""
        return self.conform((Segment(cmdline, takes_additions=True),))

    def shortcomings(self, cmdline: Cmdline) -> tuple[str, ...]:
        """Say in words what a whole line lacks or holds too much, by the rules of `conform`; empty when fine."""
        try:
            changes = self.shortfall(cmdline)
        except SegmentError as error:
            return (error.message,)
        return tuple(_words(change) for change in changes)

    def observe(self, cmdlines: Iterable[Cmdline]) -> tuple[Finding, ...]:
        """Return a finding for each watched parameter that is on one of the lines, each as written and only once."""
        by_key: dict[str, list[Watched]] = {}
        for one in self.desired.watched:
            by_key.setdefault(canonical_name(one.name), []).append(one)
        found: dict[tuple[str, str], Finding] = {}
        for cmdline in cmdlines:
            for parameter in cmdline.parameters:
                for watched in by_key.get(parameter.key, ()):
                    definition = self.catalogue.define(parameter.name)
                    if any(definition.matches(item, watched.value) for item in definition.items(parameter.value)):
                        seen = watched.finding._replace(parameter=parameter.text)
                        found.setdefault((seen.rule, parameter.text), seen)
        return tuple(found.values())


def apply_changes(cmdline: Cmdline, changes: Iterable[TokenChange]) -> Cmdline:
    """Return one segment's command line with its changes made; indices are those of the unchanged line."""
    pending = tuple(changes)
    edits = sorted((change.position, change.after) for change in pending if change.position is not None)
    for index, after in reversed(edits):
        cmdline = cmdline.remove(index) if after is None else cmdline.substitute(index, after)
    for change in pending:
        if change.position is None and change.after is not None:
            cmdline = cmdline.append(change.after)
    return cmdline


def _words(change: TokenChange) -> str:
    if change.before is None:
        return f"{change.after!r} is missing"
    if change.after is None:
        return f"{change.before!r} is left over"
    return f"{change.before!r} should be {change.after!r}"


class _Item:
    """One unit of a value: what it says, why it goes (None: it stays), and what comes in its place or after it."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.dropped: str | None = None
        self.gained: list[tuple[str | None, str]] = []


class _Place:
    """One parameter that the kernel reads, where it is, and its items as they are to become."""

    def __init__(
        self, segment: int, index: int, parameter: Parameter, definition: Definition, items: list[_Item]
    ) -> None:
        self.segment = segment
        self.index = index
        self.parameter = parameter
        self.definition = definition
        self.items = items

    @property
    def kept(self) -> list[str | None]:
        return [item.text for item in self.items if item.dropped is None]

    @property
    def effective(self) -> list[str | None]:
        """What the kernel reads of it: nothing after a token that ends the list."""
        for count, text in enumerate(self.kept, 1):
            if self.definition.ends_list(text):
                return self.kept[:count]
        return self.kept

    @property
    def is_open_ended(self) -> bool:
        """Whether a token that is put at the end of the list is read."""
        return self.parameter.value is not None and not any(self.definition.ends_list(text) for text in self.kept)

    @property
    def is_touched(self) -> bool:
        return any(item.dropped is not None or item.gained for item in self.items)

    def drop(self, reason: str) -> None:
        for item in self.items:
            item.dropped = item.dropped or reason

    def gain(self, at: int, text: str | None, reason: str) -> None:
        self.items[at].gained.append((text, reason))

    def change(self) -> TokenChange:
        texts: list[str | None] = []
        reasons: dict[str, None] = {}
        for item in self.items:
            if item.dropped is not None:
                reasons.setdefault(item.dropped)
            elif not (item.gained and item.text == ""):  # an empty token at the end makes room for the gained one
                texts.append(item.text)
            for text, reason in item.gained:
                texts.append(text)
                reasons.setdefault(reason)
        after = self._rewritten(",".join(text for text in texts if text is not None)) if any(texts) else None
        return TokenChange(self.segment, self.index, self.parameter.text, after, "; ".join(reasons))

    def _rewritten(self, value: str) -> str:
        parameter = self.parameter
        if parameter.value is None:
            return f"{parameter.name}={value}"
        quoted = int(parameter.text.startswith('"'))
        start = parameter.text.index("=", quoted + 1) + 1
        start += parameter.text.startswith('"', start)
        text = parameter.text[:start] + value + parameter.text[start + len(parameter.value) :]
        if Parameter.parse(text).value != value or (parameter.is_closed and text.count('"') % 2):
            raise SegmentError(self.segment, self.index, f"quotes inside {parameter.text!r} span more than one token")
        return text


class _Wishes(NamedTuple):
    """What is desired, by name; `asked` has the variables of the kernel that this sets, each with its value and why."""

    wanted: Mapping[str, Wanted]
    unwanted: Mapping[str, tuple[Unwanted, ...]]
    asked: Mapping[str, tuple[str, Wanted]]


def _wishes(desired: DesiredArguments, catalogue: Catalogue) -> _Wishes:
    unwanted: dict[str, tuple[Unwanted, ...]] = {}
    for one in desired.unwanted:
        key = canonical_name(one.name)
        unwanted[key] = (*unwanted.get(key, ()), one)
    asked = {
        one.variable: (one.value, wanted)
        for wanted in desired.wanted
        for item in catalogue.define(wanted.name).items(wanted.value)
        for one in catalogue.assignments(wanted.name, item)
    }
    return _Wishes({canonical_name(wanted.name): wanted for wanted in desired.wanted}, unwanted, asked)


class _Draft:
    """The joined segments while they are brought to what is desired."""

    def __init__(
        self, segments: tuple[Segment, ...], desired: DesiredArguments, catalogue: Catalogue, wishes: _Wishes
    ) -> None:
        self.segments = segments
        self.desired = desired
        self.catalogue = catalogue
        self.wanted, self.unwanted, self.asked = wishes
        self.live = self._count_live()
        self.places = list(self._read())
        self.additions: list[tuple[str, str]] = []

    def changes(self) -> tuple[TokenChange, ...]:
        """Drop what must go, place what must come, and say so."""
        for place in self.places:
            for item in place.items:
                item.dropped = self._verdict(place, item.text)
        self._retire_last_wins()
        for wanted in self.desired.wanted:
            self._place(wanted)
        edits = [place.change() for place in self.places if place.is_touched]
        if not self.additions:
            return tuple(edits)
        target = self._target(edits)
        return (*edits, *(TokenChange(target, None, None, text, reason) for text, reason in self.additions))

    def _count_live(self) -> int:
        """How many segments the kernel reads: those up to the first with a `--`."""
        for number, segment in enumerate(self.segments):
            for index, token in enumerate(segment.cmdline.parameters):
                if not token.is_closed and any(later.cmdline.tokens for later in self.segments[number + 1 :]):
                    raise SegmentError(number, index, f"an open quote in {token.text!r} swallows what follows")
            if segment.cmdline.kernel_count < len(segment.cmdline.tokens):
                return number + 1
        return len(self.segments)

    def _read(self) -> Iterator[_Place]:
        """Read the parameters that may matter: those of the catalogue and those that the profile names."""
        for number, segment in enumerate(self.segments[: self.live]):
            for index, parameter in enumerate(segment.cmdline.parameters):
                known = self.catalogue.known(parameter.name)
                if known is not None or parameter.key in self.unwanted or parameter.key in self.wanted:
                    definition = known or self.catalogue.define(parameter.name)
                    items = [_Item(text) for text in definition.items(parameter.value)]
                    yield _Place(number, index, parameter, definition, items)

    def _verdict(self, place: _Place, item: str | None) -> str | None:
        """Why an item must go; None where it may stay."""
        key, definition = place.parameter.key, place.definition
        for unwanted in self.unwanted.get(key, ()):
            if definition.matches(item, unwanted.value):
                return unwanted.reason
        wanted = self.wanted.get(key)
        if wanted is not None and definition.grammar in {Grammar.BOOL, Grammar.SCALAR}:
            return None if definition.serves(item, wanted.value) else wanted.reason
        for one in self.catalogue.assignments(place.parameter.name, item):
            value, rival = self.asked.get(one.variable, (one.value, None))
            if value != one.value and rival is not None:
                return f"contradicts {rival}: {rival.reason}"
        return None

    def _named(self, name: str) -> list[_Place]:
        key = canonical_name(name)
        return [place for place in self.places if place.parameter.key == key]

    def _open(self, places: Iterable[_Place], suits: Callable[[_Place], bool]) -> _Place | None:
        """Return the last of the places that may gain something and suits."""
        fit = [place for place in places if self.segments[place.segment].takes_additions and suits(place)]
        return fit[-1] if fit else None

    def _retire_last_wins(self) -> None:
        """Where the occurrence that counts loses its last id, let no earlier one come to life."""
        for name in self.unwanted:
            places = self._named(name)
            if places and places[-1].definition.grammar is Grammar.LAST_WINS_LIST and not places[-1].kept:
                for place in places[:-1]:
                    place.drop(f"had no effect before the last {places[-1].definition.name}=")

    def _place(self, wanted: Wanted) -> None:
        definition = self.catalogue.define(wanted.name)
        places = self._named(wanted.name)
        if definition.grammar is Grammar.LAST_WINS_LIST:
            self._merge(wanted, places)
            return
        missing = [
            item
            for item in definition.items(wanted.value)
            if not any(definition.serves(text, item) for place in places for text in place.effective)
        ]
        match definition.grammar:
            case Grammar.OPTION_LIST:
                missing = [item for item in missing if not self._gain_token(wanted, item, places)]
            case Grammar.BOOL | Grammar.SCALAR:
                place = self._open(places, lambda place: not place.kept)
                if missing and place is not None:
                    place.gain(0, wanted.value, wanted.reason)
                    missing = []
            case Grammar.FLAG | Grammar.ACCUMULATING:
                pass
        if missing:
            self._add(wanted, missing)

    def _gain_token(self, wanted: Wanted, item: str | None, places: list[_Place]) -> bool:
        """Write a token in the place of one that contradicts it, else at the end of the last list that is read."""
        rivals = {one.variable for one in self.catalogue.assignments(wanted.name, item)}

        def rival(place: _Place) -> int | None:
            for at, candidate in enumerate(place.items):
                sets = self.catalogue.assignments(wanted.name, candidate.text)
                if candidate.dropped is not None and rivals & {one.variable for one in sets}:
                    return at
            return None

        place = self._open(places, lambda place: place.is_open_ended and rival(place) is not None)
        place = place or self._open(places, lambda place: place.is_open_ended)
        if place is None:
            return False
        at = rival(place)
        place.gain(len(place.items) - 1 if at is None else at, item, wanted.reason)
        return True

    def _merge(self, wanted: Wanted, places: list[_Place]) -> None:
        """Bring a list of which only the last occurrence counts into that one occurrence."""
        effective = places[-1].kept if places else []
        missing = [
            item
            for item in (wanted.value or "").split(",")
            if not any(text is not None and same_id(text, item) for text in effective)
        ]
        alone = all(_same_ids(place.kept, effective) for place in places)
        if not missing and alone:
            return
        keep = places[-1] if places and not missing else self._open(places[-1:], lambda place: place.is_open_ended)
        for place in places:
            if place is not keep:
                place.drop(f"only the last {wanted.name}= counts, and all ids stand in one")
        if not missing:
            return
        if keep is not None:
            for item in missing:
                keep.gain(len(keep.items) - 1, item, wanted.reason)
        else:
            self._add(wanted, [*effective, *missing])

    def _add(self, wanted: Wanted, items: list[str | None]) -> None:
        texts = [item for item in items if item is not None]
        self.additions.append((f"{wanted.name}={','.join(texts)}" if texts else wanted.name, wanted.reason))

    def _target(self, edits: list[TokenChange]) -> int:
        """Return the segment for additions; they must be read by the kernel there."""
        target = next((number for number, segment in enumerate(self.segments) if segment.takes_additions), None)
        if target is None:
            raise SegmentError(0, None, "no part of the line takes additions")
        if target >= self.live:
            barrier = self.segments[self.live - 1].cmdline
            raise SegmentError(self.live - 1, barrier.kernel_count, "'--' ends the kernel's parameters before")
        cmdline = apply_changes(self.segments[target].cmdline, (edit for edit in edits if edit.segment == target))
        for index, token in enumerate(self.segments[target].cmdline.tokens):
            if not token.is_closed and not cmdline.is_closed:
                raise SegmentError(target, index, f"an open quote in {token.text!r} would swallow an addition")
        return target


def _same_ids(left: list[str | None], right: list[str | None]) -> bool:
    return len(left) == len(right) and all(
        one is not None and other is not None and same_id(one, other) for one, other in zip(left, right, strict=True)
    )
