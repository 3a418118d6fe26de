# SPDX-License-Identifier: Apache-2.0
"""Groups: the IOMMU groups as a tree or as a graph, and what of them goes to a guest together."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.text import visible, visible_lines
from iommuctl.cli.session import print_result

if TYPE_CHECKING:
    from iommuctl.app.look.groups import GroupMembers, Groups
    from iommuctl.documents.models import DeviceReport, GroupsReport
    from iommuctl.running.pci_ids import Names
    from iommuctl.running.state import Device


_UNGROUPED = "cannot go to a guest: no IOMMU holds them from any memory"


class GroupFormat(StrEnum):
    """How `groups` prints where JSON is not asked for."""

    TREE = "tree"
    DOT = "dot"


@command("groups", "groups --format dot | dot -Tsvg -o groups.svg")
def groups(
    context: typer.Context,
    root: options.RunningRoot = options.ROOT,
    form: Annotated[GroupFormat, typer.Option("--format", help="A tree, or a graph for Graphviz.")] = GroupFormat.TREE,
) -> None:
    """Show the IOMMU groups, and what goes to a guest together."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.groups import read_groups

    found = read_groups(Host.open(root))
    as_text = _dot if form is GroupFormat.DOT else _text
    print_result(context, lambda: _report(found), lambda: as_text(found))


def _text(found: "Groups") -> str:
    """The groups as a tree: each with its type, its devices, and what of it a guest can have."""
    if not found.assignments:
        return "no IOMMU groups: no IOMMU is active\nhint: iommuctl check\n"
    lines = [line for one in found.assignments for line in _group_lines(one, found.names)]
    if found.ungrouped:
        rows = [*(_device_text(device, found.names) for device in found.ungrouped), _UNGROUPED]
        lines += ["in no group", *(f"{'`-' if row is rows[-1] else '|-'} {visible(row)}" for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _group_lines(one: "GroupMembers", names: "Names") -> Iterator[str]:
    yield visible(f"group {one.group.id}  {one.group.type or 'type not shown'}")
    rows = [_device_text(device, names) for device in one.group.devices]
    rows.append(f"cannot go to a guest: {one.obstacle}" if one.obstacle else _together(one))
    yield from (f"{'`-' if row is rows[-1] else '|-'} {visible(row)}" for row in rows)


def _together(one: "GroupMembers") -> str:
    addresses = " ".join(device.address for device in one.together)
    return f"goes to a guest {'as a whole' if len(one.together) > 1 else 'alone'}: {addresses}"


def _device_text(device: "Device", names: "Names") -> str:
    """One device as lspci names it, then what matters for giving it away."""
    if not device.vendor:
        return f"{device.address}  [{device.driver or 'no driver'}]"
    kind = names.device_class(device.device_class) or f"class {device.device_class}"
    vendor = names.vendor(device.vendor) or device.vendor
    name = names.device(device.vendor, device.device) or device.device
    marks = [device.driver or "no driver", f"reset: {' '.join(device.reset) or 'none'}"]
    if device.maximal_virtual_functions:
        marks.append(f"SR-IOV: {device.virtual_functions} of {device.maximal_virtual_functions}")
    if device.physical_function is not None:
        marks.append(f"function of {device.physical_function}")
    return f"{device.address}  {kind}: {vendor} {name} ({device.vendor}:{device.device})  [{', '.join(marks)}]"


def _dot(found: "Groups") -> str:
    """The groups as a graph for Graphviz: a cluster for each, a node for each device."""
    lines = ["graph iommu_groups {", "  node [shape=box];"]
    for one in found.assignments:
        lines.append(f"  subgraph cluster_{one.group.id} {{")
        lines.append(f"    label={_quoted(f'group {one.group.id}: {one.group.type}')};")
        for device in one.group.devices:
            name = found.names.device(device.vendor, device.device) or f"{device.vendor}:{device.device}"
            label = "\n".join((device.address, name, device.driver or "no driver"))
            style = ", style=dashed" if device.is_bridge or one.obstacle else ""
            lines.append(f"    {_quoted(device.address)} [label={_quoted(label)}{style}];")
        lines.append("  }")
    return "".join(f"{line}\n" for line in (*lines, "}"))


def _quoted(text: str) -> str:
    """A string of the DOT language: only the quote is special in it, and a backslash begins an escape."""
    inner = visible_lines(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'


def _report(found: "Groups") -> "GroupsReport":
    from iommuctl.documents import models

    return models.GroupsReport(
        groups=tuple(
            models.GroupReport(
                id=one.group.id,
                type=one.group.type,
                devices=tuple(_device(device, found.names) for device in one.group.devices),
                assign_together=() if one.obstacle else tuple(device.address for device in one.together),
                obstacle=one.obstacle,
            )
            for one in found.assignments
        ),
        ungrouped=tuple(_device(device, found.names) for device in found.ungrouped),
    )


def _device(device: "Device", names: "Names") -> "DeviceReport":
    from iommuctl.documents.base import report
    from iommuctl.documents.models import DeviceReport

    return report(
        DeviceReport,
        device,
        class_name=names.device_class(device.device_class),
        vendor_name=names.vendor(device.vendor),
        device_name=names.device(device.vendor, device.device),
    )
