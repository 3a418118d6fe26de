# SPDX-License-Identifier: Apache-2.0
"""Errors: what is wrong, the facts, and the next command, which names the root that is meant."""

from pathlib import Path

from console import run


def test_an_error_names_what_facts_and_the_next_command(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr == (
        "iommuctl: error: no profile 'nonsense'\n"
        "    profiles: hardened, iommu-off, kernel-default, passthrough-perf, strict-isolation, translated-lazy, "
        "vfio-bind\n"
        "hint: run iommuctl profile list\n"
    )


def test_the_way_back_names_the_root(sample_host: Path) -> None:
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--yes")
    identity = next((sample_host / "var/lib/iommuctl/snapshots").iterdir()).name
    last = done.stdout.splitlines()[-1]
    assert last == f"snapshot {identity}; to go back: iommuctl rollback {identity} --root {sample_host}"


def test_a_damaged_snapshot_is_told_of_in_the_history(sample_host: Path) -> None:
    run("apply", "passthrough-perf", "--root", str(sample_host), "--yes")
    manifest = next((sample_host / "var/lib/iommuctl/snapshots").glob("*/manifest.json"))
    manifest.write_text("no JSON")
    path = f"/{manifest.relative_to(sample_host)}"
    assert run("history", "--root", str(sample_host)).stdout == (
        f"no snapshots\n\nwarning[snapshot-damaged] state file {path!r} is damaged\n"
        f"    hint: look at {path}, or move it away\n"
    )


def test_debug_shows_where_an_error_came_from(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run", "--debug")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("hint: run iommuctl profile list\n")
