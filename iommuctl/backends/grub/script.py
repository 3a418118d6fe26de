# SPDX-License-Identifier: Apache-2.0
"""GRUB's script: what the kernel is left with of a value that grub-mkconfig writes into a menu."""

from iommuctl.backends.grub import sources as grub_sources
from iommuctl.backends.grub.distributions import GrubFamily
from iommuctl.errors import BootConfigError
from iommuctl.formats import grubcfg, grubmenu
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.profile.conform import Conformer
from iommuctl.tree import Tree


def as_menu_says(value: str) -> Cmdline:
    """What GRUB hands the kernel of a value: 10_linux writes it into the menu, where GRUB unquotes it.

    Raises BootConfigError where GRUB could not read such a menu.
    """
    return line_of(value).cmdline


def line_of(value: str) -> grubmenu.LinuxLine:
    """Return the line of the menu that a value becomes, with its variables. Raises as `as_menu_says` does."""
    menu = grubcfg.parse_menu(grub_sources.MAIN, f"menuentry x {{\n linux /x {value}\n}}\n")
    return menu.entries[0].linux[0]


def require_uncut(tree: Tree, family: GrubFamily, after: Cmdline, conformer: Conformer) -> None:
    """Raise BootConfigError where the generated menu, which is a script, would give the kernel less than `after`.

    To GRUB a `;` ends the line and ` #` begins a comment; of a `|` or a lone `$` it can make nothing.
    """
    try:
        problems = conformer.shortcomings(as_menu_says(str(after)))
    except BootConfigError as error:
        problems = (error.message,)
    if problems:
        assigned = [value for value in grub_sources.read(tree, family).chains if value.links]
        culprit = next((value for value in assigned if _is_cut(value.value)), assigned[-1])
        link = culprit.links[0]
        message = f"{culprit.name}, as GRUB's script would have it: {problems[0]}"
        raise BootConfigError(link.path, link.line, message)


def _is_cut(value: str) -> bool:
    try:
        return len(as_menu_says(value).tokens) < len(Cmdline.parse(value).tokens)
    except BootConfigError:
        return True
