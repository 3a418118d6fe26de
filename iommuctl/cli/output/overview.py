# SPDX-License-Identifier: Apache-2.0
"""Overview: a host in five lines, as text."""

from iommuctl.app.look.overview import Overview
from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible


def overview_text(found: Overview, *, colour: bool) -> str:
    """Return the five lines, each with what it is about in front."""
    width = max(map(len, Overview._fields))
    return "".join(
        f"{styled(name.ljust(width), Style.BOLD, colour=colour)}  {visible(text)}\n"
        for name, text in found._asdict().items()
    )
