# SPDX-License-Identifier: Apache-2.0
"""Metrics: a verdict for node_exporter's textfile collector, which reads the text format 0.0.4: gauges, no times."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import iommuctl
from iommuctl.cli.output.text import visible
from iommuctl.running.verdict import Result, Verdict

if TYPE_CHECKING:
    from iommuctl.running.verdict import Verification

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_Sample = tuple[dict[str, str], int]


def metrics_text(found: "Verification | None", now: datetime) -> str:
    """Return the metrics of a comparison; without one, that it failed, so that no old verdict stays in force."""
    return "".join(f"{line}\n" for line in _lines(found, now))


def _lines(found: "Verification | None", now: datetime) -> Iterator[str]:
    yield from _gauge("up", "Whether the last comparison could be made.", [({}, int(found is not None))])
    seconds = int(now.timestamp())
    yield from _gauge("verify_timestamp_seconds", "When the last comparison was made, or tried.", [({}, seconds)])
    if found is None:
        return
    about = {"profile": found.profile, "version": iommuctl.__version__}
    yield from _gauge("profile_info", "The profile that the kernel is compared with.", [(about, 1)])
    verdicts = [({"verdict": one.value}, int(one is found.verdict)) for one in Verdict]
    yield from _gauge("verdict", "Whether this is the verdict on the running kernel.", verdicts)
    results = [check.result for check in found.checks]
    counts = [({"result": one.value}, results.count(one)) for one in Result]
    yield from _gauge("checks", "How many checks came out so.", counts)


def _gauge(name: str, help_text: str, samples: Iterable[_Sample]) -> Iterator[str]:
    full = f"iommuctl_{name}"
    yield f"# HELP {full} {help_text}"
    yield f"# TYPE {full} gauge"
    for labels, value in samples:
        inside = ",".join(f'{label}="{visible(text).translate(_ESCAPES)}"' for label, text in labels.items())
        yield f"{full}{{{inside}}} {value}" if inside else f"{full} {value}"
