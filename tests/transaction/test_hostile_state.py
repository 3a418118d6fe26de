# SPDX-License-Identifier: Apache-2.0
"""The state directory of another root is hostile: it drives no terminal, reads nothing outside and breaks nothing."""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from consent import agreed
from console import NEVER, code_of, run
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError

Change = Callable[[dict[str, Any]], object]

# Typer takes colours out of what goes to no terminal; it leaves these.
UNSEEN = "\x07\x1b]0;x"
DAMAGED: dict[str, Change] = {
    "a profile's path": lambda kept: kept.update(profile="/etc/hostname"),
    "a profile's name": lambda kept: kept.update(profile=UNSEEN),
    "a time that nothing comes after": lambda kept: kept.update(created="9999-12-31T23:59:59Z"),
    "mode": lambda kept: kept["files"][0]["before"].update(mode=10**30),
    "owner": lambda kept: kept["files"][0]["before"].update(uid=-5),
    "group": lambda kept: kept["files"][0]["before"].update(gid=2**32),
    "time": lambda kept: kept["files"][0]["before"].update(mtime_ns=10**40),
    "attribute": lambda kept: kept["files"][0]["before"].update(xattrs={"user.x": "zz"}),
    "attribute's name": lambda kept: kept["files"][0]["before"].update(xattrs={"user.\0": "00"}),
    "target": lambda kept: kept["files"][0].update(target="etc/default/grub"),
    "path": lambda kept: kept["files"][0].update(path="/etc/\0"),
}
LOUD: dict[str, Change] = {
    "path": lambda kept: kept["files"][0].update(path=f"/etc/{UNSEEN}"),
    "target": lambda kept: kept["files"][0].update(target=f"/etc/{UNSEEN}"),
    "parameter": lambda kept: kept["changes"][0].update(after=UNSEEN),
    "variable": lambda kept: kept["changes"][0].update(target=UNSEEN),
    "reason": lambda kept: kept["changes"][0].update(reason=UNSEEN),
    "backend": lambda kept: kept.update(backend=UNSEEN),
}
COMMANDS = (("status",), ("history",), ("history", "show", "2"), ("rollback", "--dry-run", "-v"), ("rollback", *NEVER))


@pytest.fixture
def manifest(sample_host: Path) -> Path:
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 0
    return next((sample_host / "var/lib/iommuctl/snapshots").glob("*/manifest.json"))


def rewrite(manifest: Path, change: Change) -> None:
    kept = json.loads(manifest.read_text())
    change(kept)
    manifest.write_text(json.dumps(kept))


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_a_manifest_that_we_cannot_have_written_is_damaged(change: Change, manifest: Path, sample_host: Path) -> None:
    rewrite(manifest, change)
    done = run("history", "--json", "--root", str(sample_host))
    assert [one["rule"] for one in json.loads(done.stdout)["findings"]] == ["snapshot-damaged"]
    assert code_of("status", "--root", str(sample_host)) == 0
    assert code_of("rollback", "--root", str(sample_host), *NEVER) == 78


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("change", LOUD.values(), ids=LOUD)
def test_a_manifest_cannot_drive_the_terminal(
    change: Change, command: tuple[str, ...], manifest: Path, sample_host: Path
) -> None:
    rewrite(manifest, change)
    result = CliRunner().invoke(application, [*agreed(command), "--root", str(sample_host)], obj=Session())
    assert {char for char in result.output if not char.isprintable()} <= {"\n", "\t"}
    if result.exception is not None and not isinstance(result.exception, SystemExit | IommuctlError):
        raise result.exception


def test_what_recovery_tells_cannot_drive_the_terminal(manifest: Path, sample_host: Path) -> None:
    name = f"etc/{UNSEEN}"
    kept = json.loads(manifest.read_text())
    file = kept["files"][0] | {"path": f"/{name}", "target": f"/{name}"}
    manifest.write_text(json.dumps(kept | {"state": "undone", "files": [file]}))
    (sample_host / "etc/default/grub").rename(sample_host / name)
    state = {key: file[key] for key in ("before_sha256", "after_sha256")}
    journal = {
        "snapshot": kept["id"],
        "files": [{"path": f"/{name}", "temporary": ".iommuctl-0123456789abcdef.tmp", **state}],
        "made_directories": [],
        "removed_directories": [],
        "marks": {},
    }
    (sample_host / "var/lib/iommuctl/journal.json").write_text(json.dumps(journal))
    done = run("recover", "--root", str(sample_host))
    assert (done.returncode, "put back" in done.stdout) == (0, True)
    assert {char for char in done.stdout if not char.isprintable()} == {"\n"}


def test_a_source_behind_a_name_that_no_state_file_can_hold_is_refused(sample_host: Path) -> None:
    folder = sample_host / "etc/\udcff"
    folder.mkdir()
    grub = sample_host / "etc/default/grub"
    grub.rename(folder / "grub")
    grub.symlink_to("/etc/\udcff/grub")
    done = run("apply", "passthrough-perf", "--root", str(sample_host), *NEVER)
    assert (done.returncode, "not UTF-8" in done.stderr) == (78, True)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, loop])
def test_what_is_in_the_place_of_the_state_folder_is_moved_away_as_told(
    make: Callable[[Path], None], sample_host: Path
) -> None:
    state = sample_host / "var/lib/iommuctl"
    state.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(state, ignore_errors=True)
    make(state)
    wanted = ("apply", "passthrough-perf", "--platform", "intel", "--root", str(sample_host))
    assert (code_of(*wanted, "--dry-run"), code_of(*wanted, *NEVER)) == (78, 78)
    done = run("history", "--root", str(sample_host))
    assert done.returncode == 78
    program, source, target = shlex.split(done.stderr.rpartition("hint: move it away: ")[2])
    assert program == "mv"
    Path(source).rename(target)
    assert run("history", "--root", str(sample_host)).returncode == 0
