# SPDX-License-Identifier: Apache-2.0
"""Words of the tables: which kernels have something, upstream and line by line.

Each text is that of Span.parse: `5.12/5.14 FILE:LINE at RELEASE` is not in 5.12, but in 5.14, and was read there.
"""

from collections.abc import Mapping
from functools import partial

from iommuctl.kernel.lines import Line
from iommuctl.kernel.parameters import Architecture, Availability
from iommuctl.kernel.span import ALWAYS, EVERYWHERE, Span, Spans


def since(upstream: str = "", stable: tuple[tuple[int, int, int], ...] = (), **lines: str) -> Spans:
    """Return the releases of upstream and of each line that is named; without a text every release that was read."""
    return Spans(Span.parse(upstream) if upstream else EVERYWHERE, _lines(lines), stable)


def _lines(texts: Mapping[str, str]) -> tuple[tuple[Line, Span], ...]:
    return tuple((Line(name), Span.parse(text)) for name, text in texts.items())


def _on(
    architecture: Architecture, upstream: str = "", stable: tuple[tuple[int, int, int], ...] = (), **lines: str
) -> Availability:
    return Availability(architecture, since(upstream, stable, **lines))


__all__ = ["ALWAYS", "arm64", "powerpc", "riscv", "s390", "since", "x86"]

x86 = partial(_on, Architecture.X86)
arm64 = partial(_on, Architecture.ARM64)
riscv = partial(_on, Architecture.RISCV)
s390 = partial(_on, Architecture.S390)
powerpc = partial(_on, Architecture.POWERPC)
