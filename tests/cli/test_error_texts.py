# SPDX-License-Identifier: Apache-2.0
"""Errors: what is wrong, the facts, and the next command, which names the root that is meant."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from console import run


def test_an_error_names_what_facts_and_the_next_command(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr == (
        "iommuctl: error: no profile 'nonsense'\n"
        "    profiles: dpdk-host, hardened, iommu-off, kernel-default, passthrough-perf, proxmox-passthrough, "
        "realtime-host, sev-snp-host, strict-isolation, translated-lazy, vfio-bind\n"
        f"    with --root the profiles are those of {sample_host}; one of this host is named by its path\n"
        f"hint: iommuctl profile list --root {sample_host}\n"
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
        f"    hint: look at {manifest}, or move it away\n"
    )


def test_debug_shows_where_an_error_came_from(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run", "--debug")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith(f"hint: iommuctl profile list --root {sample_host}\n")


def test_a_hint_for_a_file_of_another_root_names_that_file(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    os.link(grub, sample_host / "etc/other")
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--regenerate", "never")
    assert done.stderr.splitlines()[-1] == (
        f"hint: give it a content of its own: cp -a {grub} {grub}.new && mv {grub}.new {grub}"
    )


@pytest.mark.parametrize("odd", [b"\r", b"\0", "\ufeff".encode()])
def test_the_hint_for_bytes_that_no_shell_reads_as_blank_gets_on(sample_host: Path, odd: bytes) -> None:
    grub = sample_host / "etc/default/grub"
    before = grub.read_bytes()
    grub.write_bytes(odd + before.replace(b"\n", odd + b"\n"))
    plan = ("apply", "passthrough-perf", "--root", str(sample_host), "--platform", "intel", "--dry-run")
    refused = run(*plan)
    assert refused.returncode == 78
    command = re.search(r"hint: take it out \((.*) on that file\), then", refused.stderr)
    assert command is not None
    subprocess.run(("sh", "-ec", f'{command[1]} "$1"', "sh", str(grub)), check=True)
    assert grub.read_bytes() == before
    assert run(*plan).returncode == 0


def test_a_hint_for_a_history_names_the_root(sample_host: Path) -> None:
    hint = f"hint: iommuctl history --root {sample_host}"
    assert run("rollback", "--root", str(sample_host)).stderr.splitlines()[-1] == hint
    assert run("history", "show", "x", "--root", str(sample_host)).stderr.splitlines()[-1] == hint


def test_the_way_to_go_back_over_a_change_is_a_whole_command(sample_host: Path) -> None:
    run("apply", "passthrough-perf", "--root", str(sample_host), "--regenerate", "never")
    identity = next((sample_host / "var/lib/iommuctl/snapshots").iterdir()).name
    with (sample_host / "etc/default/grub").open("a") as grub:
        grub.write("# mine\n")
    hint = run("rollback", "--root", str(sample_host)).stderr.splitlines()[-1]
    assert hint.endswith(f" iommuctl rollback {identity} --root {sample_host} --force changed-since-snapshot")


@pytest.mark.parametrize("words", [("rollback",), ("rollback", "{older}")], ids=["newest", "named"])
def test_a_damaged_snapshot_in_between_stops_a_rollback_unless_forced(
    words: tuple[str, ...], sample_host: Path
) -> None:
    root = ("--root", str(sample_host), "--regenerate", "never")
    run("apply", "passthrough-perf", *root)
    (older,) = (sample_host / "var/lib/iommuctl/snapshots").iterdir()
    run("apply", "kernel-default", *root)
    (newest,) = set((sample_host / "var/lib/iommuctl/snapshots").iterdir()) - {older}
    (newest / "manifest.json").write_text("no JSON")
    command = [word.format(older=older.name) for word in words]
    done = run(*command, *root)
    assert done.returncode == 78
    assert done.stderr == (
        f"iommuctl: error: snapshot {newest.name} is damaged, so what it changed is not known\n"
        f"    cannot be read: {newest}/manifest.json\n"
        "hint: mend it from a backup, or go on without it: "
        f"iommuctl {' '.join(command)} --force snapshot-damaged --root {sample_host}\n"
    )
    done = run(*command, "--force", "snapshot-damaged", *root)
    assert "iommu" not in (sample_host / "etc/default/grub").read_text()
    assert (done.returncode, "warning[snapshot-damaged]" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "rule", "hint"),
    [
        (
            ("apply", "passthrough-perf"),
            "unknown-paramter",
            "iommuctl apply passthrough-perf --force unknown-parameter",
        ),
        (("apply", "passthrough-perf"), "changed-since-snapshot", "iommuctl apply without it tells"),
        (("rollback",), "changed-since-snapshto", "iommuctl rollback --force changed-since-snapshot"),
        (("rollback",), "unknown-parameter", "iommuctl rollback without it tells"),
    ],
)
def test_a_rule_to_force_that_stops_nothing_is_wrong(
    words: tuple[str, ...], rule: str, hint: str, sample_host: Path
) -> None:
    done = run(*words, "--force", rule, "--dry-run", "--root", str(sample_host))
    first, rules, *_, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert first == f"iommuctl: error: no finding that stops {words[0]} has the rule {rule!r}"
    assert rules.startswith("    rules: ")
    assert last.startswith(f"hint: {hint}")


def test_a_locale_without_a_character_does_not_end_the_run(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('"quiet"', '"quiet note=caf\u00e9"'))
    for env in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = run("status", "--root", str(sample_host), env=env)
        assert (done.returncode, done.stderr) == (0, "")
