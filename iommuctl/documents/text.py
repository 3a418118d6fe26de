# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be encoded. Pure.

Bytes that are no UTF-8 travel inside the program as surrogates (PEP 383). No text that goes out may hold one.
"""

from iommuctl.pattern import pattern

REPLACEMENT = "\ufffd"

_SURROGATE = pattern("[\ud800-\udfff]")
_ESCAPED_BYTE = range(0xDC80, 0xDD00)  # PEP 383


def escaped(char: str) -> str:
    r"""Spell out a character in hexadecimal: `\x9b`, `\u202e`, `\U000e0001`; a byte that is no UTF-8 as `\xff`."""
    number = ord(char)
    if number in _ESCAPED_BYTE:
        number -= _ESCAPED_BYTE.start - 0x80
    kind, digits = next((kind, digits) for kind, digits in (("x", 2), ("u", 4), ("U", 8)) if number < 16**digits)
    return f"\\{kind}{number:0{digits}x}"


def legible(text: str) -> str:
    r"""Spell out in hexadecimal what was no UTF-8, such as `\xff`, so that the text can be encoded."""
    return text if text.isascii() else _SURROGATE.sub(lambda match: escaped(match[0]), text)


def is_utf8(text: str) -> bool:
    """Whether a text was UTF-8, so that it can be encoded as it is."""
    return text.isascii() or _SURROGATE.search(text) is None


def shown(text: str) -> str:
    """Return a text with U+FFFD for each byte that is no UTF-8."""
    return text if text.isascii() else _SURROGATE.sub(lambda match: REPLACEMENT * len(bytes_of(match[0])), text)


def bytes_of(text: str) -> bytes:
    """Return the bytes that a text was read from; a surrogate that is no byte has the three that UTF-8 would have."""
    return b"".join(_encoded(char) for char in text)


def _encoded(char: str) -> bytes:
    number = ord(char)
    if number in _ESCAPED_BYTE:
        return bytes((number - _ESCAPED_BYTE.start + 0x80,))
    return char.encode("utf-8", "surrogatepass")
