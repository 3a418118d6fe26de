# SPDX-License-Identifier: Apache-2.0
"""A trial boot by entries that GRUB reads: one more entry, sorted last, and `next_entry`. Pure."""

from pathlib import PurePosixPath

from iommuctl.backends.bls.backend import ENTRIES, boot_menu, has_blsuki, survey_of
from iommuctl.backends.entries import cmdlinefile
from iommuctl.backends.entries.edit import EntryEditor
from iommuctl.backends.entries.survey import FoundEntry
from iommuctl.backends.grub.variables import GrubVariables
from iommuctl.backends.trial import grub
from iommuctl.backends.trial.base import Judge, OneShot, OneShotKind, Order, Rendered, TrialEntry
from iommuctl.errors import BootConfigError
from iommuctl.facts import COMMAND_LINE_SIZE, Facts
from iommuctl.findings import Rule
from iommuctl.formats.blsentry import OPTIONS, SUFFIX, expand, parse_entry, variables
from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.trial import LAST, entry_id, own_tokens, trial_of, with_helpers
from iommuctl.plan import FileClass, FileEdit
from iommuctl.tree import Overlay, Tree
from iommuctl.value import NamedTuple

_REPLACED = frozenset({"title", "version", "id", OPTIONS})
_FILES = ("linux", "initrd")
_ZIPL = PurePosixPath("/etc/zipl.conf")
# blsuki takes a byte too few where path and options reach a unit of its heap (entries.edit has the measurement).
_LINUX_COMMAND, _HEAP_UNIT = 8, 16


class _Host(NamedTuple):
    """The variables that entries see, the entries, the menu as text, and the entry that boots by default."""

    known: GrubVariables
    found: tuple[FoundEntry, ...]
    text: str
    default: FoundEntry


def render(tree: Tree, facts: Facts, order: Order) -> Rendered:
    """Return the entry of a trial, with every condition that was looked at. Raises what reading the entries raises."""
    judge = Judge()
    place = boot_menu(tree, facts)
    content = tree.read(place.path)
    if content is None or place.doubt is not None or tree.read(_ZIPL) is not None:
        told = place.doubt or (f"{place.path} is missing" if content is None else "zipl writes what boots, not GRUB")
        judge.refuse(Rule.TRIAL_LOADER, told, str(place.path), "iommuctl status tells what is known of the menu")
        return Rendered(None, judge.conditions)
    known, found = survey_of(tree, facts)
    text = content.decode("utf-8", "surrogateescape")
    menu = parse_menu(place.path, text)
    head = text.partition("\nblscfg")[0]
    grub.judge_code(place.path, head, menu, judge)
    grub.judge_block(place, known.block, order, judge)
    default = next((each for each in found if each.default and each.ours), None)
    if default is None or len(default.entry.options) > 1 or default.entry.names_image:
        told = "what GRUB boots by default is not known, or not one entry of this system with one line of options"
        judge.refuse(Rule.TRIAL_BOOTED, told, str(ENTRIES), "iommuctl status lists the entries")
        return Rendered(None, judge.conditions)
    host = _Host(known, found, text, default)
    _judge_default(tree, facts, host, judge)
    _judge_rest(tree, host, judge)
    entry = _entry(tree, facts, order, host, judge)
    return Rendered(entry if judge.all_hold else None, judge.conditions)


def _judge_default(tree: Tree, facts: Facts, host: _Host, judge: Judge) -> None:
    entry, running = host.default.entry, Cmdline.parse("" if facts.runtime is None else facts.runtime.cmdline)
    same = grub.runs(facts.runtime, entry.value("linux") or "")
    same = same and own_tokens(host.default.cmdline) == own_tokens(running)
    judge.say(
        Rule.TRIAL_BOOTED,
        same,
        f"{entry.id!r} boots by default, and is {'' if same else 'not '}what runs",
        f"/proc/cmdline against {entry.path}",
        "reboot first, so that what runs is what would be tried",
    )
    judge.say(
        Rule.TRIAL_HELPERS,
        trial_of(host.default.cmdline) is None,
        f"{entry.id!r} has nothing of a trial",
        str(entry.path),
        f"take iommuctl.trial= out of it and of {KERNEL_CMDLINE}",
    )
    arguments = f"{entry.value('grub_arg') or ''} {entry.value('grub_users') or ''}"
    guarded = grub.SUPERUSERS.search(host.text) is not None and _has_password(tree)
    free = "--unrestricted" in arguments
    judge.say(
        Rule.TRIAL_WAITS,
        not guarded or free,
        "the default boots without a password" if not guarded or free else "GRUB asks for a password",
        f"superusers of the menu, user.cfg, grub_arg of {entry.path}",
        "give the default entry --unrestricted",
    )


def _has_password(tree: Tree) -> bool:
    """Whether superusers of the menu are in effect: Fedora's 01_users sets them where user.cfg is there."""
    folders = (PurePosixPath("/boot/grub2"), PurePosixPath("/boot/grub"))
    known = any("01_users" in (tree.read(each / "grub.cfg") or b"").decode("utf-8", "replace") for each in folders)
    return not known or any(tree.read(each / "user.cfg") for each in folders)


def _judge_rest(tree: Tree, host: _Host, judge: Judge) -> None:
    entry = host.default.entry
    names = [line.value.split() for key in _FILES for line in entry.all(key)]
    listed = [name for each in names for name in each if not name.startswith("$")]
    missing = [name for name in listed if not grub.is_there(tree, name)]
    judge.say(
        Rule.TRIAL_FILES,
        not missing,
        f"{missing[0]} is not there" if missing else "kernel and initramfs are there",
        "the paths of the default entry, below / and /boot",
        "install the kernel again, or boot another one",
    )
    there = next((path for path in (KERNEL_CMDLINE, cmdlinefile.VENDOR) if cmdlinefile.read_file(tree, path)), None)
    falls_back = there is None and cmdlinefile.has_reader(tree)
    judge.say(
        Rule.TRIAL_NEXT_KERNEL,
        not falls_back,
        "a new kernel would get what runs, that of the trial" if falls_back else "a new kernel gets its line of a file",
        f"{KERNEL_CMDLINE}, {cmdlinefile.VENDOR} and the plugins of kernel-install",
        f"write the line that kernels get into {KERNEL_CMDLINE}",
    )


def _entry(tree: Tree, facts: Facts, order: Order, host: _Host, judge: Judge) -> TrialEntry | None:
    found, value_of = host.default, host.known.values.get
    pads = has_blsuki(tree)
    try:
        _, edit = EntryEditor(order.conformer, value_of=value_of, pads=False).edit(found)
        text = (found.content if edit is None or edit.after is None else edit.after).decode("utf-8", "surrogateescape")
        line = parse_entry(found.entry.path, text).grub_options
        after = with_helpers(Cmdline.parse("" if line is None else line.value), order.trial, watchdog=order.watchdog)
    except (BootConfigError, ValueError) as error:
        brief = error.brief if isinstance(error, BootConfigError) else str(error)
        judge.refuse(Rule.TRIAL_LOADER, f"its line takes no parameters: {brief}", str(found.entry.path))
        return None
    options, shown = str(after).strip(), expand(str(after).strip(), value_of)
    size = len(str(shown).encode("utf-8", "surrogateescape"))
    if size > COMMAND_LINE_SIZE[facts.platform] - 1:
        judge.refuse(Rule.TRIAL_LOADER, f"its line would have {size} bytes, more than the kernel reads", found.entry.id)
        return None
    if pads and (len((found.entry.value("linux") or "").encode()) + size + _LINUX_COMMAND) % _HEAP_UNIT == 0:
        options += " "
    identity = f"{LAST}{entry_id(order.trial)}"
    path = ENTRIES / f"{identity}{SUFFIX}"
    kept = (f"{one.key}{one.gap}{one.value}" for one in found.entry.lines if one.key not in _REPLACED)
    rows = (f"title iommuctl trial of {order.profile}", "version 0", *kept, f"{OPTIONS} {options}", "")
    content = "\n".join(rows).encode("utf-8", "surrogateescape")
    _, beside = survey_of(Overlay(tree, {path: content}), facts)
    boots = next((each.entry.id for each in beside if each.default), None)
    judge.say(
        Rule.TRIAL_DEFAULT,
        boots == found.entry.id,
        f"{boots!r} stays the default with the trial's entry next to it"
        if boots == found.entry.id
        else "the entry of the trial would become the default",
        "saved_entry, and the order in which GRUB lists entries",
        f"grub2-set-default {found.entry.id}",
    )
    words = tuple(f"${name}" for name in variables(options))
    literal = tuple(token for token in own_tokens(after) if not any(word in token for word in words))
    made = FileEdit(path, FileClass.ENTRY, None, content, f"boots {order.profile} once")
    # GRUB of the environment block that the menu loads.
    block = boot_menu(tree, facts).environment if host.known.block is None else host.known.block.path
    shot = OneShot(OneShotKind.GRUBENV, block, identity)
    # Booted with the blsuki of GRUB 2.14, not with the blscfg of Fedora.
    return TrialEntry(identity, made, None, shot, shown, found.cmdline, literal, is_proven=pads)
