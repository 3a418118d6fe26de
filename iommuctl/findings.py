# SPDX-License-Identifier: Apache-2.0
"""Findings: what an operator should know. Values only."""

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How much a finding weighs; an error stops an apply unless its rule is forced."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """Something an operator should know. `rule` is a stable kebab-case id; `parameter` the token as written."""

    rule: str
    severity: Severity
    message: str
    parameter: str | None = None
    hint: str | None = None
