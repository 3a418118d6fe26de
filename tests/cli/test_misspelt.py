# SPDX-License-Identifier: Apache-2.0
"""Misspelt: whatever kind of name is wrong, the error says which one is meant, and the hint is the line with it."""

import json
from pathlib import Path

import pytest
from console import in_process


@pytest.mark.parametrize(
    ("line", "code", "mended"),
    [
        ("apply pasthrough-perf --dry-run --root ROOT", 66, "apply passthrough-perf --dry-run --root ROOT"),
        ("apply passthrough --dry-run --root ROOT", 66, "apply passthrough-perf --dry-run --root ROOT"),
        ("apply pasthrough --dry-run --root ROOT", 66, "apply passthrough-perf --dry-run --root ROOT"),
        ("apply Hardened --dry-run --root ROOT", 66, "apply hardened --dry-run --root ROOT"),
        ("lint vfio_bind --root ROOT", 66, "lint vfio-bind --root ROOT"),
        ("profile show strict", 66, "profile show strict-isolation"),
        ("verify hardend", 66, "verify hardened"),
        ("apply hardened.toml", 66, "apply hardened"),
        ("apply strict-isolation --backend grub --root ROOT", 2, "apply strict-isolation --backend grub2 --root ROOT"),
        ("status --backend sytemd-boot --root ROOT", 2, "status --backend systemd-boot --root ROOT"),
        ("apply strict-isolation --platform intl", 2, "apply strict-isolation --platform intel"),
        ("apply strict-isolation --platform=x86_64", 2, "apply strict-isolation --platform=x86"),
        ("rollback --regenerate alway", 2, "rollback --regenerate always"),
        ("rollback --force changed-since --root ROOT", 2, "rollback --force changed-since-snapshot --root ROOT"),
        ("apply hardened --force mith --root ROOT", 2, "apply hardened --force myth --root ROOT"),
        ("apply hardened --set noat=true --root ROOT", 65, "apply hardened --set noats=true --root ROOT"),
        ("apply hardened --set=noat=true --root ROOT", 65, "apply hardened --set=noats=true --root ROOT"),
        ("groups --format tre", 2, "groups --format tree"),
        ("explain iommu.stict=0", 66, "explain iommu.strict=0"),
        ("aply hardened", 2, "apply hardened"),
        ("profile shw hardened", 2, "profile show hardened"),
        ("apply hardened --dryrun", 2, "apply hardened --dry-run"),
    ],
)
def test_the_hint_is_the_line_that_was_meant(line: str, code: int, mended: str, sample_host: Path) -> None:
    done = in_process(*line.replace("ROOT", str(sample_host)).split())
    assert (done.returncode, done.stdout) == (code, "")
    *_, meant, hint = done.stderr.splitlines()
    assert meant.startswith("    did you mean ")
    assert hint == f"hint: iommuctl {mended.replace('ROOT', str(sample_host))}"


def test_a_snapshot_is_known_by_a_part_of_its_id(sample_host: Path) -> None:
    in_process("apply", "passthrough-perf", "--root", str(sample_host), "--yes")
    (name,) = (one.name for one in (sample_host / "var/lib/iommuctl/snapshots").iterdir())
    for word in (f"{name[:-1]}x", name.upper(), f"{name}0"):
        done = in_process("history", "show", word, "--root", str(sample_host))
        assert done.returncode == 66
        assert done.stderr.splitlines()[-1] == f"hint: iommuctl history show {name} --root {sample_host}"


@pytest.mark.parametrize("line", ["apply nonsense --root ROOT", "explain xx", "apply hardened --platform via", "zzz"])
def test_nothing_is_suggested_for_what_is_near_nothing(line: str, sample_host: Path) -> None:
    assert "did you mean" not in in_process(*line.replace("ROOT", str(sample_host)).split()).stderr


@pytest.mark.parametrize(
    ("line", "brief"),
    [
        ("apply", "iommuctl apply: PROFILE is missing"),
        ("history show", "iommuctl history show: ID is missing"),
        ("apply hardened more", "iommuctl apply takes no further word: 'more'"),
        ("apply hardened --root", "--root needs a value"),
        ("apply hardened --dry-run=1", "--dry-run takes no value"),
        ("apply hardened --regenerate perhaps", "--regenerate: 'perhaps' is none of auto, always, never"),
        ("apply hardened --set noats", "--set: 'noats' is not NAME=VALUE"),
        ("explain -v iommu", "iommuctl explain has no -v: it says all that it knows without it"),
        ("--root / status", "iommuctl has no --root: it goes after the name of the command"),
        ("profile check x.toml --root /", "iommuctl profile check has no --root: it looks at the running system alone"),
        ("status --yes", "iommuctl status has no --yes: it never asks"),
        ("status -z", "iommuctl status has no option -z"),
        ("zzz", "iommuctl has no command 'zzz'"),
    ],
)
def test_a_wrong_line_is_told_in_words_of_this_program(line: str, brief: str) -> None:
    done = in_process(*line.split())
    first, *_, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert first == f"iommuctl: error: {brief}"
    assert hint.startswith("hint: iommuctl")


@pytest.mark.parametrize(
    ("line", "why", "hint"),
    [
        ("", "it goes after the name of the command", "iommuctl status --json"),
        ("profile", "it goes after the name of the command", "iommuctl profile --help"),
        ("profile show hardened", "programs read the profile's TOML", "iommuctl profile show --help"),
        ("profile check x.toml", "the exit code tells", "iommuctl profile check --help"),
        ("report x", "what it makes is a page", "iommuctl report --help"),
    ],
)
def test_json_is_refused_with_the_reason(line: str, why: str, hint: str) -> None:
    done = in_process(*line.split(), "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, done.stdout, error["hint"]) == (2, "", hint)
    assert f" has no --json: {why}" in error["brief"]


def test_the_newest_snapshot_of_none_is_told_in_its_own_words(sample_host: Path) -> None:
    done = in_process("history", "show", "latest", "--root", str(sample_host))
    assert (done.returncode, done.stderr) == (
        66,
        f"iommuctl: error: there is no snapshot of a change yet\nhint: iommuctl history --root {sample_host}\n",
    )
