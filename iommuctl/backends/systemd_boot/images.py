# SPDX-License-Identifier: Apache-2.0
"""Unified kernel images: what they boot with. An image itself is never changed."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.backends.base import Entry
from iommuctl.backends.detection.bootmounts import distinct
from iommuctl.backends.entries.survey import another_system
from iommuctl.backends.systemd_boot.menu import Item, image_item
from iommuctl.errors import BootConfigError
from iommuctl.formats.peimage import PeImage, parse_image
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_IMAGES = PurePosixPath("EFI/Linux")
_SUFFIX = ".efi"
# systemd-stub(7): addons for every image, and those next to one, whose name is then taken without its boot counter.
_ADDONS = PurePosixPath("loader/addons")
_ADDON_SUFFIX = ".addon.efi"
_COUNTER = re.compile(r"\+(\d+)(?:-(\d+))?(?=\.efi\Z)", re.IGNORECASE)
# Only the first profile boots by itself, and the others' own lines are from elsewhere (ukify --profile).
_OTHER_PROFILE = "another profile than the default one, with a command line of its own"


class Addon(NamedTuple):
    """A command line that an addon lends to an image."""

    path: PurePosixPath
    cmdline: Cmdline


class Image(NamedTuple):
    """One profile of a unified kernel image. `inside` is its own command line, None where it has none.

    `cmdline` is what it boots with: its own, then those of its addons. `left_alone` says why it is not this system's.
    `item` is its line in the menu, None where it has none.
    """

    id: str
    path: PurePosixPath
    release: str | None
    inside: Cmdline | None
    cmdline: Cmdline
    addons: tuple[Addon, ...]
    left_alone: str | None
    is_signed: bool = False
    item: Item | None = None

    @property
    def is_other_profile(self) -> bool:
        """Whether it is another profile of its image than the default one."""
        return self.item is not None and self.item.is_other_profile

    def shown(self, source: PurePosixPath) -> Entry:
        """The image as status shows it; `source` is what it is built of."""
        return Entry(
            id=self.id,
            title=self.id,
            kernel_release=self.release or None,
            path=self.path,
            cmdline=self.cmdline,
            rescue=False,
            default=False,
            ours=self.left_alone is None,
            reason=self.left_alone or f"a unified kernel image, built of {source}",
        )


def images(tree: Tree, booted: Cmdline | None) -> tuple[Image, ...]:
    """Return the unified kernel images on the boot file systems, one for each profile of each.

    Another system's is one whose root= or rootflags= differ from those of `booted`.
    """
    return tuple(
        image
        for folder in distinct(tree, _IMAGES)
        for name in tree.names(folder)
        if name.lower().endswith(_SUFFIX) and not name.lower().startswith((".", "auto-"))
        for image in _profiles(tree, folder / name, booted)
    )


def _profiles(tree: Tree, path: PurePosixPath, booted: Cmdline | None) -> Iterator[Image]:
    name = _COUNTER.sub("", path.name)
    try:
        content = _parsed(tree, path)
    except BootConfigError as error:
        yield Image(name, path, None, None, Cmdline.parse(""), (), f"it cannot be read: {error.message}")
        return
    if not content.has_kernel:
        yield Image(name, path, None, None, Cmdline.parse(""), (), "it holds no kernel")
        return
    addons = tuple(_addons(tree, (path.parents[2] / _ADDONS, path.with_name(f"{name}.extra.d")), content))
    counter = _COUNTER.search(path.name)
    tries = (int(counter[1]), int(counter[2] or 0)) if counter else None
    lent = [str(each.cmdline) for each in addons]
    lines = {inside: Cmdline.parse(" ".join((inside or "", *lent))) for inside in content.cmdlines}
    own = {inside: Cmdline.parse(inside) for inside in content.cmdlines if inside is not None}
    for number, (inside, profile) in enumerate(zip(content.cmdlines, content.profiles, strict=True)):
        # Only the default profile goes by the name of the file alone (systemd, boot_entry_add_type2).
        id_ = f"{name}@{profile or number}" if number else name
        cmdline = lines[inside]
        yield Image(
            id_,
            path,
            content.release,
            own.get(inside) if inside is not None else None,
            cmdline,
            addons,
            another_system(cmdline, booted) or (_OTHER_PROFILE if inside != content.cmdlines[0] else None),
            content.is_signed,
            image_item(path, name, content.os_release, tries, number, profile),
        )


def _addons(tree: Tree, folders: tuple[PurePosixPath, ...], image: PeImage) -> Iterator[Addon]:
    """The addons of an image, in the order in which their command lines follow its own; no other kernel's."""
    for folder in folders:
        for name in tree.names(folder):
            if not name.lower().endswith(_ADDON_SUFFIX):
                continue
            with suppress(BootConfigError):  # the stub passes over what it cannot read
                addon = _parsed(tree, folder / name)
                if addon.cmdlines[0] and (not addon.release or addon.release == image.release):
                    yield Addon(folder / name, Cmdline.parse(addon.cmdlines[0]))


def _parsed(tree: Tree, path: PurePosixPath) -> PeImage:
    return parse_image(path, lambda start, size: tree.read_part(path, start, size) or b"")
