# SPDX-License-Identifier: Apache-2.0
"""Menu: what systemd-boot lists, in its order, and which of that boots by default. Pure."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS
from iommuctl.backends.entries.versions import NewestFirst
from iommuctl.errors import BootConfigError
from iommuctl.facts import Runtime
from iommuctl.formats.blsentry import SUFFIX, BlsEntry, identity
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_SETTINGS = PurePosixPath("loader/loader.conf")
SETTINGS_LIMIT = 128 * 1024  # bytes of a loader.conf
_BY_PATTERN = "@"  # what begins so names no entry (loader.conf(5))
_SAVED = "@saved"  # the entry that booted last
_WAITING = frozenset({"menu-force"})  # booted: the menu waits although an entry is chosen for one boot (systemd 257)
# What the loader lists by itself, after all else, where it finds it on its own ESP (systemd, config_load_all_entries).
_FINDS = (
    ("auto-osx", PurePosixPath("System/Library/CoreServices/boot.efi")),
    ("auto-windows", PurePosixPath("EFI/Microsoft/Boot/bootmgfw.efi")),
    ("auto-efi-shell", PurePosixPath("shellx64.efi")),
    ("auto-efi-shell", PurePosixPath("shellaa64.efi")),
)
_NO = frozenset({"0", "no", "n", "false", "f", "off"})
_STARTERS = ("linux", "efi", "uki", "uki-url")
_NUMBER = re.compile("[0-9]{1,9}")
_OS_RELEASE = re.compile(r"""^[ \t]*([A-Z_]+)=["']?(.*?)["']?[ \t\r]*$""", re.MULTILINE)

# What fits one character, as ranges; None for `*`.
_Unit = tuple[tuple[str, str], ...] | None
_ANY: _Unit = (("\0", chr(sys.maxunicode)),)
_SET = re.compile(r"((?:\\.|.)(?:\\.|[^]\\])*)\]", re.DOTALL)
_SET_PART = re.compile(r"(\\.|.)(?:-(.))?", re.DOTALL)


class Item(NamedTuple):
    """One line of the menu: the file that it is made of, its id as the loader has it, and what it is sorted by.

    `file_id` is the id without `@PROFILE`, `alias` the id with it where the loader leaves it out and bootctl does not:
    that of the default profile. `tries` are those left and done; None where they are not counted. `is_other_profile`:
    an image's profile that never boots by itself. `is_found`: what the loader found, which neither does.
    """

    path: PurePosixPath
    id: str
    file_id: str
    sort_key: str | None
    machine_id: str | None
    version: str | None
    tries: tuple[int, int] | None
    profile: int = 0
    alias: str | None = None
    is_other_profile: bool = False
    is_found: bool = False

    def names(self, *, by_stem: bool = False) -> Iterator[str]:
        """What a pattern may name it by."""
        yield self.id
        if self.alias is not None:
            yield self.alias
        if by_stem:
            yield self.id.removesuffix(SUFFIX)

    @property
    def is_bad(self) -> bool:
        """Whether no try is left."""
        return self.tries is not None and self.tries[0] == 0


class Wish(NamedTuple):
    """What names the default: a pattern of ids; `spares_bad`: it names no item that has no try left."""

    pattern: str
    spares_bad: bool = False


def entry_item(entry: BlsEntry) -> Item | None:
    """Return the line of an entry (Type #1); None for one that starts nothing, which the loader leaves out."""
    if all(entry.value(key) is None for key in _STARTERS):
        return None
    id_ = f"{entry.id.removesuffix(SUFFIX)}{SUFFIX}".lower()
    return Item(
        entry.path,
        id_,
        id_,
        entry.value("sort-key"),
        entry.value("machine-id"),
        entry.value("version"),
        entry.tries,
        int(number) if _NUMBER.fullmatch(number := entry.value("profile") or "0") else 0,
    )


def image_item(
    path: PurePosixPath, file_id: str, os_release: str, tries: tuple[int, int] | None, profile: int, name: str | None
) -> Item:
    """Return the line of one profile of a unified kernel image (Type #2), `name` being the profile's own."""
    known = {match[1]: match[2] for match in _OS_RELEASE.finditer(os_release) if match[2]}
    version = next((known[key] for key in ("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID") if key in known), None)
    file_id = file_id.lower()
    own = f"{file_id}@{name or profile}".lower()
    sort_key = known.get("IMAGE_ID", known.get("ID"))
    if profile:
        return Item(path, own, file_id, sort_key, None, version, tries, profile, is_other_profile=True)
    return Item(path, file_id, file_id, sort_key, None, version, tries, alias=own if name else None)


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the menu's lines as systemd-boot sorts them (UAPI.1, sorting; systemd, boot_entry_compare)."""
    return tuple(sorted(items, key=_order))


def found_items(tree: Tree) -> tuple[Item, ...]:
    """Return the lines of what the loader finds by itself; none where a loader.conf says `auto-entries no`."""
    if any(each.get("auto-entries", "").lower() in _NO for each in _settings(tree)):
        return ()
    places = ((id_, point / path) for id_, path in _FINDS for point in MOUNT_POINTS)
    found = {id_: path for id_, path in places if tree.read_part(path, 0, 1)}
    return tuple(Item(path, id_, id_, None, None, None, None, is_found=True) for id_, path in found.items())


def chosen(menu: tuple[Item, ...], wishes: Iterable[Wish], *, by_stem: bool = False) -> Item | None:
    """Return the line that boots by default: the first that a wish names, else the first that may boot unasked.

    `by_stem`: a wish also names an entry without its `.conf`, as kernelstub writes it and as was meant.
    """
    for wish in wishes:
        pattern = _Pattern(wish.pattern.lower())
        named = (each for each in menu if any(pattern.matches(name) for name in each.names(by_stem=by_stem)))
        found = next((each for each in named if not (wish.spares_bad and each.is_bad)), None)
        if found is not None:
            return found
    return next((each for each in menu if not each.is_other_profile and not each.is_found), None)


def wishes(tree: Tree, runtime: Runtime | None) -> Iterator[Wish]:
    """What names the default, in its order: LoaderEntryPreferred, the settings' `preferred`, the same of `default`.

    Of each the EFI variable comes before loader.conf, in which the last line counts. Raises BootConfigError for a
    loader.conf beyond its limit.
    """
    saved = None if runtime is None else runtime.entry_selected
    settings = tuple(_settings(tree))
    for key, spares_bad in (("preferred", True), ("default", False)):
        variable = None if runtime is None else runtime.entry_preferred if spares_bad else runtime.entry_default
        for pattern in (variable, *(each.get(key) for each in settings)):
            if pattern == _SAVED and saved is not None:
                yield Wish(_escaped(_uncounted(saved)), spares_bad)
            elif pattern and not pattern.startswith(_BY_PATTERN):
                yield Wish(pattern, spares_bad)


def keeps_choice(tree: Tree, runtime: Runtime | None) -> bool:
    """Whether what boots becomes the next default (`@saved`), as a trial would then."""
    variables = () if runtime is None else (runtime.entry_default, runtime.entry_preferred)
    values = (each.get(key) for each in _settings(tree) for key in ("default", "preferred"))
    return _SAVED in (*variables, *values)


def waits_for_key(tree: Tree) -> bool:
    """Whether a loader.conf has the menu wait for a key, also before an entry that is chosen for one boot."""
    return any(each.get("timeout", "").lower() in _WAITING for each in _settings(tree))


def _settings(tree: Tree) -> Iterator[dict[str, str]]:
    for point in MOUNT_POINTS:
        content = tree.read(point / _SETTINGS) or b""
        if len(content) > SETTINGS_LIMIT:
            raise BootConfigError(point / _SETTINGS, None, f"is larger than {SETTINGS_LIMIT} bytes")
        words = (line.split(None, 1) for line in content.decode("utf-8", "replace").split("\n"))
        yield {each[0]: each[1].strip() for each in words if len(each) > 1}


def _uncounted(id_: str) -> str:
    """The id that the loader left of what booted, without a boot counter, which older versions kept in it."""
    return f"{identity(PurePosixPath(id_)).name}{SUFFIX}" if id_.lower().endswith(SUFFIX) else id_


def _escaped(text: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", text)


def _order(item: Item) -> tuple[object, ...]:
    left, done = item.tries or (0, 0)
    named = item.sort_key is not None
    return (
        item.is_bad,
        not named,
        item.sort_key or "",
        (item.machine_id or "") if named else "",
        NewestFirst((item.version or "") if named else ""),
        item.profile if named else 0,  # since systemd 261, in which another profile never boots by itself
        NewestFirst(item.file_id),
        item.profile,
        -left,
        done,
    )


class _Pattern:
    r"""A pattern with `*`, `?`, `[a-z]` and `\`, matched in time by its length and the id's (systemd, efi_fnmatch)."""

    def __init__(self, text: str) -> None:
        self._units = _units(text)

    def matches(self, id_: str) -> bool:
        """Whether the whole id fits."""
        units = self._units
        if units is None or sum(unit is not None for unit in units) > len(id_):
            return False
        at = number = 0
        star, reach = -1, 0  # the last `*`, and how far what it is for reaches
        while at < len(id_):
            unit = units[number] if number < len(units) else ()
            if unit is None:
                star, reach = number, at
                number += 1
            elif any(low <= id_[at] <= high for low, high in unit):
                at, number = at + 1, number + 1
            elif star >= 0:
                reach += 1
                at, number = reach, star + 1
            else:
                return False
        return all(unit is None for unit in units[number:])


def _units(pattern: str) -> list[_Unit] | None:
    """Cut a pattern into what fits one character each; None for one that fits nothing, such as an open `[`."""
    units: list[_Unit] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "*":
            units += () if units[-1:] == [None] else (None,)
        elif sign == "?":
            units.append(_ANY)
        elif sign == "[":
            body = _SET.match(pattern, at + 1)
            if body is None:
                return None
            parts = _SET_PART.findall(body[1])
            units.append(tuple((low.removeprefix("\\"), high or low.removeprefix("\\")) for low, high in parts))
            at = body.end() - 1
        else:
            at += sign == "\\"
            if at == len(pattern):
                return None
            units.append(((pattern[at], pattern[at]),))
        at += 1
    return units
