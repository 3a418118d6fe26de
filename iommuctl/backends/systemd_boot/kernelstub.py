# SPDX-License-Identifier: Apache-2.0
"""kernelstub's configuration: the list of parameters in its JSON, edited only where a round trip is exact."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from iommuctl.backends.entries.cmdlinefile import CmdlineEdit
from iommuctl.backends.entries.lines import LineError, conform_lines, op_of, stretches
from iommuctl.errors import BootConfigError
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import apply_changes
from iommuctl.tree import Tree

_SECTION, _KEY = "user", "kernel_options"
SIZE_LIMIT = 128 * 1024  # bytes
# Half a character, as JSON may write one, and what ends a line or a text.
_NO_PARAMETER = re.compile("[\ud800-\udfff\0\n]")
_INDENTS = (2, 4, None)  # kernelstub writes with two blanks; hands and older versions with others


def read_parameters(tree: Tree, path: PurePosixPath) -> Cmdline:
    """Return the parameters that kernelstub puts after root= and the initrd. Raises BootConfigError."""
    return _parameters(path, _read(path, tree.read(path) or b""))


def conform_settings(tree: Tree, path: PurePosixPath, conformer: Conformer) -> CmdlineEdit:
    """Return the edit of the list. Raises BootConfigError where the file would not come back as it was."""
    content = tree.read(path) or b""
    document = _read(path, content)
    indent = _indent(path, document, content)
    line = _parameters(path, document)
    try:
        changes = conform_lines([stretches(str(line), None)], conformer, joined=True)[0]
    except LineError as error:
        raise BootConfigError(path, None, error.message) from error
    if not changes:
        return CmdlineEdit()
    tokens = [token.text for token in apply_changes(line, changes).tokens]
    after = _written({**document, _SECTION: {**_section(document), _KEY: tokens}}, indent, content)
    records = tuple(Change(op_of(each), each.before, each.after, path, _KEY, each.reason) for each in changes)
    reason = (
        f"profile {conformer.desired.profile} on {conformer.desired.platform}: what kernelstub writes into its entries"
    )
    return CmdlineEdit(records, (FileEdit(path, FileClass.SOURCE, content, after, reason),))


def _read(path: PurePosixPath, content: bytes) -> Mapping[str, object]:
    if len(content) > SIZE_LIMIT:
        raise BootConfigError(path, None, f"is larger than {SIZE_LIMIT} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BootConfigError(path, getattr(error, "lineno", None), "is not JSON, or nested too deep") from error
    if not isinstance(document, dict):
        raise BootConfigError(path, 1, "is not a JSON object")
    return document


def _indent(path: PurePosixPath, document: Mapping[str, object], content: bytes) -> int | None:
    """How the file is indented. Raises BootConfigError where it would not come back as it was."""
    with suppress(RecursionError):  # json writes with a deeper stack than it reads
        for indent in _INDENTS:
            if _written(document, indent, content) == content:
                return indent
    raise BootConfigError(path, None, "cannot be represented exactly: an unedited copy would differ")


def _parameters(path: PurePosixPath, document: Mapping[str, object]) -> Cmdline:
    values = _section(document).get(_KEY)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BootConfigError(path, None, f"has no list {_SECTION}.{_KEY}")
    wrong = next((value for value in values if _NO_PARAMETER.search(value)), None)
    if wrong is not None:
        raise BootConfigError(path, None, f"has {wrong!a} in {_SECTION}.{_KEY}, which no command line can hold")
    return Cmdline.parse(" ".join(values))


def _section(document: Mapping[str, object]) -> Mapping[str, object]:
    section = document.get(_SECTION)
    return section if isinstance(section, dict) else {}


def _written(document: Mapping[str, object], indent: int | None, like: bytes) -> bytes:
    end = "\n" if like.endswith(b"\n") else ""
    return f"{json.dumps(document, indent=indent)}{end}".encode()
