# SPDX-License-Identifier: Apache-2.0
"""Tokens: how the words, names and operators of a shell look."""

import re

from iommuctl.pattern import pattern

KEYWORD = re.compile(r"(?:[!{}]|\[\[|\]\]|[a-z]+)(?=[ \t\n;&|<>()]|\Z)")


NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*(?=[ \t\n;]|\Z)")


FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*\([ \t]*\)")


FUNCTION_KEYWORD = pattern(r"function[ \t]+([A-Za-z_][A-Za-z0-9_]*)(?:[ \t]*\([ \t]*\))?(?=[ \t\n{(])")


REDIRECTION = re.compile(r"[0-9]*(<<-?|<&|<>|>>|>&|>\||<|>)(?![<(])")


FILE_DESCRIPTOR_VARIABLE = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}[<>]")


TEST_END = pattern(r"\]\](?=[ \t\n;&|)]|\Z)")


ARITHMETIC_TEST = pattern(r"-(?:eq|ne|lt|le|gt|ge|v)$")


OUT_OF_PLACE = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "in", "}", "]]"})


NOT_POSIX = frozenset({"select", "coproc"})


def either(closers: frozenset[str]) -> str:
    """Return the words, any of which would close what is open, as an error names them."""
    return " or ".join(repr(closer) for closer in sorted(closers))
