# SPDX-License-Identifier: Apache-2.0
"""Files: reads of /sys, /proc and /run of one root in which what is missing or forbidden says nothing."""

from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.host.root import Root
from iommuctl.pattern import pattern

ADDRESS = pattern(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")  # domain:bus:device.function, VMD's domains longer


class Files:
    """The files of one root, read as far as they may be."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def text(self, path: PurePosixPath) -> str:
        """Return a file's text without its ends; empty where there is none."""
        try:
            return (self._root.read(path) or b"").decode("utf-8", "replace").strip()
        except IommuctlError:
            return ""

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Return the names in a directory, sorted; none where there is none."""
        try:
            return self._root.names(directory)
        except IommuctlError:
            return ()

    def has(self, path: PurePosixPath) -> bool:
        """Whether something is there."""
        try:
            return self._root.stat(path) is not None
        except IommuctlError:
            return False

    def target(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return where a path ends after every link; None where that is nothing."""
        try:
            return self._root.resolve(path) if self._root.stat(path) is not None else None
        except IommuctlError:
            return None

    def names_of(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return what a link names, whether that is there or not; None where it may not be told."""
        try:
            return self._root.resolve(path)
        except IommuctlError:
            return None


def addresses(path: PurePosixPath) -> tuple[str, ...]:
    """Return the PCI addresses in a path below /sys/devices, from the root port down; the last is the device."""
    return tuple(part for part in path.parts if ADDRESS.fullmatch(part))
