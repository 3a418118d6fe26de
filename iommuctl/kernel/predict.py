# SPDX-License-Identifier: Apache-2.0
"""Predict: the default domain type that a kernel will choose, from its command line and configuration. Pure."""

from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Architecture, Catalogue, Definition, Kind, Token, architecture_of


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
    kernel: KernelVersion
    vtd_default_on: bool
    passthrough_default: bool
    strict_default: bool
    forces_strict: bool = False


# arch/x86/kernel/pci-dma.c: pci_iommu_alloc() looks for the hardware IOMMU whatever iommu=soft says; 5.17 did not yet.
SOFT_IS_HARMLESS = KernelVersion(5, 19)


def predict(cmdline: Cmdline, machine: Machine, catalogue: Catalogue) -> DomainType:
    """Return the default domain type that the drivers of `machine` will choose. `machine.platform` is one vendor's.

    Before 5.15 sysfs shows `DMA` for a lazy domain as well.
    """
    variables = effective(cmdline, machine.platform, machine.kernel, catalogue)
    if _is_off(variables, machine):
        return DomainType.OFF
    if _truth(variables, "iommu.passthrough", default=machine.passthrough_default):
        return DomainType.IDENTITY
    strict = machine.forces_strict or _truth(variables, "iommu.strict", default=machine.strict_default)
    return DomainType.DMA if strict else DomainType.DMA_FQ


def effective(cmdline: Cmdline, platform: Platform, kernel: KernelVersion, catalogue: Catalogue) -> dict[str, str]:
    """Return the variables that a command line sets in the drivers of one platform, as Catalogue.assignments names
    them.

    All early parameters are read before any other, wherever they stand; within a class the last one wins.
    """
    variables: dict[str, str] = {}
    for definition, value in chain(_of_kind(cmdline, Kind.EARLY, catalogue), _of_kind(cmdline, Kind.SETUP, catalogue)):
        for item in definition.items(value):
            if definition.understood(platform, kernel) and not definition.is_list:
                variables.update((one.variable, one.value) for one in catalogue.assignments(definition.name, item))
            for token in definition.tokens_of(item):
                if _is_read(definition, token, platform, kernel):
                    sets = catalogue.token_assignments(definition, token)
                    variables.update((one.variable, one.value) for one in sets)
            if definition.ends_list(item):
                break
    return variables


def _of_kind(cmdline: Cmdline, kind: Kind, catalogue: Catalogue) -> list[tuple[Definition, str | None]]:
    named = ((catalogue.known(parameter.name), parameter.value) for parameter in cmdline.parameters)
    return [(definition, value) for definition, value in named if definition is not None and definition.kind is kind]


def _is_read(definition: Definition, token: Token, platform: Platform, kernel: KernelVersion) -> bool:
    architecture = architecture_of(platform)
    built = any(span.covers(architecture, kernel) for span in (token.available or definition.available))
    # Since it is deprecated, such a token only sets the generic variable: for the drivers of every vendor.
    generic = token.deprecated_since is not None and token.deprecated_since <= kernel
    return built and (platform in definition.acting or generic)


def _is_off(variables: dict[str, str], machine: Machine) -> bool:
    if architecture_of(machine.platform) is not Architecture.X86:
        return False
    if "iommu:off" in variables or ("iommu:soft" in variables and machine.kernel < SOFT_IS_HARMLESS):
        return True
    if machine.platform is Platform.AMD:
        return "amd_iommu:off" in variables
    return variables.get("intel_iommu:state", "on" if machine.vtd_default_on else "off") == "off"


def _truth(variables: dict[str, str], name: str, *, default: bool) -> bool:
    return variables.get(name, str(int(default))) == "1"
