# SPDX-License-Identifier: Apache-2.0
"""Report: the JSON that scripts read. Stable, versioned, snake_case; a JSON Schema is generated from these models."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from iommuctl.documents.base import Document, Part, RootPath, Text, Word
from iommuctl.documents.devices import ObjectionReport, PlannedDeviceReport, UseReport
from iommuctl.documents.trial import TrialPart, TrialPlanPart
from iommuctl.findings import Severity
from iommuctl.plan import FileClass, Op

VerdictName = Literal["active", "not_applied", "ignored_by_kernel", "firmware_off", "drift", "hypervisor", "unproven"]
AgentName = Literal["command_line", "kernel_default"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FindingReport(Part):
    """Something an operator should know."""

    rule: Word = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="a stable id")
    severity: Severity
    parameter: Text | None = Field(description="the parameter as written, value included")
    message: Text
    hint: Text | None
    address: Text | None = Field(default=None, description="of the device that it is about; null for all else")


class EvidenceReport(Part):
    """One thing that was looked at to tell the bootloader, and what it says."""

    probe: Text
    found: Text
    says: Text


class ChangeReport(Part):
    """One whole parameter as written; null where absent. One record for each target."""

    op: Op
    before: Text | None
    after: Text | None
    path: RootPath
    target: Text
    reason: Text


class FileReport(Part):
    """One file whose content the plan names."""

    path: RootPath
    file_class: FileClass = Field(serialization_alias="class", validation_alias=AliasChoices("file_class", "class"))
    diff: Text
    reason: Text
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None


class OutputReport(Part):
    """What a program writes: it is read back where it is staged, then renamed to its target."""

    staging: RootPath
    target: RootPath


class CommandReport(Part):
    """A program that the plan runs inside the root; `ran` is false in a dry-run and where regeneration is left out."""

    argv: tuple[Text, ...]
    reason: Text
    output: OutputReport | None
    left_out: bool = Field(description="it is listed, and is no part of the plan")
    ran: bool


class PlanReport(Document):
    """The result of `apply` and `rollback`, dry or not."""

    command: Literal["apply", "rollback"]
    dry_run: bool
    profile: Text | None
    of: Text | None = Field(description="the snapshot that a rollback goes back to before")
    platform: Text | None
    root: Text
    backend: Text
    evidence: tuple[EvidenceReport, ...]
    changed: bool
    changes: tuple[ChangeReport, ...]
    files: tuple[FileReport, ...]
    commands: tuple[CommandReport, ...]
    findings: tuple[FindingReport, ...]
    fingerprint: Sha256 = Field(description="of what the plan rests on and comes to on this host; no reboot changes it")
    shape: Sha256 = Field(
        description="of what changes, whatever host and kernels are called: equal where hosts are alike"
    )
    snapshot: Text | None
    reboot_required: bool
    added: tuple[Text, ...] = Field(description="parameters that are kept next to the profile")
    removed: tuple[Text, ...] = Field(description="parameters that are kept away next to the profile")
    why: Text | None = Field(description="what --why says")
    devices: tuple[PlannedDeviceReport, ...] = Field(default=(), description="what goes to guests")


class EntryReport(Part):
    """One boot entry as the bootloader sees it."""

    id: Text
    title: Text
    kernel_release: Text | None
    path: RootPath
    cmdline: Text
    rescue: bool
    default: bool
    ours: bool
    reason: Text


class FutureReport(Part):
    """What a kernel installed later boots with, and the file that says so."""

    cmdline: Text | None = Field(description="null where it cannot be told; a finding says why")
    source: RootPath


class DriftReport(Part):
    """One place that does not have what the applied profile asks for."""

    where: Text
    expected: Text
    found: Text


class EffectiveReport(Part):
    """What the running kernel does, next to what is configured."""

    units: tuple[Text, ...] = Field(description="the active IOMMUs")
    group_types: dict[Text, int] = Field(description="how many groups have each default domain type")
    interrupts_remapped: bool | None = Field(description="null where nothing tells")
    verdict: VerdictName | None = Field(description="of the applied profile; null where there is none to compare")
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    failed: tuple[Text, ...] = Field(description="the names of the checks that failed")


class StatusReport(Document):
    """The result of `status`."""

    command: Literal["status"] = "status"
    root: Text
    platform: Text
    backend: Text
    evidence: tuple[EvidenceReport, ...]
    running_cmdline: Text | None = Field(description="null for another root")
    entries: tuple[EntryReport, ...]
    future_kernels: FutureReport
    profile: Text | None
    added: tuple[Text, ...] = Field(description="parameters that are kept next to the profile")
    removed: tuple[Text, ...] = Field(description="parameters that are kept away next to the profile")
    drift: tuple[DriftReport, ...]
    effective: EffectiveReport | None = Field(description="null for another root")
    findings: tuple[FindingReport, ...]
    reboot_required: bool
    trial: TrialPart | None = Field(description="the last trial boot; null where there was none, or none may be seen")


class TrialReport(Document):
    """The result of every `trial` command: the last trial as it is then."""

    command: Literal["trial"] = "trial"
    dry_run: bool
    changed: bool = Field(description="something was written, or would be")
    state: Literal[
        "none", "arming", "armed", "running", "failed", "kept", "confirming", "confirmed", "returned", "cancelled"
    ]
    trial: TrialPart | None
    plan: TrialPlanPart | None = Field(description="of `trial start` alone")
    permanent: PlanReport | None = Field(description="of `trial start` alone: what a confirmation would do")
    findings: tuple[FindingReport, ...]
    reboot_required: bool = Field(description="the trial is armed, and this boot is not it")


class SnapshotReport(Part):
    """One apply or rollback that can be gone back from."""

    id: Text
    created: Text = Field(description="RFC 3339, UTC")
    action: Literal["apply", "rollback"]
    of: Text | None = Field(description="the snapshot that a rollback went back to before")
    profile: Text | None
    state: Literal["applied", "rolled_back", "undone"]
    files: tuple[RootPath, ...]
    user: Text = Field(description="who had it made: the login user, behind sudo too; empty where that was not kept")
    command_line: Text = Field(description="what was typed; empty where that was not kept")
    why: Text
    added: tuple[Text, ...] = Field(description="parameters kept next to the profile from then on")
    removed: tuple[Text, ...] = Field(description="parameters kept away from then on")


class HistoryReport(Document):
    """The result of `history`, newest first."""

    command: Literal["history"] = "history"
    snapshots: tuple[SnapshotReport, ...]
    findings: tuple[FindingReport, ...]


class ProfileSummary(Part):
    """One profile by name."""

    name: Text
    summary: Text
    source: Text


class ProfilesReport(Document):
    """The result of `profile list`."""

    command: Literal["profile list"] = "profile list"
    profiles: tuple[ProfileSummary, ...]


class RecoverReport(Document):
    """The result of `recover`."""

    command: Literal["recover"] = "recover"
    recovered: Text | None = Field(description="the snapshot of the interrupted run; null where there was none")
    completed: bool = Field(description="it had been committed, and was closed; false where it was undone")
    files: tuple[RootPath, ...]
    run_again: tuple[tuple[Text, ...], ...] = Field(
        description="commands whose own writing is undone only when they run again, inside the root"
    )
    ran_again: tuple[tuple[Text, ...], ...] = Field(
        description="those that ran again, so that what they wrote is undone"
    )


class LineReport(Part):
    """One command line that lint looked at."""

    where: Text
    cmdline: Text
    kernels: tuple[Text, ...] = Field(description="the kernels that read it; empty where they are not known")


class LocatedFindingReport(FindingReport):
    """A finding with the lines that it is about; none where it is about the profile or the host."""

    where: tuple[Text, ...]


class LintReport(Document):
    """The result of `lint`: errors first."""

    command: Literal["lint"] = "lint"
    platform: Text | None = Field(description="null where it may be any")
    lines: tuple[LineReport, ...]
    findings: tuple[LocatedFindingReport, ...]


class VerifyCheckReport(Part):
    """One thing that was compared."""

    name: Text
    result: Literal["pass", "fail", "skip"]
    detail: Text


class ExemptionReport(Part):
    """A group that the kernel treats otherwise by its own rules."""

    group: int
    type: Text
    devices: tuple[Text, ...]
    reason: Text


class VerifyReport(Document):
    """The result of `verify`; the exit code is 1 where `ok` is false."""

    command: Literal["verify"] = "verify"
    profile: Text
    ok: bool
    verdict: VerdictName
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    sentence: Text = Field(description="what decided")
    checks: tuple[VerifyCheckReport, ...]
    exemptions: tuple[ExemptionReport, ...]


class DeviceReport(Part):
    """One device of a group; ids in hexadecimal, names null where the system has no list of them."""

    address: Text
    device_class: Text = Field(serialization_alias="class")
    vendor: Text
    device: Text
    class_name: Text | None
    vendor_name: Text | None
    device_name: Text | None
    driver: Text | None
    reset: tuple[Text, ...] = Field(description="the ways to reset it")
    virtual_functions: int = Field(description="SR-IOV: how many there are")
    maximal_virtual_functions: int = Field(description="SR-IOV: how many there can be")
    physical_function: Text | None
    usable: bool = Field(description="whether nothing stops it from going to a guest, its group with it")
    obstacles: tuple[ObjectionReport, ...] = Field(description="what stops it")
    carries: tuple[UseReport, ...] = Field(description="what hangs on it")
    reset_methods: tuple[Text, ...] = Field(description="`reset`, by the name that `devices` has for it")
    numvfs: int = Field(description="`virtual_functions`, by the name that `devices` has for it")
    totalvfs: int = Field(description="`maximal_virtual_functions`, by the name that `devices` has for it")


class GroupReport(Part):
    """One IOMMU group."""

    id: int
    type: Text | None = Field(description="the default domain type; null where the kernel does not show it")
    devices: tuple[DeviceReport, ...]
    assign_together: tuple[Text, ...] = Field(description="the addresses that go to a guest together")
    obstacle: Text | None = Field(description="why none of them can")


class GroupsReport(Document):
    """The result of `groups`."""

    command: Literal["groups"] = "groups"
    groups: tuple[GroupReport, ...]
    ungrouped: tuple[DeviceReport, ...] = Field(description="devices that no group holds although an IOMMU is active")


class CheckItemReport(Part):
    """One thing that a change or its effect depends on."""

    name: Text
    result: Literal["pass", "fail", "unknown"] = Field(validation_alias="outcome")
    evidence: Text
    remedy: Text | None = Field(description="what to do about it where it failed")


class CheckReport(Document):
    """The result of `check`; the exit code is 1 where `ok` is false."""

    command: Literal["check"] = "check"
    ok: bool
    sentence: Text = Field(description="whether this host can do it, and what to do first where it cannot")
    items: tuple[CheckItemReport, ...]


class ErrorDetail(Part):
    """What stopped the run."""

    code: int = Field(description="the exit code")
    kind: Word = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="a stable word, finer than the code")
    brief: Text
    details: tuple[Text, ...]
    hint: Text | None


class ErrorReport(Document):
    """An error, on stderr; stdout stays empty."""

    error: ErrorDetail
