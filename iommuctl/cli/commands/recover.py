# SPDX-License-Identifier: Apache-2.0
"""Recover: finish or undo a run that was interrupted."""

from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.cli.output.recovered import ended_text, recover_text
from iommuctl.cli.session import print_result, session

if TYPE_CHECKING:
    from iommuctl.documents.models import RecoverReport
    from iommuctl.transaction.recovery import Recovered


@command("recover", "recover --root /mnt/image --accept-current", verbose=True)
def recover(
    context: typer.Context,
    *,
    root: options.Root = options.ROOT,
    accept_current: Annotated[
        bool, typer.Option("--accept-current", help="Keep files that hold neither the old nor the new content.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Put the old content back even where a file holds something else.")
    ] = False,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="Leave programs that must run again to the next recover.")
    ] = False,
) -> None:
    """Finish or undo a run that was interrupted.

    Every command that writes does so first, too. What had written by itself, such as mkinitcpio, runs again when the
    files are back.
    """
    from iommuctl.app.change.recover import end_trial, recover_host, resolution_of
    from iommuctl.app.host import Host

    host = Host.open(root)
    resolution = resolution_of(accept_current=accept_current, restore=restore)
    found = recover_host(host, resolution, files_only=files_only)
    if not files_only and (over := end_trial(host)) is not None:
        typer.echo(ended_text(over), err=True, nl=False)
    print_result(context, lambda: _report(found), lambda: recover_text(host, found, verbose=session(context).verbose))


def _report(recovered: "Recovered | None") -> "RecoverReport":
    """What became of an interrupted run, as JSON."""
    from iommuctl.documents.models import RecoverReport

    if recovered is None:
        return RecoverReport(recovered=None, completed=False, files=(), run_again=(), ran_again=())
    return RecoverReport(
        recovered=recovered.snapshot.id,
        completed=recovered.completed,
        files=tuple(str(path) for path in recovered.restored),
        run_again=recovered.started,
        ran_again=recovered.ran,
    )
