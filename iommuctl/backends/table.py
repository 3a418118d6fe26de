# SPDX-License-Identifier: Apache-2.0
"""The table of backends: one row for each bootloader."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iommuctl.backends.base import Backend
from iommuctl.backends.bls import Bls
from iommuctl.backends.grub2 import Grub2
from iommuctl.backends.systemd_boot import SystemdBoot
from iommuctl.parameters import Catalogue

BACKENDS: Mapping[str, Callable[[Catalogue], Backend]] = MappingProxyType(
    {
        Grub2.name: Grub2,
        Bls.name: Bls,
        SystemdBoot.name: SystemdBoot,
    }
)
