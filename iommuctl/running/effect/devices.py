# SPDX-License-Identifier: Apache-2.0
"""Devices: whether those that a profile gives to guests are held for them, and every other is as it was. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.choice import ChosenDevice, parse_choice
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.running.effect.binding import HARMLESS_MATES, VFIO_PCI, DeviceId, is_held, parse_ids
from iommuctl.running.state import Device, Group, Observed
from iommuctl.running.verdict import Check, Verdict, failure, success, untold
from iommuctl.value import NamedTuple

IDS = "vfio-pci.ids"
_BINDING, _MOVED, _VIABLE = "device-binding", "address-moved", "group-viable"
_TWINS, _LOSS, _IMAGE = "twins-untouched", "no-other-loss", "mechanism-in-image"


class Around(NamedTuple):
    """What is known of the devices that a profile does not name.

    `drivers` are those that each had when the profile was applied, by `ADDRESS@VENDOR:DEVICE`; none if nothing tells.
    `elsewhere` are the addresses that another program or a guest takes: what becomes of those is not ours.
    `images` tells of each installed kernel whether its image was built since the script that binds by address is there;
    of none where nothing tells. `build` is the command that builds them.
    """

    drivers: Mapping[str, str] = MappingProxyType({})
    elsewhere: frozenset[str] = frozenset()
    images: Mapping[str, bool] = MappingProxyType({})
    build: str = ""


UNKNOWN = Around()


class Named(NamedTuple):
    """The devices that a profile names: all that have an id, and single ones by their addresses."""

    ids: tuple[DeviceId, ...] = ()
    chosen: tuple[ChosenDevice, ...] = ()

    @classmethod
    def of(cls, cmdline: Cmdline) -> "Named":
        """Return what the parameters of a profile name; a choice that cannot be read names none."""
        values = [one.value or "" for one in cmdline.named(IDS)]
        try:
            chosen = [device for one in cmdline.named(CHOICE) if one.value for device in parse_choice(one.value)]
        except ValueError:
            chosen = []
        return cls(tuple(one for value in values for one in parse_ids(value)), tuple(chosen))

    def __bool__(self) -> bool:
        return bool(self.ids or self.chosen)

    def names(self, device: Device) -> bool:
        """Whether a device is one of them."""
        return any(_is(one, device) for one in self.chosen) or any(one.means(device) for one in self.ids)


def judge_devices(observed: Observed, named: Named, cmdline: Cmdline, around: Around) -> Iterator[Check]:
    """Check the devices that a profile names, one by one, and what has to stay with the host; nothing without any.

    `cmdline` is the running kernel's.
    """
    if not named:
        return
    devices = observed.devices
    yield from _bindings(devices, named, cmdline)
    taken = [device for device in devices if named.names(device) and not device.is_bridge]
    yield from _groups(observed.real_groups, named, taken)
    if named.chosen:
        yield _twins(devices, named, around)
        yield _images(around)
    yield _losses(devices, named, around)


def _bindings(devices: tuple[Device, ...], named: Named, cmdline: Cmdline) -> Iterator[Check]:
    problems: list[str] = []
    moved: list[str] = []
    there = {device.address: device for device in devices}
    for one in named.chosen:
        device = there.get(one.address)
        if device is None or not _is(one, device):
            found = "nothing" if device is None else _ident(device)
            problems.append(f"{found} is at {one.address}, not {_wanted(one)}")
            moved += [
                f"{_wanted(one)} is at {other.address} now, not at {one.address}: "
                f"iommuctl apply vfio-bind --device {other.address}"
                for other in devices
                if (other.vendor, other.device) == (one.vendor, one.device) and not named.names(other)
            ]
    if missing := [one.text for one in named.ids if not any(map(one.means, devices))]:
        problems.append(f"no device has the id {', '.join(missing)}")
    held = [device for device in devices if named.names(device)]
    if others := [device for device in held if not is_held(device)]:
        facts = ", ".join(f"{device.address} has {device.driver or 'no driver'}" for device in others)
        problems.append(f"not with {VFIO_PCI}: {facts}{_mend(others[0], named, cmdline)}")
    if problems:
        yield failure(_BINDING, "; ".join(problems))
    else:
        yield success(_BINDING, f"with {VFIO_PCI}: {' '.join(device.address for device in held)}")
    if moved:
        yield failure(_MOVED, "; ".join(moved))


def _mend(device: Device, named: Named, cmdline: Cmdline) -> str:
    """Return why a device is not held although the running line asks for it, and the way out; else nothing."""
    driver, bind = device.driver, f"iommuctl apply vfio-bind --device {device.address}"
    if any(_is(one, device) for one in named.chosen):
        if not any(True for _ in cmdline.named(CHOICE)):
            return ""
        why = f"{driver} kept it" if driver else f"{VFIO_PCI} is not loaded"
        return f"; {why}: dmesg | grep iommuctl: tells what the initramfs did, and {bind} looks at the images"
    if not any(True for _ in cmdline.named(IDS)):
        return ""
    if driver is None:
        return f"; {VFIO_PCI} is not loaded: modprobe {VFIO_PCI} binds it now, and {bind} from the next boot on"
    first = f"; {driver} was there before {VFIO_PCI}, or that is not loaded: bind it by its address ({bind}), or put"
    return f"{first} 'softdep {driver} pre: {VFIO_PCI}' into /etc/modprobe.d and build the initramfs anew"


def _groups(groups: Iterable[Group], named: Named, taken: list[Device]) -> Iterator[Check]:
    addresses = {device.address for device in taken}
    concerned = [group for group in groups if addresses & {device.address for device in group.devices}]
    problems = [
        f"group {group.id} goes to no guest: {', '.join(mates)}"
        for group in concerned
        if (mates := [f"{one.address} has {one.driver}" for one in group.devices if _blocks(one, named)])
    ]
    if problems:
        yield failure(_VIABLE, f"{'; '.join(problems)}: choose what is in the group too (--with-group)")
    elif concerned:
        numbers = ", ".join(str(group.id) for group in concerned)
        yield success(_VIABLE, f"the host uses nothing else of group {numbers}")


def _blocks(device: Device, named: Named) -> bool:
    """Whether a member of a group keeps the others from a guest (drivers/vfio/vfio_main.c vfio_dev_viable)."""
    free = device.driver is None or device.driver in HARMLESS_MATES or is_held(device)
    return not free and not device.is_bridge and not named.names(device)


def _twins(devices: tuple[Device, ...], named: Named, around: Around) -> Check:
    models = {(one.vendor, one.device) for one in named.chosen}
    alike = [
        device
        for device in devices
        if (device.vendor, device.device) in models and not named.names(device) and not device.is_bridge
    ]
    if bound := [one.address for one in alike if is_held(one) and one.address not in around.elsewhere]:
        what = f"not chosen, and with {VFIO_PCI} all the same: {', '.join(bound)}"
        return failure(_TWINS, f"{what}; look for ids: iommuctl lint, and vfio-pci in /etc/modprobe.d")
    if not alike:
        return success(_TWINS, "no other device has the ids of a chosen one")
    return success(_TWINS, f"left to the host: {', '.join(one.address for one in alike)}")


def _images(around: Around) -> Check:
    """Judge the images of all kernels, for the next boot may be of any; by their age, which everybody may see."""
    if not around.images:
        return untold(_IMAGE, "no image is known that takes the script")
    if lacking := [release for release, is_built in around.images.items() if not is_built]:
        what = f"older than the script that binds devices: the image of {', '.join(lacking)}"
        return failure(_IMAGE, f"{what}; {around.build} builds it anew", Verdict.DRIFT)
    return success(_IMAGE, f"built since the script is there: the image of {', '.join(around.images)}")


def _losses(devices: tuple[Device, ...], named: Named, around: Around) -> Check:
    if not around.drivers:
        return untold(_LOSS, "no snapshot tells which drivers the devices had before")
    lost = [
        f"{device.address} had {driver} and has {device.driver or 'no driver'}"
        for device in devices
        if (driver := around.drivers.get(f"{device.address}@{_ident(device)}")) is not None
        and not named.names(device)
        and (device.driver is None or (is_held(device) and device.address not in around.elsewhere))
    ]
    if lost:
        return failure(_LOSS, f"not chosen, and without the driver of the time of the apply: {', '.join(lost)}")
    return success(_LOSS, "every other device has a driver that had one when the profile was applied")


def _is(one: ChosenDevice, device: Device) -> bool:
    return (one.address, one.vendor, one.device) == (device.address, device.vendor, device.device)


def _ident(device: Device) -> str:
    return f"{device.vendor}:{device.device}"


def _wanted(one: ChosenDevice) -> str:
    return f"{one.vendor}:{one.device}"
