# SPDX-License-Identifier: Apache-2.0
"""Golden trees of hosts that are refused: the whole message, exit code 69, and nothing touched."""

import shutil
from pathlib import Path

import pytest
from goldens import contents, stamps
from program import iommuctl
from project import FIXTURES

GOLDEN = FIXTURES / "refused"
HOSTS = ("arch-two-loaders", "fedora-ostree")


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["apply", "dry-run"])
@pytest.mark.parametrize("host", HOSTS)
def test_what_cannot_or_must_not_be_changed_is_refused_with_evidence_and_hint(
    host: str, dry_run: tuple[str, ...], tmp_path: Path
) -> None:
    root = tmp_path / "host"
    shutil.copytree(GOLDEN / host / "before", root, symlinks=True)
    before, untouched = contents(root), stamps(root)
    refused = iommuctl("apply", "passthrough-perf", "--platform", "intel", "--root", str(root), *dry_run)
    assert (refused.code, refused.stdout, refused.stderr) == (69, "", (GOLDEN / host / "error.txt").read_text())
    assert (contents(root), stamps(root)) == (before, untouched)


def test_every_golden_host_is_run() -> None:
    assert {path.parent.name for path in GOLDEN.glob("*/error.txt")} == set(HOSTS)
