# SPDX-License-Identifier: Apache-2.0
"""Write iommuctl-parameters.7.rst: what `iommuctl explain` says of every parameter, from the same catalogue.

Usage: PYTHONPATH=. python man/parameters.py > man/iommuctl-parameters.7.rst
"""

import sys
from collections.abc import Iterator
from textwrap import indent

from iommuctl.kernel.explain import describe, explain
from iommuctl.profile.shipped import shipped_catalogue

_TITLE = "iommuctl-parameters"
_SUBTITLE = "kernel parameters that iommuctl knows"
_DATE = "2026-11-26"
_INTRODUCTION = """\
``iommuctl explain`` prints the same for the parameters it is given, and
tells of a value what it does. The facts were read in kernel sources; each
entry names the place."""
_SEE_ALSO = """\
**iommuctl**\\ (8), **iommuctl-profile**\\ (5),
https://docs.kernel.org/admin-guide/kernel-parameters.html"""


def page() -> str:
    """Return the whole page, in reStructuredText."""
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    rule = "=" * len(_TITLE)
    yield from (rule, _TITLE, rule, "", "-" * len(_SUBTITLE), _SUBTITLE, "-" * len(_SUBTITLE), "")
    yield from (
        ":Manual section: 7",
        ":Manual group: iommuctl",
        f":Date: {_DATE}",
        "",
        "DESCRIPTION",
        "===========",
        "",
        _INTRODUCTION,
        "",
    )
    yield from ("PARAMETERS", "==========", "")
    catalogue = shipped_catalogue()
    for definition in sorted(catalogue.definitions, key=lambda one: one.name):
        yield from (definition.name, "-" * len(definition.name), "", "::", "")
        yield from (indent(describe(explain(definition.name, catalogue)).rstrip("\n"), "    "), "")
    yield from ("SEE ALSO", "========", "", _SEE_ALSO)


if __name__ == "__main__":
    sys.stdout.write(page())
