# SPDX-License-Identifier: Apache-2.0
"""Menus: which file GRUB boots from, by the stub on the ESP and the links of packages, and which one is written."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.backends.detection.bootmounts import is_of_another, unmounted
from iommuctl.errors import NotPermittedError, UnavailableError
from iommuctl.facts import Facts
from iommuctl.pattern import pattern
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

if TYPE_CHECKING:  # whose rows name these menus
    from iommuctl.backends.grub.distributions import GrubFamily

MENUS = (PurePosixPath("/boot/grub2/grub.cfg"), PurePosixPath("/boot/grub/grub.cfg"))
# Where neither is there, as on RHEL 8 with UEFI, whose menu is on the ESP, these links of its packages lead to it. What
# its kernel packages run (grubby, new-kernel-pkg) writes to the file at their end.
LINKED_MENUS = (PurePosixPath("/etc/grub2-efi.cfg"), PurePosixPath("/etc/grub2.cfg"))
_NAME = "grub.cfg"
_ESPS = tuple(PurePosixPath(path) for path in ("/boot/efi", "/efi", "/boot"))
_REMOVABLE = "boot"  # EFI/BOOT, which firmware starts where no boot option is left
# Directories on the ESP that are not called like the ID of os-release.
_VENDORS = {"rhel": "redhat", "almalinux": "almalinux", "ol": "redhat", "linuxmint": "ubuntu"}
_UPDATE_GRUB = (PurePosixPath("/usr/sbin/update-grub"), PurePosixPath("/sbin/update-grub"))
_WRITES = re.compile(rb"grub2?-mkconfig\s+-o\s+(/[\w/.-]+)")
_BLSCFG = pattern(rb"^[ \t]*blscfg\b", re.MULTILINE)
_WHOLE = pattern(rb"^[ \t]*(?:menuentry|submenu|blscfg)\b", re.MULTILINE)
_SETS = pattern(r"""^[ \t]*(?:set[ \t]+)?([A-Za-z_]\w*)=([^\s;]+)""", re.MULTILINE)
_VARIABLE = pattern(r"\$(?:\{(\w+)\}|(\w+))")
# `normal` alone reads grub.cfg at the prefix (grub-core/normal/main.c).
_LEADS_TO = pattern(r"""^[ \t]*(?:(?:configfile|source|\.|normal)[ \t]+([^\s;]+)|normal)[ \t;]*$""", re.MULTILINE)
_NORMAL = "$prefix/grub.cfg"
_NUMBERED_ROOT = pattern(r"""^[ \t]*(?:set[ \t]+)?root=["']?\(?hd[0-9]""", re.MULTILINE)
_ANY_SEARCH = pattern(r"^[ \t]*search(?:\.\w+)?[ \t]", re.MULTILINE)
_SEARCH = pattern(r"^[ \t]*search(?:\.fs_uuid[ \t]+(\S+)|[^\n]*--fs-uuid[^\n]*?[ \t]([\w-]+)[ \t]*$)", re.MULTILINE)
_DEVICE = pattern(r"\([^()]*\)")
_NAMED_DEVICE = pattern(r"\((?![$)]|cmdpath\))")
_INSIDE_PROGRAM = "(memdisk)"
_OWN_DEVICE = "(cmdpath)"  # for that of `cmdpath`, the directory of the program that was started
_FAT_UUID = pattern(r"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}")  # the serial number of a FAT file system, as an ESP has


class BootMenu(NamedTuple):
    """The menu that boots, the stub on the ESP that leads to it (None: nothing does), and the one that kernels write.

    `written` is what the hook of the installed kernel packages generates anew for each kernel that comes or goes.
    `doubt` says why `path` is only what the distribution has, `way` what to do so that it can be told.
    """

    path: PurePosixPath
    stub: PurePosixPath | None
    written: PurePosixPath
    doubt: str | None = None
    way: str = ""

    @property
    def environment(self) -> PurePosixPath:
        """The environment block that the menu loads."""
        return self.path.with_name("grubenv")


def boot_menu(tree: Tree, family: "GrubFamily | None", facts: Facts) -> BootMenu:
    """Tell which menu GRUB starts from. What may not be read is taken for what the distribution has.

    The stub is the one of the program that the firmware started, else of the distribution's own directory on the ESP,
    else the only one.
    """
    written = _written(tree, family)
    try:
        stub = _stub(tree, facts)
        content = None if stub is None else tree.read(stub)
    except NotPermittedError:
        return BootMenu(written, None, written)
    if stub is None or content is None:
        doubt, way = _unseen(tree, facts)
        return BootMenu(written, None, written, doubt, way)
    if _WHOLE.search(content):
        return BootMenu(stub, None, _linked(tree, stub, content, written))
    text = content.decode("utf-8", "replace").replace("\r", "")  # GRUB drops them (grub-core/kern/file.c)
    target = _target(tree, stub, text, written)
    way = f"run grub-install, which writes {stub} anew"
    if target is None:
        return BootMenu(written, stub, written, f"where {stub} leads to cannot be told", way)
    if (uuid := _searched(text)) and not _FAT_UUID.fullmatch(uuid) and is_of_another(tree, uuid):
        doubt = f"{stub} leads to the file system {uuid}, which is none of /etc/fstab"
        return BootMenu(written, stub, written, doubt, way)
    if _is_same(tree, target, written):
        return BootMenu(written, stub, written)
    return BootMenu(target, stub, _linked(tree, target, tree.read(target), written))


def require_written(menu: BootMenu) -> None:
    """Raise UnavailableError where the menu that boots is not the one that the next kernel will be written into."""
    if menu.path == menu.written:
        return
    way = str(menu.path) if menu.stub is None else f"{menu.stub}, which leads to {menu.path}"
    raise UnavailableError(
        f"{menu.path} boots, and kernel packages write {menu.written}: a change would be lost with the next kernel",
        details=(f"GRUB starts from {way}", f"a new kernel has {menu.written} generated anew"),
        hint=f"run grub-install, so that {menu.stub or menu.path} leads to {menu.written}, then the same command again",
    )


def not_reading_entries(tree: Tree, menu: BootMenu) -> UnavailableError | None:
    """Return that the menu which boots has entries of its own and none of the specification's, or is not there.

    None for any other, and where the distribution's own is not there: a tree before its first menu.
    """
    try:
        content = tree.read(menu.path)
    except NotPermittedError:
        return None
    if content is None and menu.path == menu.written:
        return None
    if content is not None and (not _WHOLE.search(content) or _BLSCFG.search(content)):
        return None
    why = "it is not there" if content is None else "it has no blscfg"
    way = f"name its backend, --backend grub2, or have {menu.path} built anew with blscfg (GRUB_ENABLE_BLSCFG=true)"
    if menu.path != menu.written:
        way = f"run grub-install, so that {menu.stub or menu.path} leads to {menu.written}, then the same command again"
    return UnavailableError(
        f"{menu.path} boots, and {why}: what entries say has no effect",
        details=() if menu.stub is None else (f"GRUB starts from {menu.stub}, which leads to it",),
        hint=way,
    )


def _unseen(tree: Tree, facts: Facts) -> tuple[str | None, str]:
    """Why the stub cannot be seen, and what shows it; None where none has to be there.

    Of another root it is not known whether firmware starts it by UEFI; what its fstab names may hold a stub.
    """
    runtime = facts.runtime
    missing = () if runtime is not None and not runtime.is_efi else unmounted(tree, runtime)
    if not missing:
        return None, ""
    if runtime is None:
        return (
            f"{missing[0]}, where GRUB may start from, is not mounted",
            f"mount the {missing[0]} of that system there",
        )
    return f"{missing[0]}, where GRUB starts from, is not mounted", f"mount {missing[0]}"


def _written(tree: Tree, family: "GrubFamily | None") -> PurePosixPath:
    for path in _UPDATE_GRUB:
        found = _WRITES.search(tree.read(path) or b"")
        if found:
            return PurePosixPath(found[1].decode())
    if family is not None:
        return family.menu
    return next((menu for menu in MENUS if _NAME in tree.names(menu.parent)), MENUS[0])


def _stub(tree: Tree, facts: Facts) -> PurePosixPath | None:
    """The grub.cfg on the ESP that the booted program reads; None where none is known to be."""
    runtime = facts.runtime
    if runtime is not None and not runtime.is_efi:
        return None
    stubs = {
        point / "EFI" / name / file: name.lower()
        for point in _ESPS
        for name in tree.names(point / "EFI")
        for file in tree.names(point / "EFI" / name)
        if file.lower() == _NAME  # as FAT finds it
    }
    booted = None if runtime is None else runtime.boot_program
    if booted is not None:
        directory = booted.replace("\\", "/").lower().rstrip("/").rpartition("/")[0]
        return next((path for path, name in stubs.items() if directory.endswith(f"/efi/{name}")), None)
    wanted = [_VENDORS.get(name, name) for name in facts.distribution.names]
    for vendor in wanted:
        for path, name in stubs.items():
            if name == vendor:
                return path
    named = [path for path, name in stubs.items() if name != _REMOVABLE] or list(stubs)
    return named[0] if len(named) == 1 else None


def _target(tree: Tree, stub: PurePosixPath, text: str, written: PurePosixPath) -> PurePosixPath | None:
    """Where a stub leads to, as a path of the tree; None for one that leads nowhere that can be told."""
    leads = _LEADS_TO.findall(text)
    if not leads:
        return None
    point = next(point for point in _ESPS if stub.is_relative_to(point))
    known = {"root": "", "cmdpath": f"{_OWN_DEVICE}/{stub.parent.relative_to(point)}"}
    for name, value in _SETS.findall(text):
        known[name] = "" if name == "root" else _expanded(value, known)
    target = _expanded(leads[-1] or _NORMAL, known)
    inside = PurePosixPath("/", _DEVICE.sub("", target).lstrip("/"))
    if "$" in str(inside) or _INSIDE_PROGRAM in target:
        return None
    uuid = _searched(text)
    is_searched = bool(uuid) or _ANY_SEARCH.search(text) is not None
    if _OWN_DEVICE in target:
        return point / inside.relative_to("/")
    if _names_partition(text, target):
        return _only_one(tree, point, inside, written)
    if not is_searched or _FAT_UUID.fullmatch(uuid):
        return point / inside.relative_to("/")
    return _elsewhere(inside, written)


def _searched(text: str) -> str:
    """The UUID of the file system that is searched for last; empty where none is."""
    found = _SEARCH.findall(text)
    return next((text for text in found[-1] if text), "") if found else ""


def _elsewhere(inside: PurePosixPath, written: PurePosixPath) -> PurePosixPath | None:
    """A path on another file system than the ESP: /boot of its own, or the root, whose menu may be in a subvolume."""
    for menu in (written, *MENUS):
        if str(menu).endswith(str(inside)) or str(inside).endswith(str(menu)):
            return menu
    return PurePosixPath("/boot") / inside.relative_to("/") if str(inside) != "/" else None


def _names_partition(text: str, target: str) -> bool:
    """Whether the place is given by a device's name, (hd0,gpt2), which says nothing of what is mounted where."""
    if _NAMED_DEVICE.search(target):
        return True
    numbered = [match.start() for match in _NUMBERED_ROOT.finditer(text)]
    searches = [match.start() for match in _ANY_SEARCH.finditer(text)]
    return bool(numbered) and max(searches, default=-1) < numbered[-1]


def _only_one(tree: Tree, point: PurePosixPath, inside: PurePosixPath, written: PurePosixPath) -> PurePosixPath | None:
    """Return the one menu that a path without its file system can mean; None where there is none, or more."""
    there = [path for path in (point / inside.relative_to("/"), _elsewhere(inside, written)) if _is_there(tree, path)]
    return there[0] if len(there) == 1 else None


def _is_there(tree: Tree, path: PurePosixPath | None) -> bool:
    return path is not None and path.name in tree.names(path.parent)


def _linked(tree: Tree, path: PurePosixPath, content: bytes | None, written: PurePosixPath) -> PurePosixPath:
    """The menu that kernels write, where the links of RHEL's packages lead to the one at `path`."""
    if content is not None and any(tree.read(link) == content for link in LINKED_MENUS):
        return path
    return written


def _is_same(tree: Tree, one: PurePosixPath, other: PurePosixPath) -> bool:
    identity = tree.identity(one.parent)
    return one == other or (one.name == other.name and identity is not None and identity == tree.identity(other.parent))


def _expanded(word: str, known: Mapping[str, str]) -> str:
    """The word without its quotes, with the variables that are known in it; others stay as they are."""
    plain = word.replace('"', "").replace("'", "")
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[2], match[0]), plain)
