# SPDX-License-Identifier: Apache-2.0
"""Trial: the JSON of what a trial boot is, was, or would be."""

from typing import Annotated, Literal

from pydantic import Field

from iommuctl.documents.base import Part, RootPath, Text

StateName = Literal[
    "none", "arming", "armed", "running", "failed", "kept", "confirming", "confirmed", "returned", "cancelled"
]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ConditionReport(Part):
    """One thing that has to hold before a trial is armed."""

    rule: Text
    holds: bool
    found: Text
    by: Text = Field(description="how that is known")


class TrialCheckReport(Part):
    """One check of the trial's boot, with its last words."""

    name: Text
    result: Literal["pass", "fail"]
    detail: Text


class TrialFileReport(Part):
    """One file that a trial writes."""

    path: RootPath
    diff: Text


class TrialPart(Part):
    """The last trial boot."""

    id: Text
    state: StateName
    reason: Text
    profile: Text
    backend: Text
    entry: Text = Field(description="the id of its boot entry")
    cmdline: Text
    created: Text = Field(description="RFC 3339, UTC")
    confirm: Literal["manual", "auto"]
    timeout: int = Field(description="seconds since the start of its kernel, after which it ends")
    on_failure: Literal["reboot", "stay"]
    is_armed: bool = Field(description="it boots at the next start")
    is_running: bool = Field(description="this boot is the trial's")
    is_checked: bool = Field(description="every check has passed")
    checks: tuple[TrialCheckReport, ...]


class TrialPlanPart(Part):
    """What a trial would write now, and what a confirmation would make permanent."""

    files: tuple[TrialFileReport, ...]
    conditions: tuple[ConditionReport, ...]
    entry: Text | None = Field(description="null where nothing is to be tried")
    cmdline: Text | None
    fingerprint: _Sha256 = Field(description="of what a confirmation makes permanent")
