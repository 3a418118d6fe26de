# SPDX-License-Identifier: Apache-2.0
"""Table: every document by the name of its schema."""

from pydantic import BaseModel

from iommuctl.documents import models
from iommuctl.documents.devices import DevicesReport
from iommuctl.documents.explained import ExplainReport
from iommuctl.documents.planfile import PlanFile

REPORTS: dict[str, type[BaseModel]] = {
    "apply": models.PlanReport,
    "rollback": models.PlanReport,
    "status": models.StatusReport,
    "history": models.HistoryReport,
    "profiles": models.ProfilesReport,
    "recover": models.RecoverReport,
    "trial": models.TrialReport,
    "lint": models.LintReport,
    "explain": ExplainReport,
    "verify": models.VerifyReport,
    "devices": DevicesReport,
    "groups": models.GroupsReport,
    "check": models.CheckReport,
    "plan": PlanFile,
    "error": models.ErrorReport,
}
