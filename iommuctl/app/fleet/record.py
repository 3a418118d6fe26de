# SPDX-License-Identifier: Apache-2.0
"""Record: what the documents of one host say, whatever they hold. They come from other machines, so nothing is sure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import reduce
from pathlib import Path

from iommuctl.app.fleet.files import BESIDE_THE_POINT, File, read_files
from iommuctl.documents.text import legible
from iommuctl.kernel.lines import Kernel
from iommuctl.value import NamedTuple

_RELEASE_SIZE = 64  # __NEW_UTS_LEN, include/uapi/linux/utsname.h
# 2026-11-28T09:31:06Z of a plan file, 20261128T093106Z-8bfd38 of a snapshot.
_MOMENT = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})T([0-9]{2}):?([0-9]{2}):?([0-9]{2})(?:Z|\+00:00)")


class Standing(StrEnum):
    """Where a host is, worst first."""

    UNREADABLE = "no document"
    FAILED = "failed"
    STALE = "changed since its plan"
    REFUSED = "refused"
    BUSY = "busy"
    PLANNED = "would change"
    APPLIED = "changed"
    ROLLED_BACK = "rolled back"
    UNCHANGED = "unchanged"
    SEEN = "seen"


class Trouble(NamedTuple):
    """An error of a host. `code` is None where it was no error of iommuctl."""

    code: int | None
    kind: str
    brief: str
    details: tuple[str, ...]
    hint: str


class Record(NamedTuple):
    """What is known of one host. Empty texts are what no document says."""

    name: str
    standing: Standing
    backend: str = ""
    platform: str = ""
    profile: str = ""
    line: str = ""
    verdict: str = ""
    sentence: str = ""
    shape: str = ""
    fingerprint: str = ""
    snapshot: str = ""
    reboot_required: bool = False
    drift: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    diff: str = ""
    commands: tuple[str, ...] = ()
    trouble: Trouble | None = None


def read_records(paths: Iterable[Path]) -> tuple[Record, ...]:
    """Return one record for each host, by name. A directory stands for the JSON files in it.

    Raises NotFoundError, NotPermittedError, and UsageError for what is not opened. What is in a file stops nothing: a
    host whose document cannot be understood is told as such.
    """
    hosts: dict[str, list[File]] = {}
    for file in read_files(paths):
        hosts.setdefault(file.host, []).append(file)
    machines = [one for name, files in hosts.items() for one in _machines(name, files)]
    return tuple(sorted((_record(name, files) for name, files in machines), key=lambda one: one.name))


def _machines(name: str, files: list[File]) -> Iterator[tuple[str, list[File]]]:
    """Part the files of one name where plan files in different directories are for different machines.

    What lies in a directory without a plan file may be of any of them then, and stands for itself.
    """
    directories: dict[Path, list[File]] = {}
    for one in files:
        directories.setdefault(one.directory, []).append(one)
    ids = {
        directory: frozenset(_Reader(one.document).part("host").text("id") for one in inside) - {""}
        for directory, inside in directories.items()
    }
    if len({*ids.values()} - {frozenset()}) <= 1:
        yield name, files
        return
    parted: dict[object, tuple[str, list[File]]] = {}
    for directory, inside in directories.items():
        _, found = parted.setdefault(ids[directory] or directory, (legible(str(directory / name)), []))
        found.extend(inside)
    yield from parted.values()


class _Reader:
    """Takes what it is asked for out of a document, and something empty where that is not there or of another kind."""

    def __init__(self, value: object) -> None:
        self.value: Mapping[str, object] = value if isinstance(value, dict) else {}

    def text(self, name: str) -> str:
        found = self.value.get(name)
        return legible(found) if isinstance(found, str) else ""

    def flag(self, name: str) -> bool:
        return self.value.get(name) is True

    def texts(self, name: str) -> tuple[str, ...]:
        found = self.value.get(name)
        return tuple(legible(one) for one in found if isinstance(one, str)) if isinstance(found, list) else ()

    def part(self, name: str) -> "_Reader":
        return _Reader(self.value.get(name))

    def parts(self, name: str) -> "tuple[_Reader, ...]":
        found = self.value.get(name)
        return tuple(_Reader(one) for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _record(name: str, files: list[File]) -> Record:
    record = Record(name, Standing.SEEN)
    telling = [one for one in files if _Reader(one.document).text("command") not in BESIDE_THE_POINT]
    asides = [one for one in telling if one.is_aside] if any(one.no_document is None for one in telling) else []
    for file in _in_order([one for one in telling or files if one not in asides]):
        record = _with(record, file)
    said = tuple(f"stderr: {one.no_document}" for one in asides if one.no_document)
    waits = _waits([_Reader(one.document) for one in files])
    return record._replace(findings=(*record.findings, *said), reboot_required=waits)


def _waits(documents: "list[_Reader]") -> bool:
    """Return whether a host waits for a reboot: never for one that a plan alone would need.

    What knows of an applied profile was written after the apply, and knows better whether the host was booted since.
    """
    changes = [one for one in documents if one.text("command") in ("apply", "rollback")]
    done = max((one for one in changes if one.text("snapshot")), key=lambda one: one.text("snapshot"), default=None)
    if done is None:
        seen = [one for one in changes if not one.flag("changed")]
        return any(one.flag("reboot_required") for one in (*seen, *_of(documents, "status")))
    if done.text("command") == "apply":
        for one in _of(documents, "status"):
            if one.text("profile") == done.text("profile"):
                return one.flag("reboot_required")
        for one in _of(documents, "verify"):
            if one.text("profile") == done.text("profile") and one.text("by") == "command_line":
                return False
    return done.flag("reboot_required")


def _of(documents: "list[_Reader]", command: str) -> "list[_Reader]":
    return [one for one in documents if one.text("command") == command]


def _in_order(files: list[File]) -> list[File]:
    """Order files so that the last says where the host is now: seen, planned and done, failed.

    What was done is ordered by its snapshot, whose id begins with its time.
    """
    ranks: dict[str, list[File]] = {"seen": [], "plan": [], "change": [], "failed": []}
    for one in files:
        ranks[_rank(one)].append(one)
    seen, plans, changes, failed = ranks.values()
    changes.sort(key=lambda one: _Reader(one.document).text("snapshot"))
    if not plans or not changes:
        return [*seen, *changes, *plans, *([reduce(_later, plans)] if plans else []), *failed]
    change, plan = changes[-1], reduce(_later, plans)
    fingerprint = _plan_of(change).text("fingerprint")
    is_carried_out = fingerprint != "" and fingerprint == _plan_of(plan).text("fingerprint")
    return [*seen, *plans, *changes, change if is_carried_out else _later(change, plan), *failed]


def _rank(file: File) -> str:
    found = _Reader(file.document)
    if file.no_document is not None or "error" in found.value:
        return "failed"
    match found.text("command"):
        case "plan":
            return "plan"
        case "apply" | "rollback":
            return "plan" if found.flag("dry_run") else "change"
        case _:
            return "seen"


def _plan_of(file: File) -> _Reader:
    found = _Reader(file.document)
    return found.part("plan") if found.text("command") == "plan" else found


def _later(one: File, other: File) -> File:
    """Return the later of two, by the host's clock where both tell a time; the other where nothing tells it."""
    moments = [_moment(one), _moment(other)]
    if all(moments):
        return one if moments[0] > moments[1] else other
    return one if one.modified > other.modified else other


def _moment(file: File) -> str:
    """Return when a plan file or a snapshot was made, as digits; empty for a dry-run, which does not tell."""
    found = _Reader(file.document)
    told = _MOMENT.match(found.text("created") or found.text("snapshot"))
    return "" if told is None else "".join(told.groups())


def _with(record: Record, file: File) -> Record:
    if file.no_document is not None:
        trouble = Trouble(None, "no-document", file.no_document or "the file is empty", (), "")
        return record._replace(standing=Standing.UNREADABLE, trouble=trouble)
    found = _Reader(file.document)
    if "error" in found.value:
        return _with_error(record, found.part("error"))
    match found.text("command"):
        case "plan":
            lines = Counter(one.text("value") for one in found.parts("basis") if one.text("kind") == "kernel")
            planned = _with_plan(record, found.part("plan"))
            return planned._replace(line=next((line for line, _ in lines.most_common(1)), record.line))
        case "apply" | "rollback":
            return _with_plan(record, found)
        case "status":
            return _with_status(record, found)
        case "verify":
            return record._replace(
                verdict=found.text("verdict"),
                sentence=found.text("sentence"),
                profile=found.text("profile") or record.profile,
            )
        case "check":
            failed = [one for one in found.parts("items") if one.text("result") == "fail"]
            told = tuple(f"check[{one.text('name')}] {one.text('evidence')}" for one in failed)
            return record._replace(
                findings=(*record.findings, *told), sentence=record.sentence or found.text("sentence")
            )
        case other:
            trouble = Trouble(None, "no-document", f"nothing is known of a document {other!r}", (), "")
            return record._replace(standing=Standing.UNREADABLE, trouble=trouble)


def _with_error(record: Record, error: _Reader) -> Record:
    code = error.value.get("code")
    known = code if isinstance(code, int) else None
    trouble = Trouble(known, error.text("kind"), error.text("brief"), error.texts("details"), error.text("hint"))
    if trouble.kind == "stale-plan":
        standing = Standing.STALE
    elif trouble.kind == "locked":
        standing = Standing.BUSY
    elif known in (65, 66, 69, 77, 78):  # nothing was tried
        standing = Standing.REFUSED
    else:
        standing = Standing.FAILED
    return record._replace(standing=standing, trouble=trouble)


def _with_plan(record: Record, plan: _Reader) -> Record:
    standing = Standing.UNCHANGED
    if plan.flag("changed"):
        done = Standing.ROLLED_BACK if plan.text("command") == "rollback" else Standing.APPLIED
        standing = Standing.PLANNED if plan.flag("dry_run") else done
    return record._replace(
        standing=standing,
        backend=plan.text("backend"),
        platform=plan.text("platform"),
        profile=plan.text("profile"),
        shape=plan.text("shape"),
        fingerprint=plan.text("fingerprint"),
        snapshot=plan.text("snapshot"),
        evidence=tuple(f"{one.text('probe')}: {one.text('found')}" for one in plan.parts("evidence")),
        findings=tuple(_finding(one) for one in plan.parts("findings")),
        diff="".join(one.text("diff") or f"{one.text('path')}: {one.text('reason')}\n" for one in plan.parts("files")),
        commands=tuple(" ".join(one.texts("argv")) for one in plan.parts("commands")),
    )


def _with_status(record: Record, status: _Reader) -> Record:
    releases = [one.text("kernel_release") for one in status.parts("entries") if one.flag("default")]
    kernel = Kernel.parse(releases[0]) if releases and len(releases[0]) <= _RELEASE_SIZE else None
    return record._replace(
        backend=status.text("backend"),
        platform=status.text("platform"),
        profile=status.text("profile"),
        line="" if kernel is None else kernel.line.value,
        verdict=status.part("effective").text("verdict"),
        drift=tuple(
            f"{one.text('where')}: has {one.text('found')}, not {one.text('expected')}" for one in status.parts("drift")
        ),
        evidence=tuple(f"{one.text('probe')}: {one.text('found')}" for one in status.parts("evidence")),
        findings=tuple(_finding(one) for one in status.parts("findings")),
    )


def _finding(finding: _Reader) -> str:
    about = f" {finding.text('parameter')}:" if finding.text("parameter") else ""
    return f"{finding.text('severity')}[{finding.text('rule')}]{about} {finding.text('message')}"
