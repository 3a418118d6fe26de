# SPDX-License-Identifier: Apache-2.0
"""Span: from which release to which something holds, line by line, and what that says of one kernel. Pure."""

from iommuctl.facts import KernelVersion
from iommuctl.kernel.lines import EXACT, Kernel, Line
from iommuctl.value import NamedTuple


class Span(NamedTuple):
    """The releases of one line that have something, as they were read in sources.

    `since` is the oldest that was seen to have it and `absent` the newest older one without it; `until` the newest
    that has it, `gone` the oldest later one without it. All None: every release that was read has it; `absent` alone:
    none has. `source` is the place in the sources of these releases.
    """

    since: KernelVersion | None = None
    absent: KernelVersion | None = None
    until: KernelVersion | None = None
    gone: KernelVersion | None = None
    source: str = ""

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Read `absent/since..until/gone`, each part optional, with the source after a blank.

        `5.12/5.14` is from 5.14 on and not yet in 5.12, `4.19/5.4..5.10/5.11` ended after 5.10, `8.10/` is in none up
        to 8.10. Raises ValueError for any other text.
        """
        span, _, source = text.partition(" ")
        start, dots, end = span.partition("..")
        absent, _, since = start.rpartition("/")
        until, _, gone = end.partition("/")
        if not span or bool(dots) is not bool(until) or not (absent or since or until):
            raise ValueError(f"no span: {text!r}")
        return cls(_version(since, text), _version(absent, text), _version(until, text), _version(gone, text), source)

    @property
    def is_never(self) -> bool:
        """Whether no release that was read has it."""
        return self.since is None and self.absent is not None

    def covers(self, least: KernelVersion | None, most: KernelVersion | None) -> bool | None:
        """Whether a kernel between two releases has it; None where what was read does not tell."""
        if self.absent is not None and most is not None and most <= self.absent:
            return False
        if self.gone is not None and least is not None and least >= self.gone:
            return False
        if self.is_never:
            return None
        started = self.since is None or (least is not None and least >= self.since)
        ended = self.until is not None and (most is None or most > self.until)
        return True if started and not ended else None


EVERYWHERE = Span()


class Spans(NamedTuple):
    """The releases that have something: upstream's, and those of lines that differ from what their number says.

    `stable` are stable releases of upstream that got it later than the mainline did: major, minor, patch.
    """

    upstream: Span = EVERYWHERE
    lines: tuple[tuple[Line, Span], ...] = ()
    stable: tuple[tuple[int, int, int], ...] = ()

    @property
    def since(self) -> KernelVersion | None:
        """The oldest upstream release that was seen to have it."""
        return self.upstream.since

    @property
    def until(self) -> KernelVersion | None:
        """The newest upstream release that has it, where a later one was seen without it."""
        return self.upstream.until

    def cover(self, kernel: Kernel) -> bool | None:
        """Whether a kernel has it; None where neither its line nor its number tells."""
        for line, span in self.lines:
            if line is kernel.line:
                return span.covers(kernel.least, kernel.most)
        if kernel.line in EXACT:
            return self._exactly(kernel)
        # A line keeps what its first release had, but for what upstream removed: that may have been taken over too.
        if self.upstream.gone is not None and kernel.base >= self.upstream.gone:
            return False
        had = self.upstream.covers(kernel.base, kernel.base)
        return True if had and self.upstream.until is None else None

    def source(self, kernel: Kernel) -> str:
        """Return where that was read: the place of the kernel's own line, else upstream's."""
        return next((span.source for line, span in self.lines if line is kernel.line), self.upstream.source)

    def _exactly(self, kernel: Kernel) -> bool | None:
        for major, minor, patch in self.stable:
            if kernel.base == (major, minor):
                return True if kernel.patch is not None and kernel.patch >= patch else None
        return self.upstream.covers(kernel.base, kernel.base)


ALWAYS = Spans()


def _version(version: str, text: str) -> KernelVersion | None:
    if not version:
        return None
    major, dot, minor = version.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise ValueError(f"no span: {text!r}")
    return KernelVersion(int(major), int(minor))
