# SPDX-License-Identifier: Apache-2.0
"""Rollback: bring the boot configuration back to before an apply."""

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command


@command("rollback --dry-run", "rollback", "rollback 20261122T124500Z-1a2b3c", verbose=True)
def rollback(
    context: typer.Context,
    snapshot: options.Snapshot = None,
    root: options.Root = options.ROOT,
    backend: options.Backend = None,
    change: options.ChangeOptions = options.ChangeOptions(),  # noqa: B008 - a value
) -> None:
    """Undo the newest apply, or go back to before a snapshot.

    A rollback is a snapshot too: to redo what it took back, name its snapshot.
    """
    from iommuctl.app.change.planning import Choices
    from iommuctl.app.rollback.plan import plan_rollback
    from iommuctl.cli.approval import Request, requested
    from iommuctl.cli.change import finish, opened

    host = opened(root, change)
    choices = Choices(backend=backend, regenerate=change.regenerate, force=frozenset(change.force or ()))
    request = requested("rollback", host, Request(snapshot, choices), change)
    finish(context, host, plan_rollback(host, request.name, request.choices), change, request)
