# SPDX-License-Identifier: Apache-2.0
"""Promise: which default domain types a command line leads to on an observed machine. Pure."""

from itertools import product

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue
from iommuctl.kernel.predict import DomainType, Machine, predict
from iommuctl.running.state import SHOWS_LAZY, Observed

# Debian's own symbol next to the one of the kernel: VT-d on but for the integrated GPU.
_VTD_DEFAULTS = ("CONFIG_INTEL_IOMMU_DEFAULT_ON", "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF")
_EITHER = (False, True)
# Newer than every release in the catalogue: on it each parameter that still exists is read.
NEWEST = KernelVersion(99, 0)


def promise(
    cmdline: Cmdline, observed: Observed, platform: Platform, kernel: KernelVersion, catalogue: Catalogue
) -> frozenset[DomainType]:
    """Return every default domain type that the line may lead to.

    Several where the kernel's configuration decides and cannot be read, or where the platform has two vendors.
    """
    machines = (
        Machine(vendor, Kernel.upstream(kernel), vtd, passthrough, strict)
        for vendor in vendors(observed, platform)
        for vtd, passthrough, strict in product(
            _decided(observed, *_VTD_DEFAULTS),
            _passthrough(observed),
            _strict(observed, vendor, kernel),
        )
    )
    return frozenset(predict(cmdline, machine, catalogue) for machine in machines)


def vendors(observed: Observed, platform: Platform) -> tuple[Platform, ...]:
    """Return the concrete platforms that may be meant: of two vendors the one whose units there are."""
    known = {unit.platform for unit in observed.units} & platform.members
    return tuple(vendor for vendor in Platform if vendor in (known or platform.members))


def shown(kind: DomainType, kernel: KernelVersion) -> str:
    """Return the name by which sysfs shows a type; before 5.15 a lazy domain is shown as DMA too."""
    return DomainType.DMA if kind is DomainType.DMA_FQ and kernel < SHOWS_LAZY else kind


def _decided(observed: Observed, *symbols: str) -> tuple[bool, ...]:
    known = observed.is_configured(*symbols)
    return _EITHER if known is None else (known,)


def _passthrough(observed: Observed) -> tuple[bool, ...]:
    # drivers/iommu/iommu.c iommu_subsys_init: encryption cancels what comes from the configuration alone.
    return (False,) if observed.encrypts_memory else _decided(observed, "CONFIG_IOMMU_DEFAULT_PASSTHROUGH")


def _strict(observed: Observed, vendor: Platform, kernel: KernelVersion) -> tuple[bool, ...]:
    # The choice in the configuration exists since 5.15 (e96763ec42ce); before, the x86 drivers were lazy.
    if kernel < SHOWS_LAZY:
        return (vendor is Platform.ARM64,)
    return _decided(observed, "CONFIG_IOMMU_DEFAULT_DMA_STRICT")
