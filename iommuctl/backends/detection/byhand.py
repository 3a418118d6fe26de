# SPDX-License-Identifier: Apache-2.0
"""By hand: the errors for a root whose command line no backend edits: which parameters, where, and what to run then."""

import json

from iommuctl.backends.detection.evidence import Evidence, told
from iommuctl.backends.detection.loaders import BY_NAME
from iommuctl.backends.detection.owners import Owned
from iommuctl.backends.detection.places import Line, Way, loader_way, owner_way
from iommuctl.errors import UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.segments import SegmentError
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple


class ByHandError(UnavailableError):
    """What boots this root is edited by no backend, or may be something that is not: how it is done by hand is told.

    Where `choice` is given, that is the hint, and the ways are facts.
    """

    kind = "by-hand"

    def __init__(
        self,
        brief: str,
        evidence: tuple[str, ...],
        ways: tuple[Way, ...],
        runtime: Runtime | None,
        *,
        choice: str | None = None,
        asked: Conformer | None = None,
    ) -> None:
        self._seen = (brief, evidence, ways, runtime, choice)
        told = [_without(way) if asked is None else _with(way, asked, runtime) for way in ways]
        if asked is not None and any(way.takes_parameters for way in ways):
            profile = asked.desired.profile
            wanted = " ".join(map(str, asked.desired.wanted)) or "no parameter to have"
            evidence = (*evidence, f"profile {profile!r} on {asked.desired.platform}: {wanted}")
            if choice is None and all(one.is_done for one in told):
                brief = f"{ways[0].name} boots this host, and what it reads has what profile {profile!r} asks for"
        facts = [fact for one in told for fact in one.facts]
        if choice is not None:
            facts += [f"where {way.name} boots: {one.request}" for way, one in zip(ways, told, strict=True)]
        super().__init__(brief, details=(*evidence, *facts), hint=choice or told[0].request)

    def naming(self, desired: DesiredArguments, catalogue: Catalogue) -> "ByHandError":
        """Return the same error with the parameters that a profile asks for, and what the lines there lack of it."""
        brief, evidence, ways, runtime, choice = self._seen
        return ByHandError(brief, evidence, ways, runtime, choice=choice, asked=Conformer(desired, catalogue))


def owner_error(owned: Owned, facts: Facts, runtime: Runtime | None) -> ByHandError:
    """Return the error for a root whose owner keeps its command line."""
    owner = owned.owner
    return ByHandError(f"{owner.name} owns {owner.what}", (owned.mark,), (owner_way(owner, facts),), runtime)


def loader_error(
    tree: Tree, runtime: Runtime | None, name: str, evidence: tuple[Evidence, ...], *, proven: bool, also: str | None
) -> UnavailableError:
    """Return the error for a root that a loader boots which no backend edits.

    `also` is the backend of a loader that it may have started in turn.
    """
    row = BY_NAME.get(name)
    or_else = f"; where {name} only starts what is edited, the same command with --backend {also}" if also else ""
    if row is None:
        hint = f"add the parameters where {name!r} has them (its own manual tells), then reboot{or_else}"
        return UnavailableError(f"{name!r} boots this host, which no backend knows", details=told(evidence), hint=hint)
    program = "" if runtime is None else runtime.boot_program or ""
    seen = "boots this host" if proven else "boots this root, by its files"
    brief = f"{name} {seen}, and no backend edits what it reads"
    if row.brief and program:
        brief = row.brief.format(program=program)
    way = loader_way(tree, row, runtime)
    return ByHandError(brief, told(evidence), (way._replace(asked=way.asked + or_else),), runtime)


class _Told(NamedTuple):
    """What is said of one way. `is_done`: what it reads has everything already."""

    request: str
    facts: tuple[str, ...] = ()
    is_done: bool = False


class _Parameters(NamedTuple):
    adds: tuple[str, ...]
    drops: tuple[str, ...]

    @property
    def words(self) -> str:
        """What to do with them, as a request; empty where there is nothing to do."""
        come, go = " ".join(self.adds), " ".join(self.drops)
        return " and ".join(part for part in (come and f"add {come}", go and f"remove {go}") if part)


def _without(way: Way) -> _Told:
    where = way.plain.format(lines=_numbers(way.lines), **dict(way.context))
    return _Told(f"{where}; iommuctl profile list names the profiles, and apply with one of them says which to add")


def _with(way: Way, asked: Conformer, runtime: Runtime | None) -> _Told:
    if not way.lines:
        return _Told(_filled(way, asked, runtime))
    lacking = {line: found for line in way.lines if (found := _lacking(asked, line.cmdline)).words}
    if not lacking:
        run = f"run {way.then} if it has not run since, then reboot" if way.then else "reboot"
        return _Told(f"{run}; iommuctl verify {asked.desired.profile} tells whether it took effect", is_done=True)
    facts = tuple(f"{line.path}:{line.number}: {found.words}" for line, found in lacking.items())
    alike = len(set(lacking.values())) == 1
    words = next(iter(lacking.values())).words if alike else "make the changes above"
    return _Told(way.asked.format(words=words, lines=_numbers(tuple(lacking))), facts)


def _numbers(lines: tuple[Line, ...]) -> str:
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(str(line.number) for line in lines)}"


def _lacking(asked: Conformer, cmdline: Cmdline) -> _Parameters:
    try:
        changes = asked.shortfall(cmdline)
    except SegmentError:
        return _Parameters(tuple(map(str, asked.desired.wanted)), ())
    return _Parameters(
        tuple(dict.fromkeys(change.after for change in changes if change.after is not None)),
        tuple(dict.fromkeys(change.before for change in changes if change.before is not None)),
    )


def _filled(way: Way, asked: Conformer, runtime: Runtime | None) -> str:
    """A row's request with the parameters in it, each as that row's command takes them."""
    adds = tuple(map(str, asked.desired.wanted))
    drops = () if runtime is None else _lacking(asked, Cmdline.parse(runtime.cmdline)).drops
    words = _Parameters(adds, drops).words
    if not adds:
        plain = way.plain.format(**dict(way.context))
        return f"{words or 'remove what the profile removes, where it is there'}: {plain}"
    settings: dict[str, list[str]] = {}
    for one in adds:
        name, _, value = one.partition("=")
        settings.setdefault(name, []).append(value)
    running = () if runtime is None else tuple(word for word in runtime.cmdline.split() if word not in drops)
    return way.asked.format(
        words=words,
        parameters=" ".join(adds),
        flags=" ".join(f"{way.flag}{one}" for one in adds),
        drops="".join(f" {way.drop_flag}{one}" for one in drops),
        quoted=", ".join(f'"{one}"' for one in adds),
        each_quoted=" ".join(f'"{one}"' for one in adds),
        settings=json.dumps({"settings": {"boot": {"kernel-parameters": settings}}}),
        cmdline=" ".join((*running, *adds)),
        **dict(way.context),
    )
