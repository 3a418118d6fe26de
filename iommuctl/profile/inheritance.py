# SPDX-License-Identifier: Apache-2.0
"""Inheritance: a profile together with everything that it extends. Pure; what there is is passed in."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from iommuctl.errors import NotFoundError, ProfileError
from iommuctl.facts import Platform
from iommuctl.kernel.spelling import meant
from iommuctl.profile.profile import (
    Absence,
    InputType,
    Notice,
    Profile,
    ProfileText,
    Refusal,
    Setting,
    ShippedProfile,
    Warn,
    members,
)

Profiles = Mapping[str, ProfileText | ShippedProfile]


def load_profile(name: str, known: Profiles) -> Profile:
    """Read a profile and everything that it extends, merged; `known` are those that there are, by name.

    Where a child and its parent speak of the same parameter on the same platform, the child wins.
    Raises ProfileError for an invalid one or a circle, NotFoundError where there is none of that name.
    """
    if name not in known:
        raise NotFoundError(f"no profile {name!r}", details=_listing(known))
    profile = _parse_named(name, known)
    return merge_parents(profile, known[name].source, known)


def merge_parents(profile: Profile, source: str, known: Profiles) -> Profile:
    """Return a profile that was read from `source` together with everything that it extends."""
    seen = [profile.name]
    merged, parent = profile, profile.extends
    while parent is not None:
        if parent in seen:
            raise ProfileError(f"{source}: extends: a circle: {' -> '.join([*seen, parent])}")
        if parent not in known:
            raise ProfileError(
                f"{source}: extends: no profile {parent!r}", details=(*_listing(known), *suggestion(parent, known))
            )
        base = _parse_named(parent, known)
        seen.append(parent)
        merged, parent = _merge(base, merged), base.extends
    _check_inputs(merged, source)
    return merged


def _check_inputs(profile: Profile, source: str) -> None:
    types = {one.name: one.type for one in profile.inputs}
    named: tuple[Setting | Absence | Warn, ...] = (*profile.sets, *profile.absent, *profile.warns)
    entries: tuple[Setting | Absence | Warn | Notice | Refusal, ...] = (*named, *profile.notices, *profile.refusals)
    for entry in entries:
        value_from = entry.value_from if isinstance(entry, Setting | Absence | Warn) else None
        for used in (entry.when, value_from):
            if used is not None and used not in types:
                raise ProfileError(
                    f"{source}: no input {used!r} is declared, though it is used", details=suggestion(used, types)
                )
        if entry.when is not None and types[entry.when] is InputType.STRING:
            raise ProfileError(f"{source}: when: the input {entry.when!r} is not of type bool, pci-ids or devices")


def suggestion(word: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """Return what to say of a name that seems misspelt; nothing where no other is near it."""
    right = meant(word, candidates)
    return () if right is None else (f"did you mean {right!r}?",)


def _parse_named(name: str, known: Profiles) -> Profile:
    found = known[name]
    if isinstance(found, ShippedProfile):
        return found.profile
    from iommuctl.profile.schema import parse_profile  # noqa: PLC0415 - pydantic, and only what a user wrote needs it

    profile = parse_profile(found.text, found.source)
    if profile.name != name:
        raise ProfileError(f"{found.source}: name: {profile.name!r} must be the file's name, {name!r}")
    return profile


def _listing(known: Iterable[str]) -> tuple[str, ...]:
    return (f"profiles: {', '.join(sorted(known))}",)


def _merge(base: Profile, child: Profile) -> Profile:
    own = {one.name for one in child.inputs}
    return child._replace(
        inputs=(*(one for one in base.inputs if one.name not in own), *child.inputs),
        sets=(*_left(base.sets, (*child.sets, *child.absent)), *child.sets),
        absent=(*_left(base.absent, (*child.sets, *child.warns)), *child.absent),
        warns=(*_left(base.warns, (*child.sets, *child.absent)), *child.warns),
        notices=(*base.notices, *child.notices),
        refusals=(*base.refusals, *child.refusals),
        reset=child.reset or base.reset,
    )


_Entry = TypeVar("_Entry", Setting, Absence, Warn)


def _left(entries: Iterable[_Entry], spoken: Iterable[Setting | Absence | Warn]) -> Iterable[_Entry]:
    """Return the parent's entries without the platforms on which the child decides the same, unconditionally."""
    decided = [one for one in spoken if one.when is None]
    for entry in entries:
        held = members(entry.platforms)
        taken = frozenset[Platform]().union(*(members(one.platforms) for one in decided if _overrides(one, entry)))
        if not held & taken:
            yield entry
        elif left := held - taken:
            yield entry._replace(platforms=tuple(platform for platform in Platform if platform in left))


def _overrides(child: Setting | Absence | Warn, parent: Setting | Absence | Warn) -> bool:
    if child.parameter.key != parent.parameter.key:
        return False
    if isinstance(child, Setting) and isinstance(parent, Setting):
        return True
    if child.value_from is not None or parent.value_from is not None:
        return child.value_from == parent.value_from
    mine, theirs = child.parameter.value, parent.parameter.value
    return mine is None or theirs is None or bool(set(mine.split(",")) & set(theirs.split(",")))
