# SPDX-License-Identifier: Apache-2.0
"""Words: what GRUB puts in for a `$word` of a kernel's line, who sets it, and whether that is as a profile wants it.

Every value counts that the menu or the environment block gives a variable, since which of its lines GRUB comes by is
known only at boot. Each is tried by itself, so that the time grows with their number and not with their combinations.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from iommuctl.backends.grub.notes import editor_of
from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.grubmenu import GrubCfg, LinuxLine, Setting
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern
from iommuctl.profile.conform import Conformer
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

MAX_VALUES = 64  # of one variable; a menu that was seen gives one at most three
MAX_LENGTH = 16384  # characters of one value, several times what a kernel reads
_TUNED = PurePosixPath("/etc/tuned/bootcmdline")
_TUNED_PARAMS = "tuned_params"
_TUNED_LINE = pattern(r"""^TUNED_BOOT_CMDLINE=(["']?)(.*)\1[ \t]*$""", re.MULTILINE)
# Programs that set a variable, and how to make them set something else.
_OWNERS: Mapping[str, tuple[str, str]] = {
    _TUNED_PARAMS: (
        "tuned",
        "choose another profile with tuned-adm profile NAME, or take it out of cmdline= in the active one",
    ),
}


class Value(NamedTuple):
    """One value of a variable, and the place that gives it; `section` is the script of grub.d that wrote it there."""

    text: str
    path: PurePosixPath
    line: int | None
    section: str = ""


class Words(NamedTuple):
    """Every value of each variable, in the order in which GRUB meets them."""

    values: Mapping[str, tuple[Value, ...]]

    def expand(self, line: LinuxLine, chosen: Mapping[str, str]) -> Cmdline:
        """Return a line with the chosen values put in; what is not chosen vanishes."""
        if not line.variables:
            return line.cmdline
        names = "|".join(map(re.escape, sorted(line.variables, key=len, reverse=True)))
        variable = re.compile(rf"\$(?:\{{({names})\}}|({names})(?!\w))")
        return Cmdline.parse(variable.sub(lambda match: chosen.get(match[1] or match[2], ""), str(line.cmdline)))

    def shown(self, line: LinuxLine) -> Cmdline:
        """Return a line as GRUB most likely has it: the last value of each variable that is not empty."""
        chosen = {name: self._last(name) for name in line.variables}
        return self.expand(line, chosen)

    def reader(self) -> Callable[[LinuxLine], Cmdline]:
        """Return `shown` for many lines: what several say is worked out once."""
        known: dict[tuple[int, tuple[str, ...]], Cmdline] = {}

        def shown(line: LinuxLine) -> Cmdline:
            said = (id(line.cmdline), line.variables)
            if said not in known:
                known[said] = self.shown(line)
            return known[said]

        return shown

    def readings(self, line: LinuxLine) -> Iterator[tuple[Cmdline, str | None, Value | None]]:
        """Return a line with each value of each variable, one at a time, and the variable; first without any."""
        yield self.expand(line, {}), None, None
        for name in line.variables:
            for value in self.values.get(name, ()):
                yield self.expand(line, {name: value.text}), name, value

    def _last(self, name: str) -> str:
        texts = [value.text for value in self.values.get(name, ()) if value.text]
        return texts[-1] if texts else ""


def read_words(tree: Tree, menu: GrubCfg | None, path: PurePosixPath, block: GrubEnv | None) -> Words:
    """Return the values of every variable that a kernel's line of the menu, or tuned, may name.

    Raises NotRepresentableError for more or longer ones than are followed.
    """
    settings = () if menu is None else menu.settings
    needed = _needed(
        settings,
        {name for entry in (menu.entries if menu else ()) for line in entry.linux for name in line.variables}
        | {_TUNED_PARAMS},
    )
    values: dict[str, dict[Value, None]] = {}
    if block is not None:
        for name, text in block.variables:
            values.setdefault(name, {})[Value(text, block.path, None)] = None
    for each in settings:
        if each.name in needed:
            own = values.setdefault(each.name, {})
            known = {value.text for value in own}
            for text in _texts(each, values):
                if len(text) > MAX_LENGTH:
                    raise NotRepresentableError(path, each.line, f"a value of ${each.name} is longer than {MAX_LENGTH}")
                if text not in known:
                    known.add(text)
                    own[Value(text, path, each.line, each.section)] = None
            if len(own) > MAX_VALUES:
                raise NotRepresentableError(path, each.line, f"${each.name} has more than {MAX_VALUES} values")
    coming = _TUNED_LINE.findall((tree.read(_TUNED) or b"").decode("utf-8", "replace"))
    if coming:
        values.setdefault(_TUNED_PARAMS, {})[Value(coming[-1][1], _TUNED, None)] = None
    return Words({name: tuple(own) for name, own in values.items()})


def require_agreement(words: Words, lines: Iterable[LinuxLine], conformer: Conformer) -> None:
    """Raise BootConfigError, naming the variable's owner, where one of its values contradicts what is wanted."""
    seen: set[tuple[int, tuple[str, ...]]] = set()
    for line in lines:
        key = (id(line.cmdline), line.variables)
        if not line.variables or key in seen:
            continue
        seen.add(key)
        without: set[str] | None = None
        for cmdline, name, value in words.readings(line):
            problems = set(conformer.shortcomings(cmdline))
            if without is None:
                without = problems
            elif name is not None and value is not None and (more := sorted(problems - without)):
                raise _contradiction(name, value, more[0])


def _contradiction(name: str, value: Value, problem: str) -> BootConfigError:
    owner, hint = _OWNERS.get(name) or _owner(name, value)
    message = f"${name} is {value.text!r}: {problem}; {owner} sets it"
    return BootConfigError(value.path, value.line, message, hint=hint)


def _owner(name: str, value: Value) -> tuple[str, str]:
    if value.line is None:
        return "the environment block", f"{editor_of(value.path)} {value.path} unset {name}"
    if value.section:
        return f"/etc/grub.d/{value.section}", f"take it out of /etc/grub.d/{value.section}, or of what that reads"
    return f"a line of {value.path}", f"take it out of line {value.line} of {value.path}, where it is written"


def _needed(settings: tuple[Setting, ...], names: set[str]) -> set[str]:
    """The variables of kernels' lines, and those that these are made of."""
    made_of: dict[str, set[str]] = {}
    for each in settings:
        made_of.setdefault(each.name, set()).update(each.variables)
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(made_of.get(name, ()))
    return found


def _texts(setting: Setting, values: Mapping[str, Mapping[Value, None]]) -> Iterator[str]:
    """What a `set` may give: its text, with each value of each variable in it, one at a time."""
    line = LinuxLine(setting.line, "", Cmdline.parse(setting.text), setting.variables)
    if not setting.variables:
        yield setting.text
        return
    known = Words({name: tuple(values.get(name, ())) for name in setting.variables})
    for cmdline, _, _ in known.readings(line):
        yield str(cmdline)


def predicted(line: LinuxLine, normal: Iterable[LinuxLine]) -> LinuxLine:
    """Return the line that the next menu will have of the sources, with the words that today's menu adds to it."""
    more = [name for each in normal for name in each.variables if name not in line.variables]
    names = tuple(dict.fromkeys(more))
    text = " ".join((str(line.cmdline), *(f"${{{name}}}" for name in names)))
    return LinuxLine(line.line, line.kernel, Cmdline.parse(text.strip()), (*line.variables, *names))
