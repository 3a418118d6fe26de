# SPDX-License-Identifier: Apache-2.0
"""Places: where the command line of a loader or owner that no backend edits is written now. A tree in, a way out."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from iommuctl.backends.detection.files import Listing
from iommuctl.backends.detection.loaders import Loader, Place
from iommuctl.backends.detection.owners import Owner, new_menu
from iommuctl.errors import BootConfigError, NotPermittedError
from iommuctl.facts import Facts, Runtime
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_PROGRAMS = tuple(PurePosixPath(path) for path in ("/usr/bin", "/usr/sbin", "/sbin", "/bin"))
# A line with one of these is the way back, to which nothing is ever added.
_RESCUE = frozenset({"single", "s", "S", "1", "emergency", "rescue", "recovery"})
_FILE_LIMIT = 128 * 1024  # characters; what somebody writes by hand is far smaller
_MOST_LINES = 100
_NEW_MENU = "{new_menu}"
_RESCUE_STARTS = ("systemd.unit=", "rd.break", "init=")


class Line(NamedTuple):
    """A command line in a file that no backend edits."""

    path: PurePosixPath
    number: int
    cmdline: Cmdline


class Way(NamedTuple):
    """How what boots a root is given parameters by hand.

    `asked` is the request with a profile's parameters, `plain` the one without; both are templates, filled by `context`
    and by what byhand.py knows of the parameters. `lines` are the command lines that are written now, which `asked`
    then speaks of; `then` is what has to run after a change of them.
    """

    name: str
    asked: str
    plain: str
    lines: tuple[Line, ...] = ()
    then: str = ""
    flag: str = ""
    drop_flag: str = ""
    context: tuple[tuple[str, str], ...] = ()

    @property
    def takes_parameters(self) -> bool:
        """Whether parameters of Linux are what it takes; Xen's are others."""
        return bool(self.lines) or "{" in self.asked.replace(_NEW_MENU, "")


def owner_way(owner: Owner, facts: Facts) -> Way:
    """Return how an owner is given parameters."""
    return Way(
        owner.name,
        owner.asked,
        owner.plain or owner.asked,
        flag=owner.flag,
        drop_flag=owner.drop_flag,
        context=(("new_menu", new_menu(facts)),),
    )


def loader_way(tree: Tree, row: Loader, runtime: Runtime | None) -> Way:
    """Return how a loader's command line is edited: in the first of its places that has lines, else by a command."""
    places = _usable(tree, row)
    listing = Listing(tree)
    found = [(place, path) for place in places for name in place.paths for path in listing.find(name)]
    for place, path in found:
        lines = tuple(_lines(tree, path, place))
        if lines:
            return _editing(row.name, path, place, lines)
    for place, path in found:
        if place.new:
            return Way(row.name, f"add the line {place.new} to {path}{_after(place)}", f"the parameters go into {path}")
    for place in places:
        if place.made_by:
            request = f"run {place.made_by}, which makes {place.paths[0]}, then the same command again"
            return Way(row.name, request, request)
    for place, path in found:
        return Way(row.name, f"{{words}} in {path} ({place.what}){_after(place)}", f"the parameters go into {path}")
    if row.by_hand:
        program = "" if runtime is None else runtime.boot_program or ""
        return Way(row.name, row.by_hand, row.by_hand_plain, flag="-a ", context=(("program", program),))
    request = f"mount the file system that holds {places[0].paths[0]}, then run the same command again"
    return Way(row.name, request, request)


def _usable(tree: Tree, row: Loader) -> tuple[Place, ...]:
    """The places of a loader whose programs are there."""
    needed = frozenset(name for place in row.places for name in place.needs)
    there = frozenset(name for folder in _PROGRAMS for name in tree.names(folder)) if needed else frozenset()
    return tuple(place for place in row.places if not place.needs or there.intersection(place.needs))


def _editing(name: str, path: PurePosixPath, place: Place, lines: tuple[Line, ...]) -> Way:
    where = f"{{lines}} of {path} ({place.what})"
    normal = tuple(line for line in lines if not _is_rescue(line.cmdline)) or lines
    return Way(name, f"{{words}} in {where}{_after(place)}", f"the parameters go into {where}", normal, place.then)


def _after(place: Place) -> str:
    return f", run {place.then}, then reboot" if place.then else ", then reboot"


def _lines(tree: Tree, path: PurePosixPath, place: Place) -> Iterator[Line]:
    try:
        text = (tree.read(path) or b"").decode("utf-8", "surrogateescape")
    except (NotPermittedError, BootConfigError):
        return
    if len(text) > _FILE_LIMIT:
        return
    number, at = 1, 0
    for match in islice(re.finditer(place.line, text, re.MULTILINE), _MOST_LINES):
        number += text.count("\n", at, match.start(1))
        at = match.start(1)
        yield Line(path, number, Cmdline.parse(match[1]))


def _is_rescue(cmdline: Cmdline) -> bool:
    words = [one.text for one in cmdline.parameters]
    return any(word in _RESCUE or word.startswith(_RESCUE_STARTS) for word in words)
