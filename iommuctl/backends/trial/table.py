# SPDX-License-Identifier: Apache-2.0
"""The table of loaders that can boot an entry once, by the backend of the host."""

# ruff: noqa: PLC0415 - the others would cost time

from iommuctl.backends.trial.base import Judge, Order, Rendered
from iommuctl.facts import Facts
from iommuctl.findings import Rule
from iommuctl.tree import Tree

_REFUSED = "no trial boot is made on a host with this kind of entries"


def render(backend: str, tree: Tree, facts: Facts, order: Order) -> Rendered:
    """Return the entry of a trial and what was looked at; for a loader without one, the condition that says so."""
    if backend == "grub2":
        from iommuctl.backends.trial import menu

        return menu.render(tree, facts, order)
    if backend == "systemd-boot":
        from iommuctl.backends.trial import entry

        return entry.render(tree, facts, order)
    if backend == "bls":
        from iommuctl.backends.trial import bls

        return bls.render(tree, facts, order)
    judge = Judge()
    judge.refuse(Rule.TRIAL_LOADER, _REFUSED, f"the backend {backend}", "iommuctl apply PROFILE, with a console")
    return Rendered(None, judge.conditions)
