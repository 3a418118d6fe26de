# SPDX-License-Identifier: Apache-2.0
"""Metrics: a verdict for node_exporter's textfile collector, which reads the text format 0.0.4: gauges, no times."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import iommuctl
from iommuctl.cli.output.text import visible
from iommuctl.findings import Severity
from iommuctl.running.verdict import Result, Verdict

if TYPE_CHECKING:
    from iommuctl.app.look.status import Status
    from iommuctl.running.verdict import Verification

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
# Each has a sample whatever a host has, so that a series does not end where its last group changes.
_GROUP_TYPES = ("identity", "DMA", "DMA-FQ")
_Sample = tuple[Mapping[str, str], int]


def metrics_text(found: "Verification | None", status: "Status | None", now: datetime) -> str:
    """Return the metrics of a comparison; without one, that it failed, so that no old verdict stays in force.

    `status` is None where the bootloader cannot be told: then nothing is said of the next boot.
    """
    lines = [*_of_verdict(found, now), *(() if status is None else _of_status(status))]
    return "".join(f"{line}\n" for line in lines)


def _of_status(status: "Status") -> Iterator[str]:
    about = {"backend": status.backend, "platform": status.platform.value}
    yield from _gauge("bootloader_info", "The bootloader that starts this host.", [(about, 1)])
    help_text = "Whether the applied profile waits for a reboot."
    yield from _gauge("reboot_required", help_text, [({}, int(status.reboot_required))])
    help_text = "In how many places the next boot is not as the applied profile asks."
    yield from _gauge("drift_places", help_text, [({}, len(status.drift))])
    severities = [one.severity for one in status.findings]
    counts = [({"severity": one.value}, severities.count(one)) for one in Severity]
    yield from _gauge("findings", "How many findings status has.", counts)
    if status.effective is None:
        return
    observed = status.effective.observed
    yield from _gauge("units", "How many IOMMUs are active.", [({}, len(observed.units))])
    types = {**dict.fromkeys(_GROUP_TYPES, 0), **status.effective.group_types}
    groups = [({"type": name}, count) for name, count in types.items()]
    yield from _gauge("groups", "How many IOMMU groups have each default domain type.", groups)
    if (remapped := observed.interrupts_remapped) is not None:
        yield from _gauge("interrupts_remapped", "Whether interrupts go through an IOMMU.", [({}, int(remapped))])


def _of_verdict(found: "Verification | None", now: datetime) -> Iterator[str]:
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
