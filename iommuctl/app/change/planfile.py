# SPDX-License-Identifier: Apache-2.0
"""Plan files: a plan as a document to approve, and the gate that lets only the approved plan through."""

import hashlib
import hmac
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import iommuctl
from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.look.profiles import describe_profile, find_profile
from iommuctl.documents import planfile as document
from iommuctl.documents.base import reports
from iommuctl.errors import DocumentError, IommuctlError, NotFoundError, NotPermittedError, StalePlanError
from iommuctl.findings import Rule
from iommuctl.host.root import Root

if TYPE_CHECKING:
    from iommuctl.documents.models import PlanReport

_MACHINE_ID = PurePosixPath("/etc/machine-id")
_HOST_NAMES = (PurePosixPath("/proc/sys/kernel/hostname"), PurePosixPath("/etc/hostname"))
# machine-id(5): it must not be exposed itself, so a keyed hash of it stands for the machine.
_PURPOSE = b"iommuctl plan file"
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def make_plan_file(
    host: Host, plan: Plan, report: "PlanReport", asked: str | None, choices: Choices
) -> document.PlanFile:
    """Return a plan as a document. `report` is its JSON, `asked` the profile or the snapshot as it was asked for."""
    profile = None
    if isinstance(plan, ApplyPlan):
        text = describe_profile(find_profile(host, asked or plan.profile))
        profile = document.ProfileReport(name=plan.profile, text=text, sha256=document.digest_of(text))
    return document.PlanFile(
        program=iommuctl.__version__,
        created=host.clock().isoformat(timespec="seconds"),
        host=document.PlannedHost(name=_name(host), id=_identity(host)),
        asked=asked,
        profile=profile,
        choices=document.ChoicesReport(
            platform=choices.platform,
            backend=choices.backend,
            inputs=dict(choices.inputs),
            regenerate=choices.regenerate,
            force=tuple(sorted(choices.force)),
            added=choices.beside.added,
            removed=choices.beside.removed,
            why=choices.why,
            devices=choices.devices,
        ),
        unreadable=tuple(map(str, sorted(plan.steps.survey.tree.unreadable))),
        needs_root=tuple(_claims(host, plan)),
        basis=reports(document.ItemReport, plan.steps.basis),
        plan=report,
    )


def read_plan_file(path: Path) -> document.PlanFile:
    """Read a plan file. Raises NotFoundError, NotPermittedError, DocumentError for what is no plan file."""
    try:
        descriptor = os.open(path, _READING)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise DocumentError(f"{path}: no regular file", hint=document.ANEW)
            if status.st_size > document.LARGEST:
                raise DocumentError(f"{path}: larger than {document.LARGEST} bytes", hint=document.ANEW)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                content = file.read(document.LARGEST)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such plan file: {str(path)!r}", hint=document.ANEW) from error
    except PermissionError as error:
        raise NotPermittedError(path, "read") from error
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}", hint=document.ANEW) from error
    return document.parse_plan_file(content, str(path))


def require_host(host: Host, approved: document.PlanFile) -> None:
    """Raise StalePlanError for the plan of another host."""
    if approved.host.id != _identity(host):
        there = document.plain(approved.host.name or "another host")
        raise StalePlanError(
            f"the plan is for {there!r}, and this is another host",
            details=(f"this host is {_name(host) or 'without a name'}; the machine-id decides, not the name",),
            hint="carry it out where it was made, or make a plan here with --dry-run --out",
        )


def require_devices(host: Host, approved: document.PlanFile) -> None:
    """Raise StalePlanError where a device of the plan is gone, or another one is at its address."""
    if not approved.plan.devices or not host.is_system:
        return
    from iommuctl.running.sysfs import read_cards  # noqa: PLC0415 - few plans have devices

    there = {one.address: f"{one.vendor}:{one.device}" for one in read_cards(host.root)}
    facts = [
        f"{one.address} was {one.id}, {one.name}; now {there.get(one.address, 'nothing')} is there"
        for one in approved.plan.devices
        if there.get(one.address) != one.id
    ]
    if facts:
        raise StalePlanError(
            "the devices are not as they were when the plan was made",
            details=tuple(map(document.plain, facts)),
            hint="iommuctl devices shows what is where now",
        )


def require_approved(plan: Plan, approved: document.PlanFile, now: document.PlanFile, *, again: str) -> None:
    """Raise StalePlanError where a plan made now is not the approved one; one that changes nothing, not of the same.

    `again` is the command that shows the new plan.
    """
    compare = document.differences if plan.changes_something else document.asked_otherwise
    found = compare(approved, now)
    if found is None:
        return
    brief = (
        "the plan file does not hold together" if found.of_file else "the host is not as it was when the plan was made"
    )
    raise StalePlanError(brief, details=tuple(map(document.plain, found.facts)), hint=f"look at the new plan: {again}")


def require_expected(plan: Plan, expected: str, *, again: str) -> None:
    """Raise StalePlanError where a plan changes something, and its fingerprint is not the expected one."""
    if plan.changes_something and plan.steps.fingerprint != expected:
        raise StalePlanError(
            "the plan is not the expected one",
            details=(f"expected {expected}", f"but it is {plan.steps.fingerprint}"),
            hint=f"look at the new plan: {again}",
        )


def _claims(host: Host, plan: Plan) -> list[str]:
    """Return what a plan claims that who made it could not know for want of rights."""
    steps = plan.steps
    claims = [f"what {path} holds" for path in sorted(steps.survey.tree.unreadable)]
    if any(finding.rule == Rule.STATE_UNREADABLE for finding in steps.findings):
        claims.append("that no run was interrupted")
    targets = [edit.path for edit in steps.edits]
    targets += [command.output.target for command in steps.commands if command.output and steps.runs]
    claims += [f"that {path} can be written" for path in sorted({*targets}) if not _may_write(host.root, path)]
    return claims


def _may_write(root: Root, path: PurePosixPath) -> bool:
    with root.locate(path) as place:
        return os.access(".", os.W_OK | os.X_OK, dir_fd=place.directory, effective_ids=True)


def _identity(host: Host) -> str | None:
    content = _read(host, _MACHINE_ID)
    return hmac.new(content, _PURPOSE, hashlib.sha256).hexdigest() if content else None


def _name(host: Host) -> str | None:
    names = _HOST_NAMES if host.is_system else _HOST_NAMES[1:]
    content = next((found for path in names if (found := _read(host, path))), b"")
    return content.decode("utf-8", "surrogateescape").split("\n")[0] or None


def _read(host: Host, path: PurePosixPath) -> bytes:
    try:
        return (host.root.read(path) or b"").strip()
    except IommuctlError:  # a plan is made without it too
        return b""
