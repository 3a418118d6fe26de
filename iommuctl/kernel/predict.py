# SPDX-License-Identifier: Apache-2.0
"""Predict: the default domain type that a kernel will choose, from its command line and configuration. Pure."""

from enum import StrEnum

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import (
    Architecture,
    Catalogue,
    Definition,
    Kind,
    Token,
    architecture_of,
    covered,
    is_left_out,
)
from iommuctl.kernel.tables import behaviour
from iommuctl.kernel.tables.configuration import configured
from iommuctl.value import NamedTuple


class DomainType(StrEnum):
    """The default domain type of a group that the kernel makes no exception for; `off` where nothing translates."""

    IDENTITY = "identity"
    DMA = "DMA"
    DMA_FQ = "DMA-FQ"
    OFF = "off"


class Machine(NamedTuple):
    """What decides next to the command line: whose IOMMU it is, the kernel and how it was configured.

    `forces_strict`: the unit is emulated (caching mode, NpCache), and the driver then never batches.
    """

    platform: Platform
    kernel: Kernel
    vtd_default_on: bool
    passthrough_default: bool
    strict_default: bool
    forces_strict: bool = False


class Defaults(NamedTuple):
    """How a kernel was configured; None where that is not known. `spares_gpu`: VT-d is on but for integrated GPUs."""

    vtd_on: bool | None
    passthrough: bool | None
    strict: bool | None
    spares_gpu: bool | None


def defaults(platform: Platform, kernel: Kernel) -> Defaults:
    """Return how the kernels of a line are configured, by their line and release alone."""
    architecture = architecture_of(platform)
    on = configured(kernel, "CONFIG_INTEL_IOMMU_DEFAULT_ON", architecture)
    spares = configured(kernel, "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF", architecture)  # Debian's own
    passthrough = configured(kernel, "CONFIG_IOMMU_DEFAULT_PASSTHROUGH", architecture)
    strict = configured(kernel, "CONFIG_IOMMU_DEFAULT_DMA_STRICT", architecture)
    lazy = configured(kernel, "CONFIG_IOMMU_DEFAULT_DMA_LAZY", architecture)
    if behaviour.HAS_STRICT_CHOICE.cover(kernel) is False:
        strict = "y" if architecture is Architecture.ARM64 else "n"
    elif passthrough == "y" or lazy == "y":  # one of three: drivers/iommu/Kconfig
        strict = "n"
    if lazy == "y" or strict == "y":
        passthrough = "n"
    return Defaults(
        None if on is None and spares is None else "y" in {on, spares},
        None if passthrough is None else passthrough == "y",
        None if strict is None else strict == "y",
        None if spares is None else spares == "y",
    )


def predict(cmdline: Cmdline, machine: Machine, catalogue: Catalogue) -> DomainType:
    """Return the default domain type that the drivers of `machine` will choose. `machine.platform` is one vendor's.

    Where behaviour.SHOWS_LAZY does not cover a kernel, sysfs shows `DMA` for a lazy domain as well.
    """
    variables = effective(cmdline, machine.platform, machine.kernel, catalogue)
    if _is_off(variables, machine):
        return DomainType.OFF
    if _truth(variables, "iommu.passthrough", default=machine.passthrough_default):
        return DomainType.IDENTITY
    strict = machine.forces_strict or _truth(variables, "iommu.strict", default=machine.strict_default)
    return DomainType.DMA if strict else DomainType.DMA_FQ


def effective(cmdline: Cmdline, platform: Platform, kernel: Kernel, catalogue: Catalogue) -> dict[str, str]:
    """Return the variables that a command line sets in the drivers of one platform, as Catalogue.assignments names
    them.

    All early parameters are read before any other, wherever they stand; within a class the last one wins.
    """
    variables: dict[str, str] = {}
    named = ((catalogue.by_key.get(parameter.key), parameter.value) for parameter in cmdline.parameters)
    known = [(definition, value) for definition, value in named if definition is not None]
    early = [each for each in known if each[0].kind is Kind.EARLY]
    for definition, value in (*early, *(each for each in known if each[0].kind is Kind.SETUP)):
        for item in definition.items(value):
            if not definition.is_list and definition.reads(platform, kernel) is True:
                variables.update((one.variable, one.value) for one in catalogue.assignments(definition.name, item))
            for token in definition.tokens_of(item):
                if _is_read(definition, token, platform, kernel):
                    sets = catalogue.token_assignments(definition, token)
                    variables.update((one.variable, one.value) for one in sets)
            if definition.ends_list(item):
                break
    return variables


def _is_read(definition: Definition, token: Token, platform: Platform, kernel: Kernel) -> bool:
    architecture = architecture_of(platform)
    built = covered(token.available or definition.available, architecture, kernel) is True
    built = built and not is_left_out(token.needs or definition.needs, architecture, kernel)
    # Since it is deprecated, such a token only sets the generic variable: for the drivers of every vendor.
    generic = token.deprecated_since is not None and token.deprecated_since.cover(kernel) is True
    return built and (platform in definition.acting or generic)


def _is_off(variables: dict[str, str], machine: Machine) -> bool:
    if architecture_of(machine.platform) is not Architecture.X86:
        return False
    soft = "iommu:soft" in variables and behaviour.SOFT_KEEPS_IOMMU.cover(machine.kernel) is not True
    if "iommu:off" in variables or soft:
        return True
    if machine.platform is Platform.AMD:
        return "amd_iommu:off" in variables
    return variables.get("intel_iommu:state", "on" if machine.vtd_default_on else "off") == "off"


def _truth(variables: dict[str, str], name: str, *, default: bool) -> bool:
    return variables.get(name, str(int(default))) == "1"
