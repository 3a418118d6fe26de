# SPDX-License-Identifier: Apache-2.0
"""Profiles: list, show and check them, and find the one that is meant."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from iommuctl.app.host import Host
from iommuctl.errors import NotFoundError, NotPermittedError, ProfileError
from iommuctl.kernel.spelling import meant
from iommuctl.profile.beside import NONE
from iommuctl.profile.inheritance import load_profile, merge_parents
from iommuctl.profile.names import SUFFIX
from iommuctl.profile.profile import MOST_BYTES, Absence, Profile, Setting
from iommuctl.profile.shipped import decode_profile, profiles
from iommuctl.value import NamedTuple

_OF_ANOTHER_ROOT = "with --root the profiles are those of {root}; one of this host is named by its path"


class ProfileListing(NamedTuple):
    """A profile by name. `source` is the file it comes from."""

    name: str
    summary: str
    source: str


def find_profile(host: Host, name: str) -> Profile:
    """Return the profile that is meant: a name, or a path, which has a slash in it or ends in `.toml`.

    Raises NotFoundError where there is none, ProfileError where it is wrong.
    """
    if name == NONE:
        return Profile(NONE, "no profile: only what is asked for next to it")
    known = profiles(host.root, may_override=host.is_system)
    if "/" not in name and not name.endswith(".toml"):
        try:
            return load_profile(name, known)
        except NotFoundError as error:
            hint = host.root.command("profile", "list")
            details = error.details if host.is_system else (*error.details, _OF_ANOTHER_ROOT.format(root=host.path))
            raise NotFoundError(
                error.brief, details=details, hint=hint, correction=(name, meant(name, known))
            ) from error
    from iommuctl.profile.schema import parse_profile  # noqa: PLC0415 - pydantic, and only what a user wrote needs it

    found = decode_profile(_read(host, Path(name), known), name)
    return merge_parents(parse_profile(found.text, found.source), found.source, known)


def list_profiles(host: Host) -> tuple[ProfileListing, ...]:
    """Return every profile by name. Raises ProfileError for the first that is wrong."""
    known = profiles(host.root, may_override=host.is_system)
    parsed = ((name, load_profile(name, known), known[name].source) for name in sorted(known))
    return tuple(ProfileListing(name, profile.summary, source) for name, profile, source in parsed)


def describe_profile(profile: Profile) -> str:
    """Return a profile as text: what it sets, removes and asks for, each with its platforms and the reason."""
    lines = [f"{profile.name}: {_on_one_line(profile.summary)}", *profile.description.strip().splitlines()]
    if profile.inputs:
        lines += ["", "inputs (--set NAME=VALUE):"]
        for one in profile.inputs:
            need = "required" if one.required else f"default {one.default}" if one.default else "optional"
            lines.append(f"  {one.name}  ({one.type}, {_on_one_line(need)})  {_on_one_line(one.description)}")
    for head, entries in (("sets:", profile.sets), ("removes:", profile.absent)):
        if entries:
            lines += ["", head, *(_row(entry) for entry in entries)]
    if profile.reset:
        reason = _on_one_line(profile.reset.reason)
        lines += ["", "removes every IOMMU parameter that the catalogue knows:", f"  {reason}"]
    if profile.refusals:
        lines += [
            "",
            "refused:",
            *(f"  [{' '.join(one.platforms) or 'all'}]  {_on_one_line(one.reason)}" for one in profile.refusals),
        ]
    return "".join(f"{line}\n" for line in lines)


def _row(entry: Setting | Absence) -> str:
    platforms = " ".join(entry.platforms) or "all"
    text = entry.parameter.text
    parameter = text if entry.value_from is None else f"{text}=<{entry.value_from}>"
    condition = f", when {entry.when}" if entry.when else ""
    return f"  {parameter}  [{platforms}{condition}]  {_on_one_line(entry.reason)}"


def _on_one_line(text: str) -> str:
    """What a profile says in a row must not look like a row of its own."""
    return text.replace("\n", "\\n")


def _meant_file(path: Path, known: Iterable[str]) -> str | None:
    """What a path that leads nowhere is meant to be: a file next to it, or the name of a profile."""
    if path.parent == Path() and (right := meant(path.stem, known)) is not None:
        return right
    try:
        files = [one.name for one in path.parent.iterdir() if one.suffix == SUFFIX]
    except OSError:
        return None
    right = meant(path.name, files)
    return None if right is None else str(path.with_name(right))


def _read(host: Host, path: Path, known: Iterable[str]) -> bytes:
    """Read a profile that the administrator names by its path, outside of any root; nothing but a file is opened."""
    try:
        _require_file(path, path.stat())
        # Never waiting, since what was looked at may be a pipe by now; opening a device can already act.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            _require_file(path, os.fstat(descriptor))
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"no such profile: {str(path)!r}",
            hint=host.root.command("profile", "list"),
            correction=(str(path), _meant_file(path, known)),
        ) from error
    except PermissionError as error:
        raise NotPermittedError(path, "read") from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error


def _require_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileNotFoundError
    if not stat.S_ISREG(status.st_mode):
        raise ProfileError(f"{path}: not a regular file", hint="write the profile to a file, and name that")
