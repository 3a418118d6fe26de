# SPDX-License-Identifier: Apache-2.0
"""Status: what boots this host and why, what runs, what boots next."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.findings import evidence_lines, finding_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result, session, wants_colour

if TYPE_CHECKING:
    from iommuctl.app.look.status import Effective, Status
    from iommuctl.documents.models import EffectiveReport, StatusReport
    from iommuctl.documents.trial import TrialPart


@command("status", "status --json", "status --root /mnt/image", verbose=True)
def status(
    context: typer.Context,
    root: options.Root = options.ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
) -> None:
    """Tell what boots this host and why, what runs, what boots next."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.status import read_status

    found = read_status(Host.open(root), platform=options.parse_platform(platform), backend=backend)
    colour, verbose = wants_colour(sys.stdout), session(context).verbose
    print_result(context, lambda: _report(found), lambda: status_text(found, colour=colour, verbose=verbose))


def status_text(status: "Status", *, colour: bool, verbose: bool = False) -> str:
    """Return the bootloader and why, what runs, what boots, and what has drifted; verbose tells more of each entry."""
    return "".join(f"{line}\n" for line in _lines(status, colour=colour, verbose=verbose))


def _lines(status: "Status", *, colour: bool, verbose: bool) -> Iterator[str]:
    yield styled(f"backend {status.backend}, platform {status.platform}", Style.BOLD, colour=colour)
    yield from (f"  {line}" for line in evidence_lines(status.evidence))
    yield ""
    yield f"profile applied: {status.profile or 'none'}"
    if status.beside:
        yield f"beside the profile: {visible(str(status.beside))}"
    if status.trial is not None:
        from iommuctl.cli.output.trial import state_lines

        yield from state_lines(status.trial, colour=colour)
    if status.running_cmdline is not None:
        yield f"running: {visible(status.running_cmdline)}"
    if status.effective is not None:
        yield from _effective_lines(status.effective, colour=colour)
    coming = status.config.future
    told = "not known" if coming.cmdline is None else visible(str(coming.cmdline))
    yield f"next kernel: {told}  (from {visible(str(coming.source))})"
    yield ""
    for entry in status.config.entries:
        mark = "*" if entry.default else " "
        note = "" if entry.ours and not entry.rescue else f"  [{visible(entry.reason)}]"
        yield f"{mark} {visible(entry.title)}{note}"
        if entry.cmdline.tokens:
            yield f"    {visible(str(entry.cmdline))}"
        if verbose:
            yield visible(f"    {entry.path}, kernel {entry.kernel_release or 'not known'}: {entry.reason}")
    for drift in status.drift:
        text = visible(f"drift: {drift.where}: expected {drift.expected}, found {drift.found}")
        yield styled(text, Style.YELLOW, colour=colour)
    if status.drift:
        yield f"hint: {visible(status.way_in_step)} shows what would bring them in step"
    yield from finding_lines(status.findings, colour=colour)
    if status.reboot_required:
        yield styled("a reboot is required for the applied profile to take effect", Style.YELLOW, colour=colour)


def _effective_lines(effective: "Effective", *, colour: bool) -> Iterator[str]:
    units = " ".join(unit.name for unit in effective.observed.units) or "no IOMMU"
    types = ", ".join(f"{count} {kind}" for kind, count in effective.group_types.items()) or "none"
    remapped = {True: "on", False: "off", None: "not known"}[effective.observed.interrupts_remapped]
    yield visible(f"effective: {units}; groups: {types}; interrupt remapping {remapped}")
    if (found := effective.verification) is not None:
        yield styled(f"verify: {found.verdict}", Style.GREEN if found.is_active else Style.YELLOW, colour=colour)
        yield from (f"  {check.name}: {visible(check.detail)}" for check in found.failed)


def _report(status: "Status") -> "StatusReport":
    from iommuctl.documents import base, models

    return models.StatusReport(
        root=status.root,
        platform=status.platform.value,
        backend=status.backend,
        evidence=base.reports(models.EvidenceReport, status.evidence),
        running_cmdline=status.running_cmdline,
        entries=base.reports(models.EntryReport, status.config.entries),
        future_kernels=base.report(models.FutureReport, status.config.future),
        profile=status.profile,
        added=status.beside.added,
        removed=status.beside.removed,
        drift=base.reports(models.DriftReport, status.drift),
        effective=None if status.effective is None else _effective(status.effective),
        findings=base.reports(models.FindingReport, status.findings),
        reboot_required=status.reboot_required,
        trial=_trial(status),
    )


def _trial(status: "Status") -> "TrialPart | None":
    if status.trial is None:
        return None
    from iommuctl.cli.output.trial import trial_part

    return trial_part(status.trial)


def _effective(effective: "Effective") -> "EffectiveReport":
    from iommuctl.documents import models

    found = effective.verification
    return models.EffectiveReport(
        units=tuple(unit.name for unit in effective.observed.units),
        group_types=effective.group_types,
        interrupts_remapped=effective.observed.interrupts_remapped,
        verdict=None if found is None else found.verdict.value,
        by=None if found is None or found.by is None else found.by.value,
        failed=() if found is None else tuple(check.name for check in found.failed),
    )
