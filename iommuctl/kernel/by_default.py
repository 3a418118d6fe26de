# SPDX-License-Identifier: Apache-2.0
"""By default: what a kernel of a known line does where no parameter asks for anything, and in which words. Pure."""

from iommuctl.facts import Platform
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Architecture, Definition
from iommuctl.kernel.predict import DomainType, defaults
from iommuctl.kernel.tables.configuration import SOURCES
from iommuctl.value import NamedTuple

# What decides the default domain type where no parameter does, and the units that it is asked for.
_DECIDING = frozenset(
    {"CONFIG_IOMMU_DEFAULT_PASSTHROUGH", "CONFIG_IOMMU_DEFAULT_DMA_LAZY", "CONFIG_INTEL_IOMMU_DEFAULT_ON"}
)
_UNITS = {
    Architecture.X86: ((Platform.INTEL, "VT-d"), (Platform.AMD, "AMD-Vi")),
    Architecture.ARM64: ((Platform.ARM64, "the SMMU of arm64"),),
}
_NAMES = {platform: name for units in _UNITS.values() for platform, name in units}
# How the releases of distributions name an architecture.
_RELEASE_NAMES = {Architecture.X86: ("x86_64", "amd64"), Architecture.ARM64: ("aarch64", "arm64")}
_WORDS = {
    DomainType.IDENTITY: "untranslated (identity)",
    DomainType.DMA: "translated strictly (DMA)",
    DomainType.DMA_FQ: "translated lazily (DMA-FQ)",
}


class DefaultAnswer(NamedTuple):
    """What a kernel does by itself with the IOMMU of one platform; None for what its line does not tell.

    `turns_on`: whether the IOMMU is used without a parameter; where it is not, `type` is that with intel_iommu=on.
    `spares_gpu`: it is used, but not for integrated GPUs.
    """

    kernel: Kernel
    platform: Platform
    turns_on: bool | None
    spares_gpu: bool | None
    type: DomainType | None
    source: str | None


def default_answers(definition: Definition, kernels: tuple[Kernel, ...]) -> tuple[DefaultAnswer, ...]:
    """Return what kernels do by themselves, for a parameter that changes it; nothing for any other."""
    if not _DECIDING & set(definition.kconfig):
        return ()
    asked = ((kernel, platform) for kernel in kernels for one in architectures(kernel) for platform, _ in _UNITS[one])
    return tuple(_answer(platform, kernel) for kernel, platform in asked)


def architectures(kernel: Kernel) -> tuple[Architecture, ...]:
    """Return the architecture that a release names, else those of hypervisor hosts."""
    for one, names in _RELEASE_NAMES.items():
        if any(name in kernel.release for name in names):
            return (one,)
    return (Architecture.X86, Architecture.ARM64)


def default_words(answers: tuple[DefaultAnswer, ...]) -> str:
    """Say what one kernel does by itself."""
    told = [(one, words) for one in answers if (words := _words(one))]
    if not told:
        return "how it is configured is not known; its own configuration tells"
    units = "; ".join(f"{_NAMES[one.platform]} {words}" for one, words in told)
    return f"{units} ({told[0][0].source})"


def _answer(platform: Platform, kernel: Kernel) -> DefaultAnswer:
    found = defaults(platform, kernel)
    kind = None
    if found.passthrough:
        kind = DomainType.IDENTITY
    elif found.passthrough is False and found.strict is not None:
        kind = DomainType.DMA if found.strict else DomainType.DMA_FQ
    is_intel = platform is Platform.INTEL
    on = found.vtd_on if is_intel else True  # AMD-Vi and the SMMU are used wherever the firmware offers them
    is_told = kind is not None or found.vtd_on is not None
    source = SOURCES.get(kernel.line) if is_told else None
    return DefaultAnswer(kernel, platform, on, found.spares_gpu if is_intel else None, kind, source)


def _words(answer: DefaultAnswer) -> str:
    if answer.type is None:
        return ""
    if answer.platform is not Platform.INTEL or answer.turns_on is None:
        return _WORDS[answer.type]
    on = "on but for integrated GPUs," if answer.spares_gpu else "on,"
    return f"{on if answer.turns_on else 'off, and with intel_iommu=on'} {_WORDS[answer.type]}"
