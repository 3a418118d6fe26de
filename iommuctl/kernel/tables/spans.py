# SPDX-License-Identifier: Apache-2.0
"""Spans: the words in which the tables say which kernels of an architecture read something."""

from functools import partial

from iommuctl.facts import KernelVersion
from iommuctl.kernel.parameters import Architecture, Availability


def _span(on: Architecture, since: str | None = None, until: str | None = None) -> Availability:
    """Return an availability: from the oldest release that was seen to have it to the newest one."""
    return Availability(on, _version(since), _version(until))


def _version(text: str | None) -> KernelVersion | None:
    return None if text is None else KernelVersion.parse(text)


x86 = partial(_span, Architecture.X86)
arm64 = partial(_span, Architecture.ARM64)
riscv = partial(_span, Architecture.RISCV)
s390 = partial(_span, Architecture.S390)
powerpc = partial(_span, Architecture.POWERPC)
