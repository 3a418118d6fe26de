# SPDX-License-Identifier: Apache-2.0
"""Promise: which default domain types a command line leads to on an observed machine. Pure."""

from itertools import product

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue
from iommuctl.kernel.predict import Defaults, DomainType, Machine, defaults, predict
from iommuctl.kernel.tables import behaviour
from iommuctl.running.state import Observed

# Debian's own symbol next to the one of the kernel: VT-d on but for the integrated GPU.
_VTD_DEFAULTS = ("CONFIG_INTEL_IOMMU_DEFAULT_ON", "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF")
_STRICTNESS = ("CONFIG_IOMMU_DEFAULT_DMA_STRICT", "CONFIG_IOMMU_DEFAULT_DMA_LAZY")
_PASSTHROUGH = "CONFIG_IOMMU_DEFAULT_PASSTHROUGH"
_EITHER = (False, True)
_UNKNOWN = Defaults(None, None, None, None)
# Newer than every release in the catalogue: on it each parameter that still exists is read.
NEWEST = Kernel.upstream(KernelVersion(99, 0))


def promise(
    cmdline: Cmdline,
    observed: Observed,
    platform: Platform,
    kernel: Kernel | None,
    catalogue: Catalogue,
    *,
    is_on: bool = False,
    by_line: bool = False,
) -> frozenset[DomainType]:
    """Return every default domain type that a line asks for, to a kernel that reads all of it.

    Several where the kernel's configuration decides and nothing tells it, or where the platform has two vendors.
    `is_on`: whatever the configuration says, VT-d is on unless the line turns it off. `by_line`: a configuration that
    cannot be read is that of the kernels of its line, as far as it is known.
    """
    machines = (
        Machine(vendor, NEWEST, vtd, passthrough, strict)
        for vendor in vendors(observed, platform)
        for line in (defaults(vendor, kernel) if by_line and kernel is not None else _UNKNOWN,)
        for vtd, passthrough, strict in product(
            (True,) if is_on else _decided(_told(observed.is_configured(*_VTD_DEFAULTS), line.vtd_on)),
            _passthrough(observed, line),
            _strict(observed, vendor, kernel, line),
        )
    )
    return frozenset(predict(cmdline, machine, catalogue) for machine in machines)


def vendors(observed: Observed, platform: Platform) -> tuple[Platform, ...]:
    """Return the concrete platforms that may be meant: of two vendors the one whose units there are."""
    known = {unit.platform for unit in observed.units} & platform.members
    return tuple(vendor for vendor in Platform if vendor in (known or platform.members))


def shows_lazy(observed: Observed, kernel: Kernel | None) -> bool | None:
    """Whether the kernel has a name of its own for a lazy domain, which one group that has it proves."""
    if any(group.type == DomainType.DMA_FQ for group in observed.groups):
        return True
    return None if kernel is None else behaviour.SHOWS_LAZY.cover(kernel)


def _passthrough(observed: Observed, line: Defaults) -> tuple[bool, ...]:
    # drivers/iommu/iommu.c iommu_subsys_init: encryption cancels what comes from the configuration alone.
    known = _told(observed.is_configured(_PASSTHROUGH), line.passthrough)
    return (False,) if observed.encrypts_memory else _decided(known)


def _strict(observed: Observed, vendor: Platform, kernel: Kernel | None, line: Defaults) -> tuple[bool, ...]:
    """Without the choice between strict, lazy and passthrough the x86 drivers were lazy and those of ARM strict."""
    strict, lazy, passthrough = (observed.is_configured(symbol) for symbol in (*_STRICTNESS, _PASSTHROUGH))
    has_choice = None if kernel is None else behaviour.HAS_STRICT_CHOICE.cover(kernel)
    if strict or lazy:
        return (bool(strict),)
    if strict is None and line.strict is not None:
        return (line.strict,)
    if strict is None:
        return _EITHER if has_choice is not False else (vendor is Platform.ARM64,)
    if passthrough and has_choice is not False:  # chosen, and then what is translated is lazy; or older than the choice
        return (False,) if has_choice or vendor is not Platform.ARM64 else _EITHER
    return (vendor is Platform.ARM64,)


def _told(configured: bool | None, by_line: bool | None) -> bool | None:  # noqa: FBT001 - two answers to one question
    return by_line if configured is None else configured


def _decided(known: bool | None) -> tuple[bool, ...]:  # noqa: FBT001 - the one thing it is about
    return _EITHER if known is None else (known,)
