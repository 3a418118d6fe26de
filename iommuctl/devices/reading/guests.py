# SPDX-License-Identifier: Apache-2.0
"""Guests: which devices a guest that runs has open. What may not be read tells of none."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.devices.inventory import Role, Use
from iommuctl.devices.reading.files import ADDRESS, Files
from iommuctl.pattern import pattern
from iommuctl.running.state import Device

_PROC = PurePosixPath("/proc")
_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_VFIO = PurePosixPath("/dev/vfio")
_EMULATOR = pattern(r"qemu-|kvm$|qemu$|cloud-hypervisor|crosvm|firecracker")
_NAME = pattern(r"(?:guest=)?([^,]+)")


def read_guests(files: Files, held: Iterable[Device]) -> dict[str, list[Use]]:
    """Return the guests that have devices which vfio-pci holds, by the devices' addresses.

    By the words that an emulator was started with, which everybody may read, and by the files that a process has open
    (/dev/vfio/GROUP, /dev/vfio/devices/vfioN), which only root may.
    """
    devices = tuple(held)
    found: dict[str, list[Use]] = {}
    if not devices:
        return found
    for number in files.names(_PROC):
        if not number.isdecimal():
            continue
        words = files.text(_PROC / number / "cmdline").split("\0")
        if not _EMULATOR.search(words[0].rpartition("/")[2]):
            continue
        use = Use(Role.GUEST, _name(words), f"process {number}")
        named = set(ADDRESS.findall(" ".join(words)))
        opened = set(_open_files(files, number))
        for device in devices:
            if device.address in named or opened & _nodes(files, device):
                found.setdefault(device.address, []).append(use)
    return found


def _open_files(files: Files, process: str) -> Iterator[str]:
    directory = _PROC / process / "fd"
    for name in files.names(directory):
        path = files.names_of(directory / name)
        if path is not None and path.parts[:3] == _VFIO.parts:
            yield str(path)


def _nodes(files: Files, device: Device) -> set[str]:
    """Return the files below /dev/vfio by which a device is used."""
    own = {str(_VFIO / "devices" / name) for name in files.names(_DEVICES / device.address / "vfio-dev")}
    return own | (set() if device.group is None else {str(_VFIO / str(device.group))})


def _name(words: list[str]) -> str:
    for option in ("-name", "-id"):
        if option in words[:-1] and (said := _NAME.match(words[words.index(option) + 1])):
            return f"guest {said[1]}"
    return "a guest"
