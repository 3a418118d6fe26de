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
_WITHOUT = re.compile(r"^[ \t]*\w+_options=[^#\n]*--no-cmdline\b", re.MULTILINE)
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
        images = {match[1] for match in _IMAGE.finditer(text)} if name.endswith(".preset") else set()
        if not images:
            continue
        building = True
        own = _named(_PRESETS / name, text)
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


def _named(path: PurePosixPath, text: str) -> dict[str, PurePosixPath]:
    """The file that each image's command line is said to be in."""
    without = _WITHOUT.search(text)
    if without is not None:
        message = "has an image built without a command line, so no source of one takes effect"
        hint = f"write --cmdline {KERNEL_CMDLINE} there in place of --no-cmdline, then run the same command again"
        raise BootConfigError(path, text.count("\n", 0, without.start()) + 1, message, hint=hint)
    named = {match.start(): (match[1], PurePosixPath(match[2])) for match in _NAMED.finditer(text)}
    for match in _OPTION.finditer(text):
        if match.start() not in named:
            line = text.count("\n", 0, match.start()) + 1
            message = "names a command line by something else than one plain path"
            raise BootConfigError(path, line, message, hint=f"write --cmdline {KERNEL_CMDLINE} there, or no --cmdline")
    return dict(named.values())
