# SPDX-License-Identifier: Apache-2.0
"""Values are what Python's own NamedTuple makes of the same class, and are made without a compiler."""

import copy
import pickle
import re
import subprocess
import sys
import types
import typing
from collections.abc import Callable

import pytest
from project import PACKAGE, PROJECT

from iommuctl.value import NamedTuple


class Ours(NamedTuple):
    """A value."""

    path: str
    lines: tuple[int, ...] = ()
    hint: str | None = None

    @property
    def first(self) -> int:
        return self.lines[0]

    def __str__(self) -> str:
        return self.path


class Reference(typing.NamedTuple):
    """A value."""

    path: str
    lines: tuple[int, ...] = ()
    hint: str | None = None

    @property
    def first(self) -> int:
        return self.lines[0]

    def __str__(self) -> str:
        return self.path


class Empty(NamedTuple):
    pass


SAME: list[Callable[[typing.Any], object]] = [
    lambda made: tuple(made("a")),
    lambda made: made("a", (1, 2)).first,
    lambda made: made(lines=(1,), path="a").lines,
    lambda made: tuple(made("a", (1,))._replace(path="b")),
    lambda made: repr(made("a", (1,))).split("(", 1)[1].rsplit(", ", 1)[0],
    lambda made: str(made("a")),
    lambda made: list(made("a")._asdict().values()),
    lambda made: made._fields[:2],
    lambda made: list(made._field_defaults.values()),
    lambda made: made("a") == made("a", ()) == ("a", (), None),
    lambda made: hash(made("a")),
    lambda made: len({made("a"), made("a"), made("b")}),
    lambda made: made.__doc__,
    lambda made: hasattr(made("a"), "__dict__"),
    lambda made: issubclass(made, tuple),
    lambda made: [*typing.get_type_hints(made).values()],
    lambda made: isinstance(copy.copy(made("a", (1,))), made),
    lambda made: tuple(copy.deepcopy(made("a", (1,)))),
    lambda made: tuple(pickle.loads(pickle.dumps(made("a", (1,))))),
]


@pytest.mark.parametrize("used", SAME)
def test_a_value_does_what_a_named_tuple_does(used: Callable[[object], object]) -> None:
    assert used(Ours) == used(Reference)


@pytest.mark.parametrize(
    "used",
    [
        lambda made: made(),
        lambda made: made("a", (), None, 4),
        lambda made: made("a", other=1),
        lambda made: made("a", path="b"),
        lambda made: setattr(made("a"), "path", "b"),
        lambda made: setattr(made("a"), "other", "b"),
    ],
)
def test_a_value_refuses_what_a_named_tuple_refuses(used: Callable[[object], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as wanted:
        used(Reference)
    with pytest.raises(wanted.type) as found:
        used(Ours)
    if wanted.type is TypeError:
        assert str(found.value) == str(wanted.value).replace("Reference", "Ours")


def test_no_other_field_is_replaced() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        Ours("a")._replace(other=1)  # type: ignore[call-arg] # what the test is about


def by_shape(value: Ours) -> object:
    match value:
        case Ours("a", (number,)):
            return number
        case Ours(lines=(number, _)):
            return number
        case _:
            return None


@pytest.mark.parametrize(
    ("value", "found"), [(Ours("a", (1,)), 1), (Ours("b", (2, 3)), 2), (Ours("b", (1,)), None), (Ours("a"), None)]
)
def test_a_value_is_matched_by_place_and_by_name(value: Ours, found: int | None) -> None:
    assert by_shape(value) == found


def test_a_value_may_have_no_field() -> None:
    assert Empty() == ()


def test_a_field_without_a_default_follows_none_that_has_one() -> None:
    body = {"__annotations__": {"first": int, "second": int}, "first": 1, "__module__": __name__}
    with pytest.raises(TypeError, match="default"):
        types.new_class("Wrong", (NamedTuple,), exec_body=lambda names: names.update(body))


def test_every_value_of_the_package_is_one() -> None:
    """Python's own class, five times as slow to make, comes in by an import alone."""
    texts = {path: path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "value.py"}
    assert [
        path for path, text in texts.items() if re.search(r"^from typing import .*NamedTuple", text, re.MULTILINE)
    ] == []
    assert sum("from iommuctl.value import NamedTuple" in text for text in texts.values()) > 80


def test_a_class_is_made_without_a_compiler() -> None:
    script = (
        "import sys\nfrom iommuctl.value import NamedTuple\n"
        "class First(NamedTuple):\n    a: int\n    b: int = 2\n"
        "seen = []\nsys.addaudithook(lambda event, _: seen.append(event))\n"
        "class Second(NamedTuple):\n    c: int\n    d: int = 2\n"
        "print(Second(1), 'compile' in seen)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "Second(c=1, d=2) False\n"
