# SPDX-License-Identifier: Apache-2.0
"""The grammar of the kernel command line, as next_arg() and parse_args() of the kernel have it. Pure."""

import re
from collections.abc import Iterable
from functools import lru_cache

from iommuctl.value import NamedTuple

# lib/cmdline.c next_arg(). Its isspace() is byte-wise and counts 0xA0 (lib/ctype.c): the second byte of a UTF-8 "à"
# splits a parameter.
_TOKEN = re.compile(r'((?:"[^"]*(?:"|\Z)|[^"\t\n\v\f\r \xa0]+)+)')
_TERMINATOR = "--"
# What a bootloader or kernel-install adds by itself, and what belongs to one entry only (kernel-install(8)).
OF_ONE_BOOT = frozenset({"BOOT_IMAGE", "initrd", "systemd.machine_id"})


def canonical_name(name: str) -> str:
    """Return the spelling that all spellings of a parameter name share (kernel/params.c dash2underscore)."""
    return name.replace("-", "_")


class Parameter(NamedTuple):
    """One parameter: `text` as written, `name` and `value` as next_arg() hands them to the kernel.

    `value` is None where there is no `=`; that differs from an empty value. `key` is the name in the spelling that all
    its spellings share.
    """

    text: str
    name: str
    value: str | None
    key: str

    @classmethod
    @lru_cache(maxsize=4096)  # the entries of a host repeat the same parameters a thousand times
    def parse(cls, text: str) -> "Parameter":
        """Split one token at its first `=` and take its quotes off, exactly as next_arg() does."""
        args = text.removeprefix('"')
        # An `=` in the first place does not count: next_arg() keeps its index in a variable whose 0 means "none yet".
        equals = args.find("=", 1)
        name, value = (args, None) if equals < 0 else (args[:equals], args[equals + 1 :])
        if value is not None and value.startswith('"'):
            value = value[1:].removesuffix('"')
        elif value is not None and text.startswith('"'):
            value = value.removesuffix('"')
        elif value is None and text.startswith('"'):
            name = name.removesuffix('"')
        return cls(text, name, value, canonical_name(name))

    @property
    def is_closed(self) -> bool:
        """Whether its quotes are balanced; an open one swallows whatever is appended after it."""
        return self.text.count('"') % 2 == 0


class Cmdline(NamedTuple):
    """A command line that keeps every byte: `blanks[i]` is before `tokens[i]`, the last one after all of them.

    Every token up to, and without, the first `--` is a parameter of the kernel; the rest belongs to init.
    Text that was not UTF-8 is carried by surrogates (PEP 383) and comes back as it was. `kernel_count` is how many of
    the tokens the kernel reads: those before a `--` without a value (kernel/params.c parse_args).
    """

    tokens: tuple[Parameter, ...]
    blanks: tuple[str, ...]
    kernel_count: int

    @classmethod
    def of(cls, tokens: tuple[Parameter, ...], blanks: tuple[str, ...]) -> "Cmdline":
        """Put a command line together; `blanks` are one more than `tokens`."""
        if _TERMINATOR not in [token.name for token in tokens]:  # the usual line, at half the cost
            return cls(tokens, blanks, len(tokens))
        ends = (index for index, token in enumerate(tokens) if token.name == _TERMINATOR and token.value is None)
        return cls(tokens, blanks, next(ends, len(tokens)))

    @classmethod
    def parse(cls, text: str) -> "Cmdline":
        """Read a command line. Any text without NUL and newline comes back unchanged from `str()`."""
        if text.isascii():
            pieces = _TOKEN.split(text)
            return cls.of(tuple(map(Parameter.parse, pieces[1::2])), tuple(pieces[::2]))
        raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
        pieces = list(map(_text, _TOKEN.split(raw)))
        return cls.of(tuple(map(Parameter.parse, pieces[1::2])), tuple(pieces[::2]))

    def __str__(self) -> str:
        pieces = [
            piece for blank, token in zip(self.blanks, self.tokens, strict=False) for piece in (blank, token.text)
        ]
        text = "".join((*pieces, self.blanks[-1]))
        if text.isascii():
            return text
        # Encoding and decoding joins the halves of a character that the kernel's byte-wise rules split.
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that the kernel reads, in order."""
        return self.tokens[: self.kernel_count]

    @property
    def init_arguments(self) -> tuple[Parameter, ...]:
        """What is after `--`: for init, never read by the kernel."""
        return self.tokens[self.kernel_count + 1 :]

    @property
    def is_closed(self) -> bool:
        """Whether something may be appended without an open quote swallowing it."""
        return all(token.is_closed for token in self.tokens)

    def span(self, index: int) -> tuple[int, int]:
        """Where a token is in the line: start and end as indices of its UTF-8 bytes."""
        start = sum(_size(blank) for blank in self.blanks[: index + 1])
        start += sum(_size(token.text) for token in self.tokens[:index])
        return start, start + _size(self.tokens[index].text)

    def named(self, name: str) -> tuple[Parameter, ...]:
        """Every parameter of that name, in any spelling, in order."""
        key = canonical_name(name)
        return tuple(parameter for parameter in self.parameters if parameter.key == key)

    def remove(self, index: int) -> "Cmdline":
        """Drop one token with the blank before it; the first token goes with the blank after it instead."""
        tokens = self.tokens[:index] + self.tokens[index + 1 :]
        gone = index if index > 0 else min(index + 1, len(self.blanks) - 1)
        return Cmdline.of(tokens, self.blanks[:gone] + self.blanks[gone + 1 :])

    def substitute(self, index: int, text: str) -> "Cmdline":
        """Write another text in the place of one token; every blank stays."""
        token = Parameter.parse(text)
        return Cmdline.of((*self.tokens[:index], token, *self.tokens[index + 1 :]), self.blanks)

    def append(self, text: str) -> "Cmdline":
        """Add one parameter after the last one that the kernel reads, so before a `--`.

        The line must be closed (`is_closed`): an open quote would make the addition part of another value.
        """
        if not self.is_closed:
            raise ValueError("cannot append behind an open quote")
        at = self.kernel_count
        tokens = (*self.tokens[:at], Parameter.parse(text), *self.tokens[at:])
        if at == 0:
            blanks = (self.blanks[0], " ", *self.blanks[1:]) if self.tokens else (self.blanks[0], "")
        else:
            blanks = (*self.blanks[:at], " ", *self.blanks[at:])
        return Cmdline.of(tokens, blanks)


def join(texts: Iterable[str]) -> str:
    """Write parameters as one line, each a single blank apart."""
    return " ".join(texts)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _text(raw: str) -> str:
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "surrogateescape")
