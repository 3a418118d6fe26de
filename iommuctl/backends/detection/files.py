# SPDX-License-Identifier: Apache-2.0
"""Files: what the files of a root say of the loaders that boot it. A tree in, evidence out."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import PurePosixPath

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS, distinct
from iommuctl.backends.detection.evidence import BLS, GRUB, GRUB2, NOTHING, SYSTEMD_BOOT, UNKNOWN, Evidence, Weight
from iommuctl.backends.detection.loaders import BY_NAME, LOADERS, Loader
from iommuctl.backends.grub.distributions import GENERATORS, PROGRAMS
from iommuctl.backends.grub.menus import LINKED_MENUS, MENUS
from iommuctl.errors import BootConfigError, NotPermittedError
from iommuctl.facts import Facts, Platform
from iommuctl.pattern import pattern
from iommuctl.tree import Tree

GRUB_DEFAULTS = PurePosixPath("/etc/default/grub")
_BLSCFG = pattern(rb"^[ \t]*blscfg\b", re.MULTILINE)
_MENU_ENTRY = pattern(rb"^[ \t]*menuentry\s", re.MULTILINE)
_ENABLE_BLSCFG = pattern(rb"""^[ \t]*(?:export[ \t]+)?GRUB_ENABLE_BLSCFG=["']?(\w*)""", re.MULTILINE)
# 10_linux of these builds entries by blscfg unless it is switched off (rhboot/grub2, 10_linux.in).
_BLSCFG_BY_DEFAULT = frozenset({"fedora", "rhel"})
_GRUB_ENTRIES = PurePosixPath("/boot/loader/entries")
_SYSTEMD_BOOT_PROGRAM = pattern(r"systemd-boot[a-z0-9]+\.efi", re.IGNORECASE)
_EFI = ("EFI", "efi")


class Listing:
    """The boot file systems of a root, each once. What is below EFI/ is found in any case, as vfat finds it.

    A directory is listed once; at the top of a file system, where kernels come and go, files are looked up by name.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._listed: dict[PurePosixPath, Mapping[str, str]] = {}
        try:
            points = distinct(tree, PurePosixPath())
            self._points = tuple(point for point in points if tree.identity(point) is not None)
        except NotPermittedError:
            self._points = MOUNT_POINTS

    def find(self, path: str) -> Iterator[PurePosixPath]:
        """Return where a path is: itself if it is absolute, else below each boot file system."""
        if path.startswith("/"):
            if self._is_file(PurePosixPath(path)):
                yield PurePosixPath(path)
            return
        parts = path.split("/")
        for point in self._points:
            try:
                if len(parts) == 1:
                    place = _join(point, path)
                    found = place if self._is_file(place) else None
                else:
                    found = self._below(point, parts)
            except NotPermittedError:
                continue
            if found is not None:
                yield found

    def _below(self, point: PurePosixPath, parts: list[str]) -> PurePosixPath | None:
        for top in _EFI if parts[0] == _EFI[0] else (parts[0],):
            place = _join(point, top)
            for part in parts[1:]:
                name = self._names(place).get(part.lower() if top in _EFI else part)
                if name is None:
                    break
                place = _join(place, name)
            else:
                return place
        return None

    def _names(self, directory: PurePosixPath) -> Mapping[str, str]:
        """The names in a directory, below EFI/ by how they are in lower case."""
        if directory not in self._listed:
            folds = directory.name in _EFI or directory.parent.name in _EFI
            names = self._tree.names(directory)
            self._listed[directory] = {name.lower() if folds else name: name for name in names}
        return self._listed[directory]

    def _is_file(self, path: PurePosixPath) -> bool:
        try:
            return self._tree.read_part(path, 0, 0) is not None
        except NotPermittedError:
            return True
        except BootConfigError:  # no regular file
            return False


@lru_cache(maxsize=256)  # every root is looked at in the same places
def _join(directory: PurePosixPath, name: str) -> PurePosixPath:
    return directory / name


def file_evidence(tree: Tree, facts: Facts) -> Iterator[Evidence]:
    """Return what the files say, GRUB's first."""
    menus = _menus(tree)
    loaders = tuple(_systemd_boot(tree, facts, menus))
    others = tuple(_others(tree, facts))
    yield from menus
    yield from _grub_settings(tree, facts, menus, (*loaders, *others))
    yield from loaders
    yield from others


def has_generator(tree: Tree) -> bool:
    """Whether a program is there that builds GRUB's menu."""
    return any(name in GENERATORS for folder in PROGRAMS for name in tree.names(folder))


def kind_of_grub(tree: Tree, facts: Facts, evidence: tuple[Evidence, ...]) -> str:
    """Return GRUB's backend: its menu reads entries or holds its own; where it cannot be had, its settings tell."""
    kinds = [item.says for item in evidence if item.says in (BLS, GRUB2)]
    if kinds:
        return BLS if BLS in kinds else GRUB2
    switched = _ENABLE_BLSCFG.findall(tree.read(GRUB_DEFAULTS) or b"")
    if switched and switched[-1]:
        return BLS if switched[-1] == b"true" else GRUB2
    by_default = bool(_BLSCFG_BY_DEFAULT.intersection(facts.distribution.names)) and bool(tree.names(_GRUB_ENTRIES))
    return BLS if by_default else GRUB2


def _grub_settings(
    tree: Tree, facts: Facts, menus: tuple[Evidence, ...], others: tuple[Evidence, ...]
) -> Iterator[Evidence]:
    """GRUB's settings: they stay where another loader is installed, and without menu or generator nobody reads them."""
    content = tree.read(GRUB_DEFAULTS)
    if content is None:
        return
    shown = {item.says for item in others if item.weight is Weight.FILES}
    if menus:
        yield Evidence(str(GRUB_DEFAULTS), "exists", GRUB)
    elif not content.strip():
        yield Evidence(str(GRUB_DEFAULTS), "is empty", NOTHING)
    elif shown - {SYSTEMD_BOOT}:
        yield Evidence(str(GRUB_DEFAULTS), "exists, without a menu of GRUB's", NOTHING)
    elif not shown and (has_generator(tree) or kind_of_grub(tree, facts, ()) == BLS):
        yield Evidence(str(GRUB_DEFAULTS), "exists", GRUB, Weight.FILES)
    elif not shown:
        yield Evidence(str(GRUB_DEFAULTS), "exists, without a menu and without grub-mkconfig", NOTHING)


def _menus(tree: Tree) -> tuple[Evidence, ...]:
    """The menus of GRUB, of the links to one only the first: they may lead to the same."""
    found = tuple(evidence for menu in sorted(MENUS) if (evidence := _menu(tree, menu)) is not None)
    linked = (evidence for menu in LINKED_MENUS if (evidence := _menu(tree, menu)) is not None)
    return found or tuple(islice(linked, 1))


def _menu(tree: Tree, menu: PurePosixPath) -> Evidence | None:
    try:
        content = tree.read(menu)
    except NotPermittedError:
        return Evidence(str(menu), "may not be read", GRUB, Weight.FILES)
    if content is None:
        return None
    if _BLSCFG.search(content):
        return Evidence(str(menu), "calls blscfg", BLS, Weight.FILES)
    if _MENU_ENTRY.search(content):
        return Evidence(str(menu), "holds menu entries", GRUB2, Weight.FILES)
    return Evidence(str(menu), "holds no menu entry and no blscfg", GRUB, Weight.FILES)


def _systemd_boot(tree: Tree, facts: Facts, menus: tuple[Evidence, ...]) -> Iterator[Evidence]:
    """What lies on the boot file systems. Entries say nothing where a GRUB may read them, as Fedora's and RHEL's do."""
    settings = tree.read(GRUB_DEFAULTS) is not None
    has_grub = bool(menus) or (settings and kind_of_grub(tree, facts, ()) == BLS)
    for point in MOUNT_POINTS:
        try:
            yield from _on(tree, point, NOTHING if has_grub else SYSTEMD_BOOT)
        except NotPermittedError:
            yield Evidence(str(point), "may not be read", UNKNOWN)


def _on(tree: Tree, point: PurePosixPath, entries: str) -> Iterator[Evidence]:
    """What lies on one boot file system. Raises NotPermittedError."""
    weight = Weight.FILES if entries == SYSTEMD_BOOT else Weight.NONE
    programs = [name for name in tree.names(_join(point, "EFI/systemd")) if _SYSTEMD_BOOT_PROGRAM.fullmatch(name)]
    if programs:
        yield Evidence(str(point / "EFI/systemd"), f"holds {', '.join(programs)}", SYSTEMD_BOOT, Weight.FILES)
    if "loader.conf" in tree.names(_join(point, "loader")):
        yield Evidence(str(point / "loader/loader.conf"), "exists", entries, weight)
    if count := _count_of_entries(tree.names(_join(point, "loader/entries"))):
        found = f"holds {_counted(count, 'entr', 'y', 'ies')}"
        yield Evidence(str(point / "loader/entries"), found, entries, weight)
    if images := sum(name.lower().endswith(".efi") for name in tree.names(_join(point, "EFI/Linux"))):
        found = f"holds {_counted(images, 'unified kernel image', '', 's')}"
        yield Evidence(str(point / "EFI/Linux"), found, SYSTEMD_BOOT, Weight.FILES)


def _others(tree: Tree, facts: Facts) -> Iterator[Evidence]:
    """The files of the loaders that no backend edits; their mere settings only where nothing else of any is there."""
    listing = Listing(tree)
    for loader in LOADERS:
        if loader.supported:
            continue
        for path in (*(f"EFI/{name}" for name in loader.efi), *loader.files):
            for place in listing.find(path):
                yield Evidence(str(place), "exists", _reader(loader, path, listing, facts), Weight.FILES)
        for path in loader.settings:
            for place in listing.find(path):
                yield Evidence(str(place), "exists", _reader(loader, path, listing, facts), Weight.SETTINGS)


def _reader(loader: Loader, path: str, listing: Listing, facts: Facts) -> str:
    """The loader that reads a file of the row's: itself, or the one that reads it too where that one is likelier."""
    if not loader.read_also_by:
        return loader.name
    other = BY_NAME[loader.read_also_by]
    has_own = path in loader.shared and any(place for name in other.files for place in listing.find(name))
    return other.name if has_own or facts.platform is Platform.ARM64 else loader.name


def _counted(count: int, stem: str, one: str, many: str) -> str:
    return f"{count} {stem}{one if count == 1 else many}"


def _count_of_entries(names: tuple[str, ...]) -> int:
    if not names:
        return 0
    from iommuctl.formats.blsentry import is_entry_name  # noqa: PLC0415 - most hosts with a menu of GRUB's have no entries

    return sum(map(is_entry_name, names))
