# SPDX-License-Identifier: Apache-2.0
"""Check: whether firmware, kernel, bootloader and space allow what a profile asks for."""

import sys
from typing import TYPE_CHECKING

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.results import result_lines
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result, wants_colour

if TYPE_CHECKING:
    from iommuctl.app.look.check import CheckResult
    from iommuctl.documents.models import CheckReport

_FAILED = 1


@command("check", "check --json")
def check(
    context: typer.Context,
    root: options.RunningRoot = options.ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
) -> None:
    """Look whether firmware, kernel, bootloader and space allow it.

    It changes nothing. Exit code 1 where something fails.
    """
    from iommuctl.app.host import Host
    from iommuctl.app.look.check import check_host

    found = check_host(Host.open(root), platform=options.parse_platform(platform), backend=backend)
    print_result(context, lambda: _report(found), lambda: _text(found, colour=wants_colour(sys.stdout)))
    raise typer.Exit(0 if found.is_able else _FAILED)


def _text(found: "CheckResult", *, colour: bool) -> str:
    """Every item, a row each, with what to do about it where it failed, and the answer."""
    head, *rows = result_lines(((item.outcome, item.name, item.evidence) for item in found.items), colour=colour)
    lines = [head]
    for item, row in zip(found.items, rows, strict=True):
        lines += [row, f"    hint: {visible(item.remedy)}"] if item.remedy else [row]
    answer = styled(visible(found.sentence), Style.GREEN if found.is_able else Style.RED, colour=colour)
    return "".join(f"{line}\n" for line in (*lines, "", answer))


def _report(found: "CheckResult") -> "CheckReport":
    from iommuctl.documents import base, models

    return models.CheckReport(
        ok=found.is_able, sentence=found.sentence, items=base.reports(models.CheckItemReport, found.items)
    )
