# SPDX-License-Identifier: Apache-2.0
"""Shape: a plan without what names one host or one kernel, so that hosts that change alike have the same. Pure."""

import re
import shlex
from collections.abc import Iterator

from iommuctl import sha256
from iommuctl.app.change.plan import ApplyPlan, Plan
from iommuctl.plan import Op

_VERSION = "iommuctl shape 1"
_MACHINE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
_FAT_ID = re.compile(r"(?<=UUID=)[0-9A-F]{4}-[0-9A-F]{4}\b")
_COUNTER = re.compile(r"\+\d+(?:-\d+)?(?=(?:\.conf|\.efi)?\Z)")


def shape(plan: Plan) -> str:
    """Return the SHA-256, in hexadecimal, of what a plan changes, whatever the host and its kernels are called.

    Two hosts have the same where each parameter changes in the same places, however many kernels they have; the lines
    that are next to a change do not count.
    """
    text = "".join(f"{line}\n" for line in (_VERSION, *sorted({*_lines(plan)})))
    return sha256.hexadecimal(text.encode("utf-8", "surrogateescape"))


def _lines(plan: Plan) -> Iterator[str]:
    steps = plan.steps
    releases = steps.kernels
    known = re.compile("|".join(map(re.escape, sorted(releases, key=len, reverse=True))) or r"(?!)")

    def plain(text: str) -> str:
        text = known.sub("KERNEL", _UUID.sub("UUID", _MACHINE_ID.sub("MACHINE", text)))
        return repr(_COUNTER.sub("", _FAT_ID.sub("UUID", text)))

    yield f"{'apply' if isinstance(plan, ApplyPlan) else 'rollback'} {plan.profile!r}"
    yield f"on {steps.survey.facts.platform} by {steps.survey.backend.name}"
    for change in steps.changes:
        before, after = (None if part is None else plain(part) for part in (change.before, change.after))
        yield f"{change.op} {before} {after} in {plain(str(change.path))} {plain(change.target)}"
    for edit in steps.edits:
        op = Op.ADD if edit.before is None else Op.REMOVE if edit.after is None else Op.REPLACE
        yield f"{op} {edit.file_class} {plain(str(edit.path))}"
    for command in steps.commands:
        yield f"{'run' if steps.runs else 'leave'} {plain(shlex.join(command.argv))}"
