# SPDX-License-Identifier: Apache-2.0
"""GRUB that boots Boot Loader Specification entries: Fedora, RHEL and their kin. No generator is run."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import ClassVar

from iommuctl.backends.base import BootConfig, Entry, Future, no_entry_yet
from iommuctl.backends.drift import Source, disagreements
from iommuctl.backends.entries import cmdlinefile, survey
from iommuctl.backends.entries.edit import EntryEditor
from iommuctl.backends.entries.survey import FoundEntry, Reading
from iommuctl.backends.entries.versions import version_key
from iommuctl.backends.grub import defaults, menus, notes
from iommuctl.backends.grub import sources as grub_sources
from iommuctl.backends.grub import variables as grub_variables
from iommuctl.backends.grub.distributions import GrubFamily, grub_family, require_family
from iommuctl.backends.grub.menus import MENUS
from iommuctl.backends.grub.variables import KERNELOPTS, GrubVariables
from iommuctl.facts import Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import BlsEntry, expand, parse_entry, variables
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import Change, Command, FileClass, FileEdit, Op, Rendering
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.tree import Tree

ENTRIES = PurePosixPath("/boot/loader/entries")
_MODULES = (PurePosixPath("/usr/lib/modules"), PurePosixPath("/lib/modules"))
# The entry that a kernel package of RHEL 8 brings along; kernel-install copies it (20-grub.install).
_SHIPPED_ENTRY = "bls.conf"
_ZIPL = PurePosixPath("/etc/zipl.conf")
# Where GRUB's own modules are, one directory for each of its platforms.
_GRUB_FOLDERS = tuple(folder.parent for folder in MENUS)
_BLSUKI = "blsuki.mod"
_SETTINGS_USE = "grub2-mkconfig alone reads"
_NEXT_USE = "kernel-install makes the next entry of"
_MOST_DIGITS = 9  # no menu has more entries
_SET_DEFAULT = "grub2-set-default {}"


class Bls:
    """Backend of hosts whose GRUB reads entries: the entries, and every source that a later kernel's is made of."""

    name: ClassVar[str] = "bls"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the entries, and what the next kernel's would say."""
        family = _settings_family(tree, facts)
        place = boot_menu(tree, facts)
        unread = menus.not_reading_entries(tree, place)
        known = grub_variables.read_variables(tree, place)
        found = survey.survey_entries(tree, facts, (ENTRIES,), _reading(known))
        given, told = (None, ()) if family is None else notes.settings_line(tree, family, self._catalogue)
        coming = _future(tree, facts, known, found)
        return BootConfig(
            entries=tuple(each.shown for each in found),
            future=coming,
            findings=(
                *notes.unproven(place),
                *(
                    ()
                    if unread is None
                    else (Finding(Rule.ENTRIES_NOT_READ, Severity.WARNING, unread.brief, hint=unread.hint),)
                ),
                *_about(known, found),
                *(() if found else (no_entry_yet(KERNEL_CMDLINE),)),
                *told,
                *_later_menu(given, found),
                *_about_file(tree),
                *self._drift(given, coming, known, found),
            ),
            beside=() if given is None else (Future(given, grub_sources.MAIN),),
        )

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Return the edits: GRUB's settings, the block, the entries, and last what the next kernel boots with."""
        place = boot_menu(tree, facts)
        if (unread := menus.not_reading_entries(tree, place)) is not None:
            raise unread
        known = grub_variables.read_variables(tree, place)
        found = survey.survey_entries(tree, facts, (ENTRIES,), _reading(known))
        ours = _ours(tree, facts, found)
        family = _settings_family(tree, facts)
        given = None if family is None else notes.settings_line(tree, family, self._catalogue)[0]
        conformer = Conformer(desired, self._catalogue)
        changes: list[Change] = []
        edits: list[FileEdit] = []
        drift = self._drift(given, _future(tree, facts, known, found), known, found)
        findings = [*notes.unproven(place), *_about(known, found), *drift]
        findings += () if ours else (no_entry_yet(KERNEL_CMDLINE),)
        if family is not None:
            settings = defaults.conform_sources(tree, family, conformer, additions=grub_sources.LINUX)
            changes += settings.changes
            edits += settings.files
            findings += _follows(
                settings.changes, grub_sources.LINUX, _rescues(found), "once grub2-mkconfig rewrites them"
            )
        options = grub_variables.conform_kernelopts(
            known, conformer, used=any(_uses(each.entry, KERNELOPTS) for each in ours)
        )
        changes += options.changes
        edits += options.edits
        sharing = tuple(each for each in found if not each.ours and _uses(each.entry, KERNELOPTS))
        findings += _follows(options.changes, KERNELOPTS, sharing, "too")
        editor = EntryEditor(conformer, value_of=options.variables.values.get, pads=has_blsuki(tree))
        for each in ours:
            entry_changes, edit = editor.edit(each)
            changes += entry_changes
            edits += () if edit is None else (edit,)
        default = next((each.cmdline for each in ours if each.is_basis), ours[0].cmdline if ours else None)
        last = cmdlinefile.conform_file(tree, conformer, default=None if _shipped_entry(tree, facts) else default)
        changes += last.changes
        edits += last.edits or self.refresh_mtimes(tree, edits)
        findings += last.findings
        findings += conformer.observe(each.cmdline for each in ours)
        commands = _zipl(tree) if edits else ()
        files = tuple(each.entry.path for each in found)
        return Rendering(tuple(changes), tuple(edits), commands, tuple(findings), entries=files)

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Return the entries, whoever's they are."""
        reading = _reading(_variables(tree, facts))
        return tuple(each.shown for each in survey.survey_entries(tree, facts, (ENTRIES,), reading))

    def refresh_mtimes(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Return /etc/kernel/cmdline where GRUB's settings change: the next kernel's hook overwrites an older one."""
        paths = {edit.path for edit in edits}
        content = tree.read(KERNEL_CMDLINE)
        if grub_sources.MAIN not in paths or KERNEL_CMDLINE in paths or content is None:
            return ()
        reason = f"unchanged; it must not be older than {grub_sources.MAIN}, or grub2-mkconfig overwrites it"
        return (FileEdit(KERNEL_CMDLINE, FileClass.SOURCE, content, content, reason),)

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Return the commands that make the boot record follow the entries: zipl where it is in use, else none."""
        return _zipl(tree)

    def read_back(self, tree: Tree, facts: Facts, desired: DesiredArguments, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, how entries and sources fall short, by what GRUB makes of every `$word`."""
        known = _variables(tree, facts)
        found = survey.survey_entries(tree, facts, (ENTRIES,), _reading(known))
        ours = _ours(tree, facts, found)
        lines = [(str(each.entry.path), each.cmdline) for each in ours]
        if (family := _settings_family(tree, facts)) is not None:
            lines.append((str(grub_sources.MAIN), grub_sources.read(tree, family).cmdline))
        coming = _future(tree, facts, known, found)
        if coming.cmdline is not None:
            lines.append((f"{coming.source} (the next kernel)", coming.cmdline))
        conformer = Conformer(desired, self._catalogue)
        return tuple(f"{where}: {problem}" for where, cmdline in lines for problem in conformer.shortcomings(cmdline))

    def out_of_step(self, tree: Tree, facts: Facts, *, generated: bool) -> tuple[str, ...]:
        """Return nothing, since no file is generated, where the entries can be read."""
        _ours(tree, facts, survey.survey_entries(tree, facts, (ENTRIES,), _reading(_variables(tree, facts))))
        return ()

    def _drift(
        self, given: Cmdline | None, coming: Future, known: GrubVariables, found: tuple[FoundEntry, ...]
    ) -> tuple[Finding, ...]:
        """Return where GRUB's settings, the next kernel's line and the entries do not say the same."""
        sources = [] if given is None else [Source(str(grub_sources.MAIN), _SETTINGS_USE, given)]
        if coming.source == KERNEL_CMDLINE and coming.cmdline is not None:
            sources.append(Source(str(coming.source), _NEXT_USE, coming.cmdline))
        booted = sorted((each for each in found if each.ours), key=lambda each: not each.is_basis)
        entries = [Source(str(each.entry.path), "GRUB boots", _own_line(each, known)) for each in booted]
        return disagreements(sources, entries, self._catalogue)


def _ours(tree: Tree, facts: Facts, found: tuple[FoundEntry, ...]) -> tuple[FoundEntry, ...]:
    """The entries of this system; none in a tree before its first kernel. Raises UnavailableError."""
    if not found and facts.runtime is None and survey.has_source(tree):
        return ()
    return survey.require_ours(found, str(ENTRIES))


def _about_file(tree: Tree) -> tuple[Finding, ...]:
    file = cmdlinefile.read_file(tree)
    return () if file is None else file.findings


def _reading(known: GrubVariables) -> Reading:
    value_of, wanted = known.values.get, known.default_entry

    def cmdline(entry: BlsEntry) -> Cmdline:
        line = entry.grub_options
        return Cmdline.parse("") if line is None else expand(line.value, value_of)

    def default(candidates: Iterable[BlsEntry]) -> BlsEntry | None:
        listed = [entry for entry in candidates if entry.is_linux or entry.names_image]
        if wanted.isascii() and wanted.isdigit():
            # The place in the menu, counted from 0, in which blscfg lists the newest first.
            ordered = sorted(listed, key=lambda entry: version_key(entry.id), reverse=True)
            return next(iter(ordered[int(wanted[:_MOST_DIGITS]) :][:1]), None) or survey.newest(listed)
        saved = next((entry for entry in listed if wanted in (entry.id, entry.value("title"))), None)
        return saved or survey.newest(listed)

    return Reading(cmdline, default, lambda entry: entry.names_image)


def boot_menu(tree: Tree, facts: Facts) -> menus.BootMenu:
    """Return the menu that GRUB starts from."""
    return menus.boot_menu(tree, grub_family(facts.distribution, tree), facts)


def survey_of(tree: Tree, facts: Facts) -> tuple[GrubVariables, tuple[FoundEntry, ...]]:
    """Return what entries see of GRUB's variables, and the entries. Raises what `Bls.read` raises."""
    known = _variables(tree, facts)
    return known, survey.survey_entries(tree, facts, (ENTRIES,), _reading(known))


def _variables(tree: Tree, facts: Facts) -> GrubVariables:
    return grub_variables.read_variables(tree, boot_menu(tree, facts))


def _about(known: GrubVariables, found: tuple[FoundEntry, ...]) -> tuple[Finding, ...]:
    once = () if known.block is None else notes.boots_once(known.next_entry, known.block.path)
    return (*survey.findings(found), *once, *survey.default_not_ours(found, _SET_DEFAULT.format))


def _settings_family(tree: Tree, facts: Facts) -> GrubFamily | None:
    """How this distribution builds its menu; None where GRUB has no settings file."""
    if tree.read(grub_sources.MAIN) is None:
        return None
    return require_family(facts.distribution, tree)


def _future(tree: Tree, facts: Facts, known: GrubVariables, found: tuple[FoundEntry, ...]) -> Future:
    """What the next kernel boots with: by the entry that its package brings along, else by /etc/kernel/cmdline."""
    shipped = _shipped_entry(tree, facts)
    if shipped is not None:
        line = shipped.grub_options
        source = known.block.path if known.block is not None and _uses(shipped, KERNELOPTS) else shipped.path
        return Future(Cmdline.parse("") if line is None else expand(line.value, known.get), source)
    default = next((each for each in found if each.is_basis), None)
    return cmdlinefile.future(
        tree,
        Cmdline.parse("") if default is None else default.cmdline,
        ENTRIES if default is None else default.entry.path,
    )


def _shipped_entry(tree: Tree, facts: Facts) -> BlsEntry | None:
    """The entry that the newest installed kernel's package brought along, as the next one's will."""
    for release in sorted(facts.kernels, key=version_key, reverse=True):
        for modules in _MODULES:
            path = modules / release / _SHIPPED_ENTRY
            content = tree.read(path)
            if content is not None:
                return parse_entry(path, content.decode("utf-8", "surrogateescape"))
    return None


def _own_line(found: FoundEntry, known: GrubVariables) -> Cmdline:
    """What an entry says without the `$words` that other programs set, which add them to the next kernel's as well."""
    line = found.entry.grub_options
    if line is None or set(variables(line.value)) <= {KERNELOPTS}:
        return found.cmdline
    return expand(line.value, lambda name: known.get(name) if name == KERNELOPTS else None)


def _uses(entry: BlsEntry, name: str) -> bool:
    return any(name in variables(line.value) for line in entry.options)


def has_blsuki(tree: Tree) -> bool:
    """Whether this is GRUB 2.14's own reader of entries, rather than the one of Fedora and RHEL."""
    return any(_BLSUKI in tree.names(folder / platform) for folder in _GRUB_FOLDERS for platform in tree.names(folder))


def _rescues(found: tuple[FoundEntry, ...]) -> tuple[FoundEntry, ...]:
    return tuple(each for each in found if each.reason == survey.RESCUE)


def _follows(
    changes: tuple[Change, ...], source: str, sharing: tuple[FoundEntry, ...], when: str
) -> tuple[Finding, ...]:
    """Return which entries, not ours to change, share a source that changes (architecture, promise 5)."""
    names = ", ".join(repr(each.entry.id) for each in sharing)
    return tuple(
        Finding(
            Rule.RESCUE_FOLLOWS,
            Severity.WARNING,
            f"{names} share {source} and {'gain' if change.op is Op.ADD else 'lose'} it {when}",
            parameter=change.after if change.op is Op.ADD else change.before,
        )
        for change in changes
        if sharing and change.target == source and (change.op is not Op.ADD or source == KERNELOPTS)
    )


def _later_menu(given_line: Cmdline | None, found: tuple[FoundEntry, ...]) -> tuple[Finding, ...]:
    """Return what a grub2-mkconfig that rewrites entries would take from them: it knows GRUB's settings alone."""
    if given_line is None:
        return ()
    given = {token.text for token in given_line.tokens}
    lost = {
        token.text: None
        for each in found
        if each.ours
        for token in each.cmdline.parameters
        if token.text not in given and token.name not in _ADDED_BY_MKCONFIG
    }
    if not lost:
        return ()
    message = (
        f"{grub_sources.MAIN} lacks what entries have: {' '.join(lost)}; a grub2-mkconfig that rewrites them drops it"
    )
    return (Finding(Rule.LATER_MKCONFIG, Severity.INFO, message),)


# What 10_linux itself writes before GRUB's settings.
_ADDED_BY_MKCONFIG = frozenset({"root", "ro", "rootflags"})


def _zipl(tree: Tree) -> tuple[Command, ...]:
    if tree.read(_ZIPL) is None:
        return ()
    return (Command(("zipl",), "the boot record holds the entries as zipl last read them; not atomic"),)
