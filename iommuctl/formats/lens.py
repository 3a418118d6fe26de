# SPDX-License-Identifier: Apache-2.0
"""Lens: Augeas as a function from text to text. The only module that imports augeas; no live file is ever opened."""

import re
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.errors import InternalError, LensError
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    import augeas

_LENSES = Path(__file__).parent / "lenses"
_INPUT = "/input"
_TREE = "/tree"
_ERROR = "/augeas/text/tree/error"
# Every node but those that keep a line whole: to name one of those takes time by the number of them.
_EDITABLE = f"{_TREE}/*[label() != 'lines' and label() != 'line' and label() != '#line']"

# What libaugeas keeps for itself: the end of a C string, and the marks of its own encoding of a tree, at which it
# aborts the whole process (src/lens.c, enc_format_indent; src/internal.h, ENC_EQ and its like).
_RESERVED = re.compile("[\0-\x08]")


# A lens with a node for each line takes time by the square of their number; this one takes more memory from the start.
_FOR_MANY_LINES = {"Grubdefault.lns": "Grubdefault.long"}
_MANY_LINES = 2000


class Span(NamedTuple):
    """Where a value is in a text, as indices of characters: `text[start:end]`."""

    start: int
    end: int


class Lens:
    """One of the lenses in `lenses/`, such as `Grubdefault.lns`.

    It is for the thread that made it, whose lenses share one Augeas handle, of whose tree nothing outlasts a method. It
    loads no file of the system and no lens but ours (flags NO_LOAD, NO_STDINC, NO_MODL_AUTOLOAD), so neither the host's
    own lenses nor its configuration take part. Where a label is named, values of no other node are edited, and none of
    those costs the time to find it.
    """

    def __init__(self, name: str, label: str | None = None) -> None:
        self._name = self._used = name
        self._editable = _EDITABLE if label is None else f"{_TREE}/{label}"
        self._augeas = _handle()

    def rewrite(
        self,
        path: PurePosixPath,
        text: str,
        values: Mapping[Span, str | None],
        *,
        added: tuple[tuple[str, str], ...] = (),
    ) -> str:
        """Return the text with each value replaced, and each `(label, value)` of `added` as a new node at its end.

        None in the place of a value removes its line. A span must be exactly one node's value, as the lens reads it.
        Two gates enclose the edit: without it the text must come back byte for byte, and with it nothing may differ
        outside the spans. Where nothing is added the second implies the first, which then is tried only to tell why
        an edit is refused. The final newline stays as it was, missing or not. Raises LensError with file and line;
        `path` only names the text.
        """
        closed = text if text.endswith("\n") or not text else f"{text}\n"
        nodes = self._store(path, closed)
        for value in (*values.values(), *(value for _, value in added)):
            _require_carried(path, value or "")
        if added:
            self._require_round_trip(path, closed)
        expected = _spliced(closed, values)
        # Backwards, since a node that is removed moves those after it.
        for span, value in sorted(values.items(), key=lambda item: item[0].start, reverse=True):
            node = nodes.get(span)
            if node is None:
                self._store(path, closed)
                self._require_round_trip(path, closed)
                line = text.count("\n", 0, span.start) + 1
                raise LensError(path, line, "the value is not where the lens reads one, at the start of a line")
            if value is None:
                self._augeas.remove(node)
            else:
                self._augeas.set(node, value)
        for label, value in added:
            self._augeas.set(f"{_TREE}/{label}[last()+1]", value)
        edited = self._retrieve(path)
        if not added and edited != expected:
            self._store(path, closed)
            self._require_round_trip(path, closed)
            raise LensError(path, None, "the edit would change more than the values it is meant for")
        if added and not (edited.startswith(expected) and all(value in edited[len(expected) :] for _, value in added)):
            raise LensError(path, None, "the addition would change more than the end of the file")
        return edited if closed == text or added else edited.removesuffix("\n")

    def values(self, path: PurePosixPath, text: str, label: str) -> tuple[Span, ...]:
        """Return where the values of all nodes of that label stand, in order. Raises LensError with file and line."""
        closed = text if text.endswith("\n") or not text else f"{text}\n"
        nodes = self._store(path, closed)
        return tuple(span for span, node in nodes.items() if _label(node) == label)

    def _require_round_trip(self, path: PurePosixPath, text: str) -> None:
        """Raise LensError where the tree, unedited, does not give the text that it was made of."""
        if self._retrieve(path) != text:
            raise LensError(path, None, "cannot be represented exactly: an unedited copy would differ")

    def _store(self, path: PurePosixPath, text: str) -> dict[Span, str]:
        """Parse a text into the tree; give the node of each value by its place, in the order of the text."""
        try:
            octets = text.encode("utf-8")
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise LensError(path, line, "is not UTF-8") from error
        if reserved := _RESERVED.search(text):
            line = text.count("\n", 0, reserved.start()) + 1
            raise LensError(path, line, f"holds a byte 0x{ord(reserved[0]):02x}, which cannot be represented")
        self._augeas.remove(_TREE)
        self._augeas.set(_INPUT, text)
        self._used = _FOR_MANY_LINES.get(self._name, self._name) if text.count("\n") > _MANY_LINES else self._name
        try:
            self._augeas.text_store(self._used, _INPUT, _TREE)
        except (ValueError, RuntimeError, OSError) as error:
            raise LensError(path, self._failed_line(), "has a form that cannot be represented exactly") from error
        ascii_only = len(octets) == len(text)
        nodes: dict[Span, str] = {}
        for node in self._augeas.match(self._editable):
            start, end = self._augeas.span(node)[3:5]
            if not ascii_only:
                start, end = len(octets[:start].decode("utf-8")), len(octets[:end].decode("utf-8"))
            nodes[Span(start, end)] = node
        return nodes

    def _retrieve(self, path: PurePosixPath) -> str:
        """Write the tree back as a text."""
        try:
            self._augeas.text_retrieve(self._used, _INPUT, _TREE, "/output")
        except (ValueError, RuntimeError, OSError) as error:
            raise LensError(path, None, "the edited value cannot be represented") from error
        return _string(self._augeas.get("/output"))

    def _failed_line(self) -> int | None:
        line = self._augeas.get(f"{_ERROR}/line")
        return int(line) if line else None


def _require_carried(path: PurePosixPath, value: str) -> None:
    """Raise LensError for a value that Augeas cannot be given."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LensError(path, None, "would get a value that is not UTF-8, which cannot be represented") from error
    if reserved := _RESERVED.search(value):
        raise LensError(path, None, f"would get a byte 0x{ord(reserved[0]):02x}, which cannot be represented")


_OF_THREAD = threading.local()  # Augeas keeps its handles for one thread each


def _handle() -> "augeas.Augeas":
    """Return this thread's handle: to read a lens and compile its expressions takes as long as fifty texts."""
    found: augeas.Augeas | None = getattr(_OF_THREAD, "handle", None)
    if found is None:
        found = _OF_THREAD.handle = _new_handle()
    return found


def _new_handle() -> "augeas.Augeas":
    import augeas  # noqa: PLC0415 - loading libaugeas costs as much as the rest of a small command

    if not _LENSES.is_dir():
        raise InternalError(f"the lenses are missing from {str(_LENSES)!r}", hint="install iommuctl again")
    flags = augeas.Augeas.NO_LOAD | augeas.Augeas.NO_STDINC | augeas.Augeas.NO_MODL_AUTOLOAD | augeas.Augeas.ENABLE_SPAN
    # The root is never read with NO_LOAD; a directory of ours keeps AUGEAS_ROOT of the environment out of it.
    return augeas.Augeas(root=str(_LENSES), loadpath=str(_LENSES), flags=flags)


def _spliced(text: str, values: Mapping[Span, str | None]) -> str:
    pieces: list[str] = []
    end = 0
    for span in sorted(values, key=lambda span: span.start):
        value = values[span]
        whole = value is None
        start = text.rfind("\n", 0, span.start) + 1 if whole else span.start
        pieces += (text[end:start], value or "")
        end = text.index("\n", span.end) + 1 if whole else span.end
    return "".join((*pieces, text[end:]))


def _label(node: str) -> str:
    return node.rsplit("/", 1)[1].split("[", 1)[0]


def _string(value: str | bytes | None) -> str:
    # python-augeas 1.2 gives an empty value as b"" and a missing one as None.
    return value if isinstance(value, str) else ""
