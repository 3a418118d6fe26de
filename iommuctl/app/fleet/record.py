# SPDX-License-Identifier: Apache-2.0
"""Record: what the documents of one host say, whatever they hold. They come from other machines, so nothing is sure."""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from iommuctl.documents.text import legible
from iommuctl.errors import NotFoundError, NotPermittedError, UsageError
from iommuctl.kernel.lines import Kernel
from iommuctl.value import NamedTuple

LARGEST = 64 * 1024 * 1024  # bytes of one document
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
# Commands whose documents say nothing of where a host is; they count only where a host has no other.
_BESIDE_THE_POINT = ("explain", "groups", "history", "lint", "profile", "recover", "trial")
# What a file's name says besides the host: HOST.plan.json, HOST.apply.error.json.
_ROLE = re.compile(r"(?:\.(?:plan|apply|rollback|status|verify|check|history|lint))?(?:\.error|\.stderr)?(?:\.json)?\Z")


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
    hosts: dict[str, list[object]] = {}
    for path in _files(paths):
        name = legible(_ROLE.sub("", path.name) or path.name)
        hosts.setdefault(name, []).append(_parse(_read(path)))
    return tuple(_record(name, documents) for name, documents in sorted(hosts.items()))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else None
        except PermissionError as error:
            raise NotPermittedError(path, "read") from error
        yield from [path] if inside is None else [one for one in inside if one.name.endswith(".json")]


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, _READING)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise UsageError(f"{path} is no regular file of at most {LARGEST} bytes", hint="iommuctl report --help")
            return file.read(LARGEST)
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {str(path)!r}") from error
    except PermissionError as error:
        raise NotPermittedError(path, "read") from error


def _parse(content: bytes) -> object:
    """Return a document; of what is none, the last line, which is where an error is, or as text what it says."""
    text = content.decode("utf-8", "backslashreplace").strip()
    last = text.rpartition("\n")[2]
    for candidate in (text, last):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return last[:1000]


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


def _record(name: str, documents: list[object]) -> Record:
    record = Record(name, Standing.SEEN)
    telling = [one for one in documents if _Reader(one).text("command") not in _BESIDE_THE_POINT]
    for document in sorted(telling or documents, key=_rank):
        record = _with(record, document)
    return record._replace(reboot_required=_waits([_Reader(one) for one in documents]))


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


def _rank(document: object) -> tuple[int, str]:
    """Order documents so that the later says where the host is now: seen, planned, done, failed.

    What was done is ordered by its snapshot, whose id begins with its time.
    """
    found = _Reader(document)
    if not isinstance(document, dict) or "error" in found.value:
        return 3, ""
    command = found.text("command")
    if command in ("apply", "rollback"):
        return (1, "") if found.flag("dry_run") else (2, found.text("snapshot"))
    return (1, "") if command == "plan" else (0, "")


def _with(record: Record, document: object) -> Record:
    if isinstance(document, str):
        trouble = Trouble(None, "no-document", document or "the file is empty", (), "")
        return record._replace(standing=Standing.UNREADABLE, trouble=trouble)
    found = _Reader(document)
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
    kernel = Kernel.parse(releases[0]) if releases else None
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
