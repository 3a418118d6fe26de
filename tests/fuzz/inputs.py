# SPDX-License-Identifier: Apache-2.0
"""Inputs made by chance of what a target begins with: of a seed and a number, so that each can be made again."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from random import Random

LONGEST = 4096  # bytes of an input
_MOST_CHANGES = 6
_LONGEST_SPAN = 64
# What terminals, shells, JSON and decoders take for more than it seems.
_HOSTILE = (
    *(b"\0", b"\x01", b"\x1b[2J", b"\x1b]0;x\x07", b"\r", b"\r\n", b"\x7f", b"\x9b", b"\xc2\x9b", b"\xff"),
    *(b"\xed\xb2\x80", b"\xc0\xaf", b"\t", b"\\\n", b"\n\n"),
    *("\u202e".encode(), "\ufeff".encode(), "\u2028".encode(), "\U0010ff80".encode()),
    *(b"9" * 400, b"-1", b"1e999", b"a" * 300, b"[" * 200, b"(" * 100, b"$((", b"`", b"'\"'", b"<<x\n", b";;", b"&&"),
)  # fmt: skip
_TOKENS = (
    *(b"iommu=pt", b"intel_iommu=on,igfx_off", b"intel_iommu=", b"iommu", b"amd_iommu=off", b"quiet"),
    *(b'test="a b"', b"--", b"vfio-pci.ids=8086:1234,10de:1eb8", b"vfio_pci.ids=", b"iommu.passthrough=0", b"a=b=c"),
    *(b"console=ttyS0,115200n8", b"pci=noats", b"efi=disable_early_pci_dma", b"\xc3\xa9=\xc3\xa9", b"$tuned_params"),
)  # fmt: skip
_Change = Callable[[Random, bytearray], None]
_LEAVES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    2**64,
    1e300,
    "",
    "\0",
    "\0f",
    "/../x",
    "/etc/x",
    "\ud800",
    "x" * 300,
    [],
    {},
    [[]],
)


class Inputs:
    """Every input of a target for one seed, by its number."""

    def __init__(self, name: str, seed: int, seeds: Sequence[bytes], words: Sequence[str]) -> None:
        self._start = f"{seed} {name}"
        self._seeds = [content[:LONGEST] for content in seeds] or [b""]
        self._words = [word.encode() for word in words] or [b"x"]

    def __getitem__(self, number: int) -> bytes:
        """Return an input: every second keeps to the form of what it was made of, as far as one that knows none can."""
        chance = Random(f"{self._start} {number}")
        content = bytearray(chance.choice(self._seeds))
        if content.startswith((b"{", b"[")) and chance.random() < 0.8:
            return _json(chance, bytes(content))[:LONGEST]
        if chance.random() < 0.5:
            changes: Sequence[Callable[[Random, bytearray], None]] = (
                _token,
                _letter,
                _line_again,
                _line_gone,
                _line_moved,
            )
        else:
            word = partial(_insert, self._words)
            changes = (word, word, partial(_insert, _HOSTILE), _byte, _bit, _span_gone, _span_again, self._splice)
        for _ in range(chance.randint(1, _MOST_CHANGES)):
            chance.choice(changes)(chance, content)
        return bytes(content[:LONGEST])

    def _splice(self, chance: Random, content: bytearray) -> None:
        other = chance.choice(self._seeds)
        content[_place(chance, content) :] = other[_place(chance, other) :]


def _place(chance: Random, content: bytes | bytearray) -> int:
    return chance.randint(0, len(content))


def _insert(words: Sequence[bytes], chance: Random, content: bytearray) -> None:
    place = _place(chance, content)
    content[place:place] = chance.choice(words)


def _byte(chance: Random, content: bytearray) -> None:
    if content:
        content[chance.randrange(len(content))] = chance.randrange(256)


def _bit(chance: Random, content: bytearray) -> None:
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _span_gone(chance: Random, content: bytearray) -> None:
    place = _place(chance, content)
    del content[place : place + chance.randint(1, _LONGEST_SPAN)]


def _span_again(chance: Random, content: bytearray) -> None:
    start = _place(chance, content)
    span = content[start : start + chance.randint(1, _LONGEST_SPAN)]
    place = _place(chance, content)
    content[place:place] = span * chance.choice((1, 1, 2, 8))


def _token(chance: Random, content: bytearray) -> None:
    """Put a parameter where a blank is, or right after the first quote of a line."""
    places = [place for place, byte in enumerate(content) if byte in b' "']
    place = chance.choice(places) + 1 if places else len(content)
    content[place:place] = chance.choice(_TOKENS) + b" "


def _letter(chance: Random, content: bytearray) -> None:
    places = [place for place, byte in enumerate(content) if chr(byte).isalnum()]
    if places:
        content[chance.choice(places)] = chance.choice(b"abcdefghijklmnopqrstuvwxyz0123456789_-,.:")


def _line_again(chance: Random, content: bytearray) -> None:
    lines = content.splitlines(keepends=True)
    if lines:
        lines.insert(chance.randint(0, len(lines)), chance.choice(lines))
        content[:] = b"".join(lines)


def _line_gone(chance: Random, content: bytearray) -> None:
    lines = content.splitlines(keepends=True)
    if lines:
        del lines[chance.randrange(len(lines))]
        content[:] = b"".join(lines)


def _line_moved(chance: Random, content: bytearray) -> None:
    lines = content.splitlines(keepends=True)
    if lines:
        line = lines.pop(chance.randrange(len(lines)))
        lines.insert(chance.randint(0, len(lines)), line)
        content[:] = b"".join(lines)


def _json(chance: Random, content: bytes) -> bytes:
    """Change a value somewhere in a document, or take it away."""
    try:
        document = json.loads(content)
    except ValueError:
        return content
    for _ in range(chance.randint(1, 3)):
        inner = document
        while isinstance(inner, (dict, list)) and inner:
            key = chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            deeper = inner[key]
            if isinstance(deeper, (dict, list)) and deeper and chance.random() < 0.8:
                inner = deeper
                continue
            _change(chance, inner, key)
            break
    return json.dumps(document, indent=1).encode()


def _change(chance: Random, inner: dict[str, object] | list[object], key: object) -> None:
    way = chance.randrange(5)
    assert isinstance(inner, dict) == isinstance(key, str)
    place: dict[object, object] = inner  # type: ignore[assignment]  # a list is indexed the same way
    value = place[key]
    if way == 0:
        del place[key]
    elif way == 1 and isinstance(inner, list):
        inner.append(value)
    elif way == 1:
        place[f"{key}x"] = value
    elif way == 2 and isinstance(value, str):
        text = bytearray(value.encode("utf-8", "surrogatepass"))
        changes: Sequence[_Change] = (_letter, _span_gone, partial(_insert, _HOSTILE))
        chance.choice(changes)(chance, text)
        place[key] = text.decode("utf-8", "surrogateescape")
    elif way == 3 and isinstance(value, int):
        place[key] = value + chance.choice((-1, 1, 2**31, 2**63))
    else:
        place[key] = deepcopy(chance.choice(_LEAVES))  # what is put into it later must reach no other input
