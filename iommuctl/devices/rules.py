# SPDX-License-Identifier: Apache-2.0
"""Rules: what speaks against giving a function to a guest, each a small function on the inventory. Pure."""

from collections.abc import Callable, Iterable

from iommuctl.devices.cards import companions
from iommuctl.devices.inventory import Function, Inventory, Role, Use
from iommuctl.findings import Rule, Severity
from iommuctl.running.effect.binding import HARMLESS_MATES, is_held
from iommuctl.running.state import PortType
from iommuctl.value import NamedTuple

_INTEL, _ASPEED, _MATROX = "8086", "1a03", "102b"
# drivers/gpu/drm/mgag200/mgag200_drv.c: the G200 of servers' management controllers.
_G200_OF_SERVERS = frozenset({"0522", "0524", "0530", "0532", "0533", "0534", "0536", "0538"})
_BMC_DRIVERS = frozenset({"ast", "mgag200", "hpilo", "ipmi_si"})
# drivers/vfio/pci/vfio_pci.c vfio_pci_dev_in_denylist, equal in 6.1 and 7.1: QAT C3XXX, C62X, DH895XCC with their
# virtual functions, DSA and IAX of Sapphire Rapids.
_DENYLIST = frozenset({"19e2", "19e3", "37c8", "37c9", "0435", "0443", "0b25", "0cfe"})
# include/linux/pci_ids.h: bridges that have a header of their own, PCI and CardBus.
_BRIDGES = ("0604", "0607", "0609")
# Host bridge, ISA bridge, other bridge, SMBus, memory, IOMMU.
_PLATFORM = ("0600", "0601", "0680", "0c05", "05", "0806")
_SERIAL_BUS = "0c80"  # on Intel's root bus the flash with the firmware
# What a disk may be reached by: storage, FireWire, USB.
_DISK_BUSES = ("01", "0c00", "0c03")
_IN_USE = {"01": "storage", "02": "the network"}  # PCI_BASE_CLASS_STORAGE, PCI_BASE_CLASS_NETWORK


class Choice(NamedTuple):
    """What is to go to a guest: functions of a host, by their addresses."""

    inventory: Inventory
    addresses: frozenset[str]

    def lacks(self, function: Function) -> bool:
        """Whether a function stays with the host."""
        return function.address not in self.addresses


class Obstacle(NamedTuple):
    """What a rule says of one function. `severity` None: that of the rule."""

    message: str
    hint: str | None = None
    severity: Severity | None = None


Check = Callable[[Function, Choice], Iterable[Obstacle]]


class SafetyRule(NamedTuple):
    """One thing to look for in each function that is chosen. `source` says where the fact of the rule is from.

    `is_essential`: a mate in the group of which this is so keeps the others from a guest too.
    """

    id: Rule
    severity: Severity
    source: str
    check: Check
    is_essential: bool


_rules: list[SafetyRule] = []


def rule(name: Rule, severity: Severity, source: str, *, essential: bool = False) -> Callable[[Check], Check]:
    """Return what enters the function below it, and leaves it as it is."""

    def enter(check: Check) -> Check:
        _rules.append(SafetyRule(name, severity, source, check, essential))
        return check

    return enter


@rule(
    Rule.DEVICE_CARRIES_ROOT,
    Severity.ERROR,
    "/proc/self/mountinfo and /sys/dev/block; xapi-project/xen-api#7113",
    essential=True,
)
def _carries_root(function: Function, _: Choice) -> Iterable[Obstacle]:
    if uses := function.used(Role.ROOT):
        yield Obstacle(f"the host boots and lives from {_listed(uses)}", "choose a device that carries none of these")


@rule(
    Rule.DEVICE_CARRIES_STORAGE, Severity.ERROR, "/sys/block/*/holders; udev's ID_FS_TYPE; /proc/swaps", essential=True
)
def _carries_storage(function: Function, _: Choice) -> Iterable[Obstacle]:
    if uses := function.used(Role.MOUNT, Role.HELD):
        yield Obstacle(f"the host uses {_listed(uses)}", "unmount it, or take it out of its pool or volume group first")


@rule(Rule.STORAGE_UNRESOLVED, Severity.ERROR, "/proc/self/mountinfo and /sys/dev/block")
def _storage_unresolved(function: Function, choice: Choice) -> Iterable[Obstacle]:
    points = choice.inventory.unresolved
    if points and function.device.device_class.startswith(_DISK_BUSES) and not is_held(function.device):
        message = f"which device {' and '.join(points)} is on cannot be told, so it may be this one"
        yield Obstacle(message, "bind it by other means where you know better")


@rule(
    Rule.DEVICE_IS_UPLINK, Severity.ERROR, "/proc/net/route, ipv6_route, tcp; nasty-project/nasty#612", essential=True
)
def _is_uplink(function: Function, _: Choice) -> Iterable[Obstacle]:
    if uses := function.used(Role.UPLINK):
        yield Obstacle(f"the host is reached by {_listed(uses)}", "choose a card that the host is not reached by")


@rule(Rule.DEVICE_IN_USE_NETWORK, Severity.WARNING, "/sys/class/net/*/operstate and master", essential=True)
def _in_use_network(function: Function, _: Choice) -> Iterable[Obstacle]:
    if uses := function.used(Role.LINK):
        yield Obstacle(f"the host loses {_listed(uses)}", "take its configuration away first")


@rule(Rule.DEVICE_IN_USE, Severity.WARNING, "drivers/vfio/pci/vfio_pci.c: ids claim disks and network cards as well")
def _in_use(function: Function, _: Choice) -> Iterable[Obstacle]:
    device = function.device
    need = _IN_USE.get(device.device_class[:2])
    if need is not None and device.driver is not None and not is_held(device) and not function.uses:
        message = (
            f"vfio-pci takes it from {device.driver}, by which this host reaches {need}; no more is known of its use"
        )
        yield Obstacle(message, "iommuctl devices shows what the host uses")


@rule(Rule.DEVICE_IS_BOOT_DISPLAY, Severity.ERROR, "boot_vga and boot_display in sysfs; /sys/class/tty/console/active")
def _is_boot_display(function: Function, choice: Choice) -> Iterable[Obstacle]:
    if not function.device.is_display or is_held(function.device):
        return
    others = [
        one
        for one in choice.inventory.functions
        if one.device.is_display and choice.lacks(one) and not is_held(one.device)
    ]
    ways = [*choice.inventory.ways_in, *(f"the display of {one.address}" for one in others)]
    left = (
        f"; {' and '.join(ways)} {'remains' if len(ways) == 1 else 'remain'}" if ways else "; no other way in is known"
    )
    if not others:
        yield Obstacle(f"it is the only display of this host{left}", "have another display or a serial console first")
    elif function.is_boot_display:
        severity = Severity.WARNING if choice.inventory.ways_in else Severity.ERROR
        yield Obstacle(
            f"the firmware and the boot show on it{left}", "let the firmware start with another display", severity
        )


@rule(
    Rule.DEVICE_IS_BMC,
    Severity.ERROR,
    "drivers/gpu/drm/ast, mgag200; drivers/misc/hpilo.c; drivers/char/ipmi",
    essential=True,
)
def _is_bmc(function: Function, _: Choice) -> Iterable[Obstacle]:
    device = function.device
    is_matrox = device.vendor == _MATROX and device.device in _G200_OF_SERVERS
    if device.vendor == _ASPEED or is_matrox or device.driver in _BMC_DRIVERS:
        yield Obstacle("it is part of the management controller, by which the host is reached when nothing else works")


@rule(Rule.DEVICE_IS_KEYBOARD, Severity.WARNING, "/proc/bus/input/devices")
def _is_keyboard(function: Function, choice: Choice) -> Iterable[Obstacle]:
    uses = function.used(Role.KEYBOARD)
    others = [one for one in choice.inventory.functions if choice.lacks(one) and one.used(Role.KEYBOARD)]
    if uses and not others and not choice.inventory.keyboards:
        yield Obstacle(f"the only keyboard is on it: {_listed(uses)}", "plug the keyboard in elsewhere")


@rule(Rule.DEVICE_IS_BRIDGE, Severity.ERROR, "drivers/vfio/pci/vfio_pci_core.c: PCI_HEADER_TYPE_NORMAL")
def _is_bridge(function: Function, _: Choice) -> Iterable[Obstacle]:
    if function.device.device_class.startswith(_BRIDGES):
        yield Obstacle("it is a bridge: vfio-pci takes none, and what is below it would be cut off")


@rule(Rule.DEVICE_IS_PLATFORM, Severity.ERROR, "include/linux/pci_ids.h; truenas/middleware#8053", essential=True)
def _is_platform(function: Function, _: Choice) -> Iterable[Obstacle]:
    device = function.device
    is_flash = device.vendor == _INTEL and device.is_on_root_bus and device.device_class.startswith(_SERIAL_BUS)
    if device.device_class.startswith(_PLATFORM) or is_flash:
        yield Obstacle("it is a part of the platform that no guest can have")


@rule(Rule.DEVICE_HAS_VFS, Severity.ERROR, "drivers/vfio/pci/vfio_pci_core.c: Cannot bind to PF with SR-IOV enabled")
def _has_vfs(function: Function, choice: Choice) -> Iterable[Obstacle]:
    count = function.device.virtual_functions
    if count:
        own = [one for one in choice.inventory.functions if one.device.physical_function == function.address]
        first = f"; {own[0].address} is one of them" if own else ""
        message = f"it has {count} virtual function{'s' if count > 1 else ''}, which would go with it{first}"
        yield Obstacle(message, "give a guest one of its virtual functions")


@rule(Rule.DEVICE_DENYLISTED, Severity.ERROR, "drivers/vfio/pci/vfio_pci.c vfio_pci_dev_in_denylist, 6.1 and 7.1")
def _denylisted(function: Function, _: Choice) -> Iterable[Obstacle]:
    if function.device.vendor == _INTEL and function.device.device in _DENYLIST:
        yield Obstacle("vfio-pci refuses this model: a guest could make the host fail with it")


@rule(Rule.RESERVED_DIRECT, Severity.ERROR, "drivers/iommu/iommu.c: 1:1 IOMMU mapping, rejecting; RMRR")
def _reserved_direct(function: Function, _: Choice) -> Iterable[Obstacle]:
    if function.is_pinned:
        message = "the firmware demands a 1:1 mapping for it (reserved region 'direct', RMRR), so no guest can have it"
        yield Obstacle(message, "look for a setting of the firmware that excludes the slot")


@rule(Rule.NO_IOMMU_GROUP, Severity.WARNING, "/sys/bus/pci/devices/*/iommu_group")
def _no_iommu_group(function: Function, choice: Choice) -> Iterable[Obstacle]:
    if function.device.group is not None or function.device.is_bridge:
        return
    if choice.inventory.groups:
        yield Obstacle("the IOMMU does not hold it: it is in no group, and no guest can have it", "iommuctl check")
    else:
        message = "no IOMMU is active, so which devices share its group is unknown before the reboot"
        yield Obstacle(message, "look with iommuctl devices after the reboot")


@rule(Rule.GPU_FUNCTIONS, Severity.ERROR, "Coopydood/ultimate-macOS-KVM#213; GPU-Passthrough-Manager#21")
def _gpu_functions(function: Function, choice: Choice) -> Iterable[Obstacle]:
    if function.device.is_display:
        missing = [
            one for one in companions(choice.inventory, function) if choice.lacks(one) and not is_held(one.device)
        ]
        if missing:
            others = ", ".join(f"{one.address} ({one.device.vendor}:{one.device.device})" for one in missing)
            yield Obstacle(f"the other functions of the card stay behind: {others}", "give the whole card")


@rule(Rule.GROUP_MATES, Severity.ERROR, "drivers/vfio/vfio_main.c vfio_dev_viable; lf-edge/eve#5670")
def _group_mates(function: Function, choice: Choice) -> Iterable[Obstacle]:
    own = {one.address for one in companions(choice.inventory, function)} if function.device.is_display else set()
    mates = [one for one in blocking_mates(function, choice) if one.address not in own]
    if mates and _is_first(function, choice):
        others = ", ".join(f"{mate.address} ({mate.device.driver})" for mate in mates)
        message = f"it goes to a guest only together with {others}, which the host uses"
        elsewhere = "put the card into another slot"
        stays = any(_essentials(mate, choice) for mate in mates)
        yield Obstacle(message, elsewhere if stays else f"choose them too (--with-group), or {elsewhere}")


@rule(Rule.GROUP_MATE_ESSENTIAL, Severity.ERROR, "drivers/vfio/vfio_main.c vfio_dev_viable")
def _group_mate_essential(function: Function, choice: Choice) -> Iterable[Obstacle]:
    if not _is_first(function, choice):
        return
    for mate in blocking_mates(function, choice):
        for name, obstacle in _essentials(mate, choice):
            message = f"its group has {mate.address}, which has to stay ({name}): {obstacle.message}"
            yield Obstacle(message, "put the card into another slot", obstacle.severity)


@rule(Rule.NO_RESET, Severity.WARNING, "reset_method in sysfs, from 5.15 on; gnif/vendor-reset#46")
def _no_reset(function: Function, choice: Choice) -> Iterable[Obstacle]:
    methods = function.device.reset
    if function.device.is_bridge:
        return
    if not methods:
        yield Obstacle("it has no way to be reset: a second start of the guest may hang the host")
    elif methods == ("bus",):
        shared = [
            one
            for one in choice.inventory.buses[function.bus]
            if choice.lacks(one) and one.device.driver and not is_held(one.device)
        ]
        if shared:
            yield Obstacle(f"it is reset with its bus alone, which {shared[0].address} is on too")


@rule(Rule.BEHIND_PCI_BRIDGE, Severity.INFO, "drivers/iommu/iommu.c pci_device_group")
def _behind_pci_bridge(function: Function, choice: Choice) -> Iterable[Obstacle]:
    above = (choice.inventory.at(address) for address in function.above)
    ports = (PortType.CONVENTIONAL, PortType.TO_CONVENTIONAL)
    bridge = next((one for one in above if one and one.device.is_bridge and one.device.port in ports), None)
    if bridge is not None:
        yield Obstacle(f"it is after the PCI bridge {bridge.address}, so it shares its group with all that is there")


@rule(Rule.DEVICE_IN_GUEST, Severity.WARNING, "/dev/vfio; the words of the emulator's process")
def _in_guest(function: Function, _: Choice) -> Iterable[Obstacle]:
    if uses := function.used(Role.GUEST):
        yield Obstacle(f"{_listed(uses)} has it now; a change takes effect at the next boot only")


@rule(Rule.REBAR, Severity.INFO, "drivers/pci/pci-sysfs.c resourceN_resize")
def _rebar(function: Function, _: Choice) -> Iterable[Obstacle]:
    if function.rebar and function.device.is_display:
        yield Obstacle("its memory window can be resized, and guest and host may choose different sizes")


@rule(Rule.VBIOS_BOOT_GPU, Severity.INFO, "arch/x86/pci/fixup.c pci_fixup_video: the ROM is shadowed")
def _vbios_boot_gpu(function: Function, _: Choice) -> Iterable[Obstacle]:
    if function.is_boot_display and function.has_rom:
        yield Obstacle("the firmware keeps a copy of its video BIOS, so the guest may need a romfile")


def blocking_mates(function: Function, choice: Choice) -> tuple[Function, ...]:
    """Return the members of its group that keep it from a guest: not chosen, and with a driver of the host."""
    return tuple(
        one
        for one in choice.inventory.mates(function)
        if choice.lacks(one)
        and one.device.driver is not None
        and one.device.driver not in HARMLESS_MATES
        and not one.device.is_bridge
        and not is_held(one.device)
    )


def _essentials(mate: Function, choice: Choice) -> list[tuple[Rule, Obstacle]]:
    """Return why a mate has to stay with the host, each with the rule that says so and its severity."""
    return [
        (one.id, obstacle._replace(severity=obstacle.severity or one.severity))
        for one in _rules
        if one.is_essential
        for obstacle in one.check(mate, choice)
    ]


def _is_first(function: Function, choice: Choice) -> bool:
    """Whether it is the first of the chosen functions in its group: what is of the group is said once."""
    chosen = [one for one in choice.inventory.mates(function) if not choice.lacks(one)]
    return all(function.address < one.address for one in chosen)


def _listed(uses: Iterable[Use]) -> str:
    return ", ".join(use.text for use in uses)


RULES = tuple(_rules)
