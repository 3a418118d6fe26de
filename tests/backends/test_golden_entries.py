# SPDX-License-Identifier: Apache-2.0
"""Golden trees of hosts that boot entries: the plan in full, every byte of what an apply leaves, and the way back.

`pytest --update-golden tests/backends/test_golden_entries.py` writes them anew, to be read by eye.
"""

import shutil
from pathlib import Path

import pytest
from goldens import contents, keep_difference, run, stamps, unmarked
from project import GOLDEN

INTEL = ("--platform", "intel")
CASES = (
    ("bls/rhel-8", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("bls/rhel-8", "strict-isolation", ("strict-isolation", *INTEL)),
    ("bls/alma-8-mixed", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("bls/rhel-9", "strict-isolation", ("strict-isolation", *INTEL)),
    ("bls/rhel-10", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("bls/fedora-42", "passthrough-perf", ("passthrough-perf", "--platform", "amd")),
    ("bls/alma-9-shared-boot", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/arch", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/arch", "kernel-default", ("kernel-default", *INTEL)),
    ("systemd-boot/debian-13", "strict-isolation", ("strict-isolation", *INTEL)),
    ("systemd-boot/proxmox-8-zfs", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/pop-os", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/opensuse-sdbootutil", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/arch-uki", "passthrough-perf", ("passthrough-perf", *INTEL)),
    ("systemd-boot/arch-uki-profiles", "strict-isolation", ("strict-isolation", *INTEL)),
    ("systemd-boot/fedora-uki-entry", "passthrough-perf", ("passthrough-perf", *INTEL)),
)


@pytest.mark.parametrize(("host", "case", "arguments"), CASES, ids=[f"{host}-{case}" for host, case, _ in CASES])
def test_apply_leaves_the_golden_tree_and_goes_back(
    host: str, case: str, arguments: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root, golden = tmp_path / "host", GOLDEN / host / case
    shutil.copytree(GOLDEN / host / "before", root, symlinks=True)
    before, untouched = contents(root), stamps(root)
    options = ("--root", str(root), "--regenerate", "never")
    plan = unmarked(run("apply", *arguments, *options, "--dry-run"), root)
    assert stamps(root) == untouched

    run("apply", *arguments, *options)
    if request.config.getoption("--update-golden"):
        shutil.rmtree(golden, ignore_errors=True)
        keep_difference(before, contents(root), golden / "after")
        (golden / "output.txt").write_text(plan)
    assert plan == (golden / "output.txt").read_text()
    assert contents(root) == before | contents(golden / "after")

    once = stamps(root)
    assert "unchanged" in run("apply", *arguments, *options)
    assert stamps(root) == once

    run("rollback", *options)
    assert contents(root) == before
