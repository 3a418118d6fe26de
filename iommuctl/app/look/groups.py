# SPDX-License-Identifier: Apache-2.0
"""Groups: the IOMMU groups of the running system, and what of them can be given to a guest."""

from iommuctl.app.host import Host
from iommuctl.app.look.running import observe_host
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.effect.ungrouped import ungrouped
from iommuctl.running.pci_ids import Names
from iommuctl.running.state import Device, Group
from iommuctl.running.sysfs import read_names
from iommuctl.value import NamedTuple


class GroupMembers(NamedTuple):
    """One group as a guest could have it: all of `together` at once, or nothing for the reason of `obstacle`."""

    group: Group
    together: tuple[Device, ...]
    obstacle: str | None


class Groups(NamedTuple):
    """Every group by id, and the names of what is in them. `has_units`: an IOMMU is active; `ungrouped` are the devices
    that it does not hold although it is.
    """

    assignments: tuple[GroupMembers, ...]
    names: Names
    has_units: bool
    ungrouped: tuple[Device, ...] = ()


def read_groups(host: Host) -> Groups:
    """Read the groups. Raises UsageError for another root."""
    observed = observe_host(host, shipped_catalogue(), "groups")
    left_out = ungrouped(observed)
    members = (device for group in observed.groups for device in group.devices)
    names = read_names(host.root, (*members, *left_out))
    return Groups(tuple(map(assignment, observed.groups)), names, bool(observed.units), left_out)


def assignment(group: Group) -> GroupMembers:
    """Return what of a group goes to a guest together; bridges stay with the host (drivers/vfio/vfio_main.c)."""
    together = tuple(device for device in group.devices if not device.is_bridge)
    return GroupMembers(group, together, _obstacle(group, together))


def _obstacle(group: Group, together: tuple[Device, ...]) -> str | None:
    if not group.is_real:
        return "no IOMMU stands behind this group (vfio-noiommu)"
    if group.is_pinned:
        return "the firmware demands a 1:1 mapping (reserved region 'direct', RMRR)"
    return None if together else "nothing but bridges"
