# SPDX-License-Identifier: Apache-2.0
"""Inventory: reads every function on PCI with all that hangs on it. Raises nothing for what cannot be read."""

from pathlib import PurePosixPath

from iommuctl.devices.inventory import Function, Inventory, Role, Use
from iommuctl.devices.reading.blocks import read_blocks
from iommuctl.devices.reading.files import Files, addresses
from iommuctl.devices.reading.guests import read_guests
from iommuctl.devices.reading.network import listens_for_ssh, read_interfaces
from iommuctl.devices.reading.seat import read_boot_displays, read_keyboards, read_serial_consoles
from iommuctl.devices.reading.session import read_session
from iommuctl.host.root import Root
from iommuctl.running.effect.binding import is_held
from iommuctl.running.state import Device, parse_regions
from iommuctl.running.sysfs import read_devices

_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_GROUPS = PurePosixPath("/sys/kernel/iommu_groups")
_SLOTS = PurePosixPath("/sys/bus/pci/slots")


def read_inventory(root: Root) -> Inventory:
    """Read the devices of a running system, or of a tree of /sys and /proc that was recorded of one."""
    files = Files(root)
    session = read_session(files)
    devices = read_devices(root)
    carried = read_blocks(files)
    interfaces = read_interfaces(files, session, carried.by_network)
    guests = read_guests(files, (one for one in devices if is_held(one)))
    keyboards = tuple(read_keyboards(files))
    typed: dict[str, list[Use]] = {}
    for name, address in keyboards:
        if address is not None:
            typed.setdefault(address, []).append(Use(Role.KEYBOARD, name))
    displays = read_boot_displays(files, tuple(one.address for one in devices))
    slots = _slots(files)
    pinned = _pinned(files, devices)

    def function(device: Device) -> Function:
        address = device.address
        place = files.target(_DEVICES / address)
        uses = [
            *_held_below(device, carried.uses.get(address, [])),
            *interfaces.get(address, ()),
            *([Use(Role.DISPLAY, "the screen of the firmware")] if address in displays else ()),
            *typed.get(address, ()),
            *guests.get(address, ()),
        ]
        names = files.names(_DEVICES / address)
        return Function(
            device,
            above=addresses(place)[:-1] if place is not None else (),
            slot=slots.get(address.rpartition(".")[0]),
            uses=tuple(uses),
            is_boot_display=address in displays,
            is_pinned=device.group in pinned,
            rebar="resource0_resize" in names or "resource1_resize" in names,
            has_rom="rom" in names,
        )

    ways = [f"serial console {name}" for name in read_serial_consoles(files)]
    if session is not None or listens_for_ssh(files):
        ways.append("ssh")
    return Inventory.of(
        map(function, devices),
        unresolved=carried.unresolved,
        ways_in=tuple(ways),
        keyboards=sum(1 for _, address in keyboards if address is None),
    )


def _held_below(device: Device, uses: list[Use]) -> list[Use]:
    """Return what a function carries; nothing of a bridge, which never goes to a guest anyway."""
    return [] if device.is_bridge else uses


def _slots(files: Files) -> dict[str, str]:
    """Return the firmware's names of slots by domain, bus and device (Documentation/ABI: sysfs-bus-pci, slots)."""
    found = {files.text(_SLOTS / name / "address"): name for name in files.names(_SLOTS)}
    return {address: name for address, name in found.items() if address}


def _pinned(files: Files, devices: tuple[Device, ...]) -> frozenset[int]:
    """Return the groups for which the firmware demands a 1:1 mapping: a reserved region of the kind `direct`."""
    groups = {device.group for device in devices if device.group is not None}
    regions = {one: parse_regions(files.text(_GROUPS / str(one) / "reserved_regions")) for one in groups}
    return frozenset(one for one, found in regions.items() if any(region.kind == "direct" for region in found))
