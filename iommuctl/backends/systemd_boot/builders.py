# SPDX-License-Identifier: Apache-2.0
"""Builders: who builds the unified kernel images of a host, with which commands, of which sources."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.backends.systemd_boot import dracut
from iommuctl.backends.systemd_boot.builder import NOT_ATOMIC, Builder
from iommuctl.backends.systemd_boot.images import Image
from iommuctl.backends.systemd_boot.presets import mkinitcpio
from iommuctl.errors import UnavailableError
from iommuctl.facts import Facts
from iommuctl.plan import Command
from iommuctl.tree import Tree

_MODULES = (PurePosixPath("/usr/lib/modules"), PurePosixPath("/lib/modules"))
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


def builder_of(tree: Tree, facts: Facts, present: tuple[Image, ...]) -> Builder | None:
    """Tell who builds the images of this system that are `present`; None where nobody does and there are none.

    Raises UnavailableError for images that nothing here builds, and for signed ones where nothing here signs them,
    BootConfigError where their source is not editable.
    """
    builder = mkinitcpio(tree) or _kernel_install(tree, facts)
    if builder is None and not present:
        return None
    builder = builder or dracut.builder(tree)
    if builder is None:
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


def _kernel_install(tree: Tree, facts: Facts) -> Builder | None:
    layouts = [layout for content in _install_configuration(tree) for layout in _LAYOUT.findall(content)]
    if layouts[-1:] != [b"uki"]:
        return None
    commands = tuple(
        Command(
            ("kernel-install", "add", release, str(kernel)),
            f"the image of {release} holds the command line; {NOT_ATOMIC}",
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


def _shipped(tree: Tree, facts: Facts) -> tuple[PurePosixPath, ...]:
    return tuple(
        modules / release / name
        for modules in _MODULES
        for release in facts.kernels
        for name in tree.names(modules / release)
        if name.endswith(".efi")
    )
