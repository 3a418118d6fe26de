# SPDX-License-Identifier: Apache-2.0
"""systemd-boot and what writes its entries: entries are edited in place, images and wrapped entries are built anew."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import ClassVar

from iommuctl.backends.base import BootConfig, Entry, Future, no_entry_yet
from iommuctl.backends.drift import Source, disagreements
from iommuctl.backends.entries import cmdlinefile, survey
from iommuctl.backends.entries.cmdlinefile import CmdlineEdit, Reading
from iommuctl.backends.entries.edit import EntryEditor
from iommuctl.backends.entries.survey import FoundEntry
from iommuctl.backends.grub import defaults, notes, script
from iommuctl.backends.grub import sources as grub_sources
from iommuctl.backends.grub.distributions import GrubFamily, grub_family
from iommuctl.backends.systemd_boot import dracut, kernelstub
from iommuctl.backends.systemd_boot.images import Image
from iommuctl.backends.systemd_boot.layout import Layout, look, look_anyhow
from iommuctl.backends.systemd_boot.wrappers import Wrapper, hidden_esps, is_systemd_boots
from iommuctl.errors import BootConfigError
from iommuctl.facts import Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import SUFFIX
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import Change, Command, FileEdit, Rendering
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.tree import Tree

_LOADER_USE = "systemd-boot boots"
_GRUB_USE = "grub-mkconfig makes the menu of"


class SystemdBoot:
    """Backend of hosts that boot by systemd-boot, by unified kernel images, or by entries that a wrapper writes."""

    name: ClassVar[str] = "systemd-boot"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the entries and images, and what the next kernel would boot with."""
        layout, refused = look_anyhow(tree, facts)
        coming = _future(tree, facts, layout)
        settings, told = self._settings(tree, facts, layout)
        told += () if coming.cmdline is not None else _not_understood(tree, layout)
        findings = (
            *_left_alone(layout),
            *_about_host(tree, layout, facts),
            *refused,
            *_about_files(tree, layout),
            *told,
            *self._drift(tree, facts, layout),
        )
        return BootConfig(_shown(layout, coming), coming, findings, (*settings, *_beside(tree, layout)))

    def _settings(self, tree: Tree, facts: Facts, layout: Layout) -> tuple[tuple[Future, ...], tuple[Finding, ...]]:
        """GRUB's settings, where they are kept in step as well, with what to tell of them."""
        family = _grub_beside(tree, facts, layout)
        given, told = (None, ()) if family is None else notes.settings_line(tree, family, self._catalogue)
        return () if given is None else (Future(given, grub_sources.MAIN),), told

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Return the edits of sources and entries, and the commands that build what is not edited in place."""
        layout = look(tree, facts)
        conformer = Conformer(desired, self._catalogue)
        changes: list[Change] = []
        edits: list[FileEdit] = []
        if layout.wrapper is None:
            editor = EntryEditor(conformer, value_of=None)
            for each in layout.ours:
                entry_changes, edit = editor.edit(each)
                changes += entry_changes
                edits += () if edit is None else (edit,)
        # After the entries: what is wrong with one is said of it, not of the file that is made of it.
        sources = _sources(tree, facts, layout, conformer)
        _refuse_addons(layout, conformer)
        generated = [*(each.cmdline for each in layout.wrapped), *(each.cmdline for each in layout.built)]
        stale = any(conformer.shortcomings(each) for each in generated)
        commands = _commands(layout) if sources.edits or stale else ()
        findings = (
            *_left_alone(layout),
            *_about_host(tree, layout, facts),
            *_unwritten(layout),
            *sources.findings,
            *self._drift(tree, facts, layout),
            *conformer.observe(each.cmdline for each in layout.ours),
            *conformer.observe(each.cmdline for each in layout.built),
        )
        rebuilt = () if layout.wrapper is None else tuple(each.entry.path for each in layout.ours)
        rebuilt += tuple(each.path for each in layout.built) if commands else ()
        entries = tuple(each.entry.path for each in layout.found) if layout.wrapper is None else ()
        return Rendering((*changes, *sources.changes), (*edits, *sources.edits), commands, findings, rebuilt, entries)

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Return the Type #1 entries; none where a wrapper writes them."""
        layout = look(tree, facts, builds=False)
        return tuple(each.shown for each in layout.found) if layout.wrapper is None else ()

    def refresh_mtimes(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Return none: nobody compares the times of the sources."""
        return ()

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Return the commands that make wrapped entries and images follow their sources; none for plain entries."""
        return _commands(look(tree, facts))

    def read_back(self, tree: Tree, facts: Facts, desired: DesiredArguments, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, how entries, images and sources fall short. What a hidden ESP holds is not read."""
        layout = look(tree, facts)
        coming = _future(tree, facts, layout)
        images = layout.rebuilt if generated else ()
        read = layout.ours if layout.wrapper is None else layout.wrapped if generated else ()
        lines = [(str(each.entry.path), each.cmdline) for each in read]
        lines += [(f"{each.path} (inside {each.id})", each.cmdline) for each in images]
        others = [(f"{coming.source} (the next kernel)", coming.cmdline)]
        if (family := _grub_beside(tree, facts, layout)) is not None:
            others.append((str(grub_sources.MAIN), grub_sources.read(tree, family).cmdline))
        others += [(str(each.source), each.cmdline) for each in _beside(tree, layout)]
        lines += [(where, cmdline) for where, cmdline in others if cmdline is not None]
        conformer = Conformer(desired, self._catalogue)
        unread = () if coming.cmdline is not None else (f"{coming.source}: what it gives an entry is not known",)
        short = (f"{where}: {problem}" for where, cmdline in lines for problem in conformer.shortcomings(cmdline))
        return (*unread, *short)

    def out_of_step(self, tree: Tree, facts: Facts, *, generated: bool) -> tuple[str, ...]:
        """Tell, in words, which images have another command line than the one that the next is built with."""
        layout = look(tree, facts)
        coming = _future(tree, facts, layout)
        lagging = (each for each in (layout.rebuilt if generated else ()) if self._lags(each, coming))
        return tuple(f"{each.path}: {each.id} does not follow {coming.source}" for each in lagging)

    def _drift(self, tree: Tree, facts: Facts, layout: Layout) -> tuple[Finding, ...]:
        coming = _future(tree, facts, layout)
        own = {each.entry.path for each in layout.found} | {each.path for each in layout.images}
        use = _use(layout)
        told = (*((coming,) if coming.source not in own else ()), *self._settings(tree, facts, layout)[0])
        sources = [
            Source(str(each.source), _GRUB_USE if each.source == grub_sources.MAIN else use, each.cmdline)
            for each in (*told, *_beside(tree, layout))
            if each.cmdline is not None
        ]
        booted = [
            (each.is_basis, Source(str(each.entry.path), _LOADER_USE, each.cmdline))
            for each in layout.ours
            if not layout.hides_entries
        ]
        booted += [(False, Source(f"{each.path} ({each.id})", _LOADER_USE, each.cmdline)) for each in layout.built]
        entries = [source for _, source in sorted(booted, key=lambda one: not one[0])]
        return disagreements(sources, entries, self._catalogue)

    def _lags(self, image: Image, coming: Future) -> bool:
        """Whether an image has other parameters of the IOMMU inside than what it is built of."""
        inside, source = (
            [token.text for token in (line.parameters if line else ()) if self._catalogue.known(token.name)]
            for line in (image.inside, coming.cmdline)
        )
        return inside != source


def _refuse_addons(layout: Layout, conformer: Conformer) -> None:
    """Raise BootConfigError for an addon that lends an image what the profile must not have: none is ours."""
    for addon in dict.fromkeys(addon for image in layout.built for addon in image.addons):
        for change in conformer.shortfall(addon.cmdline):
            if change.before is not None:
                message = f"lends {change.before!r} to the images beside it, which the profile must not have"
                raise BootConfigError(
                    addon.path, None, message, hint=f"remove {addon.path}, or build it anew without that parameter"
                )


def _sources(tree: Tree, facts: Facts, layout: Layout, conformer: Conformer) -> CmdlineEdit:
    """The edits of what the next kernel, an image or a wrapper's entry is made of; /etc/kernel/cmdline is last."""
    wrapper, builder = layout.wrapper, layout.builder
    if wrapper is not None and wrapper.settings is not None:
        return kernelstub.conform_settings(tree, wrapper.settings, conformer)
    if builder is not None and builder.setting is not None:
        return dracut.conform_setting(builder.setting, conformer)
    edit = CmdlineEdit()
    for reading in _readings(tree, layout):
        default = None if reading.path != KERNEL_CMDLINE else _basis(layout, facts)
        one = cmdlinefile.conform_file(tree, conformer, default=default, reading=reading)
        edit = CmdlineEdit((*one.changes, *edit.changes), (*one.edits, *edit.edits), (*one.findings, *edit.findings))
        made_of = (cmdlinefile.VENDOR, *reading.beside)
        nothing = tree.read(reading.path) is None and not one.edits and not cmdlinefile.holds_any(tree, made_of)
        if builder is not None and nothing:
            raise BootConfigError(reading.path, None, f"is missing, and {builder.name} builds the images of it")
    if wrapper is None or not wrapper.hides_entries:
        return edit
    family = _grub_beside(tree, facts, layout)
    if family is None and tree.read(KERNEL_CMDLINE) is None:
        raise BootConfigError(KERNEL_CMDLINE, None, f"is missing, and {wrapper.name} makes the entries of it")
    if family is None:
        return edit
    grub = defaults.conform_sources(tree, family, conformer, additions=grub_sources.DEFAULT)
    script.require_uncut(tree, family, grub.after, conformer)
    return CmdlineEdit((*grub.changes, *edit.changes), (*grub.files, *edit.edits), edit.findings)


def _readings(tree: Tree, layout: Layout) -> tuple[Reading, ...]:
    """How the host's programs read their files of command lines; the first is what the next kernel boots with."""
    wrapper, builder = layout.wrapper, layout.builder
    if builder is not None:
        return tuple(
            Reading(path, builder.drop_ins, beside_suffice=True, is_read=True)
            if path == KERNEL_CMDLINE
            else Reading(path)
            for path in builder.files
        )
    if wrapper is None:
        return (Reading(is_read=layout.is_empty),)
    beside = _drop_ins(tree, wrapper)
    # Without the file sdbootutil and proxmox-boot-tool take what runs, as kernel-install's plugins do (sdbootutil,
    # update_entries; proxmox-kernel-helper, zz-proxmox-boot).
    is_read = wrapper.settings is None
    return (Reading(KERNEL_CMDLINE, beside, first_line_only=wrapper.first_line_only, is_read=is_read),)


def _use(layout: Layout) -> str:
    """What becomes of the source of the next kernel's command line."""
    if layout.builder is not None:
        return f"{layout.builder.name} builds images of"
    if layout.wrapper is not None:
        return f"{layout.wrapper.name} makes entries of"
    return "kernel-install makes the next entry of"


def _beside(tree: Tree, layout: Layout) -> tuple[Future, ...]:
    """The other sources that are kept in step, GRUB's settings aside: the other files of an image's builder."""
    others = ((one.path, cmdlinefile.read_file(tree, one.path)) for one in _readings(tree, layout)[1:])
    return tuple(Future(file.cmdline, path) for path, file in others if file is not None)


def _grub_beside(tree: Tree, facts: Facts, layout: Layout) -> GrubFamily | None:
    """Whose GRUB settings are kept in step as well: those of a host where any of its hidden ESPs may boot by GRUB."""
    if layout.wrapper is None or not layout.wrapper.hides_entries or tree.read(grub_sources.MAIN) is None:
        return None
    return grub_family(facts.distribution)


def _shown(layout: Layout, coming: Future) -> tuple[Entry, ...]:
    """What status shows, as the loader lists it; what it leaves out comes last."""
    places = {item: place for place, item in enumerate(layout.menu)}
    shown = [(layout.items.get(each.entry.path), _entry(layout, each)) for each in layout.found]
    shown += [
        (each.item, each.shown(coming.source)._replace(default=each.item is not None and each.item == layout.boots))
        for each in layout.images
    ]
    shown.sort(key=lambda one: len(places) if one[0] is None else places[one[0]])
    return tuple(entry for _, entry in shown)


def _entry(layout: Layout, found: FoundEntry) -> Entry:
    """The entry as status shows it: one that starts an image of this system has what that has inside."""
    image = layout.started(found)
    if image is None:
        return found.shown
    return found.shown._replace(
        cmdline=image.cmdline, ours=True, reason=f"it starts {image.path}, an image of this system"
    )


def _basis(layout: Layout, facts: Facts) -> Cmdline | None:
    """What a new /etc/kernel/cmdline is made of: the default entry, or what is inside the newest image.

    Where entries are hidden it is what runs, if that came of them.
    """
    if layout.hides_entries:
        runtime = facts.runtime
        return Cmdline.parse(runtime.cmdline) if runtime is not None and is_systemd_boots(runtime) else None
    if layout.basis is not None:
        return layout.basis.cmdline
    return None if layout.newest_image is None else layout.newest_image.inside


def _drop_ins(tree: Tree, wrapper: Wrapper) -> tuple[PurePosixPath, ...]:
    """The files joined to /etc/kernel/cmdline, in this order; one of a later directory replaces its namesakes."""
    folders = wrapper.drop_ins
    found = {name: folder / name for folder in folders for name in tree.names(folder) if not name.startswith(".")}
    return tuple(sorted(found.values(), key=lambda path: (folders.index(path.parent), path.name)))


def _commands(layout: Layout) -> tuple[Command, ...]:
    if layout.wrapper is not None:
        return (Command(layout.wrapper.argv, layout.wrapper.reason),)
    return () if layout.builder is None else layout.builder.commands


def _future(tree: Tree, facts: Facts, layout: Layout) -> Future:
    if layout.wrapper is not None and layout.wrapper.settings is not None:
        settings = layout.wrapper.settings
        try:
            return Future(kernelstub.read_parameters(tree, settings), settings)
        except BootConfigError:
            return Future(None, settings)
    if layout.builder is not None and layout.builder.setting is not None:
        return Future(layout.builder.setting.cmdline, layout.builder.setting.path)
    default, image = layout.basis, layout.newest_image
    line, source = _basis(layout, facts) if layout.hides_entries else None, KERNEL_CMDLINE
    if line is None and tree.read(KERNEL_CMDLINE) is None and (family := _grub_beside(tree, facts, layout)):
        return Future(notes.given(tree, family), grub_sources.MAIN)
    line = line or Cmdline.parse("")
    if default is not None:
        line, source = default.cmdline, default.entry.path
    elif image is not None and image.inside is not None:
        line, source = image.inside, image.path
    reading = next(iter(_readings(tree, layout)), cmdlinefile.PLUGINS)
    return cmdlinefile.future(tree, line, source, reading)


def _not_understood(tree: Tree, layout: Layout) -> tuple[Finding, ...]:
    """Return why it is not known what the wrapper's settings give an entry, which stops no more than an edit."""
    if layout.wrapper is None or layout.wrapper.settings is None:
        return ()
    try:
        kernelstub.read_parameters(tree, layout.wrapper.settings)
    except BootConfigError as error:
        return (notes.not_understood(error, "what an entry gets of it is not known, and no profile can be applied"),)
    return ()


def _left_alone(layout: Layout) -> tuple[Finding, ...]:
    other = (each for each in layout.images if each.left_alone is not None)
    names = ((each.path.with_name(each.id) if each.is_other_profile else each.path, each.left_alone) for each in other)
    return (
        *survey.findings(tuple(each for each in layout.found if layout.started(each) is None)),
        *(Finding(Rule.ENTRY_LEFT_ALONE, Severity.INFO, f"{where} is left alone: {reason}") for where, reason in names),
    )


def _about_files(tree: Tree, layout: Layout) -> tuple[Finding, ...]:
    """Return what is wrong with the files of command lines that are read here."""
    if layout.wrapper is not None and layout.wrapper.settings is not None:
        return ()
    files = (cmdlinefile.read_file(tree, reading.path) for reading in _readings(tree, layout))
    return tuple(finding for file in files if file is not None for finding in file.findings)


def _about_host(tree: Tree, layout: Layout, facts: Facts) -> tuple[Finding, ...]:
    empty = (no_entry_yet(KERNEL_CMDLINE),) if not layout.is_seen else ()
    return (
        *empty,
        *_default_not_ours(layout, facts),
        *hidden_esps(tree, layout.wrapper, facts),
        *_elsewhere(layout, facts),
    )


def _default_not_ours(layout: Layout, facts: Facts) -> tuple[Finding, ...]:
    """Return where what boots by default gets nothing of a profile, although something of this system would."""
    boots = layout.boots
    instead = layout.own_item if layout.basis is None else layout.items.get(layout.basis.entry.path)
    if boots is None or instead is None or layout.hides_entries:
        return ()
    entry = next((each for each in layout.found if each.default), None)
    image = next((each for each in layout.images if each.item == boots), None)
    reason = entry.reason if entry is not None else image.left_alone if image is not None else None
    reason = "the loader found it by itself" if boots.is_found else reason
    if reason is None or (entry is not None and (entry.ours or layout.started(entry) is not None)):
        return ()
    message = f"{boots.path} boots by default, and no profile changes it: {reason}"
    # The ids are compared without regard to capitals; this one is as the file's name is.
    own = instead.id if layout.basis is None else f"{layout.basis.entry.id.removesuffix(SUFFIX)}{SUFFIX}"
    hint = f"bootctl set-default {own}"
    if facts.runtime is None:
        hint = f"write `default {own}` into loader/loader.conf of the ESP"
    return (Finding(Rule.DEFAULT_ENTRY_NOT_OURS, Severity.WARNING, message, hint=hint),)


def _unwritten(layout: Layout) -> tuple[Finding, ...]:
    """Return which entries of this system the wrapper writes only with the next kernel."""
    if layout.wrapper is None:
        return ()
    late = f"{layout.wrapper.name} writes it when the next kernel is installed"
    return tuple(
        Finding(Rule.ENTRY_LEFT_ALONE, Severity.INFO, f"{each.entry.path} is left alone: {late}")
        for each in layout.ours
        if each not in layout.wrapped
    )


def _elsewhere(layout: Layout, facts: Facts) -> tuple[Finding, ...]:
    """Tell that what is mounted is not the partition whose loader booted: hosts with two ESPs boot by either."""
    runtime = facts.runtime
    if runtime is None or not runtime.partitions or layout.hides_entries:
        return ()
    booted = (runtime.loader_partition or "").lower()
    if not booted or booted in runtime.partitions:
        return ()
    message = (
        f"the loader that booted is on the partition {booted}, and {' and '.join(runtime.mounts)} "
        f"{'has' if len(runtime.mounts) == 1 else 'have'} {' and '.join(runtime.partitions)}"
    )
    hint = f"mount /dev/disk/by-partuuid/{booted} there as well, if that is what shall boot"
    return (Finding(Rule.LOADER_ELSEWHERE, Severity.WARNING, message, hint=hint),)
