# SPDX-License-Identifier: Apache-2.0
"""Report: what the machines showed, kept as JSON and written out as a page. As a program it prints the page."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from boot import beside
from boot.chain import Record

_HEAD = """# What was booted

Written by the boot lab (`scripts/boot-test --write-matrix`), not by hand. Each row is one boot of a machine under
software emulation: the installed `iommuctl` applied the profile, the machine was switched off, its own bootloader
started the named kernel, and sysfs and `iommuctl verify --json` were read in it. *Predicted* is the type that the
catalogue gives for the profile on that machine, *found* that of every IOMMU group; `off` means that there are none.
*By* is what `verify` names as the reason. *Default line*: no profile was applied yet, or QEMU started the kernel.
*Other parameters next to it*: huge pages of two sizes, two consoles, another value and an empty one were asked for
next to the profile, and its line had them in that order; after the rollback it was that of the first boot.
A cell that is not in the table was not booted. [boot-lab.md](boot-lab.md) tells how it is done.
"""
_CUTS = """
## Power cuts

[boot-lab.md](boot-lab.md#power-cuts) tells what a moment is, and what is looked for.
"""
_DEVICES = """
## Devices for guests

[boot-lab.md](boot-lab.md#devices-for-guests) tells what is looked for. With `--full` alone: Debian 12, a kernel that is
installed afterwards, all boots with dracut but the first, and the way back from an image that does not boot.
"""
_TRIALS = """
## Trial boots

[boot-lab.md](boot-lab.md#trial-boots) tells what is looked for on each. With `--full` alone: every loader but GRUB of
Debian 13 by BIOS, the power cuts, the kernel package that comes meanwhile, what fails after the kernel has
started, and the drill.
"""
_COLUMNS = (
    *("bootloader", "host", "IOMMU", "profile", "kernel", "predicted", "found", "verdict", "by"),
    *("seconds", "result"),
)


def save(path: Path, records: Iterable[Record]) -> None:
    """Keep what was shown."""
    rows = [row(record) for record in records]
    path.write_text(json.dumps(rows, indent=1) + "\n")


def row(record: Record) -> dict[str, str]:
    """Return one line of the table by its columns."""
    stop = record.stop
    remark = f", {stop.occasion}" if stop.occasion else f", {beside.WORDS}" if stop.has_beside else ""
    values = (
        str(stop.cell.loader),
        f"Debian {record.suite}",
        str(stop.cell.iommu),
        f"{stop.cell.step}{remark}",
        record.booted or "none",
        str(record.expected.type),
        " ".join(sorted(record.found.types)) or ("off" if record.booted else "nothing"),
        record.found.verdict,
        record.found.by or "-",
        f"{record.seconds:.0f}",
        "as promised" if not record.problems else "**wrong**",
    )
    return dict(zip(_COLUMNS, values, strict=True))


def document(folder: Path) -> str:
    """Return the page of all results that are kept in a directory."""
    rows = [line for path in sorted(folder.glob("*.json")) for line in json.loads(path.read_text())]
    rows.sort(key=lambda line: tuple(line[name] for name in _COLUMNS[:5]))
    good = sum(line["result"] == "as promised" for line in rows)
    lines = [_HEAD, f"{len(rows)} boots, {good} as promised.\n", _line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    lines += [_line([line[name] for name in _COLUMNS]) for line in rows]
    if cuts := [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("powercut-*.txt"))]:
        lines += [_CUTS, *(f"- {cut}" for cut in cuts)]
    if devices := [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("vfio-*.txt"))]:
        lines += [_DEVICES, *(f"- {device}" for device in devices)]
    if trials := [path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("trial-*.txt"))]:
        lines += [_TRIALS, *(f"- {trial}" for trial in trials)]
    return "\n".join(lines) + "\n"


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


if __name__ == "__main__":
    sys.stdout.write(document(Path(sys.argv[1])))
