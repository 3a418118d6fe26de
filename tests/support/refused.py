# SPDX-License-Identifier: Apache-2.0
"""Golden trees of hosts that are refused."""

from project import FIXTURES

TREES = FIXTURES / "refused"
HOSTS = tuple(sorted(path.name for path in TREES.iterdir()))
_ARM64 = frozenset({"armbian", "debian-raspberry-pi", "debian-u-boot-menu"})


def platform(host: str) -> str:
    """The platform that a tree is of."""
    return "arm64" if host in _ARM64 else "intel"
