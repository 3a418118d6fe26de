# SPDX-License-Identifier: Apache-2.0
"""Lines: which kernel a release string names. A distribution's kernel has more than the number it began from. Pure.

A line keeps what its first release had and gains by backports, so a number may say what a kernel reads, and only the
line with its own release what it does not read.
"""

import re
from enum import StrEnum
from functools import lru_cache

from iommuctl.facts import KernelVersion
from iommuctl.value import NamedTuple


class Line(StrEnum):
    """A family of kernels that are made from one tree."""

    UPSTREAM = "upstream"
    EL8 = "el8"
    EL9 = "el9"
    EL10 = "el10"
    DEBIAN = "debian"
    UBUNTU = "ubuntu"
    PVE = "pve"
    SLE = "sle"
    SUSE = "suse"
    UEK6 = "uek6"
    UEK7 = "uek7"
    UEK8 = "uek8"
    AMAZON = "amzn"
    AZURE = "azl"
    FEDORA = "fedora"
    ARCH = "arch"
    UNKNOWN = "unknown"


# Their kernels are upstream's but for patches that the tables name (Debian's linux-source packages, read at 5.10.223,
# 6.1.192, 6.12.117 and 7.2.13). Of every other line the number is a lower bound.
EXACT = frozenset({Line.UPSTREAM, Line.DEBIAN})

# Build numbers with which a minor release begins: Makefile.rhelver at the last build of each (mkuron/almalinux-kernel);
# of 8.0, 8.2, 9.7 and 10.1 by release strings of public hosts.
_EL8 = {0: 80, 1: 147, 2: 193, 3: 240, 4: 305, 5: 348, 6: 372, 7: 425, 8: 477, 9: 513, 10: 553}
_EL9 = {0: 70, 1: 162, 2: 284, 3: 362, 4: 427, 5: 503, 6: 570, 7: 611}
_EL10 = {0: 55, 1: 124}
_ENTERPRISE = {
    (Line.EL8, KernelVersion(4, 18)): (8, _EL8),
    (Line.EL9, KernelVersion(5, 14)): (9, _EL9),
    (Line.EL10, KernelVersion(6, 12)): (10, _EL10),
}
BUILDS = {
    line: {KernelVersion(major, minor): build for minor, build in builds.items()}
    for (line, _), (major, builds) in _ENTERPRISE.items()
}
# uek-rpm/ol8, ol9, ol10 of oracle/linux-uek: the base names the release.
_UEK = {KernelVersion(5, 4): Line.UEK6, KernelVersion(5, 15): Line.UEK7, KernelVersion(6, 12): Line.UEK8}

# Bases of SLE 11 to 15 SP3, whose releases do not name the service pack (4.12.14-122.162-default is SLE 12 SP5):
# SUSE/kernel-source, branches SLE11-SP4 to SLE15-SP3. Tumbleweed has left them behind.
_OLD_SLE = frozenset(KernelVersion(*numbers) for numbers in ((3, 0), (3, 12), (4, 4), (4, 12), (5, 3)))

# Patterns are compiled where they are used: a run reads a release or two, and most of these never meet one.
_NUMBERS = r"(\d{1,3})\.(\d{1,4})(?:\.(\d{1,5}))?"
_VANILLA = r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?"
_EL = r"-(\d{1,6})(?:\.[\w.]*?)?\.el(8|9|10)(?:_(\d{1,2}))?(?:\.|$)"
_SLE = r"-(\d\d)(\d\d)\d\d\.[\d.]+-[a-z]"  # 6.4.0-150700.53.31-default: version, service pack
_DEBIAN = (  # 6.1.0-50-cloud-amd64, 6.12.107+deb13-amd64
    r"\d+\.\d+\.\d+(?:-(?:0\.deb\d+\.)?\d+|\+(?:deb\d+|bpo)(?:\+\d+)?)(?:-cloud|-rt)?"
    r"-(?:amd64|arm64|686|686-pae|armmp|s390x|powerpc64le|riscv64|loong64)(?:-16k|-64k)?(?:-unsigned)?"
)
_UBUNTU = (
    r"\d+\.\d+\.\d+-\d+-(?:generic|lowlatency|aws|azure|gcp|gke|oracle|ibm|kvm|raspi|oem|nvidia|realtime|"
    r"intel|xilinx|bluefield|qcom|tegra)(?:-[a-z0-9]+)*"
)
_LEAP = r"-lp(\d\d)(\d)\.[\d.]+-[a-z]"  # 5.3.18-lp152.106-default: Leap 15.2, from the tree of SLE 15 SP2
_SUSE = r"\d+\.\d+\.\d+-[\d.]+-(?:default|azure|rt|kvmsmall|64kb)"
# What is in a release of the line, and its whole form where that alone proves nothing.
_BY_MARK = (
    ("-pve", r".*-pve", Line.PVE),
    (".fc", r".*\.fc\d+(?:\..*)?", Line.FEDORA),
    (".azl", r".*\.azl\d+(?:\..*)?", Line.AZURE),
    (".amzn", r".*\.amzn\d+(?:\..*)?", Line.AMAZON),
    ("-arch", r".*-arch\d+-\d+", Line.ARCH),
    ("-zen", r".*-zen\d+-\d+-zen", Line.ARCH),
    ("-lts", r".*-[1-9]\d*-lts", Line.ARCH),
    ("-hardened", r".*-hardened\d+-\d+-hardened", Line.ARCH),
    ("-cachyos", r".*-\d+-cachyos", Line.ARCH),
    ("", _DEBIAN, Line.DEBIAN),
    ("", _UBUNTU, Line.UBUNTU),
    ("", _SUSE, Line.SUSE),
)


class Kernel(NamedTuple):
    """One kernel: its line, the number that its line began from, and between which releases of the line it is.

    `least` and `most` are releases as the line counts them (8.10 of el8, 6.1 of upstream), equal where the release is
    known, None where nothing bounds it. `patch` is the stable release of `base`, where the string tells.
    """

    release: str
    line: Line
    base: KernelVersion
    patch: int | None
    least: KernelVersion | None
    most: KernelVersion | None

    @classmethod
    @lru_cache(maxsize=256)  # the entries of a host repeat few releases
    def parse(cls, release: str) -> "Kernel | None":
        """Read a release such as `4.18.0-553.66.1.el8_10.x86_64` or `6.1`; None where it begins with no number."""
        numbers = re.match(_NUMBERS, release)
        if numbers is None:
            return None
        base = KernelVersion(int(numbers[1]), int(numbers[2]))
        patch = int(numbers[3]) if numbers[3] else None
        if re.fullmatch(_VANILLA, release):
            return cls(release, Line.UPSTREAM, base, patch, base, base)
        if "uek" in release:  # before its el: the tree is upstream's, not that of the EL that it is built for
            return cls(release, _UEK.get(base, Line.UNKNOWN), base, patch, base, base)
        enterprise = re.search(_EL, release.partition("+")[0]) if ".el" in release else None
        if enterprise is not None:
            return _enterprise(release, base, enterprise)
        sle = re.search(_SLE, release) or re.search(_LEAP, release)
        if sle is not None:
            minor = KernelVersion(int(sle[1]), int(sle[2]))
            return cls(release, Line.SLE, base, patch, minor, minor)
        marked = (line for mark, form, line in _BY_MARK if mark in release and re.fullmatch(form, release))
        line = next(marked, Line.UNKNOWN)
        if line is Line.SUSE and base in _OLD_SLE:
            return cls(release, Line.SLE, base, patch, None, None)
        # Debian and Ubuntu count builds of one interface: 6.1.0-50 and 6.8.0-45 do not name the stable release.
        told = patch if patch or line is not Line.DEBIAN else None
        return cls(release, line, base, None if line is Line.UBUNTU else told, base, base)

    @classmethod
    def upstream(cls, version: KernelVersion) -> "Kernel":
        """Return the upstream kernel of a version."""
        return cls(str(version), Line.UPSTREAM, version, None, version, version)

    def __str__(self) -> str:
        match self.line:
            case Line.UPSTREAM:
                return str(self.base)
            case Line.EL8 | Line.EL9 | Line.EL10:
                return f"{self.base} ({self.place})"
            case Line.UNKNOWN:
                return f"{self.base} (of an unknown line)"
            case _:
                return f"{self.base} ({self.line})"

    @property
    def place(self) -> str:
        """The line with the release, or with what is known of it."""
        if self.least is None:
            return f"{self.line} up to {self.most}" if self.most else str(self.line)
        if self.most is None:
            return f"{self.line} from {self.least}"
        if self.least != self.most:
            return f"{self.line} between {self.least} and {self.most}"
        return f"{self.line} {self.least}"

    @property
    def order(self) -> tuple[KernelVersion, str]:
        """What kernels are sorted by: the number that their line began from, then the release."""
        return self.base, self.release


@lru_cache(maxsize=4)  # a plan asks for those of a host more than once
def parse_kernels(releases: tuple[str, ...]) -> tuple[Kernel, ...]:
    """Return the kernels that releases name, in order and each once; what begins with no number is left out."""
    return tuple(sorted({one for text in releases if (one := Kernel.parse(text))}, key=lambda one: one.order))


def distinct(kernels: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """Return one kernel of each place in its line: what a kernel reads is told by nothing else of its release."""
    return tuple({one._replace(release=""): one for one in reversed(kernels)}.values())[::-1]


def _enterprise(release: str, base: KernelVersion, found: re.Match[str]) -> Kernel:
    """Return a kernel of Enterprise Linux: by `_N`, else by its build number, else of an unknown line (kernel-ml)."""
    line = Line(f"el{found[2]}")
    if (line, base) not in _ENTERPRISE:
        return Kernel(release, Line.UNKNOWN, base, None, base, base)
    major, builds = _ENTERPRISE[line, base]
    if found[3] is not None:
        minor = KernelVersion(major, int(found[3]))
        return Kernel(release, line, base, None, minor, minor)
    # CentOS Stream, and the first builds of a minor release, which carry no `_N`.
    build = int(found[1])
    least = max((minor for minor, first in builds.items() if first <= build), default=None)
    most = min((minor for minor, first in builds.items() if first >= build), default=None)
    return Kernel(
        release,
        line,
        base,
        None,
        None if least is None else KernelVersion(major, least),
        None if most is None else KernelVersion(major, most),
    )
