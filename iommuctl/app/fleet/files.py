# SPDX-License-Identifier: Apache-2.0
"""Files: what is read for a report, and of which host it is. They come from other machines, so nothing is sure."""

import errno
import json
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from iommuctl.documents.base import SCHEMA_VERSION
from iommuctl.documents.text import legible
from iommuctl.errors import NotFoundError, NotPermittedError, UsageError
from iommuctl.value import NamedTuple

LARGEST = 64 * 1024 * 1024  # bytes of one document
# Commands whose documents say where a host is, and those whose documents count only where a host has no other.
TELLING = ("apply", "check", "plan", "rollback", "status", "verify")
BESIDE_THE_POINT = ("devices", "explain", "groups", "history", "lint", "profile list", "recover", "trial")
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_HINT = "iommuctl report --help"
# What a file's name says besides the host: HOST.plan.json, HOST.apply.error.json.
_WORDS = "|".join(one.partition(" ")[0] for one in (*TELLING, *BESIDE_THE_POINT))
_ROLE = re.compile(rf"(?:\.(?:{_WORDS}))?(?:\.error|(?P<stderr>\.stderr))?(?:\.json)?\Z")


class File(NamedTuple):
    """A file of a host. `no_document` is why it holds none, or what it says then; None where it holds one.

    What is an aside is text of a HOST.stderr; a HOST.error.json is kept by who saw a failure.
    """

    host: str
    directory: Path
    modified: int = 0  # nanoseconds, by the clock of who wrote the file
    document: Mapping[str, object] = {}
    no_document: str | None = None
    is_aside: bool = False


def read_files(paths: Iterable[Path]) -> Iterator[File]:
    """Read files. A directory stands for the JSON files in it, and one of these that cannot be read stops nothing.

    Raises NotFoundError, NotPermittedError, and UsageError for a path that is not opened.
    """
    for path in paths:
        try:
            yield from [_file(path)] if not _is_directory(path) else [_found(one) for one in _inside(path)]
        except FileNotFoundError as error:
            raise NotFoundError(f"no such file: {str(path)!r}", hint=_HINT) from error
        except PermissionError as error:
            raise NotPermittedError(path, "read") from error
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}", hint=_HINT) from error


def _is_directory(path: Path) -> bool:
    with suppress(OSError):
        return path.is_dir()
    return False


def _inside(directory: Path) -> list[Path]:
    return sorted(one for one in directory.iterdir() if one.name.endswith(".json") and not _is_directory(one))


def _file(path: Path) -> File:
    host, of_stderr = _named(path)
    modified, content = _read(path)
    found = _parse(content)
    if isinstance(found, str):
        return File(host, path.parent, no_document=found, is_aside=of_stderr)
    version = found.get("schema_version")
    if version not in (None, SCHEMA_VERSION):
        wrong = f"a document of schema version {reprlib.repr(version)}, not {SCHEMA_VERSION}"
        return File(host, path.parent, no_document=wrong)
    return File(host, path.parent, modified, found)


def _found(path: Path) -> File:
    try:
        return _file(path)
    except OSError as error:
        why = legible(f"{path.name!r} cannot be read: {error.strerror}")
        return File(_named(path)[0], path.parent, no_document=why)


def _named(path: Path) -> tuple[str, bool]:
    """Return whose file it is by its name, and whether it was said on stderr."""
    role = _ROLE.search(path.name)
    if role is None:
        return legible(path.name), False
    return legible(path.name[: role.start()] or path.name), role["stderr"] is not None


def _read(path: Path) -> tuple[int, bytes]:
    """Return when a file was last modified, and its bytes."""
    descriptor = os.open(path, _READING)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise OSError(errno.EINVAL, f"no regular file of at most {LARGEST} bytes")
        return status.st_mtime_ns, file.read(LARGEST)


def _parse(content: bytes) -> Mapping[str, object] | str:
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
