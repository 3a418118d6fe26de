# SPDX-License-Identifier: Apache-2.0
"""Descendants: what a program of this host leaves running, waited for and named. It is never ended."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

LEFT_BEHIND = 5.0  # seconds that what a program left running gets to end by itself

_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
_PATIENCE = 0.05  # seconds between two looks


class Descendants:
    """A context in which processes whose parent ends become children of this one, so that none is lost from sight.

    A mount of FUSE or a daemon of LVM may rightly stay; but while something still writes, nothing can be read back.
    """

    def __init__(self) -> None:
        self._before: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        _adopt_orphans(yes=True)
        self._before = _children()
        return self

    def __exit__(self, *_: object) -> None:
        _adopt_orphans(yes=False)

    def wait(self, leader: int) -> tuple[str, ...]:
        """Wait for all but the leader, LEFT_BEHIND seconds at most. Return the names of those that are left."""
        deadline = time.monotonic() + LEFT_BEHIND
        while (left := self._living(leader)) and time.monotonic() < deadline:
            time.sleep(_PATIENCE)
        return tuple(f"{_name(number)} (process {number})" for number in left)

    def _living(self, leader: int) -> list[int]:
        return [number for number in sorted(_children() - self._before - {leader}) if not _reaped(number)]


def _adopt_orphans(*, yes: bool) -> None:
    import ctypes  # noqa: PLC0415 - slow to load, and of use to a change alone

    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _children() -> frozenset[int]:
    found = set()
    for directory in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        if directory.isdecimal():
            with suppress(OSError):
                # proc_pid_stat(5): after the name, which may hold anything, come the state and the parent
                fields = Path("/proc", directory, "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.add(int(directory))
    return frozenset(found)


def _reaped(number: int) -> bool:
    try:
        return os.waitpid(number, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _name(number: int) -> str:
    try:
        return Path(f"/proc/{number}/comm").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return "one that has just ended"
