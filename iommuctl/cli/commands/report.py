# SPDX-License-Identifier: Apache-2.0
"""Report: what the JSON of many hosts says, for people to read."""

from pathlib import Path
from typing import Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.errors import UsageError


@command("report plans/ --html report.html", "report plans/*.json --markdown report.md", json=False)
def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Documents of hosts, each named HOST.json or HOST.plan.json; or a directory of them."
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained HTML page.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown.")] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Show on one page what many hosts said.

    Hosts that change alike are together, and those that were stopped have the reason and the next command. The files
    are what --json printed of status, verify, apply and rollback, errors included, and plan files. Without --html and
    --markdown, Markdown is printed.
    """
    from iommuctl.app.fleet.record import read_records
    from iommuctl.app.fleet.summary import summarize
    from iommuctl.cli.output.markdown import markdown as as_markdown
    from iommuctl.transaction.outfile import require_free, write_outfile

    for path in (html, markdown):
        if path is not None:
            require_free(path, overwrite=overwrite)
    if html is not None and markdown is not None and html.resolve() == markdown.resolve():
        raise UsageError(f"{str(html)!r} cannot be both, HTML and Markdown", hint="name another file")
    found = summarize(read_records(paths))
    if html is not None:
        from iommuctl.cli.output.page import page

        write_outfile(html, page(found).encode(), overwrite=overwrite)
    if markdown is not None:
        write_outfile(markdown, as_markdown(found).encode(), overwrite=overwrite)
    if html is None and markdown is None:
        typer.echo(as_markdown(found), nl=False)
