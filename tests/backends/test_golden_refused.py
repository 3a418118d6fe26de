# SPDX-License-Identifier: Apache-2.0
"""Golden trees of hosts that are refused: the whole message, exit code 69, and nothing touched.

`pytest --update-golden tests/backends/test_golden_refused.py` writes them anew; what it wrote is read by eye.
"""

import shutil
from pathlib import Path

import pytest
from goldens import contents, stamps
from program import iommuctl
from refused import HOSTS, TREES, platform


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["apply", "dry-run"])
@pytest.mark.parametrize("host", HOSTS)
def test_what_cannot_or_must_not_be_changed_is_refused_with_evidence_and_hint(
    host: str, dry_run: tuple[str, ...], update: bool, tmp_path: Path
) -> None:
    root = tmp_path / "host"
    shutil.copytree(TREES / host / "before", root, symlinks=True)
    before, untouched = contents(root), stamps(root)
    refused = iommuctl("apply", "passthrough-perf", "--platform", platform(host), "--root", str(root), *dry_run)
    if update:
        (TREES / host / "error.txt").write_text(refused.stderr)
    assert (refused.code, refused.stdout, refused.stderr) == (69, "", (TREES / host / "error.txt").read_text())
    assert (contents(root), stamps(root)) == (before, untouched)
