# SPDX-License-Identifier: Apache-2.0
"""The table of backends: one row for each bootloader. Only the one that a host needs is imported."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from iommuctl.backends.base import Backend
from iommuctl.parameters import Catalogue

# The backend's name, its module below this package, its class there.
_ROWS = (
    ("grub2", "grub2", "Grub2"),
    ("bls", "bls", "Bls"),
    ("systemd-boot", "systemd_boot", "SystemdBoot"),
)


def _maker(module: str, name: str) -> Callable[[Catalogue], Backend]:
    def make(catalogue: Catalogue) -> Backend:
        backend: Callable[[Catalogue], Backend] = getattr(import_module(f"iommuctl.backends.{module}"), name)
        return backend(catalogue)

    return make


BACKENDS: Mapping[str, Callable[[Catalogue], Backend]] = MappingProxyType(
    {backend: _maker(module, name) for backend, module, name in _ROWS}
)
