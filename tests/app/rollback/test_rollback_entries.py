# SPDX-License-Identifier: Apache-2.0
"""Rollback where entries boot: after boot counters, kernels and edits by hand came (architecture, promise 8)."""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path, PurePosixPath

import crash
import pytest
from newkernel import install_kernel
from program import PROFILE, Seen, live
from project import GOLDEN
from rolling import apply, execute, planned, rollback
from strikelab import HISTORIES, Lab

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.rollback.plan import CHANGED_SINCE
from iommuctl.cli.output.plan import plan_text
from iommuctl.errors import ConflictError, ExecutionError
from iommuctl.facts import Platform
from iommuctl.plan import Change, FileClass, Op, Regenerate

ADDED = "intel_iommu=on iommu=pt"
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
# Fedora
ENTRIES = "boot/loader/entries"
OLDER, NEWER, NEWEST = (
    f"{ENTRIES}/{MACHINE}-{release}.conf"
    for release in ("6.14.3-300.fc42.x86_64", "6.14.5-300.fc42.x86_64", "6.15.1-300.fc42.x86_64")
)
CMDLINE, SETTINGS = "etc/kernel/cmdline", "etc/default/grub"
LINE = "root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro rootflags=subvol=root rhgb quiet"
# Debian with systemd-boot
COUNTED = "boot/efi/loader/entries"
FIRST, SECOND = f"{COUNTED}/{MACHINE}-6.12.43+deb13-amd64", f"{COUNTED}/{MACHINE}-6.12.48+deb13-amd64"

Trees = Callable[[str], Path]


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """Copies of golden hosts, by name."""
    return lambda name: Path(shutil.copytree(GOLDEN / name / "before", tmp_path / "host", symlinks=True))


@pytest.fixture
def fedora(trees: Trees) -> Path:
    return trees("bls/fedora-42")


@pytest.fixture
def debian(trees: Trees) -> Path:
    return trees("systemd-boot/debian-13")


def read(root: Path, path: str) -> str:
    return (root / path).read_text()


def edit(root: Path, path: str, old: str, new: str) -> None:
    text = read(root, path)
    assert old in text, path
    (root / path).write_text(text.replace(old, new))


def options(root: Path, path: str) -> str:
    (line,) = (line for line in read(root, path).splitlines() if line.startswith("options"))
    return line.split(None, 1)[1]


def add_kernel(root: Path) -> None:
    """Install a kernel as Fedora's 20-grub.install does: its entry has what /etc/kernel/cmdline says."""
    text = read(root, NEWER).replace("6.14.5-300", "6.15.1-300")
    (root / NEWEST).write_text(text.replace(options(root, NEWER), read(root, CMDLINE).strip()))


def renamed(seen: Seen, names: dict[str, str]) -> Seen:
    return {names.get(path, path): facts for path, facts in seen.items()}


def count(root: Path) -> dict[str, str]:
    """Let systemd-boot count: the newer kernel was tried once, and the older one is good."""
    names = {f"{FIRST}+2-1.conf": f"{FIRST}.conf", f"{SECOND}+3.conf": f"{SECOND}+2-1.conf"}
    for old, new in names.items():
        (root / old).rename(root / new)
    return names


def test_after_the_boot_counters_rename(debian: Path) -> None:
    before = live(debian, times=False)
    apply(debian)
    names = count(debian)
    rollback(debian)
    assert live(debian, times=False) == renamed(before, names)


def test_a_rollback_can_be_redone_after_another_rename(debian: Path) -> None:
    apply(debian)
    applied = live(debian, times=False)
    names = count(debian)
    name = rollback(debian)
    (debian / f"{SECOND}+2-1.conf").rename(debian / f"{SECOND}.conf")
    rollback(debian, name)
    assert live(debian, times=False) == renamed(applied, names | {f"{SECOND}+3.conf": f"{SECOND}.conf"})


def test_a_rename_between_two_applies(debian: Path) -> None:
    before = live(debian, times=False)
    oldest = apply(debian)
    names = count(debian)
    apply(debian, "strict-isolation")
    plan = planned(debian, oldest)
    assert plan.steps.findings == ()
    execute(debian, plan)
    assert live(debian, times=False) == renamed(before, names)


def test_two_files_of_one_entry_both_go_back(debian: Path) -> None:
    before = read(debian, f"{SECOND}+3.conf")
    apply(debian)
    (debian / f"{SECOND}.conf").write_text(read(debian, f"{SECOND}+3.conf") + "# installed again\n")
    rollback(debian)
    assert read(debian, f"{SECOND}+3.conf") == before
    assert read(debian, f"{SECOND}.conf") == f"{before}# installed again\n"


def test_two_files_of_one_entry_that_were_there_before_go_back_each_to_its_own(debian: Path) -> None:
    twin = read(debian, f"{SECOND}+3.conf").replace(" quiet ", " quiet intel_iommu=on ")
    (debian / f"{SECOND}.conf").write_text(twin)
    before = live(debian, times=False)
    apply(debian)
    rollback(debian)
    assert live(debian, times=False) == before


@pytest.mark.programs
def test_after_kernel_install_added_an_entry_and_another_one_went(debian: Path) -> None:
    before = live(debian, times=False)
    apply(debian)
    install_kernel(debian)
    (debian / f"{FIRST}+2-1.conf").unlink()
    (new,) = (path for path in (debian / COUNTED).iterdir() if "6.12.57" in path.name)
    assert ADDED in new.read_text()
    installed = live(debian, times=False)
    plan = planned(debian)
    assert [one.message for one in plan.steps.findings if one.rule == "entry-vanished"] == [
        f"/{FIRST}+2-1.conf has gone since, and is not made again"
    ]
    execute(debian, plan)
    after = live(debian, times=False)
    path = str(new.relative_to(debian))
    content = installed[path][3]
    assert isinstance(content, bytes)
    assert after[path][3] == content.replace(f" {ADDED}".encode(), b"")
    assert {one: after[one] for one in before if one in after} == {
        one: facts for one, facts in before.items() if one != f"{FIRST}+2-1.conf"
    }


def test_a_kernel_that_came_gets_the_inverse_and_the_history_says_so(fedora: Path) -> None:
    before = live(fedora, times=False)
    apply(fedora)
    add_kernel(fedora)
    assert options(fedora, NEWEST) == f"{LINE} {ADDED}"
    plan = planned(fedora)
    reason = f"as it was before {plan.of}"
    assert [change for change in plan.steps.changes if change.path == PurePosixPath("/", NEWEST)] == [
        Change(Op.REMOVE, text, None, PurePosixPath("/", NEWEST), Path(NEWEST).stem, reason) for text in ADDED.split()
    ]
    execute(fedora, plan)
    assert options(fedora, NEWEST) == LINE
    assert {path: facts for path, facts in live(fedora, times=False).items() if path != NEWEST} == before


def test_what_a_kernel_that_came_lacks_because_of_us_comes_back(fedora: Path) -> None:
    for path in (OLDER, NEWER, CMDLINE, SETTINGS):
        edit(fedora, path, "quiet", "quiet iommu=pt")
    apply(fedora, "strict-isolation")
    add_kernel(fedora)
    assert "iommu=pt" not in options(fedora, NEWEST).split()
    rollback(fedora)
    assert options(fedora, NEWEST) == options(fedora, NEWER) == f"{LINE} iommu=pt"


def test_an_entry_that_had_the_parameters_before_us_keeps_them(fedora: Path) -> None:
    edit(fedora, OLDER, LINE, f"{LINE} {ADDED}")
    before = live(fedora)
    apply(fedora)
    add_kernel(fedora)
    rollback(fedora)
    assert live(fedora)[OLDER] == before[OLDER]
    assert (options(fedora, OLDER), options(fedora, NEWEST)) == (f"{LINE} {ADDED}", LINE)


def test_a_kernel_that_came_without_our_parameters_stays_as_it_is(fedora: Path) -> None:
    edit(fedora, CMDLINE, LINE, f"{LINE} iommu=pt")
    apply(fedora, "strict-isolation")
    add_kernel(fedora)
    edit(fedora, NEWEST, options(fedora, NEWEST), f"{LINE} debug")
    content = read(fedora, NEWEST)
    rollback(fedora)
    assert read(fedora, NEWEST) == content


def test_a_rescue_entry_and_anothers_that_came_stay(fedora: Path) -> None:
    apply(fedora)
    other, rescue = f"{ENTRIES}/other.conf", f"{ENTRIES}/{MACHINE}-0-rescue-1.conf"
    (fedora / other).write_text(read(fedora, NEWER).replace("0a3407de", "ffffffff"))
    (fedora / rescue).write_text(read(fedora, NEWER))
    texts = [read(fedora, path) for path in (other, rescue)]
    rollback(fedora)
    assert [read(fedora, path) for path in (other, rescue)] == texts


def test_an_entry_edited_by_hand_loses_ours_alone(fedora: Path) -> None:
    before = read(fedora, NEWER)
    apply(fedora)
    edit(fedora, NEWER, f"quiet {ADDED}", f"quiet nosmt {ADDED} debug")
    edit(fedora, NEWER, "grub_class fedora\n", "grub_class fedora\n# by hand\n")
    rollback(fedora)
    assert read(fedora, NEWER) == before.replace("quiet\n", "quiet nosmt debug\n") + "# by hand\n"


def test_an_entry_edited_between_two_applies_keeps_that(fedora: Path) -> None:
    before = read(fedora, NEWER)
    oldest = apply(fedora)
    edit(fedora, NEWER, f"quiet {ADDED}", f"quiet nosmt {ADDED}")
    apply(fedora, "strict-isolation")
    rollback(fedora, oldest)
    assert read(fedora, NEWER) == before.replace("quiet\n", "quiet nosmt\n")


def test_a_source_edited_between_two_applies_is_kept(fedora: Path) -> None:
    oldest = apply(fedora)
    edit(fedora, SETTINGS, "TIMEOUT=5", "TIMEOUT=9")
    apply(fedora, "strict-isolation")
    with pytest.raises(ConflictError, match="/etc/default/grub was changed since"):
        planned(fedora, oldest)
    rollback(fedora)
    assert "TIMEOUT=9" in read(fedora, SETTINGS)


def test_a_kernel_that_came_between_two_applies_goes_back_over_both(fedora: Path) -> None:
    before = live(fedora, times=False)
    oldest = apply(fedora)
    add_kernel(fedora)
    apply(fedora, "strict-isolation")
    assert "iommu.strict=1" in options(fedora, NEWEST)
    rollback(fedora, oldest)
    assert options(fedora, NEWEST) == LINE
    assert {path: facts for path, facts in live(fedora, times=False).items() if path != NEWEST} == before


def test_one_after_the_other_and_again(fedora: Path) -> None:
    seen = [live(fedora, times=False)]
    for profile in (PROFILE, "strict-isolation"):
        apply(fedora, profile)
        seen.append(live(fedora, times=False))
    for expected in (seen[1], seen[0]):
        rollback(fedora)
        assert live(fedora, times=False) == expected
    apply(fedora)
    assert live(fedora, times=False) == seen[1]


def test_a_redo_brings_our_parameters_back_to_what_was_edited_and_what_came(fedora: Path) -> None:
    apply(fedora)
    add_kernel(fedora)
    applied = live(fedora, times=False)
    name = rollback(fedora)
    edit(fedora, NEWER, "quiet", "quiet nosmt")
    rollback(fedora, name)
    after = live(fedora, times=False)
    assert options(fedora, NEWER) == f"{LINE} nosmt {ADDED}"
    assert {path: facts for path, facts in after.items() if path != NEWER} == {
        path: facts for path, facts in applied.items() if path != NEWER
    }


def test_an_entry_gets_its_mode_owner_and_attributes_back(fedora: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = fedora / NEWER
    path.chmod(0o640)
    os.chown(path, 1001, 1002)
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    before = live(fedora, times=False)
    apply(fedora)
    os.removexattr(path, "user.note")
    os.chown(path, 0, 0)
    path.chmod(0o600)
    rollback(fedora)
    assert live(fedora, times=False) == before


def time(root: Path, path: str) -> int:
    return (root / path).stat().st_mtime_ns


def test_the_next_kernels_parameters_are_never_older_than_grubs_settings(fedora: Path) -> None:
    edit(fedora, CMDLINE, LINE, f"{LINE} {ADDED}")
    os.utime(fedora / CMDLINE, ns=(1, 1))
    content = read(fedora, CMDLINE)
    choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
    shown = plan_text(plan_apply(Host.open(fedora), PROFILE, choices), colour=False, verbose=False)
    assert f"\n/{CMDLINE}: unchanged; it must not be older than /{SETTINGS}, or " in shown
    apply(fedora)
    assert read(fedora, CMDLINE) == content
    assert time(fedora, CMDLINE) >= time(fedora, SETTINGS)
    assert not plan_apply(Host.open(fedora), PROFILE, choices).steps.is_changed
    edit(fedora, CMDLINE, "quiet", "quiet nosmt")
    rollback(fedora)
    assert read(fedora, CMDLINE) == content.replace("quiet", "quiet nosmt")
    assert time(fedora, CMDLINE) >= time(fedora, SETTINGS)


def test_a_rollback_over_several_writes_the_next_kernels_parameters_last(fedora: Path) -> None:
    oldest = apply(fedora)
    edit(fedora, CMDLINE, f" {ADDED}", "")
    apply(fedora)
    with pytest.raises(ConflictError, match="/etc/kernel/cmdline was changed since"):
        planned(fedora, oldest)
    plan = planned(fedora, oldest, CHANGED_SINCE)
    paths = [str(one.path) for one in plan.steps.edits]
    assert paths[-2:] == [f"/{SETTINGS}", f"/{CMDLINE}"]


def test_an_apply_that_fails_gives_a_file_its_old_time_back(fedora: Path) -> None:
    edit(fedora, CMDLINE, LINE, f"{LINE} {ADDED}")
    before = live(fedora)
    host = Host.open(fedora)
    plan = plan_apply(host, PROFILE, Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER))
    kept = tuple(one for one in plan.steps.edits if one.file_class is not FileClass.ENTRY)
    broken = plan._replace(steps=plan.steps._replace(edits=kept))
    with pytest.raises(ExecutionError, match="is not what was planned"):
        carry_out(host, broken, progress=lambda _: nullcontext())
    assert live(fedora) == before


def test_parameters_that_stay_in_an_entry_undo_the_rollback(fedora: Path) -> None:
    apply(fedora)
    before = live(fedora)
    plan = planned(fedora)
    kept = tuple(one for one in plan.steps.edits if one.path != PurePosixPath("/", NEWER))
    broken = plan._replace(steps=plan.steps._replace(edits=kept))
    with pytest.raises(ExecutionError, match="is not what was planned") as caught:
        carry_out(Host.open(fedora), broken, progress=lambda _: nullcontext())
    assert caught.value.details[:2] == (f"/{NEWER}: still has 'intel_iommu=on'", f"/{NEWER}: still has 'iommu=pt'")
    assert live(fedora) == before


@pytest.mark.parametrize(
    ("host", "command"),
    [
        ("systemd-boot/proxmox-8-zfs", "proxmox-boot-tool refresh"),
        ("systemd-boot/pop-os", "kernelstub"),
        ("systemd-boot/opensuse-sdbootutil", "sdbootutil update-all-entries"),
        ("systemd-boot/arch-uki", "mkinitcpio -P"),
    ],
)
def test_what_a_wrapper_or_an_image_holds_is_built_anew(trees: Trees, host: str, command: str) -> None:
    root = trees(host)
    apply(root)
    plan = planned(root)
    assert [" ".join(one.argv) for one in plan.steps.commands] == [command]
    again = f"iommuctl rollback {plan.of} --regenerate always --root {root}"
    assert [one.hint for one in plan.steps.findings if one.rule == "regenerate-pending"] == [again]
    always = planned(root, regenerate=Regenerate.ALWAYS)
    assert (always.steps.runs, [one for one in always.steps.findings if one.rule == "regenerate-pending"]) == (True, [])


def test_a_boot_record_follows_the_entries_back(fedora: Path) -> None:
    (fedora / "etc/zipl.conf").write_text("[defaultboot]\n")
    apply(fedora)
    assert [one.argv for one in planned(fedora).steps.commands] == [("zipl",)]


@pytest.mark.slow
@pytest.mark.programs
def test_a_kill_at_any_point_of_a_rollback_of_entries_ends_in_old_or_new(fedora: Path, tmp_path: Path) -> None:
    crash.require_strace()
    apply(fedora)
    add_kernel(fedora)
    edit(fedora, OLDER, "quiet", "quiet nosmt")
    done = Path(shutil.copytree(fedora, tmp_path / "done", symlinks=True))
    lab = Lab("rollback", fedora, live(fedora), {}, HISTORIES["rollback"], ())
    points = lab.trace(done)
    lab = replace(lab, new=live(done, times=False), points=points)
    assert {options(done, path) for path in (NEWER, NEWEST)} == {LINE}
    assert options(done, OLDER) == f"{LINE} nosmt"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    count = lab.strike(scratch, (crash.KILL,))
    assert count > 50, "the trace is too short to be true"
    sys.stdout.write(f"struck at {count} points\n")
