# SPDX-License-Identifier: Apache-2.0
"""Text: what files and names say, made fit to be shown. Pure."""


def legible(text: str) -> str:
    """Spell out in hexadecimal what was no UTF-8, so that the text can be encoded."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def visible(text: str) -> str:
    """Make control characters visible, so that a file's content cannot drive the terminal."""
    return "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in legible(text))
