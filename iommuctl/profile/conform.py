# SPDX-License-Identifier: Apache-2.0
"""Conform: the token changes that give a command line what it must have and nothing that it must not. Pure."""

from collections.abc import Callable, Container, Iterable, Mapping

from iommuctl.findings import Finding
from iommuctl.kernel.cmdline import Cmdline, Parameter, canonical_name
from iommuctl.kernel.parameters import Catalogue, Definition, Grammar, same_id
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted, Watched, sequence_of
from iommuctl.profile.segments import Segment, SegmentError, TokenChange, apply_changes, count_live
from iommuctl.value import NamedTuple


class Conformer:
    """Holds lines against one set of desired arguments, by one catalogue. Built once a plan, for all of its lines.

    It keeps what it made of each parameter that matters, since the lines of a host repeat the same ones.
    """

    def __init__(self, desired: DesiredArguments, catalogue: Catalogue) -> None:
        self.desired = desired
        self.catalogue = catalogue
        self._wishes = tuple(self._wish(number, wanted) for number, wanted in enumerate(desired.wanted))
        self._wanted: dict[str, list[_Wish]] = {}
        for wish in self._wishes:
            self._wanted.setdefault(wish.key, []).append(wish)
        self._unwanted: dict[str, list[Unwanted]] = {}
        for one in desired.unwanted:
            self._unwanted.setdefault(canonical_name(one.name), []).append(one)
        # The variables of the kernel that this sets, each with its value and why.
        self._asked = {
            one.variable: (one.value, wish.wanted)
            for wish in self._wishes
            for item in wish.items
            for one in catalogue.assignments(wish.wanted.name, item)
        }
        self._readings: dict[str, _Reading] = {}

    def conform(self, segments: tuple[Segment, ...]) -> tuple[TokenChange, ...]:
        """Return the changes that bring the joined segments to what is desired; none when they are there already.

        Option lists gain or lose single tokens; what contradicts or is unwanted goes wherever it is; what is wanted and
        effective stays where it is. Nothing after a `--` is read, also where it is in an earlier segment. Changes of
        existing tokens come first, by segment and index; then the additions in the order of `desired.wanted`.
        Raises SegmentError where an addition would not be read by the kernel.
        """
        live = count_live(segments)
        places = [
            _Place(number, index, reading)
            for number, segment in enumerate(segments[:live])
            for index, parameter in enumerate(segment.cmdline.parameters)
            if (reading := self._read(parameter)) is not None
        ]
        return _Draft(segments, live, places, self.catalogue).changes(self._wishes, self._unwanted)

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

    def _wish(self, number: int, wanted: Wanted) -> "_Wish":
        definition = self.catalogue.define(wanted.name)
        return _Wish(number, wanted, canonical_name(wanted.name), definition, definition.items(wanted.value))

    def _read(self, parameter: Parameter) -> "_Reading | None":
        """Read a parameter that may matter: one of the catalogue, or one that the profile names. None for any other."""
        found = self._readings.get(parameter.text)
        if found is None:
            key = parameter.key
            known = self.catalogue.by_key.get(key)
            if known is None and key not in self._unwanted and key not in self._wanted:
                return None
            definition = known or self.catalogue.define(parameter.name)
            items = tuple(
                (item, self._verdict(parameter, definition, item)) for item in definition.items(parameter.value)
            )
            found = self._readings[parameter.text] = _Reading(parameter, definition, items)
        return found

    def _verdict(self, parameter: Parameter, definition: Definition, item: str | None) -> str | None:
        """Why an item must go; None where it may stay."""
        wishes = self._wanted.get(parameter.key, [])
        is_wanted = not definition.is_list and any(definition.serves(item, wish.wanted.value) for wish in wishes)
        for unwanted in self._unwanted.get(parameter.key, ()):
            if definition.matches(item, unwanted.value) and not (unwanted.value is None and is_wanted):
                return unwanted.reason
        if wishes and definition.grammar in {Grammar.BOOL, Grammar.SCALAR}:
            return None if is_wanted else wishes[0].wanted.reason
        for one in self.catalogue.assignments(parameter.name, item):
            value, rival = self._asked.get(one.variable, (one.value, None))
            if value != one.value and rival is not None:
                return f"contradicts {rival}: {rival.reason}"
        return None


def _words(change: TokenChange) -> str:
    if change.before is None:
        return f"{change.after!r} is missing"
    if change.after is None:
        return f"{change.before!r} is left over"
    return f"{change.before!r} should be {change.after!r}"


class _Wish(NamedTuple):
    """A parameter to have: its place among the others, the name that all its spellings share, its value in units."""

    number: int
    wanted: Wanted
    key: str
    definition: Definition
    items: tuple[str | None, ...]


class _Reading(NamedTuple):
    """A parameter as the kernel reads it: the units of its value, each with why it must go (None: it may stay)."""

    parameter: Parameter
    definition: Definition
    items: tuple[tuple[str | None, str | None], ...]


class _Item:
    """One unit of a value: what it says, why it goes (None: it stays), and what comes in its place or after it."""

    def __init__(self, text: str | None, dropped: str | None) -> None:
        self.text = text
        self.dropped = dropped
        self.gained: list[tuple[str | None, str]] = []


class _Place:
    """One parameter that the kernel reads, where it is, and its items as they are to become."""

    def __init__(self, segment: int, index: int, reading: _Reading) -> None:
        self.segment = segment
        self.index = index
        self.parameter = reading.parameter
        self.definition = reading.definition
        self.items = [_Item(text, dropped) for text, dropped in reading.items]

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

    @property
    def is_free(self) -> bool:
        return not self.kept and not any(item.gained for item in self.items)

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
        has_value = any(texts) or ("" in texts and not self.definition.is_list)
        after = self._rewritten(",".join(text for text in texts if text is not None)) if has_value else None
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


class _Draft:
    """The joined segments, of which the first `live` are read, while they are brought to what is desired."""

    def __init__(self, segments: tuple[Segment, ...], live: int, places: list[_Place], catalogue: Catalogue) -> None:
        self.segments = segments
        self.live = live
        self.places = places
        self.catalogue = catalogue
        self.named: dict[str, list[_Place]] = {}
        for place in places:
            self.named.setdefault(place.parameter.key, []).append(place)
        self.additions: list[tuple[_Wish, str]] = []

    def changes(self, wishes: tuple[_Wish, ...], unwanted: Mapping[str, Iterable[Unwanted]]) -> tuple[TokenChange, ...]:
        """Drop what must go, place what must come, and say so."""
        self._retire_last_wins(unwanted)
        repeated: dict[str, list[_Wish]] = {}
        for wish in wishes:
            if wish.definition.grammar is Grammar.ACCUMULATING:
                repeated.setdefault(sequence_of(wish.key), []).append(wish)
            else:
                self._place(wish)
        for ordered in repeated.values():
            self._place_in_order(
                ordered, {key for key, ones in unwanted.items() if any(one.value is None for one in ones)}
            )
        edits = [place.change() for place in self.places if place.is_touched]
        if not self.additions:
            return tuple(edits)
        target = self._target(edits)
        added = sorted(self.additions, key=lambda one: one[0].number)
        return (*edits, *(TokenChange(target, None, None, text, wish.wanted.reason) for wish, text in added))

    def _open(self, places: Iterable[_Place], suits: Callable[[_Place], bool]) -> _Place | None:
        """Return the last of the places that may gain something and suits."""
        fit = [place for place in places if self.segments[place.segment].takes_additions and suits(place)]
        return fit[-1] if fit else None

    def _retire_last_wins(self, unwanted: Container[str]) -> None:
        """Where the occurrence that counts loses its last id, let no earlier one come to life."""
        for key, places in self.named.items():
            last = places[-1]
            if key in unwanted and last.definition.grammar is Grammar.LAST_WINS_LIST and not last.kept:
                for place in places[:-1]:
                    place.drop(f"had no effect before the last {last.definition.name}=")

    def _place(self, wish: _Wish) -> None:
        wanted, definition = wish.wanted, wish.definition
        places = self.named.get(wish.key, [])
        if definition.grammar is Grammar.LAST_WINS_LIST:
            self._merge(wish, places)
            return
        missing = [
            item
            for item in wish.items
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
            case Grammar.FLAG | Grammar.ACCUMULATING:  # those that accumulate are placed in their order
                pass
        if missing:
            self._add(wish, missing)

    def _place_in_order(self, wishes: list[_Wish], replaced: Container[str]) -> None:
        """Have values in their order, each of which counts: what is there in order stays where it is.

        A value of a name in `replaced` comes in the place of one that goes, where that keeps the order.
        """
        keys = {wish.key for wish in wishes}
        places = [place for place in self.places if place.parameter.key in keys]
        target = next((at for at, segment in enumerate(self.segments) if segment.takes_additions), len(self.segments))
        settled: list[int] = []
        for wish in wishes:
            last = settled[-1] if settled else -1
            later = [(at, place) for at, place in enumerate(places) if at > last]
            at = next((at for at, place in later if _serves(place, wish)), None)
            if at is None and wish.key in replaced:
                free = (at for at, place in later if place.is_free and place.parameter.key == wish.key)
                at = next((at for at in free if self.segments[places[at].segment].takes_additions), None)
                if at is not None:
                    places[at].gain(0, wish.wanted.value, wish.wanted.reason)
            if at is None:
                break
            settled.append(at)
        if len(settled) == len(wishes):
            return
        if settled and places[settled[-1]].segment > target:  # what is added would come before it
            settled = []
        for wish in wishes[len(settled) :]:
            for at, place in enumerate(places):
                if at not in settled and _serves(place, wish):
                    place.drop(f"has to come later: {wish.wanted.reason}")
            self._add(wish, list(wish.items))

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

    def _merge(self, wish: _Wish, places: list[_Place]) -> None:
        """Bring a list of which only the last occurrence counts into that one occurrence."""
        wanted = wish.wanted
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
            self._add(wish, [*effective, *missing])

    def _add(self, wish: _Wish, items: list[str | None]) -> None:
        texts = [item for item in items if item is not None]
        self.additions.append((wish, f"{wish.wanted.name}={','.join(texts)}" if texts else wish.wanted.name))

    def _target(self, edits: list[TokenChange]) -> int:
        """Return the segment for additions; they must be read by the kernel there."""
        target = next((number for number, segment in enumerate(self.segments) if segment.takes_additions), None)
        if target is None:
            raise SegmentError(0, None, "no part of the line takes additions")
        if target >= self.live:
            barrier = self.segments[self.live - 1].cmdline
            raise SegmentError(self.live - 1, barrier.kernel_count, "'--' ends the kernel's parameters before")
        for number, segment in enumerate(self.segments[: target + 1]):
            quote = next((index for index, token in enumerate(segment.cmdline.tokens) if not token.is_closed), None)
            if quote is None:
                continue
            left = apply_changes(segment.cmdline, (edit for edit in edits if edit.segment == number))
            if not left.is_closed:
                text = segment.cmdline.tokens[quote].text
                raise SegmentError(number, quote, f"an open quote in {text!r} would swallow an addition")
        return target


def _serves(place: _Place, wish: _Wish) -> bool:
    return place.parameter.key == wish.key and any(
        place.definition.serves(text, item) for text in place.kept for item in wish.items
    )


def _same_ids(left: list[str | None], right: list[str | None]) -> bool:
    return len(left) == len(right) and all(
        one is not None and other is not None and same_id(one, other) for one, other in zip(left, right, strict=True)
    )
