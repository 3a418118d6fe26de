# SPDX-License-Identifier: Apache-2.0
"""Modprobe: the parameters that modprobe.d(5) gives to modules. Reading only."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.environment import ModuleOption
from iommuctl.tree import Tree, known_names, known_text

# modprobe.d(5): of two files of one name the first directory's counts; the files are read in the order of their names.
_DIRECTORIES = tuple(
    PurePosixPath(path)
    for path in ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d")
)


def read_options(tree: Tree) -> tuple[ModuleOption, ...]:
    """Return what the files say, in the order in which modprobe hands it on. What may not be read is left out."""
    return tuple(option for path in _paths(tree) for option in parse_options(known_text(tree, path), path))


def read_lines(tree: Tree) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """Return the words of each line, with its file, in that order; comments and empty lines left out."""
    for path in _paths(tree):
        for words in parse_lines(known_text(tree, path)):
            yield path, words


def parse_lines(text: str) -> Iterator[list[str]]:
    """Read the words of each line of a file; a backslash at the end joins the next line."""
    for line in text.replace("\\\n", "").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            yield words


def parse_options(text: str, path: PurePosixPath) -> Iterator[ModuleOption]:
    """Read the `options` lines of one file."""
    for words in parse_lines(text):
        if words[0] == "options" and len(words) > 1:
            for assignment in words[2:]:
                name, _, value = assignment.partition("=")
                yield ModuleOption(canonical_name(words[1]), canonical_name(name), value.strip('"'), path)


def _paths(tree: Tree) -> tuple[PurePosixPath, ...]:
    files: dict[str, PurePosixPath] = {}
    for directory in _DIRECTORIES:
        for name in known_names(tree, directory):
            if name.endswith(".conf"):
                files.setdefault(name, directory / name)
    return tuple(path for _, path in sorted(files.items()))
