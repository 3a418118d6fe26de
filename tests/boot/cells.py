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
    """What was done before a boot: a profile applied, all of it rolled back, or nothing at all."""

    PASSTHROUGH = "passthrough-perf"
    STRICT = "strict-isolation"
    LAZY = "translated-lazy"
    OFF = "iommu-off"
    ROLLBACK = "rollback"
    NOTHING = "default line"

    @property
    def is_default(self) -> bool:
        """Whether the kernel boots with the line that it has by itself."""
        return self in {Step.ROLLBACK, Step.NOTHING}

    @property
    def profile(self) -> str:
        """The profile that the boot is held against."""
        return NEUTRAL if self.is_default else self.value


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
    """What a boot must show: the type of every group (none at all where it is off), and what `verify` says.

    `by` is what did it, the line or the kernel by itself; None where it was not done.
    """

    type: DomainType
    verdict: str
    by: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a boot showed: the types of its groups, by sysfs, and the verdict and exit code of `verify`."""

    types: frozenset[str]
    verdict: str
    by: str | None
    code: int


def platform_of(iommu: Iommu) -> Platform:
    """Return the platform of a machine."""
    return {Iommu.AMD: Platform.AMD, Iommu.SMMU: Platform.ARM64}.get(iommu, Platform.INTEL)


def every() -> tuple[Cell, ...]:
    """Return the full product of what a PC can be."""
    loaders = tuple(loader for loader in Loader if loader is not Loader.GRUB_ARM64)
    iommus = tuple(iommu for iommu in Iommu if iommu is not Iommu.SMMU)
    steps = tuple(step for step in Step if step is not Step.NOTHING)
    return tuple(Cell(*combined) for combined in product(loaders, iommus, steps, Suite))


def arm64() -> tuple[Cell, ...]:
    """Return the boots of the ARM64 machine, which has no parameter that turns its IOMMU off."""
    steps = (Step.PASSTHROUGH, Step.LAZY, Step.ROLLBACK)
    return tuple(Cell(Loader.GRUB_ARM64, Iommu.SMMU, step, Suite.TRIXIE) for step in steps)


def covering(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return a selection in which every pair of values that occurs in `cells` occurs: always the same one.

    Of cells that show as many new pairs, one with an IOMMU is taken, for it shows more, and of these that whose values
    were taken least. What the others show together is left out again.
    """
    candidates = tuple(cells)
    missing = {pair for cell in candidates for pair in pairs(cell)}
    taken: Counter[str] = Counter()
    chosen = []
    while missing:
        best = max(candidates, key=lambda cell: _worth(cell, missing, taken))
        chosen.append(best)
        missing -= pairs(best)
        taken.update(values(best))
    for cell in tuple(chosen):
        if pairs(cell) <= {pair for other in chosen if other is not cell for pair in pairs(other)}:
            chosen.remove(cell)
    return tuple(sorted(chosen))


def _worth(cell: Cell, missing: set[tuple[str, str]], taken: Counter[str]) -> tuple[int, bool, int]:
    return len(missing & pairs(cell)), cell.iommu is not Iommu.NONE, -sum(taken[one] for one in values(cell))


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
    if iommu is Iommu.NONE and not step.is_default and wanted is not DomainType.OFF:
        return Expected(kind, "firmware_off", None)
    return Expected(kind, "active", "kernel_default" if step.is_default else "command_line")


def judge(expected: Expected, found: Found) -> tuple[str, ...]:
    """Tell, in words, how what was found differs from what must be."""
    types = frozenset() if expected.type is DomainType.OFF else frozenset({str(expected.type)})
    code = 0 if expected.verdict == "active" else 1
    checks = (
        ("group types", sorted(types), sorted(found.types)),
        ("verdict", expected.verdict, found.verdict),
        ("what did it", expected.by, found.by),
        ("exit code of verify", code, found.code),
    )
    return tuple(f"{name}: {wanted!r} expected, {shown!r} found" for name, wanted, shown in checks if wanted != shown)
