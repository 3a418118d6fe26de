# SPDX-License-Identifier: Apache-2.0
"""Groups: the IOMMU groups as a tree or as a graph, and what of them goes to a guest together."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.text import visible, visible_lines
from iommuctl.cli.session import print_result

if TYPE_CHECKING:
    from iommuctl.app.look.groups import GroupMembers, Groups
    from iommuctl.documents.models import DeviceReport, GroupsReport
    from iommuctl.running.state import Device

_LEAST_IN_COLUMN = 4
_WIDTH_OF_HEIGHT = 4  # a device's box is about four times as wide as it is high
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
    lines = [line for one in found.assignments for line in _group_lines(one, found)]
    if found.ungrouped:
        rows = [*(_device_text(device, found) for device in found.ungrouped), _UNGROUPED]
        lines += ["in no group", *(f"{'`-' if row is rows[-1] else '|-'} {visible(row)}" for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _group_lines(one: "GroupMembers", found: "Groups") -> Iterator[str]:
    yield visible(f"group {one.group.id}  {one.group.type or 'type not shown'}")
    rows = [_device_text(device, found) for device in one.group.devices]
    rows.append(f"cannot go to a guest: {one.obstacle}" if one.obstacle else _together(one))
    yield from (f"{'`-' if row is rows[-1] else '|-'} {visible(row)}" for row in rows)


def _together(one: "GroupMembers") -> str:
    addresses = " ".join(device.address for device in one.together)
    return f"goes to a guest {'as a whole' if len(one.together) > 1 else 'alone'}: {addresses}"


def _device_text(device: "Device", found: "Groups") -> str:
    """One device as lspci names it, then what matters for giving it away, then what hangs on it."""
    from iommuctl.cli.output.devices import uses_text

    names = found.names
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
    function = found.inventory.at(device.address)
    uses = None if function is None else uses_text(function)
    text = f"{device.address}  {kind}: {vendor} {name} ({device.vendor}:{device.device})  [{', '.join(marks)}]"
    return text if uses is None else f"{text}  {uses}"


def _dot(found: "Groups") -> str:
    """The groups as a graph for Graphviz: a cluster for each, a node for each device, in columns of one height."""
    lines = ["graph iommu_groups {", "  rankdir=LR;", "  ranksep=0.3;", "  nodesep=0.1;"]
    lines.append("  node [shape=box, fontsize=10, margin=0.05, height=0.3];")
    columns = _columns(found.assignments)
    for column in columns:
        for one in column:
            lines.append(f"  subgraph cluster_{one.group.id} {{")
            lines.append(f"    label={_quoted(f'group {one.group.id}: {one.group.type}')};")
            for device in one.group.devices:
                name = found.names.device(device.vendor, device.device) or f"{device.vendor}:{device.device}"
                label = "\n".join((device.address, name, device.driver or "no driver"))
                style = ", style=dashed" if device.is_bridge or one.obstacle else ""
                lines.append(f"    {_quoted(device.address)} [label={_quoted(label)}{style}];")
            lines.append("  }")
    # A chain of nodes that nobody sees keeps each column to the right of the one before.
    firsts = [[one.group.devices[0].address for one in column if one.group.devices] for column in columns]
    for left, right in pairwise(firsts):
        for number, address in enumerate(right):
            lines.append(f"  {_quoted(left[min(number, len(left) - 1)])} -- {_quoted(address)} [style=invis];")
    return "".join(f"{line}\n" for line in (*lines, "}"))


def _columns(assignments: "tuple[GroupMembers, ...]") -> "list[list[GroupMembers]]":
    """Part the groups into columns, so that the picture is about as wide as it is high."""
    found = [one for one in assignments if one.group.devices]
    height = max(_LEAST_IN_COLUMN, round((_WIDTH_OF_HEIGHT * sum(len(one.group.devices) for one in found)) ** 0.5))
    columns: list[list[GroupMembers]] = []
    filled = height
    for one in found:
        if filled >= height:
            columns.append([])
            filled = 0
        columns[-1].append(one)
        filled += len(one.group.devices)
    return columns


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
                devices=tuple(_device(device, found, one) for device in one.group.devices),
                assign_together=() if one.obstacle else tuple(device.address for device in one.together),
                obstacle=one.obstacle,
            )
            for one in found.assignments
        ),
        ungrouped=tuple(_device(device, found) for device in found.ungrouped),
    )


def _device(device: "Device", found: "Groups", members: "GroupMembers | None" = None) -> "DeviceReport":
    from iommuctl.documents.base import report, reports
    from iommuctl.documents.devices import ObjectionReport, UseReport
    from iommuctl.documents.models import DeviceReport

    function = found.inventory.at(device.address)
    own = [one for one in members.objections if one.address == device.address] if members is not None else []
    is_usable = members is not None and members.obstacle is None and device in members.together
    return report(
        DeviceReport,
        device,
        class_name=found.names.device_class(device.device_class),
        vendor_name=found.names.vendor(device.vendor),
        device_name=found.names.device(device.vendor, device.device),
        usable=is_usable,
        obstacles=reports(ObjectionReport, own),
        carries=() if function is None else reports(UseReport, function.uses),
        reset_methods=device.reset,
        numvfs=device.virtual_functions,
        totalvfs=device.maximal_virtual_functions,
    )
