# SPDX-License-Identifier: Apache-2.0
"""A trial boot by GRUB's menu: a block of custom.cfg that copies the default entry, and `next_entry`. Pure."""

import re
from pathlib import PurePosixPath

from iommuctl.backends.grub import menus, words
from iommuctl.backends.grub.distributions import require_family
from iommuctl.backends.trial import grub
from iommuctl.backends.trial.base import Judge, OneShot, OneShotKind, Order, Rendered, TrialEntry
from iommuctl.errors import BootConfigError
from iommuctl.facts import COMMAND_LINE_SIZE, Facts
from iommuctl.findings import Rule
from iommuctl.formats import grubcfg, grubmenu
from iommuctl.formats.grubentry import EntrySource, entry_source, with_line, written_entry
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.trial import entry_id, own_tokens, trial_of, with_helpers
from iommuctl.plan import FileClass, FileEdit
from iommuctl.profile.segments import SegmentError, apply_changes
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

CUSTOM = "custom.cfg"
_SECTION = "41_custom"
_SOURCES = re.compile(r"^[ \t]*(?:source|\.)[ \t]+\$(?:\{config_directory\}|prefix)/custom\.cfg[ \t]*$", re.MULTILINE)


class _Host(NamedTuple):
    """The menu that boots, as text and as values, and the block of variables, None where it is not to be used."""

    place: menus.BootMenu
    text: str
    menu: grubmenu.GrubCfg
    block: GrubEnv | None
    words: words.Words


def block_of(trial: str, entry: str) -> bytes:
    """Return what is added to a custom.cfg for a trial: an entry between two lines that say whose it is."""
    begin, end = (f"### {word} iommuctl trial {trial} ###" for word in ("BEGIN", "END"))
    return f"{begin}\n{entry}{end}\n".encode("utf-8", "surrogateescape")


def render(tree: Tree, facts: Facts, order: Order) -> Rendered:
    """Return the entry of a trial, with every condition that was looked at. Raises what reading the menu raises."""
    judge = Judge()
    host = _read(tree, facts, judge)
    if host is None:
        return Rendered(None, judge.conditions)
    place = host.place
    _judge_menu(host, judge)
    grub.judge_block(host.place, host.block, order, judge)
    saved = None if host.block is None else host.block.get("prev_saved_entry") or host.block.get("saved_entry")
    default = grubmenu.default_entry(host.menu, saved)
    made = _judge_default(host, facts, default, judge)
    if default is None or made is None:
        return Rendered(None, judge.conditions)
    source, line = made
    _judge_files(tree, line, source, judge)
    judge.hold(
        Rule.TRIAL_DEFAULT,
        f"{default.title!r} stays the default",
        str(place.path),
    )
    judge.hold(Rule.TRIAL_NEXT_KERNEL, "grub-mkconfig makes the entry of a new kernel of it", "/etc/default/grub")
    entry = _entry(tree, host, order, source, line, facts, judge)
    return Rendered(entry if judge.all_hold else None, judge.conditions)


def _read(tree: Tree, facts: Facts, judge: Judge) -> _Host | None:
    place = menus.boot_menu(tree, require_family(facts.distribution, tree), facts)
    content = tree.read(place.path)
    if not judge.say(
        Rule.TRIAL_LOADER,
        content is not None and place.doubt is None and place.path == place.written,
        f"GRUB starts from {place.path}" if place.doubt is None else place.doubt,
        str(place.stub or place.path),
        "iommuctl status tells what is known of the menu",
    ):
        return None
    text = (content or b"").decode("utf-8", "surrogateescape")
    menu = grubcfg.parse_menu(place.path, text)
    block = None
    raw = tree.read(place.environment)
    try:
        block = None if raw is None else GrubEnv.parse(place.environment, raw)
    except BootConfigError as error:
        judge.refuse(Rule.TRIAL_ONE_SHOT, error.message, str(place.environment), error.hint)
    return _Host(place, text, menu, block, words.read_words(tree, menu, place.path, block))


def _judge_menu(host: _Host, judge: Judge) -> None:
    path, text = host.place.path, host.text
    own = re.search(rf"### BEGIN [^\n]*/{_SECTION} ###\n(.*?)### END [^\n]*/{_SECTION} ###", text, re.DOTALL)
    judge.say(
        Rule.TRIAL_LOADER,
        own is not None and _SOURCES.search(own[1]) is not None,
        f"the menu reads {path.with_name(CUSTOM)}"
        if own is not None
        else f"the menu does not read {path.with_name(CUSTOM)}",
        f"section {_SECTION} of {path}",
        f"make /etc/grub.d/{_SECTION} executable and have the menu generated",
    )
    grub.judge_code(path, text, host.menu, judge)


def _judge_default(
    host: _Host, facts: Facts, default: grubmenu.MenuEntry | None, judge: Judge
) -> tuple[EntrySource, grubmenu.LinuxLine] | None:
    """The entry that boots by default and is what runs, as written, and its one line; None where that is not so."""
    path = host.place.path
    if default is None or len(default.linux) != 1:
        told = "not known" if default is None else f"{default.title!r}, which has not exactly one kernel"
        judge.refuse(Rule.TRIAL_BOOTED, f"what GRUB boots by default is {told}", str(path), _NAME_DEFAULT)
        return None
    line, runs = default.linux[0], None if facts.runtime is None else facts.runtime.cmdline
    running = Cmdline.parse(runs or "")
    same_kernel = grub.runs(facts.runtime, line.kernel)
    lines = [host.words.shown(line), *(cmdline for cmdline, _, _ in host.words.readings(line))]
    same_line = any(own_tokens(one) == own_tokens(running) for one in lines)
    judge.say(
        Rule.TRIAL_BOOTED,
        same_kernel and same_line,
        f"{default.title!r} boots by default, and is what runs"
        if same_kernel and same_line
        else f"{default.title!r} boots by default, and is not what runs",
        f"/proc/cmdline against {path}:{line.line}",
        "reboot first, so that what runs is what would be tried",
    )
    judge.say(
        Rule.TRIAL_HELPERS,
        trial_of(line.cmdline) is None,
        f"{path}:{line.line} has nothing of a trial",
        str(path),
        "take iommuctl.trial= out of the settings that the menu is made of",
    )
    source = entry_source(host.text, default)
    if source is None:
        judge.refuse(Rule.TRIAL_LOADER, f"the entry {default.title!r} is not written as others are", str(path))
        return None
    guarded = grub.SUPERUSERS.search(host.text) is not None
    judge.say(
        Rule.TRIAL_WAITS,
        not guarded or source.is_unrestricted,
        "the menu asks for a password before it boots its default"
        if guarded and not source.is_unrestricted
        else "the default boots without a password",
        f"superusers and --unrestricted in {path}",
        "give the default entry --unrestricted",
    )
    return source, line


_NAME_DEFAULT = "name it with GRUB_DEFAULT in /etc/default/grub, and have the menu generated"


def _judge_files(tree: Tree, line: grubmenu.LinuxLine, source: EntrySource, judge: Judge) -> None:
    missing = [name for name in (line.kernel, *source.initrds) if not grub.is_there(tree, name)]
    judge.say(
        Rule.TRIAL_FILES,
        not missing,
        f"{missing[0]} is not there" if missing else "kernel and initramfs are there",
        "the paths of the default entry, below / and /boot",
        "install the kernel again, or boot another one",
    )


def _entry(
    tree: Tree,
    host: _Host,
    order: Order,
    source: EntrySource,
    line: grubmenu.LinuxLine,
    facts: Facts,
    judge: Judge,
) -> TrialEntry | None:
    path = host.place.path
    try:
        changed = apply_changes(line.cmdline, order.conformer.shortfall(line.cmdline))
        after = with_helpers(changed, order.trial, watchdog=order.watchdog)
    except (SegmentError, ValueError) as error:
        judge.refuse(Rule.TRIAL_LOADER, f"its line takes no parameters: {error}", f"{path}:{line.line}")
        return None
    copied = with_line(source, lambda _: tuple(token.text for token in after.tokens))
    title = f"iommuctl trial of {order.profile}"
    if copied is None or not title.isascii() or "'" in title:
        judge.refuse(
            Rule.TRIAL_LOADER,
            "its line cannot be written anew exactly",
            f"{path}:{line.line}",
            "write the line of GRUB's settings without quotes inside words",
        )
        return None
    shown = host.words.shown(line._replace(cmdline=after))
    length = len(f"{grub.BOOT_IMAGE}={line.kernel} {shown}".encode("utf-8", "surrogateescape"))
    limit = COMMAND_LINE_SIZE[facts.platform] - 1
    if length > limit:
        told = f"the trial's line would have {length} bytes, and the kernel reads {limit}"
        judge.refuse(Rule.TRIAL_LOADER, told, f"{path}:{line.line}", "take parameters out of /etc/default/grub")
    identity = entry_id(order.trial)
    custom = path.with_name(CUSTOM)
    before = tree.read(custom)
    if grub.SUPERUSERS.search((before or b"").decode("utf-8", "replace")) and not source.is_unrestricted:
        judge.refuse(Rule.TRIAL_WAITS, f"{custom} has GRUB ask for a password", f"superusers in {custom}")
    block = block_of(order.trial, written_entry(title, identity, copied))
    if before and not before.endswith(b"\n"):
        block = b"\n" + block
    edit = FileEdit(custom, FileClass.SOURCE, before, (before or b"") + block, f"boots {order.profile} once")
    literal = tuple(
        text
        for text in own_tokens(after)
        if not any(f"${name}" in text or f"${{{name}}}" in text for name in line.variables)
    )
    shot = OneShot(OneShotKind.GRUBENV, host.place.environment, identity)
    return TrialEntry(identity, edit, block, shot, shown, host.words.shown(line), literal, is_proven=True)


def written_line(path: PurePosixPath, content: bytes, identity: str) -> tuple[str, Cmdline] | None:
    """Return the kernel and the line of the one entry of that id at the top of a menu; None where it is not there once.

    Raises BootConfigError where GRUB could not read the file.
    """
    menu = grubcfg.parse_menu(path, content.decode("utf-8", "surrogateescape"))
    found = [entry for entry in menu.entries if entry.id == identity and not entry.submenus]
    if len(found) != 1 or len(found[0].linux) != 1:
        return None
    return found[0].linux[0].kernel, found[0].linux[0].cmdline
