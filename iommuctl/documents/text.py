# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be encoded. Pure.

Bytes that are no UTF-8 travel inside the program as surrogates (PEP 383). No text that goes out may hold one.
"""

from iommuctl.pattern import pattern

REPLACEMENT = "\ufffd"

_SURROGATE = pattern("[\ud800-\udfff]")
_ESCAPED_BYTE = range(0xDC80, 0xDD00)  # PEP 383
# The end of the last private plane, where nobody writes, stands for bytes from 0x80 on their way into JSON.
_CARRIER = 0x10FF00
_CARRIED = pattern("[\U0010ff80-\U0010ffff]")


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


def carried(text: str) -> str:
    """Put a character of one plane for each byte that is no UTF-8, so that `restored` can tell the bytes.

    What is carried already stays as it is.
    """
    return text if text.isascii() else _SURROGATE.sub(lambda match: _as_carriers(match[0]), text)


def is_carrying(text: str) -> bool:
    """Whether `carried` has put something into a text."""
    return not text.isascii() and _CARRIED.search(text) is not None


def shown(text: str) -> str:
    """Return a carried text with U+FFFD for each byte that is no UTF-8."""
    return _CARRIED.sub(REPLACEMENT, text)


def restored(text: str) -> bytes:
    """Return the bytes that a carried text stands for."""
    parts = (chr(0xDC00 + ord(char) - _CARRIER) if _CARRIED.match(char) else char for char in text)
    return b"".join(_bytes_of(part) for part in parts)


def _as_carriers(char: str) -> str:
    return "".join(chr(_CARRIER + byte) for byte in _bytes_of(char))


def _bytes_of(char: str) -> bytes:
    number = ord(char)
    if 0xDC00 <= number <= 0xDCFF:  # noqa: PLR2004 - a byte: PEP 383 has those from 0x80 on, `restored` every one
        return bytes((number - 0xDC00,))
    return char.encode("utf-8", "surrogatepass")
