# SPDX-License-Identifier: Apache-2.0
"""Recovered: what became of an interrupted run, as text."""

from typing import TYPE_CHECKING

from iommuctl.cli.output.changes import change_lines
from iommuctl.cli.output.text import visible

if TYPE_CHECKING:
    from iommuctl.app.host import Host
    from iommuctl.transaction.recovery import Recovered
    from iommuctl.transaction.trial.record import TrialRecord


def recover_text(host: "Host", recovered: "Recovered | None", *, verbose: bool = False) -> str:
    """Return what became of an interrupted run; verbose tells what it was to change."""
    if recovered is None:
        return "nothing to recover: no run was interrupted\n"
    changes = ["changes:", *change_lines(recovered.snapshot.changes)] if verbose else []
    if recovered.completed:
        done = visible(f"snapshot {recovered.snapshot.id} was complete; it is closed now")
        return "".join(f"{line}\n" for line in (done, *changes))
    lines = [f"snapshot {recovered.snapshot.id} was interrupted; it is undone", *changes]
    lines += [f"  {path}: put back" for path in recovered.restored]
    lines += [f"  {path}: kept as it is" for path in recovered.kept]
    lines += [f"  {path}: what stood there before" for path in recovered.displaced]
    lines += [f"  {host.typed(argv)}: ran again" for argv in recovered.ran]
    if recovered.is_open:
        lines += ["left to the next run, for its files are not all that it wrote:"]
        lines += [f"  {host.typed(argv)}" for argv in recovered.started]
        return "".join(f"{visible(line)}\n" for line in (*lines, f"hint: {host.root.command('recover')}"))
    for argv in recovered.started:
        lines += ["what this one wrote is not undone before it runs again:", f"hint: {host.typed(argv)}"]
    return "".join(f"{visible(line)}\n" for line in lines)


def ended_text(over: "TrialRecord") -> str:
    """Return that a trial boot is over, and how."""
    return visible(f"trial {over.id} of {over.profile} is {over.phase}: {over.reason}") + "\n"
