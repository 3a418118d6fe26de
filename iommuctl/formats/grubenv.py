# SPDX-License-Identifier: Apache-2.0
"""GRUB's environment block: 1024 bytes of variables, changed one at a time as grub-editenv changes them. Pure."""

import re
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

SIZE = 1024  # bytes; include/grub/lib/envblk.h: GRUB_ENVBLK_DEFCFG, util/grub-editenv.c: DEFAULT_ENVBLK_SIZE
SIGNATURE = b"# GRUB Environment Block\n"  # include/grub/lib/envblk.h: GRUB_ENVBLK_SIGNATURE
_FILLER = b"#"
# A backslash makes the next byte literal, a newline included (grub-core/lib/envblk.c).
_VARIABLE = re.compile(rb"(?P<name>[^\n=#][^\n=]*)=(?P<value>(?:\\[\s\S]|[^\\\n])*)\n")
_COMMENT = pattern(rb"#[^\n]*\n")
_ESCAPE = pattern(rb"\\([\s\S])")


class GrubEnv(NamedTuple):
    """One block. `path` only names it."""

    path: PurePosixPath
    block: bytes

    @classmethod
    def parse(cls, path: PurePosixPath, block: bytes) -> "GrubEnv":
        """Read a block. Raises BootConfigError for one that grub-editenv could not change: wrong size, no signature."""
        if len(block) != SIZE:
            raise BootConfigError(path, None, f"has {len(block)} bytes, and GRUB writes to {SIZE} exactly", hint=_MEND)
        if not block.startswith(SIGNATURE):
            raise BootConfigError(path, 1, "does not begin with GRUB's signature", hint=_MEND)
        if (end := block.find(b"\0")) >= 0:
            # grub-core/lib/envblk.c, grub_envblk_iterate: a value is text of C, the rest of it is passed over.
            line = block.count(b"\n", 0, end) + 1
            raise BootConfigError(path, line, "has a NUL byte, where GRUB's value ends", hint=_MEND)
        env = cls(path, block)
        env._matches()  # an environment is of the one shape that can be changed exactly, or there is none
        return env

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        """Names and values, unescaped, in order. Bytes that are not UTF-8 are carried as surrogates (PEP 383)."""
        return tuple((_text(match["name"]), _text(_ESCAPE.sub(rb"\1", match["value"]))) for match in self._matches())

    def get(self, name: str) -> str | None:
        """Return a variable's value; None for one that is not set."""
        return dict(self.variables).get(name)

    def set(self, name: str, value: str) -> "GrubEnv":
        """Return the block with one variable set, where it is or after the others; all else stays.

        Raises BootConfigError where the block has no room for it, and where the variable is there twice.
        """
        wanted = re.sub(rb"([\\\n])", rb"\\\1", value.encode("utf-8", "surrogateescape"))
        label = name.encode("utf-8", "surrogateescape")
        places = [match for match in self._matches() if match["name"] == label]
        if len(places) > 1:
            line = self.block.count(b"\n", 0, places[1].start()) + 1
            raise BootConfigError(self.path, line, f"sets {name!r} a second time", hint=_MEND)
        used = self.block[: self._end()]
        if places:
            start, end = places[0].span("value")
            used = used[:start] + wanted + used[end:]
        else:
            used += label + b"=" + wanted + b"\n"
        if len(used) > SIZE:
            message = f"{name!r} needs {len(used) - SIZE} bytes more than the {SIZE} of the block"
            raise BootConfigError(self.path, None, message, hint="shorten the kernel command line")
        return GrubEnv(self.path, used.ljust(SIZE, _FILLER))

    def unset(self, name: str) -> "GrubEnv":
        """Return the block without a variable; the same block where it is not set."""
        label = name.encode("utf-8", "surrogateescape")
        used = self.block[: self._end()]
        for match in reversed(self._matches()):
            if match["name"] == label:
                used = used[: match.start()] + used[match.end() :]
        return GrubEnv(self.path, used.ljust(SIZE, _FILLER))

    def _end(self) -> int:
        """Where the filler begins."""
        return len(self.block.rstrip(_FILLER))

    def _matches(self) -> list["re.Match[bytes]"]:
        matches: list[re.Match[bytes]] = []
        at, end = len(SIGNATURE), self._end()
        while at < end:
            variable = _VARIABLE.match(self.block, at)
            match = variable or _COMMENT.match(self.block, at)
            if match is None:
                line = self.block.count(b"\n", 0, at) + 1
                raise BootConfigError(self.path, line, "is neither a variable nor a comment", hint=_MEND)
            if variable is not None:
                matches.append(variable)
            at = match.end()
        return matches


_MEND = "see its variables with grub-editenv FILE list, remove it, and make it anew with grub-editenv FILE create"


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
