# SPDX-License-Identifier: Apache-2.0
"""Another root: links resolve inside it, the outside is never touched, and whoever owns it may change it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from program import PROFILE, WANTED, Run, iommuctl, live

pytestmark = pytest.mark.programs

NOBODY = 65534  # the overflow id of Linux: kernel/sys.c, DEFAULT_OVERFLOWUID
SOURCE = "etc/default/grub"
MENU = "boot/grub/grub.cfg"


def apply(tree: Path, *options: str) -> Run:
    return iommuctl("apply", PROFILE, "--root", str(tree), *options)


def as_nobody(command: str, *arguments: str) -> Run:
    return iommuctl(command, *arguments, user=NOBODY, interpreter=interpreter_of_nobody() or "")


@cache
def interpreter_of_nobody() -> str | None:
    """An interpreter like this one that everybody may start, with the project and its libraries in reach."""
    for name in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        with suppress(OSError):
            if iommuctl("apply", "--help", user=NOBODY, interpreter=name).code == 0:
                return name
    return None


@pytest.fixture
def outside(tmp_path: Path, sample_host: Path) -> Iterator[Path]:
    """Files next to the tree under the paths that its absolute links name; unchanged at the end."""
    place = tmp_path / "outside"
    for path in (SOURCE, "etc/default/grub.d/50-outside.cfg", MENU):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes((sample_host / SOURCE).read_bytes() if path == SOURCE else b"A=outside\n")
    before = live(place)
    yield place
    assert live(place) == before
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == ["50-outside.cfg", "grub", "grub.cfg"]


def test_an_absolute_link_of_a_source_leads_inside(sample_host: Path, outside: Path) -> None:
    inside = sample_host / str(outside / SOURCE)[1:]
    inside.parent.mkdir(parents=True)
    (sample_host / SOURCE).rename(inside)
    (sample_host / SOURCE).symlink_to(outside / SOURCE)
    run = apply(sample_host)
    assert run.code == 0, run.stderr
    assert WANTED in inside.read_text()
    assert (sample_host / SOURCE).readlink() == outside / SOURCE


def test_an_absolute_link_of_the_boot_folder_leads_inside(sample_host: Path, outside: Path) -> None:
    inside = sample_host / str(outside / "boot")[1:]
    inside.parent.mkdir(parents=True)
    (sample_host / "boot").rename(inside)
    (sample_host / "boot").symlink_to(outside / "boot")
    run = apply(sample_host, "--json", "--dry-run", "--regenerate", "always")
    assert run.code == 0, run.stderr
    evidence = run.report["evidence"]
    assert isinstance(evidence, list)
    assert {"probe": f"/{MENU}", "found": "holds menu entries", "says": "grub2"} in evidence


def test_an_absolute_link_of_the_drop_ins_leads_inside(sample_host: Path, outside: Path) -> None:
    (sample_host / "etc/default/grub.d").symlink_to(outside / "etc/default/grub.d")
    inside = sample_host / str(outside / "etc/default/grub.d")[1:]
    inside.mkdir(parents=True)
    (inside / "50-inside.cfg").write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet from=inside"\n')
    run = apply(sample_host)
    assert run.code == 0, run.stderr
    assert (inside / "50-inside.cfg").read_text() == f'GRUB_CMDLINE_LINUX_DEFAULT="quiet from=inside {WANTED}"\n'


def test_a_link_that_climbs_out_stays_inside(sample_host: Path, outside: Path) -> None:
    (sample_host / "etc/default/grub").rename(sample_host / "grub")
    (sample_host / SOURCE).symlink_to("../../../../../../../../../../grub")
    run = apply(sample_host)
    assert run.code == 0, run.stderr
    assert WANTED in (sample_host / "grub").read_text()
    assert outside.exists()


def test_a_linked_state_folder_leads_inside(sample_host: Path, outside: Path) -> None:
    (sample_host / "var/lib").mkdir(parents=True, exist_ok=True)
    (sample_host / "var/lib/iommuctl").symlink_to(outside)
    run = apply(sample_host)
    assert run.code == 0, run.stderr
    assert (sample_host / str(outside)[1:] / "snapshots").is_dir()


def test_a_link_without_an_end_changes_nothing(sample_host: Path) -> None:
    (sample_host / SOURCE).unlink()
    (sample_host / SOURCE).symlink_to("/etc/default/grub")
    run = apply(sample_host)
    assert (run.code, "too many levels of symbolic links" in run.stderr) == (78, True), run.stderr
    assert not (sample_host / "var/lib/iommuctl").exists()


@pytest.fixture
def open_tree(sample_host: Path) -> Iterator[Path]:
    """The sample host where everybody may look at it; pytest's own directories are closed to others."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = Path(shutil.copytree(sample_host, Path(folder) / "host", symlinks=True))
        if interpreter_of_nobody() is None:
            pytest.skip("nobody may not read this interpreter, its libraries or the project")
        yield tree


def rules(run: Run) -> list[str]:
    findings = run.report["findings"]
    assert isinstance(findings, list)
    return [one["rule"] for one in findings]


def test_a_dry_run_needs_no_privilege_where_files_are_readable(open_tree: Path) -> None:
    before = live(open_tree)
    run = as_nobody("apply", PROFILE, "--root", str(open_tree), "--dry-run", "--json", "--regenerate", "always")
    assert run.code == 0, run.stderr
    assert run.report == apply(open_tree, "--dry-run", "--json", "--regenerate", "always").report
    assert "grub-cfg-unreadable" not in rules(run)
    assert live(open_tree) == before


def test_a_menu_that_may_not_be_read_is_a_finding_and_never_unchanged(open_tree: Path) -> None:
    assert apply(open_tree, "--regenerate", "never").code == 0  # the sources are as wanted, the menu is not known
    (open_tree / MENU).chmod(0o600)
    run = as_nobody("apply", PROFILE, "--root", str(open_tree), "--dry-run", "--json", "--regenerate", "always")
    assert run.code == 0, run.stderr
    # Nobody may look into the state directory either; and the tree has no generator.
    assert rules(run) == ["state-unreadable", "grub-cfg-unreadable", "program-missing", "program-missing"]
    assert (run.report["changed"], run.report["files"]) == (True, [])


def test_a_source_that_may_not_be_read_is_not_permitted(open_tree: Path) -> None:
    (open_tree / SOURCE).chmod(0o600)
    run = as_nobody("apply", PROFILE, "--root", str(open_tree), "--dry-run")
    assert (run.code, run.stderr.splitlines()[0]) == (
        77,
        "iommuctl: error: not permitted to read '/etc/default/grub'",
    )


def test_the_owner_of_a_tree_applies_and_goes_back_without_privilege(open_tree: Path) -> None:
    before = live(open_tree, times=False)
    for path in (open_tree, *open_tree.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    run = as_nobody("apply", PROFILE, "--root", str(open_tree))
    assert run.code == 0, run.stderr
    source = open_tree / SOURCE
    assert (WANTED in source.read_text(), source.stat().st_uid) == (True, NOBODY)
    run = as_nobody("rollback", "--root", str(open_tree))
    assert run.code == 0, run.stderr
    after = live(open_tree, times=False)
    assert {path: facts[3] for path, facts in after.items()} == {path: facts[3] for path, facts in before.items()}


def test_a_tree_of_roots_is_not_permitted(open_tree: Path) -> None:
    before = live(open_tree)
    run = as_nobody("apply", PROFILE, "--root", str(open_tree))
    assert (run.code, run.stderr.splitlines()[-1]) == (77, "hint: run the same command as root (sudo)"), run.stderr
    assert live(open_tree) == before
    assert not (open_tree / "var/lib/iommuctl").exists()


def test_a_tree_that_root_changed_before_is_not_permitted(open_tree: Path) -> None:
    assert apply(open_tree).code == 0
    before = live(open_tree)
    for command in (("apply", "strict-isolation"), ("rollback",), ("recover",)):
        run = as_nobody(*command, "--root", str(open_tree))
        assert run.code == 77, run.stderr
    assert live(open_tree) == before
