# SPDX-License-Identifier: Apache-2.0
"""Write iommuctl/profile/profiles/__init__.py: the profiles of the package as values, so that no run has to read them.

Usage: make profiles, make check-profiles

Their TOML is read and checked as that of a user is. With `--check` nothing is written: where the module is not what the
TOML says, the lines that differ are printed, and the exit code is 1.
"""

import difflib
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from iommuctl.kernel.cmdline import Parameter  # noqa: E402 - found by the line above
from iommuctl.profile.schema import parse_profile  # noqa: E402

PROFILES = PROJECT / "iommuctl" / "profile" / "profiles"
MODULE = PROFILES / "__init__.py"
_WIDTH = 120
_INDENT = "    "
_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""The shipped profiles as values. Made of the TOML next to this by scripts/profiles.py: change that, then run it."""

from iommuctl.facts import Platform
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile.profile import Absence, Input, InputType, Notice, Profile, Refusal, Reset, Setting, Warn

_p = Parameter.parse

PROFILES = '''


def module() -> str:
    """Return the text of the module. Raises ProfileError for a profile that is wrong."""
    files = sorted(PROFILES.glob("*.toml"))
    profiles = tuple(parse_profile(file.read_text("utf-8"), file.name) for file in files)
    return f"{_HEAD}{_written(profiles, 0, len('PROFILES = '))}\n"


def _written(value: object, depth: int, before: int) -> str:
    """Write a value as the formatter would: on one line where it fits after `before` columns, else an item a line."""
    line = _on_one_line(value)
    if before + len(line) < _WIDTH or not isinstance(value, tuple) or isinstance(value, Parameter):
        return line
    indent = _INDENT * (depth + 1)
    items = (f"{indent}{name}{_written(item, depth + 1, len(indent + name))},\n" for name, item in _items(value))
    return f"{type(value).__name__ if hasattr(value, '_fields') else ''}(\n{''.join(items)}{_INDENT * depth})"


def _on_one_line(value: object) -> str:
    if isinstance(value, Parameter):
        return f"_p({_on_one_line(value.text)})"
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, str):
        plain = repr(value)
        return plain if '"' in value or plain.startswith('"') else f'"{plain[1:-1]}"'
    if not isinstance(value, tuple):
        return repr(value)
    items = [f"{name}{_on_one_line(item)}" for name, item in _items(value)]
    if hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(items)})"
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _items(value: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    """The items of a tuple; of a NamedTuple, by name what is not its default."""
    defaults = getattr(value, "_field_defaults", {})
    for name, item in zip(getattr(value, "_fields", ("",) * len(value)), value, strict=True):
        if name not in defaults:
            yield "", item
        elif item != defaults[name]:
            yield f"{name}=", item


def main(arguments: list[str]) -> int:
    """Write the module, or compare it."""
    text = module()
    if "--check" not in arguments:
        MODULE.write_text(text, "utf-8")
        return 0
    now = MODULE.read_text("utf-8")
    if now == text:
        return 0
    sys.stdout.writelines(difflib.unified_diff(now.splitlines(keepends=True), text.splitlines(keepends=True)))
    sys.stderr.write(f"{MODULE.relative_to(PROJECT)} is not what the profiles say\nhint: make profiles\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
