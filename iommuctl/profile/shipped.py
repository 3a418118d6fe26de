# SPDX-License-Identifier: Apache-2.0
"""Shipped: the catalogue and the profiles of the package, and with them the profiles of a root, which are unread."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from iommuctl.errors import ProfileError
from iommuctl.profile.inheritance import Profiles
from iommuctl.profile.names import DIRECTORY, SUFFIX
from iommuctl.profile.profile import ProfileText, ShippedProfile
from iommuctl.profile.profiles import PROFILES
from iommuctl.profile.profiles.trades import PROFILES as TRADES

if TYPE_CHECKING:
    from iommuctl.kernel.parameters import Catalogue
    from iommuctl.tree import Tree

_SOURCES = "iommuctl/profile/profiles"


@cache
def shipped_catalogue() -> "Catalogue":
    """Return the catalogue of the package."""
    from iommuctl.kernel.parameters import Catalogue  # noqa: PLC0415 - what names profiles alone does not wait for it
    from iommuctl.kernel.tables import PARAMETERS  # noqa: PLC0415

    return Catalogue.of(PARAMETERS)


def shipped_profiles() -> Mapping[str, ShippedProfile]:
    """Return the profiles of the package by name."""
    directories = ((_SOURCES, PROFILES), (f"{_SOURCES}/trades", TRADES))
    every = {one.name: ShippedProfile(one, f"{path}/{one.name}{SUFFIX}") for path, rows in directories for one in rows}
    return dict(sorted(every.items()))


def profiles(tree: "Tree", *, may_override: bool) -> Profiles:
    """Return every profile by name: the shipped ones, and those of the root's /etc/iommuctl/profiles.d, unread.

    A file there takes the place of a shipped profile of its name, but only if `may_override`: another root than the
    running one must not. Raises ProfileError for such a file and for one that is not UTF-8.
    """
    shipped = shipped_profiles()
    found: dict[str, ProfileText | ShippedProfile] = {**shipped}
    for name in tree.names(DIRECTORY):
        if not name.endswith(SUFFIX):
            continue
        path, stem = DIRECTORY / name, name.removesuffix(SUFFIX)
        if stem in shipped and not may_override:
            raise ProfileError(f"{path}: a shipped profile has the name {stem!r}", hint=f"rename or remove {path}")
        content = tree.read(path)
        if content is not None:
            found[stem] = decode_profile(content, str(path))
    return found


def decode_profile(content: bytes, source: str) -> ProfileText:
    """Take the bytes of a profile for text. Raises ProfileError where they are not UTF-8."""
    try:
        return ProfileText(content.decode(), source)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ProfileError(f"{source}:{line}: not UTF-8") from error
