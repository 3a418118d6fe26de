# SPDX-License-Identifier: Apache-2.0
"""Report: the JSON that scripts read. Stable, versioned, snake_case; a JSON Schema is generated from these models."""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

from iommuctl.findings import Severity
from iommuctl.plan import FileClass, Op

SCHEMA_VERSION: Final = 1

RootPath = Annotated[str, Field(description="an absolute path as seen inside the root")]
VerdictName = Literal["active", "not_applied", "ignored_by_kernel", "firmware_off", "drift", "hypervisor", "unproven"]
AgentName = Literal["command_line", "kernel_default"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    # Every key is always there, those that are the same every time included.
    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class _Report(_Model):
    schema_version: Literal[1] = SCHEMA_VERSION


def to_json(report: BaseModel) -> str:
    r"""Return a report as it is printed. Bytes that are not UTF-8, of a name or a line, are `\xNN`, as in the text."""
    try:
        return report.model_dump_json(indent=2, by_alias=True)
    except PydanticSerializationError:
        return json.dumps(_escaped(report.model_dump(mode="json", by_alias=True)), indent=2, ensure_ascii=False)


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_escaped(key): _escaped(one) for key, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list) else value


class FindingReport(_Model):
    """Something an operator should know."""

    rule: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="a stable id")
    severity: Severity
    parameter: str | None = Field(description="the parameter as written, value included")
    message: str
    hint: str | None


class EvidenceReport(_Model):
    """One thing that was looked at to tell the bootloader, and what it says."""

    probe: str
    found: str
    says: str


class ChangeReport(_Model):
    """One whole parameter as written; null where absent. One record for each target."""

    op: Op
    before: str | None
    after: str | None
    path: RootPath
    target: str
    reason: str


class FileReport(_Model):
    """One file whose content the plan names."""

    path: RootPath
    file_class: FileClass = Field(serialization_alias="class")
    diff: str
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None


class CommandReport(_Model):
    """A program that the plan runs inside the root; `ran` is false in a dry-run and where regeneration is left out."""

    argv: tuple[str, ...]
    reason: str
    ran: bool


class PlanReport(_Report):
    """The result of `apply` and `rollback`, dry or not."""

    command: Literal["apply", "rollback"]
    dry_run: bool
    profile: str | None
    platform: str | None
    root: str
    backend: str
    evidence: tuple[EvidenceReport, ...]
    changed: bool
    changes: tuple[ChangeReport, ...]
    files: tuple[FileReport, ...]
    commands: tuple[CommandReport, ...]
    findings: tuple[FindingReport, ...]
    fingerprint: Sha256
    snapshot: str | None
    reboot_required: bool


class EntryReport(_Model):
    """One boot entry as the bootloader sees it."""

    id: str
    title: str
    kernel_release: str | None
    path: RootPath
    cmdline: str
    rescue: bool
    default: bool
    ours: bool
    reason: str


class FutureReport(_Model):
    """What a kernel installed later boots with, and the file that says so."""

    cmdline: str
    source: RootPath


class DriftReport(_Model):
    """One place that does not have what the applied profile asks for."""

    where: str
    expected: str
    found: str


class EffectiveReport(_Model):
    """What the running kernel does, next to what is configured."""

    units: tuple[str, ...] = Field(description="the active IOMMUs")
    group_types: dict[str, int] = Field(description="how many groups have each default domain type")
    interrupts_remapped: bool | None = Field(description="null where nothing tells")
    verdict: VerdictName | None = Field(description="of the applied profile; null where there is none to compare")
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    failed: tuple[str, ...] = Field(description="the names of the checks that failed")


class StatusReport(_Report):
    """The result of `status`."""

    command: Literal["status"] = "status"
    root: str
    platform: str
    backend: str
    evidence: tuple[EvidenceReport, ...]
    running_cmdline: str | None = Field(description="null for another root")
    entries: tuple[EntryReport, ...]
    future_kernels: FutureReport
    profile: str | None
    drift: tuple[DriftReport, ...]
    effective: EffectiveReport | None = Field(description="null for another root")
    findings: tuple[FindingReport, ...]
    reboot_required: bool


class SnapshotReport(_Model):
    """One apply or rollback that can be gone back from."""

    id: str
    created: str = Field(description="RFC 3339, UTC")
    action: Literal["apply", "rollback"]
    of: str | None = Field(description="the snapshot that a rollback went back to before")
    profile: str | None
    state: Literal["applied", "rolled_back", "undone"]
    files: tuple[RootPath, ...]


class HistoryReport(_Report):
    """The result of `history`, newest first."""

    command: Literal["history"] = "history"
    snapshots: tuple[SnapshotReport, ...]
    findings: tuple[FindingReport, ...]


class ProfileSummary(_Model):
    """One profile by name."""

    name: str
    summary: str
    source: str


class ProfilesReport(_Report):
    """The result of `profile list`."""

    command: Literal["profile list"] = "profile list"
    profiles: tuple[ProfileSummary, ...]


class RecoverReport(_Report):
    """The result of `recover`."""

    command: Literal["recover"] = "recover"
    recovered: str | None = Field(description="the snapshot of the interrupted run; null where there was none")
    completed: bool = Field(description="it had been committed, and was closed; false where it was undone")
    files: tuple[RootPath, ...]
    run_again: tuple[tuple[str, ...], ...] = Field(
        description="commands whose own writing is undone only when they run again, inside the root"
    )


class LineReport(_Model):
    """One command line that lint looked at."""

    where: str
    cmdline: str
    kernels: tuple[str, ...] = Field(description="the kernels that read it; empty where they are not known")


class LocatedFindingReport(FindingReport):
    """A finding with the lines that it is about; none where it is about the profile or the host."""

    where: tuple[str, ...]


class LintReport(_Report):
    """The result of `lint`: errors first."""

    command: Literal["lint"] = "lint"
    platform: str | None = Field(description="null where it may be any")
    lines: tuple[LineReport, ...]
    findings: tuple[LocatedFindingReport, ...]


class AvailabilityReport(_Model):
    """On which architecture, and in which kernels, the ends included; null where every one that was read has it."""

    architecture: str
    since: str | None
    until: str | None


class TokenReport(_Model):
    """One value that a list can hold."""

    name: str
    meaning: str
    same_as: str | None
    available: tuple[AvailabilityReport, ...]
    deprecated_since: str | None
    unsafe: bool


class MythReport(_Model):
    """A value that guides recommend and no kernel reads as they say."""

    value: str
    meaning: str
    mend: str | None


class SaidReport(_Model):
    """What one item of the value that was asked about does."""

    item: str
    meaning: str


class AdviceReport(_Model):
    """A question that people ask, and its answer in paragraphs."""

    question: str
    answer: tuple[str, ...]


class ParameterReport(_Model):
    """One parameter as the catalogue has it."""

    asked: str
    name: str
    summary: str
    kind: Literal["early", "setup", "module", "userspace", "hypervisor", "nobody"]
    grammar: Literal["flag", "bool", "scalar", "option-list", "last-wins-list", "accumulating"]
    said: tuple[SaidReport, ...]
    advice: tuple[AdviceReport, ...]
    available: tuple[AvailabilityReport, ...]
    platforms: tuple[str, ...] = Field(description="those whose drivers act on it; empty: no driver of its own")
    default: str | None
    kconfig: tuple[str, ...]
    effect: str | None
    same_as: str | None
    deprecated_since: str | None
    unsafe: str | None = Field(description="the value that weakens isolation; `set` for any")
    conflicts: tuple[str, ...]
    tokens: tuple[TokenReport, ...]
    myths: tuple[MythReport, ...]
    notes: tuple[str, ...]
    source: str


class ExplainReport(_Report):
    """The result of `explain`, in the order that was asked."""

    command: Literal["explain"] = "explain"
    parameters: tuple[ParameterReport, ...]


class VerifyCheckReport(_Model):
    """One thing that was compared."""

    name: str
    result: Literal["pass", "fail", "skip"]
    detail: str


class ExemptionReport(_Model):
    """A group that the kernel treats otherwise by its own rules."""

    group: int
    type: str
    devices: tuple[str, ...]
    reason: str


class VerifyReport(_Report):
    """The result of `verify`; the exit code is 1 where `ok` is false."""

    command: Literal["verify"] = "verify"
    profile: str
    ok: bool
    verdict: VerdictName
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    sentence: str = Field(description="what decided")
    checks: tuple[VerifyCheckReport, ...]
    exemptions: tuple[ExemptionReport, ...]


class DeviceReport(_Model):
    """One device of a group; ids in hexadecimal, names null where the system has no list of them."""

    address: str
    device_class: str = Field(serialization_alias="class")
    vendor: str
    device: str
    class_name: str | None
    vendor_name: str | None
    device_name: str | None
    driver: str | None
    reset: tuple[str, ...] = Field(description="the ways to reset it")
    virtual_functions: int = Field(description="SR-IOV: how many there are")
    maximal_virtual_functions: int = Field(description="SR-IOV: how many there can be")
    physical_function: str | None


class GroupReport(_Model):
    """One IOMMU group."""

    id: int
    type: str | None = Field(description="the default domain type; null where the kernel does not show it")
    devices: tuple[DeviceReport, ...]
    assign_together: tuple[str, ...] = Field(description="the addresses that go to a guest together")
    obstacle: str | None = Field(description="why none of them can")


class GroupsReport(_Report):
    """The result of `groups`."""

    command: Literal["groups"] = "groups"
    groups: tuple[GroupReport, ...]


class CheckItemReport(_Model):
    """One thing that a change or its effect depends on."""

    name: str
    result: Literal["pass", "fail", "unknown"]
    evidence: str


class CheckReport(_Report):
    """The result of `check`; the exit code is 1 where `ok` is false."""

    command: Literal["check"] = "check"
    ok: bool
    items: tuple[CheckItemReport, ...]


class ErrorDetail(_Model):
    """What stopped the run."""

    code: int = Field(description="the exit code")
    brief: str
    details: tuple[str, ...]
    hint: str | None


class ErrorReport(_Report):
    """An error, on stderr; stdout stays empty."""

    error: ErrorDetail


REPORTS: dict[str, type[BaseModel]] = {
    "apply": PlanReport,
    "rollback": PlanReport,
    "status": StatusReport,
    "history": HistoryReport,
    "profiles": ProfilesReport,
    "recover": RecoverReport,
    "lint": LintReport,
    "explain": ExplainReport,
    "verify": VerifyReport,
    "groups": GroupsReport,
    "check": CheckReport,
    "error": ErrorReport,
}
