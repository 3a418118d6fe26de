# SPDX-License-Identifier: Apache-2.0
"""Basis: what a plan rests on and what it comes to, as a canonical text. The fingerprint is that text's hash.

Nothing in it changes by a reboot alone, nor by a new release of iommuctl that plans the same.
"""

import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from iommuctl import sha256
from iommuctl.app.host import Survey
from iommuctl.backends.base import BootConfig
from iommuctl.errors import BootConfigError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.kernel.lines import Kernel
from iommuctl.pattern import pattern
from iommuctl.plan import Command, FileEdit
from iommuctl.profile.desired import DesiredArguments
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.devices.planned import PlannedDevice

# The first line of the text. It changes when what is hashed, or how, changes.
VERSION = "iommuctl plan 1"
_NOTHING = "none"
_ENVIRONMENT = "grubenv"
# What GRUB and the units that judge a boot set and clear. Of the entry that was saved, only which one boots counts.
# grub.d/00_header.in and 10_linux of Fedora and Ubuntu, grub-boot-success.timer, grub-menu-auto-hide, greenboot.
_BY_EACH_BOOT = frozenset(
    (
        *("boot_counter", "boot_indeterminate", "boot_success", "initrdfail", "menu_show_once"),
        *("menu_show_once_timeout", "next_entry", "prev_saved_entry", "recordfail", "saved_entry"),
    )
)
_COUNTER = pattern(r"\+\d+(?:-\d+)?(?=(?:\.conf|\.efi)\Z)")  # UAPI.1, boot counting
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t"})


class Item(NamedTuple):
    """One thing that the plan rests on or comes to: of which kind, its name, and what it is."""

    kind: str
    name: str
    value: str


def fingerprint(items: Iterable[Item]) -> str:
    """Return the SHA-256 of the canonical text, in hexadecimal."""
    lines = ("\t".join(part.translate(_ESCAPES) for part in item) for item in items)
    text = "".join(f"{line}\n" for line in (VERSION, *lines))
    return sha256.hexadecimal(text.encode("utf-8", "surrogateescape"))


def asked_items(desired: DesiredArguments) -> Iterator[Item]:
    """Return what a profile asks of this host, in the order in which it is put there."""
    yield Item("asked", "profile", desired.profile)
    for number, wanted in enumerate(desired.wanted, 1):
        yield Item("asked", f"present {number:03}", str(wanted))
    for number, unwanted in enumerate(desired.unwanted, 1):
        yield Item("asked", f"absent {number:03}", str(unwanted))


def device_items(devices: "Iterable[PlannedDevice]") -> Iterator[Item]:
    """Return which devices a plan gives to guests; their drivers are no part of it, for a reboot may change those."""
    for one in devices:
        yield Item("device", one.address, one.id)


def basis(
    found: Survey,
    asked: Iterable[Item],
    edits: Iterable[FileEdit],
    commands: Iterable[Command],
    *,
    kernels: Iterable[str] = (),
    config: BootConfig | None = None,
    runs: bool,
) -> tuple[Item, ...]:
    """Return what a plan rests on and comes to, in canonical order. `config` is how the host boots by then."""
    boots = None if config is None else next((entry.id for entry in config.entries if entry.default), None)
    facts = found.facts
    items = [*asked, *_files(found)]
    items += [Item("kernel", release, _line(release)) for release in kernels]
    items += [
        Item("fact", "backend", found.backend.name),
        Item("fact", "default entry", _NOTHING if boots is None else _COUNTER.sub("", boots)),
        Item("fact", "distribution", f"{facts.distribution.id} {facts.distribution.version}"),
        Item("fact", "platform", facts.platform.value),
    ]
    for edit in edits:
        before, after = _digest(edit.path, edit.before), _digest(edit.path, edit.after)
        items.append(Item("write", _uncounted(edit.path), f"{edit.file_class} {before} {after}"))
    for number, command in enumerate(commands, 1):
        output = "" if command.output is None else f" > {command.output.target}"
        items.append(Item("run" if runs else "leave", f"{number:03}", f"{shlex.join(command.argv)}{output}"))
    return tuple(sorted(items))


def _files(found: Survey) -> Iterator[Item]:
    """Return what was seen. What is not there does not count: another release may look for it elsewhere."""
    tree = found.tree
    for path, content in tree.files.items():
        if content is not None:
            yield Item("file", _uncounted(path), _digest(path, content))
    for (path, start, size), content in tree.parts.items():
        if content is not None:
            yield Item("part", f"{_uncounted(path)} {start} {size}", _digest(path, content))
    for path, names in tree.listings.items():
        if names:
            yield Item("directory", str(path), "/".join(sorted(_uncounted(PurePosixPath(name)) for name in names)))
    for path in tree.unreadable:
        yield Item("unreadable", str(path), "")


def _line(release: str) -> str:
    kernel = Kernel.parse(release)
    return _NOTHING if kernel is None else kernel.line.value


def _uncounted(path: PurePosixPath) -> str:
    """Return a path without the boot counter of its name, which each boot changes."""
    text = str(path)
    return _COUNTER.sub("", text) if "+" in text else text


def _digest(path: PurePosixPath, content: bytes | None) -> str:
    """Return the SHA-256 of a file; of GRUB's environment block, of what no boot changes by itself."""
    if content is None:
        return _NOTHING
    if path.name == _ENVIRONMENT:
        try:
            variables = GrubEnv.parse(path, content).variables
        except BootConfigError:
            return sha256.hexadecimal(content)
        kept = sorted(f"{name}={value}" for name, value in variables if name not in _BY_EACH_BOOT)
        content = "\0".join(kept).encode("utf-8", "surrogateescape")
    return sha256.hexadecimal(content)
