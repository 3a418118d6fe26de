# SPDX-License-Identifier: Apache-2.0
"""Grubmenu: what a grub.cfg holds, as values, and which of its entries is what."""

import re

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_NORMAL_SECTION = pattern(r"10_linux(?!_xen)")


_XEN_SECTION = pattern(r"\d+_linux_xen")


_LAST_PARENTHESES = pattern(r"\(([^()]*)\)\s*$")


_RESCUE = "0-rescue"


_RECOVERY = pattern(r"\brecovery\b", re.IGNORECASE)


_RELEASE = pattern(r"-(\d+\.\d+.*)")


_NUMBER = pattern(r"[0-9]{1,9}")  # no menu has more entries


_SAVED = ("${saved_entry}", "$saved_entry")


_COMPONENTS = pattern(r"(?<!>)>(?!>)")


class LinuxLine(NamedTuple):
    """One `linux` command: `cmdline` is what GRUB's loader hands the kernel, without its own `BOOT_IMAGE=`.

    A GRUB variable stays as `$name` or `${name}`, as written; `variables` names each of them, so that a dollar sign of
    a value is told from one that GRUB replaces at boot.
    """

    line: int
    kernel: str
    cmdline: Cmdline
    variables: tuple[str, ...] = ()


class Setting(NamedTuple):
    """One `set name=text`; `variables` names those that GRUB puts into the text, as written there.

    `conditional`: it is inside an `if`, a loop, a function or an entry, so GRUB may pass it by.
    """

    line: int
    name: str
    text: str
    variables: tuple[str, ...]
    section: str
    conditional: bool


class Place(NamedTuple):
    """One line of a menu as the user sees it: an entry, or a submenu. `parent` is the submenu's place it is in.

    `entry` is its place among the entries; None for a submenu.
    """

    parent: int | None
    id: str
    title: str
    entry: int | None


class MenuEntry(NamedTuple):
    """One menu entry. `id` is empty where none is given; `section` is the grub.d script, empty outside of any.

    `submenus` are the titles of the enclosing submenus, outermost first. `linux` has the lines of every inner branch.
    """

    id: str
    title: str
    line: int
    section: str
    submenus: tuple[str, ...]
    linux: tuple[LinuxLine, ...]

    @property
    def recovery(self) -> bool:
        """Whether it is a way back: 10_linux writes `-recovery-` into the id, a title says `(recovery mode)`."""
        last = _LAST_PARENTHESES.search(self.title)
        recovery = "-recovery-" in self.id or (last is not None and _RECOVERY.search(last[1]) is not None)
        return recovery or self.rescue

    @property
    def rescue(self) -> bool:
        """Whether it starts dracut's rescue kernel, which 10_linux lists like any other (51-dracut-rescue.install)."""
        kernels = (line.kernel.rpartition("/")[2] for line in self.linux)
        named = _RESCUE in self.title or f"-{_RESCUE}-" in self.id
        return named or any(name.startswith(f"vmlinuz-{_RESCUE}") for name in kernels)


class GrubCfg(NamedTuple):
    """A grub.cfg: its entries in file order, the grub.d scripts that wrote into it, and what it boots by default.

    `default` is the one value that `default` is set to next to `${next_entry}`, by 00_header where that is there; None
    where there is none or several. `places` are entries and submenus as they are listed.
    """

    entries: tuple[MenuEntry, ...]
    sections: tuple[str, ...]
    has_blscfg: bool
    default: str | None
    settings: tuple[Setting, ...] = ()
    places: tuple[Place, ...] = ()


def normal_entries(cfg: GrubCfg) -> tuple[MenuEntry, ...]:
    """Return the entries that must carry the profile: those of `10_linux*` that start a kernel and are no way back."""
    return tuple(
        entry for entry in cfg.entries if _NORMAL_SECTION.match(entry.section) and entry.linux and not entry.recovery
    )


def xen_entries(cfg: GrubCfg) -> tuple[MenuEntry, ...]:
    """Return the entries that start a hypervisor, from `20_linux_xen*`: its IOMMU is set by its own command line."""
    return tuple(entry for entry in cfg.entries if _XEN_SECTION.match(entry.section))


def default_entry(cfg: GrubCfg, saved: str | None = None) -> MenuEntry | None:
    """Return the entry that boots by default; None where that is not known. `saved` is `saved_entry` of the block.

    GRUB takes a number for a place in its menu, counted from 0 with submenus, and any other text for an id or a title;
    `>` leads into a submenu, and `>>` is that character. What names nothing is the first place
    (grub-core/normal/menu.c get_entry_number and run_menu). Of a submenu that is named alone the first place boots:
    GRUB enters it with no time to wait and no default (the same, grub_menu_execute_entry).
    """
    name = cfg.default
    if name in _SAVED:
        name = saved or ""
    if name is None or "$" in name:
        return None
    parent: int | None = None
    components = iter(_COMPONENTS.split(name))
    while listed := [(number, place) for number, place in enumerate(cfg.places) if place.parent == parent]:
        component = next(components, "")
        parent, place = listed[_place_of(component.replace(">>", ">"), [each for _, each in listed])]
        if place.entry is not None:
            return cfg.entries[place.entry]
    return None


def _place_of(name: str, places: list[Place]) -> int:
    if _NUMBER.fullmatch(name.strip()):
        number = int(name)
        return number if number < len(places) else 0
    return next((number for number, place in enumerate(places) if name and name in (place.id, place.title)), 0)


def kernel_release(kernel_path: str) -> str | None:
    """Read the release out of a kernel's file name; None where the name has none (`vmlinuz-linux`)."""
    name = kernel_path.rpartition("/")[2]
    match = _RELEASE.search(name)
    if match is None or match.end() < len(name):
        return None
    parts = match[1].split(".")
    while parts[-1] in {"efi", "old"} or parts[-2:] == ["efi", "signed"]:
        parts.pop()
    return ".".join(parts)
