# SPDX-License-Identifier: Apache-2.0
"""Verify: whether the running kernel does what a profile promises."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.results import result_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result, wants_colour
from iommuctl.errors import IommuctlError
from iommuctl.running.verdict import Agent, Verdict

if TYPE_CHECKING:
    from iommuctl.app.host import Host
    from iommuctl.documents.models import VerifyReport
    from iommuctl.running.verdict import Verification

_FAILED = 1
_MEANING = {
    Verdict.ACTIVE: "the running kernel does{by} what {profile!r} promises",
    Verdict.NOT_APPLIED: "the running kernel was not started with {profile!r}",
    Verdict.IGNORED_BY_KERNEL: "the parameters of {profile!r} are there, and the kernel does not act on them",
    Verdict.FIRMWARE_OFF: "the firmware shows no IOMMU, and no parameter can change that",
    Verdict.DRIFT: "the kernel acted on {profile!r}, and something was changed since",
    Verdict.HYPERVISOR: "a hypervisor owns the IOMMU, and no parameter of Linux reaches it",
    Verdict.UNPROVEN: "nothing shows whether the running kernel does what {profile!r} promises",
}
_BY = {Agent.COMMAND_LINE: "", Agent.KERNEL_DEFAULT: " by itself"}
_NEXT = {
    Verdict.ACTIVE: None,
    Verdict.NOT_APPLIED: "iommuctl apply {profile}, then reboot; iommuctl status tells what boots next",
    Verdict.IGNORED_BY_KERNEL: "the failed checks say why; iommuctl check looks at the host",
    Verdict.FIRMWARE_OFF: "switch the IOMMU on in the setup of the firmware; for a guest, on its host",
    Verdict.DRIFT: "reboot, or undo by hand what the failed checks name",
    Verdict.HYPERVISOR: "iommuctl explain dom0-iommu; the hypervisor has its own command line",
    Verdict.UNPROVEN: "sudo iommuctl verify {profile}; root may read more, and a newer kernel shows more",
}


@command("verify", "verify strict-isolation --json")
def verify(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE",
            help="Compare with this profile alone; without it, with the one applied last and what is next to it.",
            autocompletion=options.complete_profile,
        ),
    ] = None,
    root: options.RunningRoot = options.ROOT,
    platform: options.PlatformOption = "auto",
    inputs: options.Set = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="Also write the verdict for Prometheus, onto what is there."),
    ] = None,
) -> None:
    """Tell whether the running kernel does what a profile promises.

    It looks at what the kernel shows in /sys, not at strings alone. Exit code 1 where the profile is not active.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.look.verify import verify_host

    host, values = Host.open(root), options.parse_inputs(inputs)
    try:
        found = verify_host(host, profile, platform=options.parse_platform(platform), inputs=values)
    except IommuctlError:
        _write_metrics(host, metrics, None)
        raise
    _write_metrics(host, metrics, found)
    print_result(context, lambda: _report(found), lambda: _text(found, colour=wants_colour(sys.stdout)))
    raise typer.Exit(0 if found.is_active else _FAILED)


def _write_metrics(host: "Host", path: Path | None, found: "Verification | None") -> None:
    """Write the verdict where it is asked for; that there is none, too, so that no old one stays in force."""
    if path is None:
        return
    from iommuctl.app.look.status import read_status
    from iommuctl.cli.output.metrics import metrics_text
    from iommuctl.transaction.outfile import PUBLIC, write_outfile

    status = None
    with suppress(IommuctlError):  # another loader than ours: a verdict is one all the same
        status = read_status(host, platform=None, backend=None) if host.is_system else None
    write_outfile(path, metrics_text(found, status, host.clock()).encode(), overwrite=True, mode=PUBLIC)


def _text(found: "Verification", *, colour: bool) -> str:
    """Every check, the exemptions, and the verdict with the way on."""
    lines = list(result_lines(((check.result, check.name, check.detail) for check in found.checks), colour=colour))
    lines += [
        f"group {one.group} is {one.type}: {visible(one.reason)} ({visible(' '.join(one.devices))})"
        for one in found.exemptions
    ]
    by = "" if found.by is None else _BY[found.by]
    meaning = f"{_MEANING[found.verdict].format(profile=found.profile, by=by)}: {visible(found.sentence)}"
    lines += ["", styled(f"{found.verdict}: {meaning}", Style.GREEN if found.is_active else Style.RED, colour=colour)]
    if (way := _NEXT[found.verdict]) is not None:
        lines.append(f"hint: {way.format(profile=found.profile)}")
    return "".join(f"{line}\n" for line in lines)


def _report(found: "Verification") -> "VerifyReport":
    from iommuctl.documents import base, models

    return models.VerifyReport(
        profile=found.profile,
        ok=found.is_active,
        verdict=found.verdict.value,
        by=None if found.by is None else found.by.value,
        sentence=found.sentence,
        checks=base.reports(models.VerifyCheckReport, found.checks),
        exemptions=base.reports(models.ExemptionReport, found.exemptions),
    )
