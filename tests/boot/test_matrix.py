# SPDX-License-Identifier: Apache-2.0
"""The matrix: what is applied on a real host under emulation is what its kernel does after a boot by its bootloader."""

import os
from pathlib import Path

import pytest
from boot import cells, chain, report
from boot.archive import Archive
from boot.images import image
from boot.recipes import RECIPES, Recipe

_FULL = os.environ.get("IOMMUCTL_BOOT_FULL") == "1"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_boot_does_what_the_profile_promises(
    recipe: Recipe, built_wheel: Path, results: Path, tmp_path: Path
) -> None:
    chosen = (*(cells.every() if _FULL else cells.covering(cells.every())), *cells.arm64())
    host = image(recipe)
    added = Archive(recipe.suite).kernel("linux-image-cloud-amd64")
    stops = chain.plan(recipe, chosen, host.releases, added.release)
    records = []
    for record in chain.drive(host, stops, built_wheel, tmp_path):
        records.append(record)
        report.save(results / f"{recipe.name}.json", records)
    wrong = [f"{record.stop.name}: {problem}" for record in records for problem in record.problems]
    assert not wrong, "\n".join(wrong)
    assert len(records) == len(stops)
