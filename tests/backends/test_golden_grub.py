# SPDX-License-Identifier: Apache-2.0
"""Golden trees: the whole output and every byte of what an apply leaves, for one host of each distribution.

`pytest --update-golden tests/backends/test_golden_grub.py` writes them anew; what it wrote is then
read by eye before it is trusted.
"""

import json
import shutil
from pathlib import Path

import pytest
from goldens import contents, keep_difference, run, stamps, unmarked
from project import GOLDEN

GOLDEN = GOLDEN / "grub2"
# host, name of the case, arguments of apply
CASES = (
    ("debian-12", "passthrough-perf", ("passthrough-perf",)),
    ("debian-12", "strict-isolation", ("strict-isolation",)),
    ("debian-12", "vfio-bind", ("vfio-bind", "--set", "vfio-pci.ids=10de:1b80,10de:10f0", "--platform", "intel")),
    ("debian-12-tuned", "passthrough-perf", ("passthrough-perf", "--platform", "intel")),
    ("debian-12-guides", "kernel-default", ("kernel-default",)),
    ("debian-12-guides", "passthrough-perf", ("passthrough-perf",)),
    ("debian-12-guides", "strict-isolation", ("strict-isolation",)),
    ("ubuntu-24.04-cloud", "passthrough-perf", ("passthrough-perf",)),
    ("ubuntu-24.04-cloud", "strict-isolation", ("strict-isolation",)),
    ("arch", "passthrough-perf", ("passthrough-perf",)),
    ("arch", "strict-isolation-on-amd", ("strict-isolation", "--platform", "amd", "--set", "force-isolation=true")),
    ("opensuse-leap", "passthrough-perf", ("passthrough-perf",)),
    ("opensuse-leap", "vfio-bind", ("vfio-bind", "--set", "vfio-pci.ids=8086:1572")),
    ("openeuler-22.03", "passthrough-perf", ("passthrough-perf", "--platform", "intel")),
    ("proxmox-8-grub", "passthrough-perf", ("passthrough-perf",)),
    ("proxmox-8-grub", "strict-isolation", ("strict-isolation",)),
    ("rocky-8-efi-menu", "passthrough-perf", ("passthrough-perf", "--platform", "intel")),
    ("fedora-42-menu", "passthrough-perf", ("passthrough-perf", "--platform", "intel")),
)
GOLDEN_CASES = pytest.mark.parametrize(
    ("host", "case", "arguments"), CASES, ids=[f"{host}-{case}" for host, case, _ in CASES]
)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@GOLDEN_CASES
def test_dry_run_prints_the_golden_plan(
    host: str, case: str, arguments: tuple[str, ...], update: bool, tmp_path: Path
) -> None:
    root = tmp_path / "host"
    shutil.copytree(GOLDEN / host / "before", root, symlinks=True)
    before = stamps(root)
    dry = ("apply", *arguments, "--root", str(root), "--regenerate", "never", "--dry-run")
    printed = {
        GOLDEN / host / case / "output.txt": unmarked(run(*dry), root),
        GOLDEN / host / case / "plan.json": unmarked(run(*dry, "--json"), root),
    }
    assert stamps(root) == before
    json.loads(printed[GOLDEN / host / case / "plan.json"])
    for path, text in printed.items():
        if update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()


@GOLDEN_CASES
def test_apply_leaves_the_golden_tree_and_goes_back(
    host: str, case: str, arguments: tuple[str, ...], update: bool, tmp_path: Path
) -> None:
    root, golden = tmp_path / "host", GOLDEN / host / case / "after"
    shutil.copytree(GOLDEN / host / "before", root, symlinks=True)
    before = contents(root)
    options = ("--root", str(root), "--regenerate", "never")
    run("apply", *arguments, *options)
    if update:
        keep_difference(before, contents(root), golden)
    changed = contents(golden)
    assert changed
    assert contents(root) == {**before, **changed}
    assert all(before.get(path) != content for path, content in changed.items())

    once = stamps(root)
    assert run("apply", *arguments, *options).splitlines()[-1].startswith("unchanged")
    assert stamps(root) == once

    run("rollback", *options)
    assert contents(root) == before


def test_every_golden_case_is_run() -> None:
    kept = {(path.parent.parent.name, path.parent.name) for path in GOLDEN.glob("*/*/plan.json")}
    assert kept == {(host, case) for host, case, _ in CASES}
    assert {path.parent.name for path in GOLDEN.glob("*/before")} == {host for host, _, _ in CASES}
