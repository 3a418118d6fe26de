# SPDX-License-Identifier: Apache-2.0
"""Mounts: what /proc/self/mountinfo says, and which mount holds a path. Pure."""

from pathlib import PurePosixPath

from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_OCTAL = pattern(r"\\([0-7]{3})")  # proc_pid_mountinfo(5): blank, tab, newline and backslash
# What the host boots or lives from; the rest is what it can do without for a while.
_OURS = PurePosixPath("/var/lib/iommuctl")
_VITAL = ("/", "/usr", "/boot", "/efi", "/boot/efi", "/boot/firmware")
_BEFORE_DASH = 6  # id, parent, device, root, mount point, options; then tags, then a dash


class Mount(NamedTuple):
    """One mounted file system. `number` is `major:minor` of its device; 0 as major: it is on none, or on several."""

    number: str
    point: str
    kind: str
    source: str
    options: str = ""


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read /proc/PID/mountinfo (proc_pid_mountinfo(5)); of several at one mount point the last is the one seen."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        words = line.split()
        if "-" not in words[_BEFORE_DASH:]:
            continue
        dash = words.index("-", _BEFORE_DASH)
        kind, source, options = (*words[dash + 1 : dash + 4], "", "", "")[:3]
        found[_plain(words[4])] = Mount(words[2], _plain(words[4]), kind, _plain(source), _plain(options))
    return tuple(found.values())


def holding(mounts: tuple[Mount, ...], path: PurePosixPath) -> Mount | None:
    """Return the mount that holds a path; None where none is known."""
    above = {str(path), *map(str, path.parents)}
    return max((one for one in mounts if one.point in above), key=lambda one: len(one.point), default=None)


def vital(mounts: tuple[Mount, ...]) -> frozenset[str]:
    """Return the mount points that the host boots or lives from, the one of our own state included."""
    ours = holding(mounts, _OURS)
    points = {one.point for one in mounts if one.point in _VITAL}
    return frozenset(points | ({ours.point} if ours else set()))


def _plain(word: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)
