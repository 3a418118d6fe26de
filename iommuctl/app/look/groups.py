# SPDX-License-Identifier: Apache-2.0
"""Groups: the IOMMU groups of the running system, and what of them can be given to a guest."""

from iommuctl.app.host import Host
from iommuctl.app.look.running import observe_host
from iommuctl.devices.inventory import Inventory
from iommuctl.devices.judgement import Objection, judge
from iommuctl.devices.reading.inventory import read_inventory
from iommuctl.devices.rules import Choice
from iommuctl.findings import Rule, Severity
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.effect.ungrouped import ungrouped
from iommuctl.running.pci_ids import Names
from iommuctl.running.state import Device, Group
from iommuctl.running.sysfs import read_names
from iommuctl.value import NamedTuple


class GroupMembers(NamedTuple):
    """One group as a guest could have it: all of `together` at once, or nothing for the reason of `obstacle`.

    `objections` are what stops one of its members.
    """

    group: Group
    together: tuple[Device, ...]
    obstacle: str | None
    objections: tuple[Objection, ...] = ()


class Groups(NamedTuple):
    """Every group by id, and the names of what is in them. `has_units`: an IOMMU is active; `ungrouped` are the devices
    that it does not hold although it is. `inventory` has what hangs on each device.
    """

    assignments: tuple[GroupMembers, ...]
    names: Names
    has_units: bool
    inventory: Inventory
    ungrouped: tuple[Device, ...] = ()


def read_groups(host: Host) -> Groups:
    """Read the groups. Raises UsageError for another root."""
    observed = observe_host(host, shipped_catalogue(), "groups")
    inventory = read_inventory(host.root)
    left_out = ungrouped(observed)
    members = (device for group in observed.groups for device in group.devices)
    names = read_names(host.root, (*members, *left_out))
    assignments = tuple(assignment(group, inventory) for group in observed.groups)
    return Groups(assignments, names, bool(observed.units), inventory, left_out)


def assignment(group: Group, inventory: Inventory) -> GroupMembers:
    """Return what of a group goes to a guest together; bridges and parts of the platform stay with the host."""
    endpoints = [device for device in group.devices if not device.is_bridge]
    known = frozenset(device.address for device in endpoints if device.address in inventory.addresses)
    parts = {one.address for one in judge(Choice(inventory, known)) if one.rule is Rule.DEVICE_IS_PLATFORM}
    together = tuple(device for device in endpoints if device.address not in parts)
    errors = tuple(one for one in judge(Choice(inventory, known - parts)) if one.severity is Severity.ERROR)
    return GroupMembers(group, together, _obstacle(group, together, errors), errors)


def _obstacle(group: Group, together: tuple[Device, ...], errors: tuple[Objection, ...]) -> str | None:
    if not group.is_real:
        return "no IOMMU stands behind this group (vfio-noiommu)"
    if group.is_pinned:
        return "the firmware demands a 1:1 mapping (reserved region 'direct', RMRR)"
    if not together:
        only_bridges = all(device.is_bridge for device in group.devices)
        return "nothing but bridges" if only_bridges else "nothing but bridges and parts of the platform"
    return next((f"{one.address}: {one.message} ({one.rule})" for one in errors), None)
