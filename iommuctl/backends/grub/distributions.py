# SPDX-License-Identifier: Apache-2.0
"""Distributions: how each family builds its GRUB menu. Rows of data, found by the names in os-release."""

from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.facts import Distribution


class GrubFamily(NamedTuple):
    """Where a family's grub-mkconfig is, what it sources next to /etc/default/grub, and the menu it writes.

    `drop_ins` tells whether `/etc/default/grub.d/*.cfg` are sourced afterwards, in the order of a shell glob. GNU GRUB
    knows no such directory: it is a patch of Debian and Ubuntu.
    """

    mkconfig: str
    script_check: str
    menu: PurePosixPath
    drop_ins: bool = False
    package: str = "grub-common"


_DEBIAN = GrubFamily(
    mkconfig="grub-mkconfig",
    script_check="grub-script-check",
    menu=PurePosixPath("/boot/grub/grub.cfg"),
    drop_ins=True,
)
_UPSTREAM = GrubFamily(
    mkconfig="grub-mkconfig",
    script_check="grub-script-check",
    menu=PurePosixPath("/boot/grub/grub.cfg"),
    package="grub",
)
_PREFIXED = GrubFamily(
    mkconfig="grub2-mkconfig",
    script_check="grub2-script-check",
    menu=PurePosixPath("/boot/grub2/grub.cfg"),
    package="grub2",
)

# Keyed by ID and ID_LIKE of os-release; boot-loader layout by each distribution's own packages (docs/architecture.md).
_GRUB_FAMILIES = {
    "debian": _DEBIAN,
    "ubuntu": _DEBIAN,
    "arch": _UPSTREAM,
    "gentoo": _UPSTREAM,
    "void": _UPSTREAM,
    "opensuse": _PREFIXED,
    "suse": _PREFIXED,
    "fedora": _PREFIXED,
    "rhel": _PREFIXED,
}


def grub_family(distribution: Distribution) -> GrubFamily | None:
    """Return the row of a distribution by its own name, else by the nearest it resembles; None where none is known."""
    return next((_GRUB_FAMILIES[name] for name in distribution.names if name in _GRUB_FAMILIES), None)
