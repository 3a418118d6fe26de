# SPDX-License-Identifier: Apache-2.0
"""Explained: what is known of parameters, as JSON."""

from typing import Literal

from pydantic import Field

from iommuctl.documents.base import Document, Part, Since, Text


class AvailabilityReport(Part):
    """On which architecture, and in which kernels, the ends included; null where every one that was read has it."""

    architecture: Text = Field(validation_alias="on")
    since: Text | None
    until: Text | None


class TokenReport(Part):
    """One value that a list can hold."""

    name: Text
    meaning: Text
    same_as: Text | None
    available: tuple[AvailabilityReport, ...]
    deprecated_since: Since
    unsafe: bool


class MythReport(Part):
    """A value that guides recommend and no kernel reads as they say."""

    value: Text
    meaning: Text
    mend: Text | None


class SaidReport(Part):
    """What one item of the value that was asked about does."""

    item: Text
    meaning: Text


class AdviceReport(Part):
    """A question that people ask, and its answer in paragraphs."""

    question: Text
    answer: tuple[Text, ...]


class KernelAnswerReport(Part):
    """Whether a kernel that was asked about reads a parameter, or one item of its value."""

    item: Text
    kernel: Text
    architecture: Text | None = Field(description="null: all that were asked about agree")
    reads: bool | None = Field(description="null: neither its line nor its release tells")
    source: Text


class KernelDefaultReport(Part):
    """What a kernel that was asked about does by itself with the IOMMU of one platform."""

    kernel: Text
    platform: Text
    turns_on: bool | None = Field(description="without a parameter; false: `type` is that with intel_iommu=on")
    spares_gpu: bool | None = Field(description="on, but not for integrated GPUs; null: not known, or not Intel")
    type: Literal["identity", "DMA", "DMA-FQ"] | None = Field(description="null: how it is configured is not known")
    source: Text | None = Field(description="the configuration that was read; null: none was")


class ParameterReport(Part):
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
    defaults: tuple[KernelDefaultReport, ...] = Field(
        default=(), description="what those kernels do by themselves, for a parameter that changes it"
    )


class RuleReport(Part):
    """The rule of a finding, and what it means."""

    rule: Text
    meaning: Text


class ExplainReport(Document):
    """The result of `explain`, parameters and rules each in the order that was asked."""

    command: Literal["explain"] = "explain"
    parameters: tuple[ParameterReport, ...]
    rules: tuple[RuleReport, ...] = ()
