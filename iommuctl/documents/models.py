# SPDX-License-Identifier: Apache-2.0
"""Report: the JSON that scripts read. Stable, versioned, snake_case; a JSON Schema is generated from these models."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from iommuctl.documents.text import carried, is_carrying, restored, shown
from iommuctl.facts import KernelVersion
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.span import Spans
from iommuctl.plan import FileClass, Op

SCHEMA_VERSION: Final = 1
_UNPRINTABLE = re.compile(r"[^\n -~]")


def _text(value: object) -> object:
    """Write a value of the core as text; `to_json` tells of the bytes that were no UTF-8."""
    return carried(str(value)) if isinstance(value, str | Cmdline | Kernel | KernelVersion | PurePosixPath) else value


Text = Annotated[str, BeforeValidator(_text)]
# The oldest upstream release of those that have something.
Since = Annotated[Text | None, BeforeValidator(lambda value: value.since if isinstance(value, Spans) else value)]
RootPath = Annotated[Text, Field(description="an absolute path as seen inside the root")]
VerdictName = Literal["active", "not_applied", "ignored_by_kernel", "firmware_off", "drift", "hypervisor", "unproven"]
AgentName = Literal["command_line", "kernel_default"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _with_raw(schema: dict[str, Any]) -> None:
    schema.setdefault("properties", {})["raw"] = {
        "type": "object",
        "description": "only where a field holds bytes that are no UTF-8: all its bytes in hexadecimal, by its name",
        "additionalProperties": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    }


class _Model(BaseModel):
    # Every key is always there, those that are the same every time included. Values of the core are taken as they are.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        from_attributes=True,
        json_schema_serialization_defaults_required=True,
        json_schema_extra=_with_raw,
    )


class _Report(_Model):
    schema_version: Literal[1] = SCHEMA_VERSION


M = TypeVar("M", bound=_Model)


def report(model: type[M], value: object, **computed: object) -> M:
    """Return a model of a value: each field is the value's attribute of its name, but for those that are `computed`."""
    if not computed:
        return model.model_validate(value)
    taken = {name: getattr(value, name) for name in model.model_fields if name not in computed}
    return model.model_validate(taken | computed)


def reports(model: type[M], values: Iterable[object]) -> tuple[M, ...]:
    """Return a model of each value."""
    return tuple(report(model, value) for value in values)


def to_json(document: BaseModel, *, indent: int | None = 2) -> str:
    """Return a document as it is printed: U+FFFD for a byte that is no UTF-8, and `raw` in its object has them all."""
    text = document.model_dump_json(indent=indent, by_alias=True)
    if is_carrying(text):
        separators = None if indent else (",", ":")
        text = json.dumps(_told(json.loads(text)), indent=indent, separators=separators, ensure_ascii=False)
    # JSON lets a terminal's own characters stand as they are; they may reach one.
    return text if text.isascii() else _UNPRINTABLE.sub(_as_json, text)


def _told(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, dict):
        raw = {name: restored(text).hex() for name, text in _texts_of(value) if is_carrying(text)}
        told = {shown(name): _told(part) for name, part in value.items()}
        return told | {"raw": raw} if raw else told
    if isinstance(value, list):
        return [_told(part) for part in value]
    return shown(value) if isinstance(value, str) else value


def _texts_of(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in value.items():
        for place, text in enumerate(part) if isinstance(part, list) else ((None, part),):
            if isinstance(text, str):
                yield (name if place is None else f"{name}[{place}]"), text


def _as_json(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]


class FindingReport(_Model):
    """Something an operator should know."""

    rule: Text = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="a stable id")
    severity: Severity
    parameter: Text | None = Field(description="the parameter as written, value included")
    message: Text
    hint: Text | None


class EvidenceReport(_Model):
    """One thing that was looked at to tell the bootloader, and what it says."""

    probe: Text
    found: Text
    says: Text


class ChangeReport(_Model):
    """One whole parameter as written; null where absent. One record for each target."""

    op: Op
    before: Text | None
    after: Text | None
    path: RootPath
    target: Text
    reason: Text


class FileReport(_Model):
    """One file whose content the plan names."""

    path: RootPath
    file_class: FileClass = Field(serialization_alias="class")
    diff: Text
    before_sha256: Sha256 | None
    after_sha256: Sha256 | None


class CommandReport(_Model):
    """A program that the plan runs inside the root; `ran` is false in a dry-run and where regeneration is left out."""

    argv: tuple[Text, ...]
    reason: Text
    ran: bool


class PlanReport(_Report):
    """The result of `apply` and `rollback`, dry or not."""

    command: Literal["apply", "rollback"]
    dry_run: bool
    profile: Text | None
    platform: Text | None
    root: Text
    backend: Text
    evidence: tuple[EvidenceReport, ...]
    changed: bool
    changes: tuple[ChangeReport, ...]
    files: tuple[FileReport, ...]
    commands: tuple[CommandReport, ...]
    findings: tuple[FindingReport, ...]
    fingerprint: Sha256
    snapshot: Text | None
    reboot_required: bool


class EntryReport(_Model):
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


class FutureReport(_Model):
    """What a kernel installed later boots with, and the file that says so."""

    cmdline: Text | None = Field(description="null where it cannot be told; a finding says why")
    source: RootPath


class DriftReport(_Model):
    """One place that does not have what the applied profile asks for."""

    where: Text
    expected: Text
    found: Text


class EffectiveReport(_Model):
    """What the running kernel does, next to what is configured."""

    units: tuple[Text, ...] = Field(description="the active IOMMUs")
    group_types: dict[Text, int] = Field(description="how many groups have each default domain type")
    interrupts_remapped: bool | None = Field(description="null where nothing tells")
    verdict: VerdictName | None = Field(description="of the applied profile; null where there is none to compare")
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    failed: tuple[Text, ...] = Field(description="the names of the checks that failed")


class StatusReport(_Report):
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
    drift: tuple[DriftReport, ...]
    effective: EffectiveReport | None = Field(description="null for another root")
    findings: tuple[FindingReport, ...]
    reboot_required: bool


class SnapshotReport(_Model):
    """One apply or rollback that can be gone back from."""

    id: Text
    created: Text = Field(description="RFC 3339, UTC")
    action: Literal["apply", "rollback"]
    of: Text | None = Field(description="the snapshot that a rollback went back to before")
    profile: Text | None
    state: Literal["applied", "rolled_back", "undone"]
    files: tuple[RootPath, ...]


class HistoryReport(_Report):
    """The result of `history`, newest first."""

    command: Literal["history"] = "history"
    snapshots: tuple[SnapshotReport, ...]
    findings: tuple[FindingReport, ...]


class ProfileSummary(_Model):
    """One profile by name."""

    name: Text
    summary: Text
    source: Text


class ProfilesReport(_Report):
    """The result of `profile list`."""

    command: Literal["profile list"] = "profile list"
    profiles: tuple[ProfileSummary, ...]


class RecoverReport(_Report):
    """The result of `recover`."""

    command: Literal["recover"] = "recover"
    recovered: Text | None = Field(description="the snapshot of the interrupted run; null where there was none")
    completed: bool = Field(description="it had been committed, and was closed; false where it was undone")
    files: tuple[RootPath, ...]
    run_again: tuple[tuple[Text, ...], ...] = Field(
        description="commands whose own writing is undone only when they run again, inside the root"
    )


class LineReport(_Model):
    """One command line that lint looked at."""

    where: Text
    cmdline: Text
    kernels: tuple[Text, ...] = Field(description="the kernels that read it; empty where they are not known")


class LocatedFindingReport(FindingReport):
    """A finding with the lines that it is about; none where it is about the profile or the host."""

    where: tuple[Text, ...]


class LintReport(_Report):
    """The result of `lint`: errors first."""

    command: Literal["lint"] = "lint"
    platform: Text | None = Field(description="null where it may be any")
    lines: tuple[LineReport, ...]
    findings: tuple[LocatedFindingReport, ...]


class AvailabilityReport(_Model):
    """On which architecture, and in which kernels, the ends included; null where every one that was read has it."""

    architecture: Text = Field(validation_alias="on")
    since: Text | None
    until: Text | None


class TokenReport(_Model):
    """One value that a list can hold."""

    name: Text
    meaning: Text
    same_as: Text | None
    available: tuple[AvailabilityReport, ...]
    deprecated_since: Since
    unsafe: bool


class MythReport(_Model):
    """A value that guides recommend and no kernel reads as they say."""

    value: Text
    meaning: Text
    mend: Text | None


class SaidReport(_Model):
    """What one item of the value that was asked about does."""

    item: Text
    meaning: Text


class AdviceReport(_Model):
    """A question that people ask, and its answer in paragraphs."""

    question: Text
    answer: tuple[Text, ...]


class KernelAnswerReport(_Model):
    """Whether a kernel that was asked about reads a parameter, or one item of its value."""

    item: Text
    kernel: Text
    architecture: Text | None = Field(description="null: all that were asked about agree")
    reads: bool | None = Field(description="null: neither its line nor its release tells")
    source: Text


class ParameterReport(_Model):
    """One parameter as the catalogue has it."""

    asked: Text
    name: Text
    summary: Text
    kind: Literal["early", "setup", "module", "userspace", "hypervisor", "nobody"]
    grammar: Literal["flag", "bool", "scalar", "option-list", "last-wins-list", "accumulating"]
    said: tuple[SaidReport, ...]
    advice: tuple[AdviceReport, ...]
    available: tuple[AvailabilityReport, ...]
    platforms: tuple[Text, ...] = Field(description="those whose drivers act on it; empty: no driver of its own")
    default: Text | None
    kconfig: tuple[Text, ...]
    effect: Text | None
    same_as: Text | None
    deprecated_since: Since
    unsafe: Text | None = Field(description="the value that weakens isolation; `set` for any")
    conflicts: tuple[Text, ...]
    tokens: tuple[TokenReport, ...]
    myths: tuple[MythReport, ...]
    notes: tuple[Text, ...]
    source: Text
    kernels: tuple[KernelAnswerReport, ...] = Field(description="answers for the kernels of --kernel")


class ExplainReport(_Report):
    """The result of `explain`, in the order that was asked."""

    command: Literal["explain"] = "explain"
    parameters: tuple[ParameterReport, ...]


class VerifyCheckReport(_Model):
    """One thing that was compared."""

    name: Text
    result: Literal["pass", "fail", "skip"]
    detail: Text


class ExemptionReport(_Model):
    """A group that the kernel treats otherwise by its own rules."""

    group: int
    type: Text
    devices: tuple[Text, ...]
    reason: Text


class VerifyReport(_Report):
    """The result of `verify`; the exit code is 1 where `ok` is false."""

    command: Literal["verify"] = "verify"
    profile: Text
    ok: bool
    verdict: VerdictName
    by: AgentName | None = Field(description="who brings about what is promised; null unless active")
    sentence: Text = Field(description="what decided")
    checks: tuple[VerifyCheckReport, ...]
    exemptions: tuple[ExemptionReport, ...]


class DeviceReport(_Model):
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


class GroupReport(_Model):
    """One IOMMU group."""

    id: int
    type: Text | None = Field(description="the default domain type; null where the kernel does not show it")
    devices: tuple[DeviceReport, ...]
    assign_together: tuple[Text, ...] = Field(description="the addresses that go to a guest together")
    obstacle: Text | None = Field(description="why none of them can")


class GroupsReport(_Report):
    """The result of `groups`."""

    command: Literal["groups"] = "groups"
    groups: tuple[GroupReport, ...]
    ungrouped: tuple[DeviceReport, ...] = Field(description="devices that no group holds although an IOMMU is active")


class CheckItemReport(_Model):
    """One thing that a change or its effect depends on."""

    name: Text
    result: Literal["pass", "fail", "unknown"] = Field(validation_alias="outcome")
    evidence: Text
    remedy: Text | None = Field(description="what to do about it where it failed")


class CheckReport(_Report):
    """The result of `check`; the exit code is 1 where `ok` is false."""

    command: Literal["check"] = "check"
    ok: bool
    sentence: Text = Field(description="whether this host can do it, and what to do first where it cannot")
    items: tuple[CheckItemReport, ...]


class ErrorDetail(_Model):
    """What stopped the run."""

    code: int = Field(description="the exit code")
    brief: Text
    details: tuple[Text, ...]
    hint: Text | None


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
