# SPDX-License-Identifier: Apache-2.0
"""Seat: the screen that the host started with, its keyboards and its serial consoles."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.devices.reading.files import Files, addresses
from iommuctl.pattern import pattern

_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_DRM = PurePosixPath("/sys/class/drm")
_CONSOLES = PurePosixPath("/sys/class/tty/console/active")
_INPUTS = PurePosixPath("/proc/bus/input/devices")
_CARD = pattern(r"card\d+")
_SERIAL = ("ttyS", "ttyAMA", "ttyUSB", "ttymxc", "ttySC", "hvc")
# include/uapi/linux/input-event-codes.h: EV_LED, EV_REP. A keyboard has lights or repeats; a power button does neither.
_LIGHTS_OR_REPEATS = 1 << 0x11 | 1 << 0x14


def read_boot_displays(files: Files, functions: tuple[str, ...]) -> frozenset[str]:
    """Return the functions whose screen the firmware started with.

    `boot_vga` of a VGA device (drivers/pci/pci-sysfs.c), or `boot_display` of its graphics card, from 7.1 on.
    """
    found = {address for address in functions if files.text(_DEVICES / address / "boot_vga") == "1"}
    for name in files.names(_DRM):
        if _CARD.fullmatch(name) and files.text(_DRM / name / "boot_display") == "1":
            place = files.target(_DRM / name / "device")
            found |= set(addresses(place)[-1:]) if place is not None else set()
    return frozenset(found)


def read_serial_consoles(files: Files) -> tuple[str, ...]:
    """Return the serial consoles that the kernel writes to."""
    return tuple(name for name in files.text(_CONSOLES).split() if name.startswith(_SERIAL))


def read_keyboards(files: Files) -> Iterator[tuple[str, str | None]]:
    """Return the name of each keyboard and the function that it is on; None: on no PCI device (PS/2, Bluetooth)."""
    for block in files.text(_INPUTS).split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines())
        if "kbd" in said.get("H: Handlers", "").split() and _is_keyboard(said.get("B: EV")):
            above = addresses(PurePosixPath(said.get("S: Sysfs", "")))
            yield said.get("N: Name", "").strip('"'), above[-1] if above else None


def _is_keyboard(events: str | None) -> bool:
    """Whether a device with keys is more than a button, by the kinds of its events, where they are told."""
    try:
        return events is None or bool(int(events, 16) & _LIGHTS_OR_REPEATS)
    except ValueError:
        return True
