# SPDX-License-Identifier: Apache-2.0
"""Shipped: reads the catalogue and the profiles of the package, and the profiles of a root."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from iommuctl.errors import ProfileError
from iommuctl.kernel.parameters import Catalogue
from iommuctl.kernel.tables import PARAMETERS
from iommuctl.profile.profile import ProfileText
from iommuctl.tree import Tree

PROFILES = PurePosixPath("/etc/iommuctl/profiles.d")
_SUFFIX = ".toml"
_PACKAGE = Path(__file__).parents[1]


@cache
def shipped_catalogue() -> Catalogue:
    """Return the catalogue of the package."""
    return Catalogue.of(PARAMETERS)


@cache
def shipped_profiles() -> Mapping[str, ProfileText]:
    """Return the profiles of the package by name, unread."""
    return _texts("profile/profiles")


def profiles(tree: Tree, *, may_override: bool) -> Mapping[str, ProfileText]:
    """Return every profile by name, unread: the shipped ones and those of the root's /etc/iommuctl/profiles.d.

    A file there takes the place of a shipped profile of its name, but only if `may_override`: another root than the
    running one must not. Raises ProfileError for such a file and for one that is not UTF-8.
    """
    found = dict(shipped_profiles())
    for name in tree.names(PROFILES):
        if not name.endswith(_SUFFIX):
            continue
        path, stem = PROFILES / name, name.removesuffix(_SUFFIX)
        if stem in shipped_profiles() and not may_override:
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


def _texts(folder: str) -> Mapping[str, ProfileText]:
    named = sorted((file.name, file) for file in (_PACKAGE / folder).iterdir() if file.name.endswith(_SUFFIX))
    return {
        name.removesuffix(_SUFFIX): ProfileText(file.read_text("utf-8"), f"iommuctl/{folder}/{name}")
        for name, file in named
    }
