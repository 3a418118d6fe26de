# SPDX-License-Identifier: Apache-2.0
"""Beside a profile: any parameter, in its order, kept by a later apply of the profile, shown, and taken back."""

import json
from pathlib import Path

import pytest
from console import in_process, tree, without_state

HUGE = ("hugepagesz=1G", "hugepages=16", "hugepagesz=2M", "hugepages=512")


def change(root: Path, profile: str, *words: str, code: int = 0) -> str:
    done = in_process("apply", profile, *words, "--root", str(root), "--platform", "amd", "--yes")
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def line(root: Path) -> str:
    text = (root / "etc/default/grub").read_text()
    return next(row for row in text.splitlines() if row.startswith("GRUB_CMDLINE_LINUX_DEFAULT=")).split('"')[1]


def status(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(in_process("status", "--root", str(root), "--json").stdout)
    return found


def adding(*texts: str) -> tuple[str, ...]:
    return tuple(word for text in texts for word in ("--add", text))


def test_parameters_come_in_their_order_and_with_their_values(sample_host: Path) -> None:
    before = without_state(tree(sample_host))
    change(sample_host, "none", *adding(*HUGE, "console=tty0", "console=ttyS0,115200", "test="))
    assert line(sample_host) == f"quiet {' '.join(HUGE)} console=tty0 console=ttyS0,115200 test="
    assert in_process("rollback", "--root", str(sample_host), "--yes").returncode == 0
    assert {path: found[2] for path, found in without_state(tree(sample_host)).items()} == {
        path: found[2] for path, found in before.items()
    }


def test_a_count_of_pages_counts_again_for_the_next_size(sample_host: Path) -> None:
    same = ("hugepagesz=1G", "hugepages=4", "hugepagesz=2M", "hugepages=4")
    change(sample_host, "none", *adding(*same))
    assert line(sample_host) == f"quiet {' '.join(same)}"
    assert "unchanged" in change(sample_host, "none", *adding(*same))
    assert status(sample_host)["added"] == list(same)


def test_a_later_apply_of_the_profile_keeps_them_until_they_are_removed(sample_host: Path) -> None:
    change(sample_host, "passthrough-perf", *adding("hugepages=16"), "--remove", "quiet")
    assert line(sample_host) == "iommu=pt hugepages=16"
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace("iommu=pt hugepages=16", "quiet"))
    change(sample_host, "passthrough-perf")
    assert line(sample_host) == "iommu=pt hugepages=16"
    assert (status(sample_host)["added"], status(sample_host)["removed"]) == (["hugepages=16"], ["quiet"])
    change(sample_host, "passthrough-perf", "--remove", "hugepages", "--add", "quiet")
    assert line(sample_host) == "iommu=pt quiet"
    assert (status(sample_host)["added"], status(sample_host)["removed"]) == (["quiet"], [])
    assert "unchanged" in change(sample_host, "passthrough-perf")


def test_one_that_is_there_already_is_kept_from_then_on(sample_host: Path) -> None:
    change(sample_host, "passthrough-perf")
    before = (sample_host / "etc/default/grub").read_bytes()
    change(sample_host, "passthrough-perf", "--add", "quiet")
    assert (status(sample_host)["added"], (sample_host / "etc/default/grub").read_bytes()) == (["quiet"], before)
    assert "unchanged" in change(sample_host, "passthrough-perf", "--add", "quiet")


def test_what_is_added_to_no_profile_leaves_the_one_in_force(sample_host: Path) -> None:
    change(sample_host, "passthrough-perf")
    change(sample_host, "none", "--add", "hugepages=16")
    assert line(sample_host) == "quiet iommu=pt hugepages=16"
    assert (status(sample_host)["profile"], status(sample_host)["added"]) == ("passthrough-perf", ["hugepages=16"])
    assert "\nbeside the profile: hugepages=16\n" in in_process("status", "--root", str(sample_host)).stdout
    change(sample_host, "strict-isolation")
    assert (status(sample_host)["profile"], status(sample_host)["added"]) == ("strict-isolation", [])


def test_no_profile_touches_what_it_does_not_name(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('"quiet"', '"quiet intel_iommu=on amd_iommu=on"'))
    change(sample_host, "none", "--add", "nosmt")
    assert line(sample_host) == "quiet intel_iommu=on amd_iommu=on nosmt"


def test_a_rollback_takes_back_what_was_kept(sample_host: Path) -> None:
    change(sample_host, "passthrough-perf", "--add", "hugepages=16")
    change(sample_host, "passthrough-perf", "--add", "nosmt")
    assert in_process("rollback", "latest", "--root", str(sample_host), "--yes").returncode == 0
    assert (line(sample_host), status(sample_host)["added"]) == ("quiet iommu=pt hugepages=16", ["hugepages=16"])


def test_whatever_the_value_is_this_comes_in_its_place(sample_host: Path) -> None:
    change(sample_host, "none", "--add", "transparent_hugepage=always", "--add", "nosmt")
    change(sample_host, "none", "--add", "transparent_hugepage=never")
    assert line(sample_host) == "quiet transparent_hugepage=never nosmt"
    assert status(sample_host)["added"] == ["nosmt", "transparent_hugepage=never"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        *((name, 65, "--force boot-critical") for name in ("root=/dev/sdb1", "init=/bin/sh", "ro", "rd.break")),
        *((name, 65, "--force boot-critical") for name in ("rd.luks.uuid=1", "rd.lvm.lv=a/b", "systemd_unit=x")),
        *((name, 65, "--force boot-critical") for name in ("systemd.unit=rescue.target", "resume=/dev/sda2", "zfs=x")),
        ("iommuctl.trial=1", 65, "iommuctl itself writes"),
        *((name, 65, "boot loader") for name in ("initrd=/x", "BOOT_IMAGE=/x", "systemd.machine_id=1")),
        ("a;b", 65, "no parameter name"),
        ("a=$(b)", 65, "holds something else"),
        ("intel_iommu=off", 65, "wants and forbids"),
        ("iommu.pasthrough=1", 65, "unknown-parameter"),
    ],
)
def test_what_a_host_boots_by_and_what_no_profile_may_hold_is_guarded(
    text: str, code: int, said: str, sample_host: Path
) -> None:
    before = tree(sample_host)
    words = ("--root", str(sample_host), "--platform", "intel", "--yes")
    for option in ("--add", "--remove") if said in ("--force boot-critical", "boot loader") else ("--add",):
        done = in_process("apply", "passthrough-perf", option, text, *words)
        if text == "systemd_unit=x":  # a name of its own: `.` is no `_`
            assert done.returncode == 0
            return
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert tree(sample_host) == before


def test_a_guarded_name_can_be_forced(sample_host: Path) -> None:
    change(sample_host, "none", "--add", "resume=/dev/sda2", "--force", "boot-critical")
    assert line(sample_host) == "quiet resume=/dev/sda2"


def test_the_history_tells_who_typed_what_and_why(sample_host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iommuctl.host.caller.login_user", lambda: "ada")
    change(sample_host, "none", "--add", "nosmt", "--why", "the audit of May")
    root = ("--root", str(sample_host))
    (found,) = json.loads(in_process("history", "--json", *root).stdout)["snapshots"]
    assert (found["user"], found["why"], found["added"]) == ("ada", "the audit of May", ["nosmt"])
    assert found["command_line"].startswith("iommuctl apply none --add nosmt --why 'the audit of May'")
    short = found["id"].rpartition("-")[2]
    assert in_process("history", *root).stdout.splitlines()[1].split()[:3] == [short, found["created"], "ada"]
    for name in ("latest", short, found["id"]):
        told = in_process("history", "show", name, *root).stdout
        assert "  why: the audit of May\n  beside the profile: nosmt\n" in told


@pytest.mark.parametrize("why", ["", "two\nlines", "x" * 501, "a\x1b[2J"])
def test_a_reason_is_one_line_of_text(why: str, sample_host: Path) -> None:
    assert in_process("apply", "none", "--why", why, "--root", str(sample_host), "--yes").returncode == 2
