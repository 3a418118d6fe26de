# SPDX-License-Identifier: Apache-2.0
"""Apply to a tree and roll back in this process, and see that nothing is left over."""

from contextlib import nullcontext
from pathlib import Path

from program import PROFILE, debris

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.plan import Plan, RollbackPlan
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate


def execute(root: Path, plan: Plan) -> str:
    executed = carry_out(Host.open(root), plan, progress=lambda _: nullcontext())
    assert debris(root) == set()
    assert executed.snapshot is not None
    return executed.snapshot


def apply(root: Path, profile: str = PROFILE) -> str:
    choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
    return execute(root, plan_apply(Host.open(root), profile, choices))


def planned(
    root: Path, name: str | None = None, *force: str, regenerate: Regenerate = Regenerate.NEVER
) -> RollbackPlan:
    return plan_rollback(Host.open(root), name, Choices(regenerate=regenerate, force=frozenset(force)))


def rollback(root: Path, name: str | None = None, *force: str) -> str:
    return execute(root, planned(root, name, *force))
