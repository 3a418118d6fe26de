# SPDX-License-Identifier: Apache-2.0
"""A remote host that a parameter takes the disk from: it comes back by itself, and without the remedy it does not."""

import json
import sys
from pathlib import Path

import pytest
from boot import drill
from boot.machine import Boot


def returned(found: Boot) -> None:
    assert drill.came_back(found), found.told()
    assert found.text("cmdline") == found.text("before")
    trial = json.loads(found.text("status.json"))
    assert (trial["state"], found.text("left")) == ("returned", "")


def stayed_away(found: Boot) -> None:
    assert drill.PANIC in found.console, found.told()
    assert drill.HALTED in found.console, found.told()
    assert drill.RETURNS not in found.console
    assert not found.ended


@pytest.mark.parametrize("remedy", [True, False], ids=lambda remedy: "trial" if remedy else "control")
def test_a_host_without_its_disk_comes_back_by_the_remedy_alone(
    remedy: bool, built_wheel: Path, results: Path, tmp_path: Path
) -> None:
    found = drill.drill(tmp_path, built_wheel, remedy=remedy, show=sys.stdout.write)
    returned(found) if remedy else stayed_away(found)
    end = "its kernel reset it, and it came back" if remedy else "without panic= on its line it halted, and stayed away"
    told = f"the drill: {drill.BREAKS} took the disk; {end}"
    (results / f"trial-{'drill' if remedy else 'drill-control'}.txt").write_text(f"{told}\n", encoding="utf-8")
