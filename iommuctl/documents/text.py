# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be encoded. Pure."""


def legible(text: str) -> str:
    r"""Spell out in hexadecimal what was no UTF-8, such as `\xff`, so that the text can be encoded."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
