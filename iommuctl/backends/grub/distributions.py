# SPDX-License-Identifier: Apache-2.0
"""Distributions: how each family builds its GRUB menu. Rows of data, found by the names in os-release."""

from pathlib import PurePosixPath

from iommuctl.backends.grub.menus import MENUS
from iommuctl.errors import UnavailableError
from iommuctl.facts import Distribution
from iommuctl.formats.shell.words import Shell
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple


class GrubFamily(NamedTuple):
    """Where a family's grub-mkconfig is, what it sources next to /etc/default/grub, and the menu it writes.

    `drop_ins` tells whether `/etc/default/grub.d/*.cfg` are sourced afterwards, in the order of a shell glob. GNU GRUB
    knows no such directory: it is a patch of Debian and Ubuntu. `shell` is what the distribution has for /bin/sh.
    """

    mkconfig: str
    script_check: str
    menu: PurePosixPath
    drop_ins: bool = False
    package: str = "grub-common"
    shell: Shell = Shell.BASH


_DEBIAN = GrubFamily(
    mkconfig="grub-mkconfig",
    script_check="grub-script-check",
    menu=PurePosixPath("/boot/grub/grub.cfg"),
    drop_ins=True,
    shell=Shell.DASH,
)
_UPSTREAM = GrubFamily(
    mkconfig="grub-mkconfig",
    script_check="grub-script-check",
    menu=PurePosixPath("/boot/grub/grub.cfg"),
    package="grub",
)
_VOID = _UPSTREAM._replace(shell=Shell.DASH)
_PREFIXED = GrubFamily(
    mkconfig="grub2-mkconfig",
    script_check="grub2-script-check",
    menu=PurePosixPath("/boot/grub2/grub.cfg"),
    package="grub2",
)
GENERATORS = {"grub-mkconfig": _UPSTREAM, "grub2-mkconfig": _PREFIXED}
PROGRAMS = tuple(PurePosixPath(path) for path in ("/usr/sbin", "/sbin", "/usr/bin"))

# Keyed by ID and ID_LIKE of os-release, lower case; boot-loader layout by each distribution's own packages.
_GRUB_FAMILIES = {
    "debian": _DEBIAN,
    "ubuntu": _DEBIAN,
    "deepin": _DEBIAN,
    "openkylin": _DEBIAN,
    "arch": _UPSTREAM,
    "artix": _UPSTREAM,
    "gentoo": _UPSTREAM,
    "void": _VOID,
    "alpine": _UPSTREAM,
    "slackware": _UPSTREAM,
    "altlinux": _UPSTREAM,
    "opensuse": _PREFIXED,
    "suse": _PREFIXED,
    "fedora": _PREFIXED,
    "rhel": _PREFIXED,
    "centos": _PREFIXED,
    "openeuler": _PREFIXED,
    "euleros": _PREFIXED,
    "anolis": _PREFIXED,
    "opencloudos": _PREFIXED,
    "tencentos": _PREFIXED,
    "azurelinux": _PREFIXED,
    "mageia": _PREFIXED,
    "openmandriva": _PREFIXED,
}
_DROP_INS = PurePosixPath("/etc/default/grub.d")


def grub_family(distribution: Distribution, tree: Tree | None = None) -> GrubFamily | None:
    """Return the row of a distribution by its own name, else by the nearest it resembles, else by what `tree` shows.

    A tree shows it by its generator, a shell script that also says whether it sources drop-ins, and by where its menu
    is; without a generator only where no drop-in is there to be sourced or not. None where nothing tells.
    """
    names = (name.lower() for name in distribution.names)
    known = next((_GRUB_FAMILIES[name] for name in names if name in _GRUB_FAMILIES), None)
    return known if known is not None or tree is None else _family_of_tree(tree)


def require_family(distribution: Distribution, tree: Tree) -> GrubFamily:
    """Return how a root builds its menu. Raises UnavailableError where nothing tells."""
    family = grub_family(distribution, tree)
    if family is None:
        names = " or ".join(repr(name) for name in distribution.names) or "a system without os-release"
        raise UnavailableError(
            f"it is not known how {names} builds its GRUB menu",
            details=("neither its name nor a grub-mkconfig in it tells whether /etc/default/grub.d is read",),
            hint="install the package that has grub-mkconfig in that system, then run the same command again",
        )
    return family


def _family_of_tree(tree: Tree) -> GrubFamily | None:
    menu = next((path for path in MENUS if path.name in tree.names(path.parent)), None)
    for name, row in GENERATORS.items():
        if any(name in tree.names(folder) for folder in PROGRAMS):
            return row._replace(menu=menu or row.menu)
    has_drop_ins = any(name.endswith(".cfg") for name in tree.names(_DROP_INS))
    if menu is None or has_drop_ins:
        return None
    return next(row for row in GENERATORS.values() if row.menu == menu)
