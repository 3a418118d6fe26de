# SPDX-License-Identifier: Apache-2.0
"""Completion: the names that a shell offers for the running system. Each is looked up with as little as will do."""

# ruff: noqa: PLC0415 - a shell waits for every key: what a name does not need is not loaded

from pathlib import Path

from iommuctl.errors import IommuctlError
from iommuctl.host.root import Root


def backend_names() -> tuple[str, ...]:
    """Return the names of the backends."""
    from iommuctl.backends.table import BACKENDS

    return tuple(BACKENDS)


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles."""
    from iommuctl.profile.names import names

    return names(Root(Path("/")))


def snapshot_ids() -> tuple[str, ...]:
    """Return the ids of the snapshots; none where they may not be read."""
    from iommuctl.transaction.store import Store

    try:
        return tuple(one.id for one in Store(Root(Path("/"))).list().snapshots)
    except IommuctlError:
        return ()


def parameter_names(incomplete: str) -> tuple[str, ...]:
    """Return what a parameter that is being typed can become."""
    from iommuctl.kernel.explain import completions
    from iommuctl.profile.shipped import shipped_catalogue

    return completions(incomplete, shipped_catalogue())
