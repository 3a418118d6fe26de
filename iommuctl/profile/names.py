# SPDX-License-Identifier: Apache-2.0
"""Names: what profiles there are, by their names alone. A shell that offers them waits for no profile to be read."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iommuctl.tree import Tree

# One TOML file a profile: those of the package in profiles/ next to this, those of a root in this directory.
DIRECTORY = PurePosixPath("/etc/iommuctl/profiles.d")
SUFFIX = ".toml"
SHIPPED = (
    *("dpdk-host", "hardened", "iommu-off", "kernel-default", "passthrough-perf", "proxmox-passthrough"),
    *("realtime-host", "sev-snp-host", "strict-isolation", "translated-lazy", "vfio-bind"),
)


def names(tree: "Tree") -> tuple[str, ...]:
    """Return the names of every profile, the root's included, in their order; none of them is read."""
    own = (name.removesuffix(SUFFIX) for name in tree.names(DIRECTORY) if name.endswith(SUFFIX))
    return tuple(sorted({*SHIPPED, *own}))
