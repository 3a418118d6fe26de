# SPDX-License-Identifier: Apache-2.0
"""History: the snapshots that rollback takes, and what each of them changed."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import examples, with_options
from iommuctl.cli.output.changes import change_lines, diff_lines
from iommuctl.cli.output.findings import finding_lines
from iommuctl.cli.output.style import table_rows
from iommuctl.cli.output.text import visible
from iommuctl.cli.session import print_result, session, wants_colour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from iommuctl.documents.models import HistoryReport, SnapshotReport
    from iommuctl.plan import FileEdit
    from iommuctl.transaction.snapshot import Manifest, Summary
    from iommuctl.transaction.store import Listing

history = typer.Typer(
    name="history",
    rich_markup_mode=None,
    add_completion=False,
    help="Show the snapshots that rollback takes.",
    epilog=examples("history", "history show 20261122T124500Z-1a2b3c"),
)


@history.callback(invoke_without_command=True)
@with_options(verbose=True)
def history_list(context: typer.Context, root: options.Root = options.ROOT) -> None:
    """Show the snapshots, newest first."""
    if context.invoked_subcommand is not None:
        return
    from iommuctl.app.host import Host
    from iommuctl.app.look.history import snapshots

    found = snapshots(Host.open(root))
    print_result(context, lambda: _report(found), lambda: _text(found, verbose=session(context).verbose))


@history.command("show", epilog=examples("history show 20261122T124500Z-1a2b3c"))
@with_options()
def history_show(
    context: typer.Context,
    snapshot: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A snapshot's id, or the beginning of one.",
            autocompletion=options.complete_snapshot,
        ),
    ],
    root: options.Root = options.ROOT,
) -> None:
    """Show what one snapshot changed, and how its files differ now."""
    from iommuctl.app.host import Host
    from iommuctl.app.look.history import snapshot_edits
    from iommuctl.transaction.store import Listing

    manifest, edits = snapshot_edits(Host.open(root), snapshot)
    colour = wants_colour(sys.stdout)
    print_result(
        context, lambda: _report(Listing((manifest.summary,))), lambda: _snapshot_text(manifest, edits, colour=colour)
    )


def _text(listing: "Listing", *, verbose: bool = False) -> str:
    """The snapshots, newest first, a row each; then those that cannot be read. Verbose names the files of each."""
    head = ("snapshot", "created", "who", "action", "profile", "state")
    rows = [
        (
            one.id if verbose else _short(one, listing),
            _time(one),
            visible(one.origin.user) or "not known",
            one.action,
            one.profile,
            one.state,
        )
        for one in listing.snapshots
    ]
    lines, blocks = table_rows(head, tuple(rows)) if rows else (["no snapshots"], [])
    for block, one in zip(blocks, listing.snapshots, strict=True):
        lines += block
        lines += _told(one)
        if verbose:
            lines += [f"  {visible(str(path))}" for path in one.files]
    return "".join(f"{line}\n" for line in (*lines, *finding_lines(listing.findings, colour=False)))


def _short(one: "Summary", listing: "Listing") -> str:
    """The end of an id, which every command takes for it, where no other ends so."""
    return one.short_id if sum(other.short_id == one.short_id for other in listing.snapshots) == 1 else one.id


def _told(one: "Summary") -> "Iterator[str]":
    """What the history was told of a change: the command line, the reason, what is kept next to the profile."""
    if one.origin.command:
        yield visible(f"  {one.origin.command}")
    if one.origin.why:
        yield visible(f"  why: {one.origin.why}")
    if one.beside:
        yield visible(f"  beside the profile: {one.beside}")


def _snapshot_text(manifest: "Manifest", edits: "Iterable[FileEdit]", *, colour: bool) -> str:
    """One snapshot: its row, the parameters it changed, and how each file differs now from what it was before."""
    from iommuctl.transaction.store import Listing

    lines = [
        _text(Listing((manifest.summary,))),
        "changed:\n",
        *(f"{line}\n" for line in change_lines(manifest.changes)),
    ]
    lines += [f"{line}\n" for edit in edits for line in ("", *diff_lines(edit.diff, colour=colour))]
    return "".join(lines)


def _report(listing: "Listing") -> "HistoryReport":
    from iommuctl.documents import base, models

    return models.HistoryReport(
        snapshots=tuple(_snapshot_report(one) for one in listing.snapshots),
        findings=base.reports(models.FindingReport, listing.findings),
    )


def _snapshot_report(one: "Summary") -> "SnapshotReport":
    from iommuctl.documents import base, models

    return base.report(
        models.SnapshotReport,
        one,
        created=_time(one),
        user=one.origin.user,
        command_line=one.origin.command,
        why=one.origin.why,
        added=one.beside.added,
        removed=one.beside.removed,
    )


def _time(one: "Summary") -> str:
    return one.created.strftime("%Y-%m-%dT%H:%M:%SZ")
