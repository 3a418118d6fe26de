# SPDX-License-Identifier: Apache-2.0
"""Facts: what a plan needs to know of a host. Values only; probe.py reads them."""

from enum import StrEnum

from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple


class Platform(StrEnum):
    """Whose IOMMU drivers the command line speaks to; `x86` is both vendors, for images that may boot on either."""

    INTEL = "intel"
    AMD = "amd"
    X86 = "x86"
    ARM64 = "arm64"

    @property
    def members(self) -> frozenset["Platform"]:
        """The concrete platforms that this one stands for."""
        return frozenset({Platform.INTEL, Platform.AMD}) if self is Platform.X86 else frozenset({self})


# include/asm/setup.h (x86) and include/uapi/asm-generic/setup.h, arm64: COMMAND_LINE_SIZE, the final NUL included.
COMMAND_LINE_SIZE = {Platform.INTEL: 2048, Platform.AMD: 2048, Platform.X86: 2048, Platform.ARM64: 2048}

_RELEASE = pattern(r"(\d{1,9})\.(\d{1,9})")


class KernelVersion(NamedTuple):
    """The part of a kernel release that decides about parameters: major and minor."""

    major: int
    minor: int

    @classmethod
    def parse(cls, release: str) -> "KernelVersion | None":
        """Read the leading `major.minor` of a release such as `6.1.0-50-amd64`; None where there is none."""
        match = _RELEASE.match(release)
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class Distribution(NamedTuple):
    """`ID`, `ID_LIKE` and `VERSION_ID` of os-release (os-release(5)); empty where the file is missing."""

    id: str = ""
    like: tuple[str, ...] = ()
    version: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its own id, then those it resembles, nearest first."""
        return (self.id, *self.like) if self.id else self.like


class Runtime(NamedTuple):
    """What the running system says of its own boot: its command line, and what its loader left in EFI variables.

    `entry_selected`, `entry_default`, `entry_preferred`, `loader_info`, `stub_info`, `loader_partition` are the
    variables LoaderEntrySelected, LoaderEntryDefault, LoaderEntryPreferred (systemd 260), LoaderInfo, StubInfo and
    LoaderDevicePartUUID of the Boot Loader Interface;
    `boot_program` is the path of the program that the firmware started; `mounts` are those of /boot, /efi and /boot/efi
    on which something is mounted, and `partitions` the PARTUUIDs of what is, as far as they are known. `machine` is the
    model, by the device tree or DMI.
    """

    cmdline: str
    is_efi: bool = False
    is_xen_host: bool = False
    loader_info: str | None = None
    stub_info: str | None = None
    entry_selected: str | None = None
    loader_partition: str | None = None
    boot_program: str | None = None
    mounts: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    entry_default: str | None = None
    entry_preferred: str | None = None
    machine: str | None = None


class Facts(NamedTuple):
    """What the plan depends on next to the files: the platform, the installed kernels, the distribution.

    `kernels` are those that have an image, `modules` those that have modules, an image or not. `runtime` is None for a
    root that is not the running system.
    """

    platform: Platform
    platform_assumed: bool
    distribution: Distribution
    kernels: tuple[str, ...]
    runtime: Runtime | None = None
    modules: tuple[str, ...] = ()
