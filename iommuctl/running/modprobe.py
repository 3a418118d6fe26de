# SPDX-License-Identifier: Apache-2.0
"""Modprobe: the parameters that modprobe.d(5) gives to modules. Reading only."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.kernel.environment import ModuleOption
from iommuctl.tree import Tree

# modprobe.d(5): of two files of one name the first directory's counts; the files are read in the order of their names.
_DIRECTORIES = tuple(
    PurePosixPath(path)
    for path in ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d")
)


def read_options(tree: Tree) -> tuple[ModuleOption, ...]:
    """Return what the files say, in the order in which modprobe hands it on. What may not be read is left out."""
    files: dict[str, PurePosixPath] = {}
    for directory in _DIRECTORIES:
        for name in _names(tree, directory):
            if name.endswith(".conf"):
                files.setdefault(name, directory / name)
    return tuple(option for _, path in sorted(files.items()) for option in _read(tree, path))


def parse_options(text: str, path: PurePosixPath) -> Iterator[ModuleOption]:
    """Read the `options` lines of one file; a backslash at the end joins the next line."""
    for line in text.replace("\\\n", "").splitlines():
        word, *rest = line.split() or ("",)
        if word == "options" and rest:
            module, *assignments = rest
            for assignment in assignments:
                name, _, value = assignment.partition("=")
                yield ModuleOption(canonical_name(module), canonical_name(name), value.strip('"'), path)


def _read(tree: Tree, path: PurePosixPath) -> tuple[ModuleOption, ...]:
    try:
        content = tree.read(path)
    except IommuctlError:
        return ()
    return tuple(parse_options((content or b"").decode("utf-8", "replace"), path))


def _names(tree: Tree, directory: PurePosixPath) -> tuple[str, ...]:
    try:
        return tree.names(directory)
    except IommuctlError:
        return ()
