# SPDX-License-Identifier: Apache-2.0
"""Rollback: every file back by its class, whatever happened since (architecture, promise 8)."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from grubtree import GrubTree, grub_host
from program import PROFILE, WANTED, Run, iommuctl, live, states
from smalltree import MENU, SOURCE, SmallTree, small_host

__all__ = ["grub_host", "small_host"]  # the fixtures
pytestmark = pytest.mark.programs

NEWER = "6.1.0-51-amd64"
FORCE = ("--force", "changed-since-snapshot")


def apply(tree: Path, profile: str = PROFILE, *options: str, regenerate: str = "always") -> Run:
    run = iommuctl("apply", profile, "--root", str(tree), "--regenerate", regenerate, *options)
    assert run.code == 0, run.stderr
    return run


def rollback(tree: Path, *options: str, regenerate: str = "always") -> Run:
    return iommuctl("rollback", "--root", str(tree), "--regenerate", regenerate, *options)


def snapshot(run: Run) -> str:
    name = run.report["snapshot"]
    assert isinstance(name, str)
    return name


def back(tree: Path, *options: str) -> None:
    run = rollback(tree, *options)
    assert run.code == 0, run.stderr


def generated(host: GrubTree) -> str:
    """What the generator makes of the sources as they are."""
    host.mkconfig("/boot/grub.cfg.made")
    return host.read("/boot/grub.cfg.made")


def test_after_the_generator_ran_by_itself(grub_host: GrubTree) -> None:
    grub_host.mkconfig()
    before = live(grub_host.path, times=False)
    apply(grub_host.path)
    grub_host.mkconfig()
    back(grub_host.path)
    assert live(grub_host.path, times=False) == before


def test_after_a_drop_in_came_that_is_not_understood(grub_host: GrubTree) -> None:
    grub_host.mkconfig()
    sources = grub_host.read("/etc/default/grub")
    apply(grub_host.path)
    grub_host.write(
        "/etc/default/grub.d/z.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT $(echo quiet)"\n'
    )
    grub_host.mkconfig()
    run = rollback(grub_host.path, "--json")
    assert run.code == 0, run.stderr
    assert "sources-not-understood" in run.stdout
    assert grub_host.read("/etc/default/grub") == sources
    assert WANTED not in grub_host.read("/boot/grub/grub.cfg")


@pytest.mark.parametrize("comes", [True, False], ids=["came", "went"])
def test_after_a_kernel_changed_the_menu_follows_the_old_sources(grub_host: GrubTree, comes: bool) -> None:
    grub_host.mkconfig()
    sources = grub_host.read("/etc/default/grub")
    apply(grub_host.path)
    if comes:
        grub_host.add_kernel(NEWER)
    else:
        for path in (grub_host.path / "boot").glob("*-49-amd64"):
            path.unlink()
    grub_host.mkconfig()
    back(grub_host.path)
    assert grub_host.read("/etc/default/grub") == sources
    menu = grub_host.read()
    assert (WANTED in menu, NEWER in menu, "6.1.0-49" in menu) == (False, comes, comes)
    assert menu == generated(grub_host)


def test_after_a_kernel_came_and_nobody_generated_the_menu_is_as_before(small_host: SmallTree) -> None:
    apply(small_host.path)
    small_host.add_kernel(NEWER)
    menu = small_host.read()
    back(small_host.path)
    assert small_host.read() == menu.replace(f" {WANTED}", "")


@pytest.mark.parametrize("regenerate", ["always", "never"])
def test_after_an_apply_without_regeneration_and_a_later_generator(small_host: SmallTree, regenerate: str) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path, regenerate="never")
    assert WANTED not in small_host.read()
    small_host.generate()
    assert WANTED in small_host.read()
    run = rollback(small_host.path, "--json", regenerate=regenerate)
    assert run.code == 0, run.stderr
    assert small_host.read(SOURCE) == before[SOURCE][3].decode()  # type: ignore[attr-defined]  # content is bytes
    findings, commands = run.report["findings"], run.report["commands"]
    assert isinstance(findings, list)
    assert isinstance(commands, list)
    ran = regenerate == "always"
    assert [one["rule"] for one in findings] == ([] if ran else ["regenerate-pending"])
    assert [one["ran"] for one in commands] == [ran, ran]
    assert (live(small_host.path, times=False) == before) is ran
    if findings:
        hint = shlex.split(findings[0]["hint"])
        assert hint[:2] == ["iommuctl", "rollback"]
        assert iommuctl(*hint[1:], "--yes").code == 0
        assert live(small_host.path, times=False) == before


def test_after_an_apply_without_regeneration_nothing_is_generated(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path, regenerate="never")
    run = rollback(small_host.path, "--json")
    assert run.report["commands"] == []
    assert live(small_host.path, times=False) == before


def test_a_source_changed_since_is_kept(small_host: SmallTree) -> None:
    apply(small_host.path)
    small_host.write(SOURCE, small_host.read(SOURCE).replace("TIMEOUT=5", "TIMEOUT=9"))
    before = live(small_host.path)
    run = rollback(small_host.path)
    assert run.code == 78
    lines = run.stderr.splitlines()
    assert lines[0] == "iommuctl: error: /etc/default/grub was changed since: going back would lose that"
    assert {"    -GRUB_TIMEOUT=9", "    +GRUB_TIMEOUT=5"} <= set(lines)
    assert lines[-1].endswith("--force changed-since-snapshot")
    assert live(small_host.path) == before
    assert states(small_host.path) == [("apply", "applied")]


def test_a_source_changed_since_goes_back_by_force_and_can_come_again(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path)
    small_host.write(SOURCE, small_host.read(SOURCE).replace("TIMEOUT=5", "TIMEOUT=9"))
    changed = live(small_host.path, times=False)
    run = rollback(small_host.path, "--json", *FORCE)
    assert run.code == 0, run.stderr
    assert live(small_host.path, times=False) == before
    back(small_host.path, snapshot(run))
    assert live(small_host.path, times=False) == changed


def test_a_changed_source_and_a_changed_menu_go_back_by_force(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path)
    small_host.write(SOURCE, small_host.read(SOURCE).replace("quiet", "quiet splash"))
    small_host.generate()
    back(small_host.path, *FORCE)
    assert live(small_host.path, times=False) == before


def test_a_menu_changed_by_hand_is_generated_anew(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path)
    small_host.write(MENU, small_host.read() + "# a note\n", 0o600)
    back(small_host.path)
    assert live(small_host.path, times=False) == before


def test_mode_owner_attributes_and_acl_come_back(small_host: SmallTree) -> None:
    path = small_host.path / SOURCE
    path.chmod(0o640)
    os.chown(path, 1001, 1002)
    try:
        os.setxattr(path, "user.note", b"kept")
        subprocess.run(["setfacl", "-m", "u:1234:rw", str(path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no extended attributes or ACLs here: {error}")
    before = live(small_host.path, times=False)
    apply(small_host.path)
    assert live(small_host.path, times=False)[SOURCE][:3] == before[SOURCE][:3]
    assert live(small_host.path, times=False)[SOURCE][4] == before[SOURCE][4]
    subprocess.run(["setfacl", "-b", str(path)], check=True)
    os.removexattr(path, "user.note")
    os.chown(path, 0, 0)
    path.chmod(0o600)
    back(small_host.path)
    assert live(small_host.path, times=False) == before


def test_an_older_snapshot_goes_back_over_several(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    oldest = snapshot(apply(small_host.path, PROFILE, "--json"))
    apply(small_host.path, "strict-isolation")
    small_host.add_kernel(NEWER)
    small_host.generate()
    (small_host.path / f"boot/vmlinuz-{NEWER}").unlink()
    apply(small_host.path, "translated-lazy")
    back(small_host.path, oldest)
    assert live(small_host.path, times=False) == before
    assert states(small_host.path) == [("rollback", "applied"), *[("apply", "rolled_back")] * 3]


def test_one_after_the_other_goes_back_to_the_beginning(small_host: SmallTree) -> None:
    seen = [live(small_host.path, times=False)]
    for profile in (PROFILE, "strict-isolation"):
        apply(small_host.path, profile)
        seen.append(live(small_host.path, times=False))
    for expected in (seen[1], seen[0]):
        back(small_host.path)
        assert live(small_host.path, times=False) == expected
    run = rollback(small_host.path)
    assert (run.code, run.stderr.splitlines()[0]) == (
        66,
        "iommuctl: error: there is nothing to roll back: no apply is in force",
    )


def test_naming_a_rollback_redoes(small_host: SmallTree) -> None:
    apply(small_host.path)
    applied = live(small_host.path, times=False)
    run = rollback(small_host.path, "--json")
    back(small_host.path, snapshot(run))
    assert live(small_host.path, times=False) == applied
    assert states(small_host.path) == [("rollback", "applied"), ("rollback", "rolled_back"), ("apply", "applied")]


def test_a_redone_apply_can_be_rolled_back_again(small_host: SmallTree) -> None:
    before = live(small_host.path, times=False)
    apply(small_host.path)
    run = rollback(small_host.path, "--json")
    back(small_host.path, snapshot(run))
    back(small_host.path)
    assert live(small_host.path, times=False) == before


def test_what_was_rolled_back_already_is_left_as_it_is(small_host: SmallTree) -> None:
    applied = snapshot(apply(small_host.path, PROFILE, "--json"))
    back(small_host.path)
    before, known = live(small_host.path), states(small_host.path)
    again = rollback(small_host.path, applied, "--json")
    assert (again.code, again.report["changed"], again.report["changes"], again.report["snapshot"]) == (
        0,
        False,
        [],
        None,
    )
    assert (live(small_host.path), states(small_host.path)) == (before, known)


def test_a_file_of_ours_vanishes_with_its_empty_folder(small_host: SmallTree) -> None:
    (small_host.path / MENU).unlink()
    (small_host.path / MENU).parent.rmdir()
    before = live(small_host.path, times=False)
    apply(small_host.path)
    assert WANTED in small_host.read()
    back(small_host.path)
    assert live(small_host.path, times=False) == before


def test_a_folder_of_ours_stays_when_somebody_uses_it(small_host: SmallTree) -> None:
    (small_host.path / MENU).unlink()
    (small_host.path / MENU).parent.rmdir()
    apply(small_host.path)
    note = small_host.write("boot/grub/custom.cfg", "# somebody's\n")
    back(small_host.path)
    assert [path.name for path in note.parent.iterdir()] == ["custom.cfg"]


def test_everything_put_back_by_hand_is_noted_as_rolled_back(small_host: SmallTree) -> None:
    sources, menu = small_host.read(SOURCE), small_host.read()
    apply(small_host.path)
    small_host.write(SOURCE, sources)
    small_host.write(MENU, menu, 0o600)
    before = live(small_host.path)
    run = rollback(small_host.path, "--json")
    assert (run.code, run.report["changed"]) == (0, False)
    assert live(small_host.path) == before
    assert states(small_host.path) == [("rollback", "applied"), ("apply", "rolled_back")]
    assert rollback(small_host.path).code == 66


@pytest.mark.parametrize(
    ("name", "brief"),
    [
        ("20200101T000000Z-000000", "no such snapshot: '20200101T000000Z-000000'"),
        ("../../etc", "no such snapshot: '../../etc'"),
        ("", "no such snapshot: ''"),
    ],
)
def test_a_snapshot_that_is_not_there(small_host: SmallTree, name: str, brief: str) -> None:
    apply(small_host.path)
    run = rollback(small_host.path, name)
    assert (run.code, run.stderr.splitlines()[0]) == (66, f"iommuctl: error: {brief}")


def test_an_apply_that_failed_is_nothing_to_go_back_from(small_host: SmallTree) -> None:
    small_host.write("hook", "exit 1\n")
    run = iommuctl("apply", PROFILE, "--root", str(small_host.path), "--regenerate", "always")
    assert run.code == 74
    assert rollback(small_host.path).code == 66
    name = next((small_host.path / "var/lib/iommuctl/snapshots").iterdir()).name
    run = rollback(small_host.path, name)
    assert (run.code, "was undone when it was taken" in run.stderr) == (66, True)


def test_a_dry_run_shows_the_rollback_that_follows(small_host: SmallTree) -> None:
    apply(small_host.path)
    before = live(small_host.path)
    shown = rollback(small_host.path, "--dry-run", "--json").report
    assert live(small_host.path) == before
    done = rollback(small_host.path, "--json").report
    same = ("changes", "files", "fingerprint", "findings", "changed")
    assert {key: shown[key] for key in same} == {key: done[key] for key in same}
    assert (shown["dry_run"], done["dry_run"], shown["snapshot"]) == (True, False, None)
