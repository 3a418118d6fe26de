# SPDX-License-Identifier: Apache-2.0
"""A trial boot by systemd-boot: a Type #1 entry like the default one or for its image, and a variable. Pure."""

import struct
from pathlib import PurePosixPath

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS
from iommuctl.backends.entries import cmdlinefile
from iommuctl.backends.entries.survey import FoundEntry
from iommuctl.backends.systemd_boot import menu
from iommuctl.backends.systemd_boot.images import Image
from iommuctl.backends.systemd_boot.layout import Layout, look
from iommuctl.backends.trial.base import Judge, OneShot, OneShotKind, Order, Rendered, TrialEntry
from iommuctl.facts import COMMAND_LINE_SIZE, Facts
from iommuctl.findings import Rule
from iommuctl.formats.blsentry import OPTIONS, SUFFIX, is_enclosed
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import OF_ONE_BOOT, Cmdline
from iommuctl.kernel.trial import LAST, entry_id, own_tokens, trial_of, with_helpers
from iommuctl.plan import FileClass, FileEdit
from iommuctl.profile.segments import SegmentError, apply_changes
from iommuctl.tree import Overlay, Tree
from iommuctl.value import NamedTuple

VARIABLES = PurePosixPath("/sys/firmware/efi/efivars")
LOADER_GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"  # systemd.io/BOOT_LOADER_INTERFACE
_GLOBAL_GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # UEFI 2.10, section 3.3: EFI_GLOBAL_VARIABLE
ONE_SHOT = VARIABLES / f"LoaderEntryOneShot-{LOADER_GUID}"
_FEATURES = VARIABLES / f"LoaderFeatures-{LOADER_GUID}"
_TIMEOUT = VARIABLES / f"LoaderConfigTimeout-{LOADER_GUID}"
_SECURE_BOOT = VARIABLES / f"SecureBoot-{_GLOBAL_GUID}"
_ATTRIBUTES = 4  # bytes of each variable of efivarfs before its value
_ONE_SHOT_FEATURE = 1 << 3  # systemd, efi-loader.h: EFI_LOADER_FEATURE_ENTRY_ONESHOT
_MENU_FORCE = "menu-force"
# What the trial's entry says itself. `version 0` sorts last below the same sort-key (booted with 252, 257 and 262).
_REPLACED = frozenset({"title", "version", OPTIONS})
_FILES = ("linux", "efi", "uki", "initrd", "devicetree")


class _Basis(NamedTuple):
    """What boots by default: its name, where it is, its line, and the lines of an entry for the same kernel."""

    name: str
    directory: PurePosixPath
    cmdline: Cmdline
    lines: tuple[str, ...]
    is_sorted: bool


def render(tree: Tree, facts: Facts, order: Order) -> Rendered:
    """Return the entry of a trial, with every condition that was looked at. Raises what reading the entries raises."""
    judge = Judge()
    layout = look(tree, facts)
    if layout.wrapper is not None:
        told = f"{layout.wrapper.name} writes the entries here, and is not known to leave one of somebody else"
        judge.refuse(Rule.TRIAL_LOADER, told, "the programs that are installed", "try it on a host without it")
        return Rendered(None, judge.conditions)
    _judge_loader(tree, facts, layout, judge)
    basis = _basis(tree, layout, judge)
    if basis is None:
        return Rendered(None, judge.conditions)
    _judge_booted(facts, layout, basis, judge)
    _judge_next_kernel(tree, layout, judge)
    _judge_files(tree, basis, judge)
    entry = _entry(tree, facts, order, layout, basis, judge)
    return Rendered(entry if judge.all_hold else None, judge.conditions)


def variable_text(content: bytes | None) -> str:
    """Return what a variable of efivarfs holds as text; empty where there is none."""
    return "" if content is None else content[_ATTRIBUTES:].decode("utf-16-le", "replace").rstrip("\0")


def _judge_loader(tree: Tree, facts: Facts, layout: Layout, judge: Judge) -> None:
    features = tree.read(_FEATURES)
    known = 0 if features is None else int.from_bytes(features[_ATTRIBUTES:][: struct.calcsize("<Q")], "little")
    judge.say(
        Rule.TRIAL_ONE_SHOT,
        bool(known & _ONE_SHOT_FEATURE),
        "the loader boots an entry once, and deletes the choice before it does"
        if known & _ONE_SHOT_FEATURE
        else "the loader that booted does not say that it can boot an entry once",
        "LoaderFeatures, by the loader",
        "bootctl status tells which loader booted",
    )
    taken = variable_text(tree.read(ONE_SHOT))
    judge.say(
        Rule.TRIAL_ARMED,
        not taken,
        f"the loader boots {taken!r} once already" if taken else "no entry is chosen for the next boot alone",
        "LoaderEntryOneShot",
        "boot once more, or: bootctl set-oneshot ''",
    )
    forced = menu.waits_for_key(tree) or variable_text(tree.read(_TIMEOUT)) == _MENU_FORCE
    judge.say(
        Rule.TRIAL_WAITS,
        not forced,
        "the menu waits for a key (menu-force)" if forced else "the menu boots by itself",
        "timeout in loader.conf, and LoaderConfigTimeout",
        "bootctl set-timeout 5, or the same in loader.conf",
    )
    keeps = menu.keeps_choice(tree, facts.runtime)
    judge.say(
        Rule.TRIAL_DEFAULT,
        not keeps,
        "what boots becomes the default (@saved), as the trial would",
        "default in loader.conf, LoaderEntryDefault and LoaderEntryPreferred",
        "name an entry as the default: bootctl set-default ENTRY",
    )
    counted = layout.boots is not None and layout.boots.tries is not None
    if counted:
        judge.refuse(
            Rule.TRIAL_DEFAULT,
            "the boots of the default entry are counted, so the trial could become the default",
            "the name of its file",
            "wait until it is marked as good: systemctl status systemd-bless-boot",
        )


def _basis(tree: Tree, layout: Layout, judge: Judge) -> _Basis | None:
    entry = next((each for each in layout.found if each.default), None)
    image = next((each for each in layout.images if each.item is not None and each.item == layout.boots), None)
    if entry is not None:
        image = layout.started(entry)
        if image is None and entry.ours:
            return _of_entry(entry)
    if image is None or image.left_alone is not None:
        told = "not known" if layout.boots is None else f"{layout.boots.path}, which is not of this system"
        by = "the entries, images and settings of the boot file systems"
        judge.refuse(Rule.TRIAL_BOOTED, f"what boots by default is {told}", by, "iommuctl status lists the entries")
        return None
    return _of_image(tree, image, judge)


def _of_entry(found: FoundEntry) -> _Basis:
    entry = found.entry
    lines = tuple(f"{line.key}{line.gap}{line.value}" for line in entry.lines if line.key not in _REPLACED)
    is_sorted = entry.value("sort-key") is not None
    return _Basis(entry.id, entry.path.parent, found.cmdline, lines, is_sorted)


def _of_image(tree: Tree, image: Image, judge: Judge) -> _Basis | None:
    secure = tree.read(_SECURE_BOOT)
    enforced = secure is not None and secure[_ATTRIBUTES : _ATTRIBUTES + 1] == b"\1"
    judge.say(
        Rule.TRIAL_SECURE_BOOT,
        not enforced,
        "Secure Boot is on, and an image then takes no command line but its own"
        if enforced
        else "Secure Boot is off, so the image takes the line of an entry",
        "SecureBoot, by the firmware",
        "a trial needs Secure Boot off, or entries with kernel and initramfs",
    )
    if image.addons:
        told = f"{image.addons[0].path} adds to the line of the image, and is not known to do so for an entry's"
        judge.refuse(Rule.TRIAL_LOADER, told, "the image's addons", "build their parameters into the image")
        return None
    point = next((each for each in MOUNT_POINTS if image.path.is_relative_to(each / "EFI")), None)
    if point is None:
        judge.refuse(Rule.TRIAL_LOADER, f"{image.path} is on no boot file system", str(image.path))
        return None
    lines = (f"efi /{image.path.relative_to(point)}",)
    return _Basis(image.id, point / "loader/entries", image.cmdline, lines, is_sorted=False)


def _judge_booted(facts: Facts, layout: Layout, basis: _Basis, judge: Judge) -> None:
    runtime = facts.runtime
    running = Cmdline.parse("" if runtime is None else runtime.cmdline)
    selected = ((runtime and runtime.entry_selected) or "").lower()
    names = () if layout.boots is None else tuple(layout.boots.names(by_stem=True))
    by_name = selected in {one.lower() for one in names}
    same = own_tokens(basis.cmdline) == own_tokens(running)
    judge.say(
        Rule.TRIAL_BOOTED,
        by_name and same,
        f"{basis.name!r} boots by default, and is what runs"
        if by_name and same
        else f"{basis.name!r} boots by default, and is not what runs",
        "LoaderEntrySelected and /proc/cmdline",
        "reboot first, so that what runs is what would be tried",
    )
    judge.say(
        Rule.TRIAL_HELPERS,
        trial_of(basis.cmdline) is None,
        f"{basis.name!r} has nothing of a trial",
        str(basis.directory),
        "take iommuctl.trial= out of it and of /etc/kernel/cmdline",
    )


def _judge_next_kernel(tree: Tree, layout: Layout, judge: Judge) -> None:
    setting = layout.builder is not None and layout.builder.setting is not None
    there = next((path for path in (KERNEL_CMDLINE, cmdlinefile.VENDOR) if cmdlinefile.read_file(tree, path)), None)
    falls_back = cmdlinefile.has_reader(tree) or layout.builder is not None
    judge.say(
        Rule.TRIAL_NEXT_KERNEL,
        setting or there is not None or not falls_back,
        f"a new kernel gets its line of {there}"
        if there is not None
        else "a new kernel would get what runs, that of the trial"
        if falls_back and not setting
        else "nothing installed gives a new kernel what runs",
        f"{KERNEL_CMDLINE}, {cmdlinefile.VENDOR} and the plugins of kernel-install",
        f"write the line that kernels get into {KERNEL_CMDLINE}",
    )


def _judge_files(tree: Tree, basis: _Basis, judge: Judge) -> None:
    top = basis.directory.parents[1]
    names = (line.split(None, 1) for line in basis.lines)
    named = [each[1].strip() for each in names if each[0] in _FILES]
    paths = [top / name.replace("\\", "/").lstrip("/") for name in named]
    missing = [path for path in paths if ".." in path.parts or not tree.read_part(path, 0, 1)]
    judge.say(
        Rule.TRIAL_FILES,
        not missing,
        f"{missing[0]} is not there" if missing else "kernel and initramfs are there",
        "the paths of the default entry",
        "install the kernel again, or boot another one",
    )


def _entry(tree: Tree, facts: Facts, order: Order, layout: Layout, basis: _Basis, judge: Judge) -> TrialEntry | None:
    line = Cmdline.parse(" ".join(one.text for one in basis.cmdline.tokens if one.name not in OF_ONE_BOOT))
    try:
        changed = apply_changes(line, order.conformer.shortfall(line))
        after = with_helpers(changed, order.trial, watchdog=order.watchdog)
    except (SegmentError, ValueError) as error:
        judge.refuse(Rule.TRIAL_LOADER, f"its line takes no parameters: {error}", basis.name)
        return None
    options = str(after).strip()
    if is_enclosed(options):
        judge.refuse(Rule.TRIAL_LOADER, "systemd-boot would take off the quotes around its line", basis.name)
        return None
    length, limit = len(options.encode("utf-8", "surrogateescape")), COMMAND_LINE_SIZE[facts.platform] - 1
    if length > limit:
        judge.refuse(Rule.TRIAL_LOADER, f"its line would have {length} bytes, the kernel reads {limit}", basis.name)
        return None
    name = f"{'' if basis.is_sorted else LAST}{entry_id(order.trial)}"
    path = basis.directory / f"{name}{SUFFIX}"
    text = "\n".join(
        (
            f"# for one boot: iommuctl trial {order.trial}",
            f"title iommuctl trial of {order.profile}",
            "version 0",
            *basis.lines,
            f"{OPTIONS} {options}",
            "",
        )
    )
    content = text.encode("utf-8", "surrogateescape")
    with_trial = look(Overlay(tree, {path: content}), facts)
    boots = with_trial.boots
    judge.say(
        Rule.TRIAL_DEFAULT,
        boots is not None and boots == layout.boots,
        f"{'' if boots is None else boots.id!r} stays the default with the trial's entry next to it"
        if boots == layout.boots
        else "the entry of the trial would become the default",
        "the order of systemd-boot, and what its settings and variables name",
        "name the default: bootctl set-default ENTRY",
    )
    edit = FileEdit(path, FileClass.ENTRY, None, content, f"boots {order.profile} once")
    shot = OneShot(OneShotKind.EFI, ONE_SHOT, path.name)
    return TrialEntry(path.name, edit, None, shot, after, basis.cmdline, own_tokens(after), is_proven=True)
