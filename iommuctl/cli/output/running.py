# SPDX-License-Identifier: Apache-2.0
"""Observed: what was seen of the running kernel and its host, as text, as JSON models, and as a graph."""

from collections.abc import Iterable, Iterator

from iommuctl.app.check import CheckResult, Outcome
from iommuctl.app.groups import GroupMembers, Groups
from iommuctl.cli.output.plan import Style, styled, table
from iommuctl.cli.output.text import legible, visible
from iommuctl.documents.models import (
    CheckItemReport,
    CheckReport,
    DeviceReport,
    ExemptionReport,
    GroupReport,
    GroupsReport,
    VerifyCheckReport,
    VerifyReport,
)
from iommuctl.running.pci_ids import Names
from iommuctl.running.state import Device
from iommuctl.running.verdict import Agent, Result, Verdict, Verification

_STYLES = {"pass": Style.GREEN, "fail": Style.RED, "skip": Style.CYAN, "unknown": Style.CYAN}
_MEANING = {
    Verdict.ACTIVE: "the running kernel does{by} what {profile!r} promises",
    Verdict.NOT_APPLIED: "the running kernel was not started with {profile!r}",
    Verdict.IGNORED_BY_KERNEL: "the parameters of {profile!r} are there, and the kernel does not act on them",
    Verdict.FIRMWARE_OFF: "the firmware shows no IOMMU, and no parameter can change that",
    Verdict.DRIFT: "the kernel acted on {profile!r}, and something was changed since",
    Verdict.HYPERVISOR: "a hypervisor owns the IOMMU, and no parameter of Linux reaches it",
    Verdict.UNPROVEN: "nothing shows whether the running kernel does what {profile!r} promises",
}
_BY = {Agent.COMMAND_LINE: "", Agent.KERNEL_DEFAULT: " by itself"}
_NEXT = {
    Verdict.ACTIVE: None,
    Verdict.NOT_APPLIED: "iommuctl apply {profile}, then reboot; iommuctl status tells what boots next",
    Verdict.IGNORED_BY_KERNEL: "the failed checks say why; iommuctl check looks at the host",
    Verdict.FIRMWARE_OFF: "switch the IOMMU on in the setup of the firmware; for a guest, on its host",
    Verdict.DRIFT: "reboot, or undo by hand what the failed checks name",
    Verdict.HYPERVISOR: "iommuctl explain dom0-iommu; the hypervisor has its own command line",
    Verdict.UNPROVEN: "sudo iommuctl verify {profile}; root may read more, and a newer kernel shows more",
}


def verify_text(found: Verification, *, colour: bool) -> str:
    """Every check, the exemptions, and the verdict with the way on."""
    lines = list(_rows(((check.result, check.name, check.detail) for check in found.checks), colour=colour))
    lines += [
        f"group {one.group} is {one.type}: {visible(one.reason)} ({visible(' '.join(one.devices))})"
        for one in found.exemptions
    ]
    by = "" if found.by is None else _BY[found.by]
    meaning = f"{_MEANING[found.verdict].format(profile=found.profile, by=by)}: {visible(found.sentence)}"
    lines += ["", styled(f"{found.verdict}: {meaning}", Style.GREEN if found.is_active else Style.RED, colour)]
    if (way := _NEXT[found.verdict]) is not None:
        lines.append(f"hint: {way.format(profile=found.profile)}")
    return "".join(f"{line}\n" for line in lines)


def verify_report(found: Verification) -> VerifyReport:
    """The verification as JSON."""
    return VerifyReport(
        profile=found.profile,
        ok=found.is_active,
        verdict=found.verdict.value,
        by=None if found.by is None else found.by.value,
        sentence=legible(found.sentence),
        checks=tuple(
            VerifyCheckReport(name=check.name, result=check.result.value, detail=legible(check.detail))
            for check in found.checks
        ),
        exemptions=tuple(
            ExemptionReport(group=one.group, type=one.type, devices=one.devices, reason=one.reason)
            for one in found.exemptions
        ),
    )


def check_text(found: CheckResult, *, colour: bool) -> str:
    """Every item, a row each."""
    lines = _rows(((item.outcome, item.name, item.evidence) for item in found.items), colour=colour)
    return "".join(f"{line}\n" for line in lines)


def check_report(found: CheckResult) -> CheckReport:
    """The preflight as JSON."""
    return CheckReport(
        ok=found.is_able,
        items=tuple(
            CheckItemReport(name=item.name, result=item.outcome.value, evidence=legible(item.evidence))
            for item in found.items
        ),
    )


def groups_text(found: Groups) -> str:
    """The groups as a tree: each with its type, its devices, and what of it a guest can have."""
    if not found.assignments:
        return "no IOMMU groups: no IOMMU is active\nhint: iommuctl check\n"
    return "".join(f"{line}\n" for one in found.assignments for line in _group_lines(one, found.names))


def _group_lines(one: GroupMembers, names: Names) -> Iterator[str]:
    yield visible(f"group {one.group.id}  {one.group.type or 'type not shown'}")
    rows = [_device_text(device, names) for device in one.group.devices]
    rows.append(f"cannot go to a guest: {one.obstacle}" if one.obstacle else _together(one))
    yield from (f"{'`-' if row is rows[-1] else '|-'} {visible(row)}" for row in rows)


def _together(one: GroupMembers) -> str:
    addresses = " ".join(device.address for device in one.together)
    return f"goes to a guest {'as a whole' if len(one.together) > 1 else 'alone'}: {addresses}"


def _device_text(device: Device, names: Names) -> str:
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


def groups_dot(found: Groups) -> str:
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
    inner = visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'


def groups_report(found: Groups) -> GroupsReport:
    """The groups as JSON."""
    return GroupsReport(
        groups=tuple(
            GroupReport(
                id=one.group.id,
                type=one.group.type,
                devices=tuple(_device_report(device, found.names) for device in one.group.devices),
                assign_together=() if one.obstacle else tuple(device.address for device in one.together),
                obstacle=one.obstacle,
            )
            for one in found.assignments
        )
    )


def _device_report(device: Device, names: Names) -> DeviceReport:
    return DeviceReport(
        address=device.address,
        device_class=device.device_class,
        vendor=device.vendor,
        device=device.device,
        class_name=names.device_class(device.device_class),
        vendor_name=names.vendor(device.vendor),
        device_name=names.device(device.vendor, device.device),
        driver=device.driver,
        reset=device.reset,
        virtual_functions=device.virtual_functions,
        maximal_virtual_functions=device.maximal_virtual_functions,
        physical_function=device.physical_function,
    )


def _rows(rows: Iterable[tuple[Result | Outcome, str, str]], *, colour: bool) -> Iterator[str]:
    """Result, name and detail in columns; the result in colour, which must not count for the width."""
    found = [(str(result), name, visible(detail)) for result, name, detail in rows]
    head, *lines = table(("result", "what", "found"), found)
    yield head
    for (result, _, _), line in zip(found, lines, strict=True):
        yield styled(result, _STYLES[result], colour) + line.removeprefix(result)
