# SPDX-License-Identifier: Apache-2.0
"""Unified kernel images: what they boot with, who builds them, of what. An image itself is never changed."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.backends.base import Entry
from iommuctl.backends.detection.bootmounts import distinct
from iommuctl.backends.entries.survey import another_system
from iommuctl.backends.systemd_boot.menu import Item, image_item
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts
from iommuctl.formats.peimage import PeImage, parse_image
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Command
from iommuctl.tree import Tree

_IMAGES = PurePosixPath("EFI/Linux")
_SUFFIX = ".efi"
# systemd-stub(7): addons for every image, and those next to one, whose name is then taken without its boot counter.
_ADDONS = PurePosixPath("loader/addons")
_ADDON_SUFFIX = ".addon.efi"
_COUNTER = re.compile(r"\+(\d+)(?:-(\d+))?(?=\.efi\Z)", re.IGNORECASE)
# Only the first profile boots by itself, and the others' own lines are from elsewhere (ukify --profile).
_OTHER_PROFILE = "another profile than the default one, with a command line of its own"
_MODULES = (PurePosixPath("/usr/lib/modules"), PurePosixPath("/lib/modules"))
_NOT_ATOMIC = "not atomic, for it writes where the firmware reads"
_PRESETS = PurePosixPath("/etc/mkinitcpio.d")
# Of one image or of all; the second is the older name of the first (mkinitcpio, process_preset).
_PRESET_IMAGE = re.compile(rb"^[ \t]*\w+_(?:uki|efi_image)=", re.MULTILINE)
_PRESET_CMDLINE = re.compile(rb"^[^#\n]*(?:--cmdline\b|\b\w+_cmdline=)", re.MULTILINE)
_MKINITCPIO_DROP_INS = PurePosixPath("/etc/cmdline.d")
# kernel-install(8): the first of the main files, then the drop-ins of all directories by their names.
_INSTALL_CONF = PurePosixPath("kernel/install.conf")
_CONFIGURATION = tuple(PurePosixPath(path) for path in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
_LAYOUT = re.compile(rb"^[ \t]*layout[ \t]*=[ \t]*(\w+)[ \t]*$", re.MULTILINE)
_BOOT = PurePosixPath("/boot")
_UKIFY_CONF = PurePosixPath("kernel/uki.conf")
_KEY = re.compile(rb"^[ \t]*(?:SecureBootPrivateKey|SecureBootCertificateName)[ \t]*=[ \t]*\S", re.MULTILINE)
# What mkinitcpio and kernel-install run once an image is there.
_HOOKS = tuple(
    PurePosixPath(path)
    for path in ("/etc/initcpio/post", "/usr/lib/initcpio/post", "/etc/kernel/install.d", "/usr/lib/kernel/install.d")
)
_SIGNER = re.compile(rb"^[^#\n]*\b(?:sbctl|sbsign|pesign|systemd-sbsign)\b", re.MULTILINE)
_DRACUT = (
    PurePosixPath("/etc/dracut.conf"),
    PurePosixPath("/etc/dracut.conf.d"),
    PurePosixPath("/usr/lib/dracut/dracut.conf.d"),
)
_DRACUT_IMAGE = re.compile(rb"""^[ \t]*uefi=["']?yes\b""", re.MULTILINE)
_BY_HAND = (
    "set kernel_cmdline= in {path} by hand, then run dracut --regenerate-all --force; or have kernel-install build the "
    "images of /etc/kernel/cmdline (layout=uki in /etc/kernel/install.conf), then run the same command again"
)
_DRACUT_CMDLINE = re.compile(rb"^[ \t]*kernel_cmdline\+?=", re.MULTILINE)


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


class Builder(NamedTuple):
    """The program that builds the images of a host: its commands, and the drop-ins that it joins to its source."""

    name: str
    commands: tuple[Command, ...]
    drop_ins: tuple[PurePosixPath, ...] = ()


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


def builder_of(tree: Tree, facts: Facts, present: tuple[Image, ...]) -> Builder | None:
    """Tell who builds the images of this system that are `present`; None where nobody does and there are none.

    Raises UnavailableError for images that nothing here builds, and for signed ones where nothing here signs them,
    BootConfigError where their source is not editable.
    """
    builder = _mkinitcpio(tree) or _kernel_install(tree, facts)
    if builder is None and not present:
        return None
    if builder is None:
        _refuse_dracut(tree)
        raise UnavailableError(
            f"{present[0].path} is a unified kernel image that nothing on this host builds",
            details=("its command line is inside, under its signature, so it is never changed here",),
            hint="build it anew where it comes from, or add a signed addon beside it (ukify build --cmdline=…)",
        )
    shipped = next((path for path in _shipped(tree, facts)), None)
    if shipped is not None:
        raise UnavailableError(
            f"{shipped} is a unified kernel image that its package brings along, signed",
            details=("its command line is inside and signed with it, so it is never changed here",),
            hint="add an addon beside it (ukify build --cmdline=… --output=NAME.addon.efi), signed with a key of yours",
        )
    signed = next((image.path for image in present if image.is_signed), None)
    if signed is not None and not _signs(tree):
        raise UnavailableError(
            f"{signed} is signed, and nothing here shows that what {builder.name} builds would be",
            details=("an image without a signature does not start where Secure Boot is on",),
            hint="name the key as SecureBootPrivateKey= in /etc/kernel/uki.conf, or install sbctl, which signs too",
        )
    return builder


def _signs(tree: Tree) -> bool:
    """Whether images are signed as they are built: by ukify's settings, or by a hook of who builds them."""
    if any(_KEY.search(tree.read(folder / _UKIFY_CONF) or b"") for folder in _CONFIGURATION):
        return True
    hooks = (folder / name for folder in _HOOKS for name in tree.names(folder))
    return any(_SIGNER.search(tree.read(hook) or b"") for hook in hooks)


def _mkinitcpio(tree: Tree) -> Builder | None:
    presets = [_PRESETS / name for name in tree.names(_PRESETS) if name.endswith(".preset")]
    building = [path for path in presets if _PRESET_IMAGE.search(tree.read(path) or b"")]
    if not building:
        return None
    for path in building:
        content = tree.read(path) or b""
        if match := _PRESET_CMDLINE.search(content):
            line = content.count(b"\n", 0, match.start()) + 1
            raise BootConfigError(path, line, "names a command line of its own")
    drop_ins = tuple(_MKINITCPIO_DROP_INS / name for name in tree.names(_MKINITCPIO_DROP_INS) if name.endswith(".conf"))
    command = Command(("mkinitcpio", "-P"), f"the images hold the command line; {_NOT_ATOMIC}")
    return Builder("mkinitcpio", (command,), drop_ins)


def _kernel_install(tree: Tree, facts: Facts) -> Builder | None:
    layouts = [layout for content in _install_configuration(tree) for layout in _LAYOUT.findall(content)]
    if layouts[-1:] != [b"uki"]:
        return None
    commands = tuple(
        Command(
            ("kernel-install", "add", release, str(kernel)),
            f"the image of {release} holds the command line; {_NOT_ATOMIC}",
        )
        for release in facts.kernels
        if (kernel := _kernel(tree, release)) is not None
    )
    return Builder("kernel-install", commands) if commands else None


def _install_configuration(tree: Tree) -> Iterator[bytes]:
    """What kernel-install reads of its settings, in order; of two drop-ins with one name the first counts."""
    mains = (tree.read(folder / _INSTALL_CONF) for folder in _CONFIGURATION)
    yield next((content for content in mains if content is not None), b"")
    drop_ins: dict[str, PurePosixPath] = {}
    for folder in (each / f"{_INSTALL_CONF}.d" for each in _CONFIGURATION):
        for name in tree.names(folder):
            if name.endswith(".conf"):
                drop_ins.setdefault(name, folder / name)
    yield from (tree.read(drop_ins[name]) or b"" for name in sorted(drop_ins))


def _kernel(tree: Tree, release: str) -> PurePosixPath | None:
    """The image that a package brings along: next to its modules, or in /boot as Debian's."""
    beside = (each / release / "vmlinuz" for each in _MODULES if "vmlinuz" in tree.names(each / release))
    name = f"vmlinuz-{release}"
    return next(beside, _BOOT / name if name in tree.names(_BOOT) else None)


def _refuse_dracut(tree: Tree) -> None:
    """Raise BootConfigError where dracut builds the images of its own settings, which are a shell's language."""
    files = [_DRACUT[0], *(folder / name for folder in _DRACUT[1:] for name in tree.names(folder))]
    contents = [(path, tree.read(path) or b"") for path in files if path.suffix == ".conf"]
    if not any(_DRACUT_IMAGE.search(content) for _, content in contents):
        return
    for pattern, message in (
        (
            _DRACUT_CMDLINE,
            "sets what dracut puts into unified kernel images, and is a shell's language",
        ),
        (_DRACUT_IMAGE, "has dracut build unified kernel images, and no kernel_cmdline= says with which parameters"),
    ):
        for path, content in contents:
            if match := pattern.search(content):
                line = content.count(b"\n", 0, match.start()) + 1
                raise BootConfigError(path, line, message, hint=_BY_HAND.format(path=path))


def _shipped(tree: Tree, facts: Facts) -> tuple[PurePosixPath, ...]:
    return tuple(
        modules / release / name
        for modules in _MODULES
        for release in facts.kernels
        for name in tree.names(modules / release)
        if name.endswith(".efi")
    )
