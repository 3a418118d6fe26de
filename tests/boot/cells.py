# SPDX-License-Identifier: Apache-2.0
"""Cells: what is combined with what, which combinations a run boots, and what each must show. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

from boot.machine import Iommu
from boot.recipes import Loader, Suite

from iommuctl.facts import Distribution, Facts, KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue
from iommuctl.kernel.predict import DomainType, Machine, predict
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_profiles

NEUTRAL = "kernel-default"


class Step(StrEnum):
    """What was done before a boot: a profile applied, or all of it rolled back."""

    PASSTHROUGH = "passthrough-perf"
    STRICT = "strict-isolation"
    LAZY = "translated-lazy"
    OFF = "iommu-off"
    ROLLBACK = "rollback"

    @property
    def profile(self) -> str:
        """The profile that the boot is held against."""
        return NEUTRAL if self is Step.ROLLBACK else self.value


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One boot of the matrix. `kernel` is the suite that the kernel comes from."""

    loader: Loader
    iommu: Iommu
    step: Step
    kernel: Suite

    @property
    def platform(self) -> Platform:
        """Whose processor the machine has; one without an IOMMU is Intel's."""
        return platform_of(self.iommu)

    def __str__(self) -> str:
        return f"{self.loader} / {self.iommu} / {self.step} / kernel of {self.kernel}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a boot must show: the type of every group (none at all where it is off), and what `verify` says."""

    type: DomainType
    verdict: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a boot showed: the types of its groups, by sysfs, and the verdict and exit code of `verify`."""

    types: frozenset[str]
    verdict: str
    code: int


def platform_of(iommu: Iommu) -> Platform:
    """Return the platform of a machine."""
    return {Iommu.AMD: Platform.AMD, Iommu.SMMU: Platform.ARM64}.get(iommu, Platform.INTEL)


def every() -> tuple[Cell, ...]:
    """Return the full product of what a PC can be."""
    loaders = tuple(loader for loader in Loader if loader is not Loader.GRUB_ARM64)
    iommus = tuple(iommu for iommu in Iommu if iommu is not Iommu.SMMU)
    return tuple(Cell(*combined) for combined in product(loaders, iommus, Step, Suite))


def arm64() -> tuple[Cell, ...]:
    """Return the boots of the ARM64 machine, which has no parameter that turns its IOMMU off."""
    steps = (Step.PASSTHROUGH, Step.LAZY, Step.ROLLBACK)
    return tuple(Cell(Loader.GRUB_ARM64, Iommu.SMMU, step, Suite.TRIXIE) for step in steps)


def covering(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return a selection in which every pair of values that occurs in `cells` occurs: always the same one.

    Of cells that show as many new pairs, that is taken whose values were taken least.
    """
    candidates = tuple(cells)
    missing = {pair for cell in candidates for pair in pairs(cell)}
    taken: Counter[str] = Counter()
    chosen = []
    while missing:
        best = max(candidates, key=lambda cell: (len(missing & pairs(cell)), -sum(taken[one] for one in values(cell))))
        chosen.append(best)
        missing -= pairs(best)
        taken.update(values(best))
    return tuple(sorted(chosen))


def values(cell: Cell) -> tuple[str, ...]:
    """Return the values of a cell, each with its kind."""
    return (f"loader {cell.loader}", f"iommu {cell.iommu}", f"step {cell.step}", f"kernel {cell.kernel}")


def pairs(cell: Cell) -> frozenset[tuple[str, str]]:
    """Return the pairs of values that a cell shows together."""
    return frozenset(combinations(values(cell), 2))


def expect(iommu: Iommu, step: Step, kernel: KernelVersion, catalogue: Catalogue) -> Expected:
    """Predict from the catalogue what Debian's kernel does on an emulated machine with the parameters of a profile."""
    platform = platform_of(iommu)
    desired = resolve(
        load_profile(step.profile, shipped_profiles()),
        catalogue,
        Facts(platform, platform_assumed=False, distribution=Distribution("debian"), kernels=(f"{kernel}.0",)),
        {},
    )
    line = Cmdline.parse(" ".join(str(wanted) for wanted in desired.wanted))
    is_arm = platform is Platform.ARM64
    debian = Machine(
        platform,
        Kernel.upstream(kernel),
        vtd_default_on=True,  # INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF
        passthrough_default=False,
        strict_default=is_arm,
        forces_strict=platform is Platform.AMD,  # QEMU's unit sets NpCache
    )
    wanted = predict(line, debian, catalogue)
    kind = DomainType.OFF if iommu is Iommu.NONE else wanted
    is_missed = iommu is Iommu.NONE and step is not Step.ROLLBACK and wanted is not DomainType.OFF
    return Expected(kind, "firmware_off" if is_missed else "active")


def judge(expected: Expected, found: Found) -> tuple[str, ...]:
    """Tell, in words, how what was found differs from what must be."""
    types = frozenset() if expected.type is DomainType.OFF else frozenset({str(expected.type)})
    code = 0 if expected.verdict == "active" else 1
    checks = (
        ("group types", sorted(types), sorted(found.types)),
        ("verdict", expected.verdict, found.verdict),
        ("exit code of verify", code, found.code),
    )
    return tuple(f"{name}: {wanted!r} expected, {shown!r} found" for name, wanted, shown in checks if wanted != shown)
