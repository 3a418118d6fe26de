# SPDX-License-Identifier: Apache-2.0
"""The table of backends: one row for each bootloader. Only the one that a host needs is imported."""

# ruff: noqa: PLC0415 - the others would cost a dry-run a tenth of its time

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iommuctl.backends.base import Backend
from iommuctl.kernel.parameters import Catalogue


def _grub2(catalogue: Catalogue) -> Backend:
    from iommuctl.backends.grub.backend import Grub2

    return Grub2(catalogue)


def _bls(catalogue: Catalogue) -> Backend:
    from iommuctl.backends.bls.backend import Bls

    return Bls(catalogue)


def _systemd_boot(catalogue: Catalogue) -> Backend:
    from iommuctl.backends.systemd_boot.backend import SystemdBoot

    return SystemdBoot(catalogue)


BACKENDS: Mapping[str, Callable[[Catalogue], Backend]] = MappingProxyType(
    {"grub2": _grub2, "bls": _bls, "systemd-boot": _systemd_boot}
)
