# SPDX-License-Identifier: Apache-2.0
"""Page: many hosts on one self-contained HTML page. What a host says is hostile: it is text here, and never markup."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files

import iommuctl
from iommuctl.app.fleet.record import Record
from iommuctl.app.fleet.summary import Summary
from iommuctl.cli.output.text import visible, visible_lines
from iommuctl.errors import UnavailableError

TITLE = "IOMMU on the hosts"
_SHOWN_NAMES = 50
# By the names of a record's fields, which are those of the page's script.
_OWN_TEXTS = ("name", "fingerprint", "snapshot")
_SHARED_TEXTS = ("backend", "platform", "profile", "line", "verdict", "sentence", "shape")
_LISTS = ("drift", "findings", "evidence", "commands")
# What names one host or one kernel in a diff: a host's own diff is a template, shared by many, with these put in.
# Its counts are bounded, as a diff may be anything, and long.
_OWN = re.compile(
    r"([0-9a-f]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]{1,3}\.[0-9]{1,4}\.[0-9A-Za-z_.+~-]+)"
)


def page(summary: Summary) -> str:
    """Return the page. Raises UnavailableError where the library that renders it is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise UnavailableError(
            "jinja2, which renders the page, is not installed here",
            details=("only the machine that makes reports needs it, and --markdown does not",),
            hint="pip install 'iommuctl[report]'",
        ) from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters |= {"shown": visible, "lines": _lines, "kind": _kind, "names": _names}
    style, script = _part("page.css"), _part("page.js")
    text = environment.from_string(_part("page.html")).render(
        title=TITLE,
        version=iommuctl.__version__,
        summary=summary,
        shown_names=_SHOWN_NAMES,
        # Ours, and the hashes of the policy are of these very bytes. Data has no `<`, so it cannot end its element.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_hash(style),
        script_hash=_hash(script),
        data=Markup(_data(summary.records)),  # noqa: S704
    )
    return str(text)


def _part(name: str) -> str:
    return (files(__name__) / name).read_text("utf-8")


def _hash(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _Shared:
    """Numbers what many hosts have alike, so that the page holds it once."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.templates: dict[tuple[str, ...], int] = {}

    def text(self, text: str) -> int:
        return self.texts.setdefault(visible(text), len(self.texts))

    def diff(self, diff: str) -> list[object] | None:
        """Return the number of a diff's template and what is put into it; None for no diff."""
        if not diff:
            return None
        pieces = _OWN.split(visible_lines(diff).removesuffix("\n"))
        return [self.templates.setdefault(tuple(pieces[::2]), len(self.templates)), *pieces[1::2]]


def _data(records: Iterable[Record]) -> str:
    """Return the hosts as JSON that may be put between tags."""
    shared = _Shared()
    hosts = [_host(record, shared) for record in records]
    data = {"hosts": hosts, "texts": [*shared.texts], "templates": [*shared.templates]}
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _host(record: Record, shared: _Shared) -> dict[str, object]:
    trouble = record.trouble
    return {
        **{name: visible(getattr(record, name)) for name in _OWN_TEXTS},
        **{name: shared.text(getattr(record, name)) for name in _SHARED_TEXTS},
        **{name: [shared.text(one) for one in getattr(record, name)] for name in _LISTS},
        "standing": shared.text(record.standing.value),
        "code": shared.text(_code(record)),
        "brief": shared.text(trouble.brief if trouble else ""),
        "hint": shared.text(trouble.hint if trouble else ""),
        "details": [shared.text(one) for one in trouble.details] if trouble else [],
        "diff": shared.diff(record.diff),
    }


def _code(record: Record) -> str:
    trouble = record.trouble
    return "" if trouble is None or trouble.code is None else f"{trouble.code} {trouble.kind}"


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "add", "-": "del", "@": "at"}.get(line[:1], "")


def _names(records: tuple[Record, ...], most: int) -> str:
    names = ", ".join(visible(one.name) for one in records[:most])
    more = len(records) - most
    return f"{names} and {more} more" if more > 0 else names or "none"
