# SPDX-License-Identifier: Apache-2.0
"""GRUB2 with menu entries in grub.cfg: the sources are edited, then the menu is generated anew and read back."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import ClassVar

from iommuctl.backends.base import BootConfig, Entry, Future, no_entry_yet
from iommuctl.backends.drift import Source, disagreements
from iommuctl.backends.grub import defaults, menus, notes, script, words
from iommuctl.backends.grub import sources as grub_sources
from iommuctl.backends.grub.distributions import GrubFamily, require_family
from iommuctl.backends.grub.words import Words
from iommuctl.errors import BootConfigError, NotPermittedError, UnavailableError
from iommuctl.facts import COMMAND_LINE_SIZE, Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats import grubcfg, grubmenu
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.shell.variables import literal_text
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import STAGING, Change, Command, FileEdit, Generated, Op, Rendering
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_MENU_USE = "grub-mkconfig builds the next menu of"
_STAGED_MENU = STAGING / "grub.cfg"
# GRUB puts `BOOT_IMAGE=<path of the kernel>` and a blank before the line (grub-core/loader/i386/linux.c).
_BOOT_IMAGE = "BOOT_IMAGE="


class _GrubHost(NamedTuple):
    """The menu that boots, None where it is not there or may not be read, its words, and what to tell of it."""

    place: menus.BootMenu
    menu: grubmenu.GrubCfg | None
    normal: tuple[grubmenu.MenuEntry, ...]
    words: Words
    block: GrubEnv | None
    findings: tuple[Finding, ...]
    is_unreadable: bool = False


class Grub2:
    """Backend of hosts whose grub.cfg holds the menu entries: Debian, Ubuntu, Proxmox, openSUSE, Arch, Gentoo."""

    name: ClassVar[str] = "grub2"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the menu's entries and what the next generated menu would say, where the sources tell that."""
        family = _family(tree, facts)
        host = _read_host(tree, family, facts)
        coming, told = self._coming(tree, family, host)
        return BootConfig(
            entries=_entries(host),
            future=Future(coming, grub_sources.MAIN),
            findings=(*host.findings, *told, *self._drift(host, coming)),
            menu=None if host.menu is None else host.place.path,
        )

    def _coming(self, tree: Tree, family: GrubFamily, host: _GrubHost) -> tuple[Cmdline | None, tuple[Finding, ...]]:
        """What the next kernel's entry gets of the sources; None, with a finding, where that cannot be told."""
        given, found = notes.settings_line(tree, family, self._catalogue)
        if given is None:
            return None, found
        try:
            lines = (line for entry in host.normal for line in entry.linux)
            return host.words.shown(words.predicted(script.line_of(str(given)), lines)), found
        except BootConfigError:
            return given, found

    def _drift(self, host: _GrubHost, coming: Cmdline | None) -> tuple[Finding, ...]:
        """Return where the menu and the settings that it is built of do not say the same."""
        if coming is None or host.menu is None:
            return ()
        default = _default(host)
        normal = sorted(host.normal, key=lambda entry: entry is not default)
        shown = host.words.reader()
        entries = [
            Source(f"{host.place.path} ({entry.title})", "GRUB boots", shown(line))
            for entry in normal
            for line in entry.linux
        ]
        return disagreements((Source(str(grub_sources.MAIN), _MENU_USE, coming),), entries, self._catalogue)

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Return the edits of the sources, and the generator's run where the menu does not say what is wanted."""
        family = _family(tree, facts)
        conformer = Conformer(desired, self._catalogue)
        host = _read_host(tree, family, facts)
        menus.require_written(host.place)
        edit = defaults.conform_sources(tree, family, conformer, additions=grub_sources.DEFAULT, menu_proves=True)
        lines = tuple(line for entry in host.normal for line in entry.linux)
        _check_length(edit.after, lines, facts)
        script.require_uncut(tree, family, edit.after, conformer)
        words.require_agreement(host.words, (words.predicted(script.line_of(str(edit.after)), lines),), conformer)
        findings = (
            *host.findings,
            *edit.findings,
            *notes.unread(tree, family, self._catalogue),
            *self._drift(host, self._coming(tree, family, host)[0]),
            *(() if host.menu is None else _rescues_follow(edit.changes, host.menu)),
            *conformer.observe((edit.after,)),
        )
        current = bool(lines) and not edit.files and not _shortcomings(host, conformer)
        if host.menu is None and not host.is_unreadable and facts.runtime is None and not facts.kernels:
            return Rendering(
                edit.changes, edit.files, (), (*findings, no_entry_yet(grub_sources.MAIN)), unproven=edit.unproven
            )
        commands = () if current else _generate(family, host.place.path, sources_change=bool(edit.files))
        unproven = edit.unproven if commands else None
        return Rendering(edit.changes, edit.files, commands, findings, unproven=unproven)

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Return none: the generator writes all entries into one menu."""
        return ()

    def refresh_mtimes(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Return none: nobody compares the times of the sources."""
        return ()

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Return the commands that make the menu follow the sources, whatever those say."""
        family = _family(tree, facts)
        return _generate(family, menus.boot_menu(tree, family, facts).path, sources_change=True)

    def read_back(self, tree: Tree, facts: Facts, desired: DesiredArguments, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, how sources and menu fall short; nothing where they do not."""
        family = _family(tree, facts)
        sources = grub_sources.read(tree, family)
        conformer = Conformer(desired, self._catalogue)
        problems = _placed(str(grub_sources.MAIN), conformer.shortcomings(sources.cmdline))
        if not generated:
            return problems
        host = _read_host(tree, family, facts)
        return (*problems, *(_shortcomings(host, conformer) if host.normal else (_no_normal_entry(host),)))

    def out_of_step(self, tree: Tree, facts: Facts, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, which entries of the menu do not have what the sources give them."""
        family = _family(tree, facts)
        sources = grub_sources.read(tree, family)
        if not generated:
            return ()
        host = _read_host(tree, family, facts)
        if not host.normal:
            return (_no_normal_entry(host),)
        expected = script.as_menu_says(str(sources.cmdline))
        optional = {
            token.text
            for chain in sources.chains
            for each in chain.optional
            for token in Cmdline.parse(literal_text(each)).tokens
        } - {token.text for token in expected.tokens}
        is_known = not any(chain.filters for chain in sources.chains)
        problems: tuple[str, ...] = ()
        for entry in host.normal:
            for line in entry.linux:
                short = self._not_following(line.cmdline, expected, optional, in_order=is_known)
                problems += _placed(f"{host.place.path}:{line.line}: entry {entry.title!r}", short)
        return problems

    def _not_following(
        self, cmdline: Cmdline, expected: Cmdline, optional: set[str], *, in_order: bool
    ) -> tuple[str, ...]:
        """Say where an entry does not hold the sources' parameters in one run, or holds one of ours next to them.

        A distribution may add its own before and after, and the sources where a condition holds.
        """
        have = [token.text for token in cmdline.tokens if token.text not in optional]
        want = [token.text for token in expected.tokens]
        in_one_run = not in_order or any(have[at : at + len(want)] == want for at in range(len(have) - len(want) + 1))
        if in_one_run and self._managed(cmdline) == self._managed(expected):
            return ()
        return (f"does not have {str(expected)!r}, as its sources say",)

    def _managed(self, cmdline: Cmdline) -> list[str]:
        return [one.text for one in cmdline.parameters if self._catalogue.known(one.name)]


def _no_normal_entry(host: _GrubHost) -> str:
    return f"{host.place.path} has no normal entry of this system"


def _shortcomings(host: _GrubHost, conformer: Conformer) -> tuple[str, ...]:
    """Say how the menu's normal entries fall short, with each value of each word in them."""
    problems: dict[str, None] = {}
    known: dict[tuple[int, tuple[str, ...]], tuple[str, ...]] = {}
    for entry in host.normal:
        for line in entry.linux:
            said = (id(line.cmdline), line.variables)
            if said not in known:
                known[said] = tuple(_lacking(host, line, conformer))
            where = f"{host.place.path}:{line.line}: entry {entry.title!r}"
            problems |= dict.fromkeys(f"{where}: {each}" for each in known[said])
    return tuple(problems)


def _lacking(host: _GrubHost, line: grubmenu.LinuxLine, conformer: Conformer) -> Iterator[str]:
    for cmdline, name, value in host.words.readings(line):
        if name is None and any(host.words.values.get(each) for each in line.variables):
            continue  # no word of it is empty
        note = "" if value is None else f", where ${name} is {value.text!r}"
        yield from (f"{each}{note}" for each in conformer.shortcomings(cmdline))


def _family(tree: Tree, facts: Facts) -> GrubFamily:
    family = require_family(facts.distribution, tree)
    if tree.read(grub_sources.MAIN) is None:
        raise UnavailableError(
            f"{grub_sources.MAIN} is missing", hint=f"install {family.package}, or name the --backend that boots"
        )
    return family


def _read_host(tree: Tree, family: GrubFamily, facts: Facts) -> _GrubHost:
    """Read the menu that boots, with its words; a finding where it may not be read, no menu where it is not there."""
    place = menus.boot_menu(tree, family, facts)
    doubts = notes.unproven(place)
    block = _environment(tree, place)
    try:
        content = tree.read(place.path)
    except NotPermittedError:
        unreadable = Finding(
            Rule.GRUB_CFG_UNREADABLE,
            Severity.WARNING,
            f"{place.path} may not be read, so it is not known whether its entries are up to date",
            hint="run the same command as root (sudo)",
        )
        nothing = words.read_words(tree, None, place.path, block)
        return _GrubHost(place, None, (), nothing, block, (*doubts, unreadable), is_unreadable=True)
    if content is None:
        return _GrubHost(place, None, (), words.read_words(tree, None, place.path, block), block, doubts)
    menu, normal = _parsed(place.path, content)
    host = _GrubHost(place, menu, normal, words.read_words(tree, menu, place.path, block), block, ())
    return host._replace(findings=(*doubts, *_menu_findings(host)))


@lru_cache(maxsize=1)
def _parsed(path: PurePosixPath, content: bytes) -> tuple[grubmenu.GrubCfg, tuple[grubmenu.MenuEntry, ...]]:
    """Read a menu and its normal entries; the last one is kept, for a plan looks at it often, and it may be large."""
    menu = grubcfg.parse_menu(path, grub_sources.decode(path, content))
    return menu, grubmenu.normal_entries(menu)


def _environment(tree: Tree, place: menus.BootMenu) -> GrubEnv | None:
    """The block that the menu loads; None where there is none that may be read, or that GRUB could use."""
    try:
        content = tree.read(place.environment)
        return None if content is None else GrubEnv.parse(place.environment, content)
    except (NotPermittedError, BootConfigError):
        return None


def _menu_findings(host: _GrubHost) -> Iterator[Finding]:
    menu, path = host.menu, host.place.path
    if menu is None:
        return
    default = _default(host)
    if default is not None and default not in host.normal:
        yield Finding(
            Rule.DEFAULT_ENTRY_NOT_OURS,
            Severity.WARNING,
            f"{path} boots {default.title!r} by default, an entry that no profile changes",
            hint=f"choose another one with GRUB_DEFAULT in {grub_sources.MAIN}, or edit that entry where it is written",
        )
    if host.block is not None:
        yield from notes.boots_once(host.block.get("next_entry") or "", host.place.environment)
    if grubmenu.xen_entries(menu):
        yield Finding(
            Rule.XEN_ENTRIES,
            Severity.INFO,
            f"{path} has entries that start Xen; Xen, not Linux, owns the IOMMU there, and they are not read back",
            hint="the hypervisor's own iommu= goes into GRUB_CMDLINE_XEN",
        )


def _default(host: _GrubHost) -> grubmenu.MenuEntry | None:
    if host.menu is None:
        return None
    saved = None if host.block is None else host.block.get("prev_saved_entry") or host.block.get("saved_entry")
    return grubmenu.default_entry(host.menu, saved)


def _entries(host: _GrubHost) -> tuple[Entry, ...]:
    if host.menu is None:
        return ()
    normal = frozenset(entry.line for entry in host.normal)
    read = host.words.reader()
    hypervisors = frozenset(entry.line for entry in grubmenu.xen_entries(host.menu))
    default = _default(host)
    entries: list[Entry] = []
    for entry in host.menu.entries:
        shown = Entry(
            id=entry.id,
            title=" > ".join((*entry.submenus, entry.title)),
            kernel_release=None,
            path=host.place.path,
            cmdline=Cmdline.parse(""),
            rescue=entry.line not in normal and entry.recovery,
            default=entry is default,
            ours=entry.line in normal,
            reason=_reason(entry, ours=entry.line in normal),
        )
        entries += (
            shown._replace(kernel_release=grubmenu.kernel_release(line.kernel), cmdline=read(line))
            for line in entry.linux
        )
        if entry.line in hypervisors and not entry.linux:
            entries.append(shown._replace(reason="starts Xen, which owns the IOMMU"))
    return tuple(entries)


def _reason(entry: grubmenu.MenuEntry, *, ours: bool) -> str:
    if ours:
        return "normal entry"
    if entry.rescue:
        return "rescue entry: the way back"
    return "recovery entry" if entry.recovery else f"of {entry.section or 'no section'}"


def _generate(family: GrubFamily, menu: PurePosixPath, *, sources_change: bool) -> tuple[Command, ...]:
    reason = "the menu is built from the files above" if sources_change else "the menu does not say what is wanted"
    staged = str(_STAGED_MENU)
    return (
        Command((family.mkconfig, "-o", staged), reason),
        Command(
            (family.script_check, staged),
            "a menu that GRUB cannot read is never put in place",
            Generated(_STAGED_MENU, menu),
        ),
    )


def _rescues_follow(changes: tuple[Change, ...], menu: grubmenu.GrubCfg) -> tuple[Finding, ...]:
    """Tell what ways back share a source that changes: they get GRUB_CMDLINE_LINUX; dracut's rescue entry gets both."""
    recovery = [entry.title for entry in menu.entries if entry.recovery and not entry.rescue]
    rescue = [entry.title for entry in menu.entries if entry.rescue]
    told: list[Finding] = []
    for change in changes:
        loses = change.op is not Op.ADD
        if recovery and loses and change.target == grub_sources.LINUX:
            names = ", ".join(map(repr, recovery))
            message = f"recovery entries share {grub_sources.LINUX} and lose it too: {names}"
            told.append(Finding(Rule.RESCUE_FOLLOWS, Severity.WARNING, message, parameter=change.before))
        if rescue:
            names = ", ".join(map(repr, rescue))
            message = f"rescue entries share {change.target} and {'lose' if loses else 'gain'} it too: {names}"
            parameter = change.before if loses else change.after
            told.append(Finding(Rule.RESCUE_FOLLOWS, Severity.WARNING, message, parameter=parameter))
    return tuple(told)


def _check_length(after: Cmdline, lines: tuple[grubmenu.LinuxLine, ...], facts: Facts) -> None:
    """Raise BootConfigError where a line would be longer than the kernel reads; it cuts silently."""
    limit = COMMAND_LINE_SIZE[facts.platform] - 1
    # What 10_linux itself adds (root=, ro) is what an entry's line has next to the variables' tokens.
    wanted = {token.text for token in after.tokens}
    longest: dict[int, grubmenu.LinuxLine] = {}
    for line in lines:
        before = longest.setdefault(id(line.cmdline), line)
        if len(line.kernel) > len(before.kernel):
            longest[id(line.cmdline)] = line
    own = max((_own_length(line, wanted) for line in longest.values()), default=0)
    length = own + len(str(after).encode("utf-8", "surrogateescape"))
    if length > limit:
        raise BootConfigError(
            grub_sources.MAIN,
            None,
            f"the command line would be {length} bytes long; the kernel reads {limit} and cuts the rest silently",
            hint=f"take parameters out of {grub_sources.MAIN}, then run the same command again",
        )


def _own_length(line: grubmenu.LinuxLine, wanted: set[str]) -> int:
    own = sum(len(token.text) + 1 for token in line.cmdline.tokens if token.text not in wanted)
    return len(_BOOT_IMAGE) + len(line.kernel) + 1 + own


def _placed(where: str, problems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{where}: {problem}" for problem in problems)
