# SPDX-License-Identifier: Apache-2.0
"""mkinitcpio's presets: whether they build unified kernel images, and of which files with command lines."""

import re
from pathlib import PurePosixPath

from iommuctl.backends.systemd_boot.builder import NOT_ATOMIC, Builder
from iommuctl.errors import BootConfigError
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.plan import Command
from iommuctl.tree import Tree

_PRESETS = PurePosixPath("/etc/mkinitcpio.d")
# Of one image or of all; the second is the older name of the first (mkinitcpio, process_preset).
_IMAGE = re.compile(r"^[ \t]*(\w+)_(?:uki|efi_image)=", re.MULTILINE)
# Options are a string or an array; a file of its own may also have a setting of its own.
_OPTION = re.compile(r"^[ \t]*(\w+?)_(?:options=[^#\n]*--cmdline\b|cmdline=)", re.MULTILINE)
_NAMED = re.compile(
    r"^[ \t]*(\w+?)_(?:options=[^#\n]*--cmdline[= ]|cmdline=)[\"']?(/[\w./+@-]+)(?=[\"' )\t\r\n]|\Z)", re.MULTILINE
)
_WITHOUT = re.compile(r"^[ \t]*(\w+)_options=[^#\n]*--no-cmdline\b", re.MULTILINE)
# Which of them are built; without the list all are taken to be (mkinitcpio, process_preset).
_LISTED = re.compile(r"^[ \t]*PRESETS=\(([^)]*)\)", re.MULTILINE)
_LISTED_NAME = re.compile(r"#[^\n]*|(\w+)")
_ALL = "ALL"
_DROP_INS = PurePosixPath("/etc/cmdline.d")


def mkinitcpio(tree: Tree) -> Builder | None:
    """Return mkinitcpio as the builder of images; None where no preset builds any.

    Raises BootConfigError, with the line, for a command line that is named by no plain path, or left out of an image.
    """
    files: dict[PurePosixPath, None] = {}
    building = usual = False
    for name in tree.names(_PRESETS):
        text = (tree.read(_PRESETS / name) or b"").decode("utf-8", "surrogateescape")
        listed = _listed(text)
        images = {match[1] for match in _IMAGE.finditer(text)} if name.endswith(".preset") else set()
        images = {image for image in images if _counts(image, listed)}
        if not images:
            continue
        building = True
        own = _named(_PRESETS / name, text, listed)
        files |= dict.fromkeys(own.values())
        usual |= _ALL not in own and not images <= own.keys()
    if not building:
        return None
    # A file that is named is read alone; without one the usual file is, with its drop-ins (mkinitcpio(8), --cmdline).
    names = tree.names(_DROP_INS) if usual else ()
    drop_ins = tuple(_DROP_INS / name for name in names if name.endswith(".conf"))
    command = Command(("mkinitcpio", "-P"), f"the images hold the command line; {NOT_ATOMIC}")
    sources = tuple(dict.fromkeys((*((KERNEL_CMDLINE,) if usual else ()), *files)))
    return Builder("mkinitcpio", (command,), drop_ins, sources)


def _listed(text: str) -> frozenset[str]:
    """The names in the list of what is built; none where there is no such list."""
    lists = _LISTED.findall(text)
    return frozenset(match[1] for match in _LISTED_NAME.finditer(lists[-1]) if match[1]) if lists else frozenset()


def _counts(name: str, listed: frozenset[str]) -> bool:
    return not listed or name == _ALL or name in listed


def _named(path: PurePosixPath, text: str, listed: frozenset[str]) -> dict[str, PurePosixPath]:
    """The file that each image's command line is said to be in."""
    without = next((match for match in _WITHOUT.finditer(text) if _counts(match[1], listed)), None)
    if without is not None:
        message = "has an image built without a command line, so no source of one takes effect"
        hint = f"write --cmdline {KERNEL_CMDLINE} there in place of --no-cmdline, then run the same command again"
        raise BootConfigError(path, text.count("\n", 0, without.start()) + 1, message, hint=hint)
    named = {match.start(): (match[1], PurePosixPath(match[2])) for match in _NAMED.finditer(text)}
    for match in _OPTION.finditer(text):
        if match.start() not in named and _counts(match[1], listed):
            line = text.count("\n", 0, match.start()) + 1
            message = "names a command line by something else than one plain path"
            raise BootConfigError(path, line, message, hint=f"write --cmdline {KERNEL_CMDLINE} there, or no --cmdline")
    return {name: file for name, file in named.values() if _counts(name, listed)}
