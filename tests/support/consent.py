# SPDX-License-Identifier: Apache-2.0
"""Consent: a test that has a host changed agrees beforehand, as every script does, unless it is about being asked."""

from collections.abc import Iterable

_CHANGES = ("apply", "rollback")
_DECIDED = {"--yes", "-y", "--dry-run", "-n", "--help"}


def agreed(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a command, with --yes where it would write and nothing is said of that."""
    found = tuple(words)
    return (*found, "--yes") if found[:1] and found[0] in _CHANGES and not _DECIDED & {*found} else found
