# SPDX-License-Identifier: Apache-2.0
"""Pattern: a regular expression that is compiled when it is first used: of most, a run on most hosts needs none."""

import re
from typing import AnyStr, cast


class _Pattern:
    """What stands in for a compiled expression; each of its attributes is looked up once."""

    def __init__(self, expression: str | bytes, flags: int) -> None:
        self._expression = expression
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        value: object = getattr(re.compile(self._expression, self._flags), name)
        setattr(self, name, value)
        return value


def pattern(expression: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return an expression whose methods serve as those of `re.compile`, and which costs nothing until one is used.

    A wrong expression is told then, so each needs a test that uses it. It is no argument for the functions of `re`.
    """
    return cast("re.Pattern[AnyStr]", _Pattern(expression, flags))
