# SPDX-License-Identifier: Apache-2.0
"""Write the modules of iommuctl/profile/profiles: the profiles of the package as values, so that no run reads them.

Usage: make profiles, make check-profiles

Their TOML is read and checked as that of a user is: that of each directory makes its `__init__.py`. With `--check`
nothing is written: where a module is not what the TOML says, the lines that differ are printed, and the exit code is 1.
"""

import difflib
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from iommuctl.facts import Platform  # noqa: E402 - found by the line above
from iommuctl.findings import Severity  # noqa: E402
from iommuctl.kernel.cmdline import Parameter  # noqa: E402
from iommuctl.profile.profile import (  # noqa: E402
    Absence,
    Input,
    InputType,
    Notice,
    Profile,
    Refusal,
    Reset,
    Setting,
    Warn,
)
from iommuctl.profile.schema import parse_profile  # noqa: E402

PROFILES = PROJECT / "iommuctl" / "profile" / "profiles"
DIRECTORIES = (PROFILES, PROFILES / "trades")
_WIDTH = 120
_INDENT = "    "
_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""The shipped profiles{} as values. Made of the TOML next to this by scripts/profiles.py: change that, then run it."""

'''
_IMPORTED = (Platform, Severity, Parameter, Absence, Input, InputType, Notice, Profile, Refusal, Reset, Setting, Warn)


def module(directory: Path) -> str:
    """Return the text of the module of a directory. Raises ProfileError for a profile that is wrong."""
    files = sorted(directory.glob("*.toml"))
    values = _written(tuple(parse_profile(file.read_text("utf-8"), file.name) for file in files), 0, len("PROFILES = "))
    names: dict[str, list[str]] = {}
    for one in _IMPORTED:
        if f"{one.__name__}(" in values or f"{one.__name__}." in values or one is Parameter:
            names.setdefault(one.__module__, []).append(one.__name__)
    imports = "".join(f"from {module} import {', '.join(sorted(names[module]))}\n" for module in sorted(names))
    head = _HEAD.format("" if directory == PROFILES else f" of {directory.name}")
    return f"{head}{imports}\n_p = Parameter.parse\n\nPROFILES = {values}\n"


def _written(value: object, depth: int, before: int) -> str:
    """Write a value as the formatter would: on one line where it fits after `before` columns, else an item a line.

    What a call is given stays together on a line of its own where it fits there.
    """
    line = _on_one_line(value)
    if before + len(line) < _WIDTH or not isinstance(value, tuple) or isinstance(value, Parameter):
        return line
    indent = _INDENT * (depth + 1)
    called, _, given = line.removesuffix(")").partition("(")
    if called and len(indent + given) <= _WIDTH:
        return f"{called}(\n{indent}{given}\n{_INDENT * depth})"
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
    """Write the modules, or compare them."""
    wrong = False
    for directory in DIRECTORIES:
        path, text = directory / "__init__.py", module(directory)
        if "--check" not in arguments:
            path.write_text(text, "utf-8")
        elif (now := path.read_text("utf-8")) != text:
            wrong = True
            sys.stdout.writelines(difflib.unified_diff(now.splitlines(keepends=True), text.splitlines(keepends=True)))
            sys.stderr.write(f"{path.relative_to(PROJECT)} is not what the profiles say\nhint: make profiles\n")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
