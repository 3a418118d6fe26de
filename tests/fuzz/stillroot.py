# SPDX-License-Identifier: Apache-2.0
"""A root of which only named files change: what else it answered it answers again, without another walk."""

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from iommuctl.host.root import Root

_ASKED = ("read", "read_part", "names", "identity", "stat", "resolve")


class StillRoot(Root):
    """A root for many plans in one process, half of whose time would go into walking to the same directories."""

    def __init__(self, path: Path, changing: Iterable[PurePosixPath]) -> None:
        super().__init__(path)
        for name in _ASKED:
            setattr(self, name, _remembering(getattr(self, name), frozenset(changing)))

    def held(self) -> "StillRoot":  # type: ignore[override]  # it holds no directory, but answers what a held one does
        return self


def _remembering(ask: Callable[..., Any], changing: frozenset[PurePosixPath]) -> Callable[..., Any]:
    answers: dict[tuple[object, ...], Any] = {}

    def answer(*asked: object) -> Any:  # noqa: ANN401 - of each method that it is put before
        if asked[0] in changing:
            return ask(*asked)
        if asked not in answers:
            answers[asked] = ask(*asked)
        return answers[asked]

    return answer
