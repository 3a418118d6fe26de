# SPDX-License-Identifier: Apache-2.0
"""Plan files: what a dry-run planned, to be approved and later compared with what would be done then.

A plan file is compared and never obeyed: no path, byte or command that is carried out comes from it.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from iommuctl import sha256
from iommuctl.documents.base import SCHEMA_VERSION, Document, Part, RootPath, Text
from iommuctl.documents.models import PlanReport, Sha256
from iommuctl.documents.text import bytes_of
from iommuctl.errors import DocumentError
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate
from iommuctl.value import NamedTuple

LARGEST = 64 * 1024 * 1024  # bytes; the plan of 10,000 entries has a third of it
ANEW = "make a plan with --dry-run --out FILE"
_SHOWN = 5
_SHOWN_OF_A_VERSION = 40  # characters
_ELEMENT = re.compile(r"(\w+)\[([0-9]+)\]")
_NOT_TAKEN = "not given to guests"


class ItemReport(Part):
    """One thing that the plan rests on or comes to."""

    kind: Text
    name: Text
    value: Text


class ChoicesReport(Part):
    """What was chosen next to the profile."""

    platform: Platform | None
    backend: Text | None
    inputs: dict[Text, Text]
    regenerate: Regenerate
    force: tuple[Text, ...]
    added: tuple[Text, ...]
    removed: tuple[Text, ...]
    why: Text | None
    devices: tuple[Text, ...] = Field(default=(), description="the addresses of the devices that were named")


class ProfileReport(Part):
    """A profile as it read when the plan was made."""

    name: Text
    text: Text
    sha256: Sha256


class PlannedHost(Part):
    """The host that the plan is for. `id` is made of its machine-id and does not tell it; null where it has none."""

    name: Text | None
    id: Sha256 | None


class PlanFile(Document):
    """A plan as `--dry-run --out` writes it."""

    command: Literal["plan"] = "plan"
    program: Text = Field(description="the version of iommuctl")
    created: Text = Field(description="RFC 3339, UTC")
    host: PlannedHost
    asked: Text | None = Field(description="the profile or the snapshot as it was asked for")
    profile: ProfileReport | None = Field(description="null for a rollback")
    choices: ChoicesReport
    unreadable: tuple[RootPath, ...] = Field(description="what could not be read without more rights")
    needs_root: tuple[Text, ...] = Field(description="what the plan claims that only root can know")
    basis: Annotated[tuple[ItemReport, ...], Field(description="what the fingerprint is the hash of")]
    plan: PlanReport


class Difference(NamedTuple):
    """In what a plan is not what was approved, in words; `of_file` where the file itself does not hold together."""

    facts: tuple[str, ...]
    of_file: bool = False


def parse_plan_file(content: bytes, source: str) -> PlanFile:
    """Read a plan file, which may be anything. Raises DocumentError for what is none, or one of another version."""
    try:
        document = json.loads(content)
        if isinstance(document, dict) and document.get("schema_version") not in (None, SCHEMA_VERSION):
            version = repr(document["schema_version"])[:_SHOWN_OF_A_VERSION]
            raise DocumentError(f"{source}: a plan file of schema version {version}, not 1", hint=ANEW)
        return PlanFile.model_validate(_with_bytes(document))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        brief = f"{source}: not a plan file of this iommuctl: {where}: {first['msg'].lower()}"
        raise DocumentError(brief, hint=ANEW) from error
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{source}: not a plan file: no JSON object", hint=ANEW) from error


def differences(approved: PlanFile, now: PlanFile) -> Difference | None:
    """Return in what a plan made now is not the approved one; None where it is exactly that.

    Reasons, messages and findings are text for people, and no part of what is carried out.
    """
    if approved.plan.fingerprint != now.plan.fingerprint:
        facts = [*_changed_items(_items(approved), _items(now))]
        if approved.profile and now.profile and approved.profile.sha256 != now.profile.sha256:
            facts.append(f"profile {now.profile.name!r} does not read as it did")
        if approved.program != now.program:
            facts.append(f"iommuctl {approved.program} made the plan, this is {now.program}")
        return Difference(tuple(facts) or ("its fingerprint is not of what it lists",), of_file=not facts)
    fresh = _carried_out(now)
    if wrong := [name for name, one in _carried_out(approved).items() if one != fresh[name]]:
        facts = [f"its {name} are not those that its fingerprint stands for" for name in wrong]
        return Difference(tuple(facts), of_file=True)
    return None


def asked_otherwise(approved: PlanFile, now: PlanFile) -> Difference | None:
    """Return in what a plan made now is of something else than was approved, where nothing is left to be done."""
    then, fresh = (
        {(kind, name): value for (kind, name), value in _items(one).items() if kind in ("asked", "device")}
        for one in (approved, now)
    )
    if facts := tuple(_changed_items(then, fresh)):
        return Difference(facts)
    same = [(one.command, one.profile, one.of, one.added, one.removed) for one in (approved.plan, now.plan)]
    return None if same[0] == same[1] else Difference(("it shows another change than it lists",), of_file=True)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return sha256.hexadecimal(text.encode("utf-8", "surrogateescape"))


def _carried_out(document: PlanFile) -> dict[str, object]:
    plan = document.plan
    return {
        "profile and backend": (plan.command, plan.profile, plan.of, plan.platform, plan.backend, plan.changed),
        "shape": plan.shape,
        "kept parameters": (plan.added, plan.removed),
        "devices": [(one.address, one.id) for one in plan.devices],
        "changes": [(one.op, one.before, one.after, one.path, one.target) for one in plan.changes],
        "files": [(one.path, one.file_class, one.diff, one.before_sha256, one.after_sha256) for one in plan.files],
        "commands": [(one.argv, one.output, one.left_out) for one in plan.commands],
    }


def _items(document: PlanFile) -> dict[tuple[str, str], str]:
    """What a plan rests on; a file of which parts were read is one file."""
    items: dict[tuple[str, str], str] = {}
    for one in document.basis:
        kind, name = ("file", one.name.rsplit(" ", 2)[0]) if one.kind == "part" else (one.kind, one.name)
        items[kind, name] = f"{items.get((kind, name), '')} {one.value}".strip()
    return items


def _changed_items(then: dict[tuple[str, str], str], now: dict[tuple[str, str], str]) -> Iterator[str]:
    """Tell what differs; what is written differs with what it rests on, so it counts where nothing else does."""
    told: list[str] = []
    follows: list[str] = []
    for kind, name in sorted({*then, *now}):
        old, new = then.get((kind, name)), now.get((kind, name))
        if old == new:
            continue
        if kind in ("write", "run", "leave", "mark"):
            follows.append(f"what is done differs: {kind} {name}")
        else:
            told.append(_told(kind, name, old, new))
    yield from told or follows


def _told(kind: str, name: str, old: str | None, new: str | None) -> str:
    if kind == "directory":
        before, after = ({*(names or "").split("/")} - {""} for names in (old, new))
        parts = [
            f"{word} {', '.join(sorted(names)[:_SHOWN])}"
            for word, names in (("new", after - before), ("gone", before - after))
            if names
        ]
        return f"{name}: {'; '.join(parts)}"
    if kind == "unreadable":
        return f"{name} could not be read {'when the plan was made' if new is None else 'now'}"
    if kind == "kernel":
        files = f"/boot/vmlinuz-{name}, /lib/modules/{name} or an entry of it"
        return f"kernel {name}: {'gone' if new is None else 'installed since'} ({files})"
    if kind == "device":
        return (
            f"device {name}: {_NOT_TAKEN if old is None else old} in the plan, {_NOT_TAKEN if new is None else new} now"
        )
    if kind == "file":
        return f"{name}: {'gone' if new is None else 'new' if old is None else 'changed'}"
    return f"{name}: {old or 'nothing'} in the plan, {new or 'nothing'} now"


def _with_bytes(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Put the bytes that were no UTF-8 back where they belong, as surrogates."""
    if isinstance(value, list):
        return [_with_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    raw = value.get("raw", {})
    if isinstance(raw, str):  # an input of a profile that has this name
        return value
    found = {name: _with_bytes(one) for name, one in value.items() if name != "raw"}
    if not isinstance(raw, dict) or not all(isinstance(text, str) for text in raw.values()):
        raise ValueError("raw holds no bytes")
    for place, text in raw.items():
        kept = bytes.fromhex(text).decode("utf-8", "surrogateescape")
        element = _ELEMENT.fullmatch(place)
        if element is None:
            found[place] = kept
            continue
        row, number = found.get(element[1]), int(element[2])
        if not isinstance(row, list) or number >= len(row):
            raise ValueError(f"raw has bytes of {place}, which is not there")
        row[number] = kept
    return found


def plain(text: str) -> str:
    """Return a text of a document as the core has it; surrogates that are no bytes are in no text of the core."""
    return text if text.isascii() else bytes_of(text).decode("utf-8", "surrogateescape")
