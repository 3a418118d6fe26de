# SPDX-License-Identifier: Apache-2.0
"""Exit codes: each is met as the design says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from console import (
    CONDITIONAL,
    NEVER,
    PROGRAM,
    code_of,
    needs_root,
    run,
    run_as_nobody,
    terminal,
    tree,
)
from project import PROJECT


@pytest.fixture
def readable_host(sample_host: Path) -> Path:
    """The sample host where everybody can reach it; the folders above stay open, since other tests need them too."""
    for path in (sample_host, *sample_host.parents):
        if path != Path("/") and path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | (0o055 if path == sample_host else 0o011))
    return sample_host


def test_exit_codes_of_what_goes_well(sample_host: Path) -> None:
    apply = ("apply", "passthrough-perf", "--root", str(sample_host), *NEVER)
    assert code_of(*apply, "--dry-run") == 0
    assert code_of(*apply, "--dry-run", "--exit-code") == 1
    assert code_of(*apply) == 0
    assert code_of(*apply) == 0
    assert code_of(*apply, "--dry-run", "--exit-code") == 0
    rollback = ("rollback", "--root", str(sample_host), *NEVER)
    assert code_of(*rollback, "--dry-run", "--exit-code") == 1
    assert code_of(*rollback) == 0
    assert code_of(*rollback) == 66


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("apply",), 2, id="no profile"),
        pytest.param(("nonsense",), 2, id="no such command"),
        pytest.param(("apply", "passthrough-perf", "--regenerate", "sometimes"), 2, id="no such choice"),
        pytest.param(("apply", "vfio-bind", "--set", "vfio-pci.ids"), 2, id="set without a value"),
        pytest.param(("apply", "vfio-bind", "--set", "a=1", "--set", "a=2"), 2, id="set twice"),
        pytest.param(("apply", "passthrough-perf", "--backend", "lilo"), 2, id="no such backend"),
        pytest.param(("recover", "--accept-current", "--restore"), 2, id="contradiction"),
        pytest.param(("apply", "passthrough-perf", "--root", ""), 2, id="empty root"),
        pytest.param(("apply", "passthrough-perf", "--force", "nonsense"), 2, id="no such rule"),
        pytest.param(("apply", "passthrough-perf", "--exit-code"), 2, id="a question without --dry-run"),
        pytest.param(("rollback", "--exit-code"), 2, id="a question without --dry-run, of a rollback"),
        pytest.param(("apply", "vfio-bind"), 65, id="input missing"),
        pytest.param(("profile", "check", "/dev/zero"), 65, id="profile without an end"),
        pytest.param(("apply", "passthrough-perf", "--set", "a=1"), 65, id="input not declared"),
        pytest.param(("apply", "iommu-off", "--platform", "arm64"), 65, id="impossible on the platform"),
        pytest.param(("apply", "nonsense"), 66, id="no such profile"),
        pytest.param(("apply", "/nonsense.toml"), 66, id="no such profile file"),
        pytest.param(("apply", "passthrough-perf", "--root", "/nonsense"), 66, id="no such root"),
        pytest.param(("rollback",), 66, id="nothing to roll back"),
        pytest.param(("rollback", "20200101T000000Z-aaaaaa"), 66, id="no such snapshot"),
        pytest.param(("history", "show", "2020"), 66, id="no such snapshot to show"),
    ],
)
def test_exit_code_of_what_was_asked_wrongly(arguments: tuple[str, ...], code: int, sample_host: Path) -> None:
    before = tree(sample_host)
    root = () if {"--root", "check"} & set(arguments) else ("--root", str(sample_host))
    assert code_of(*arguments, *root) == code
    after = tree(sample_host)
    # A command that may write prepares its own state directory first; nothing else changes.
    assert {path: after[path] for path in before if path not in ("var/lib", "var")} == {
        path: content for path, content in before.items() if path not in ("var/lib", "var")
    }


def test_exit_code_2_for_a_relative_root_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    words = (*PROGRAM, "status", "--root", "x")
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(("sh", "-c", script, "sh", *words), cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr


def test_exit_code_69_where_no_bootloader_is_known(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert code_of("apply", "passthrough-perf", "--root", str(tmp_path), "--dry-run") == 69


def test_what_has_no_effect_yet_is_called_written_and_not_applied(sample_host: Path) -> None:
    apply = ("apply", "passthrough-perf", "--root", str(sample_host), "--yes", *NEVER)
    said = [run(*apply).stdout for _ in range(2)]
    assert [one.count("has no effect yet") for one in said] == [1, 1]
    assert "written; " in said[0]
    assert "unchanged: passthrough-perf is written already" in said[1]
    assert not any("applied; " in one or "in place already" in one for one in said)


def test_exit_code_69_where_something_else_owns_the_command_line(sample_host: Path) -> None:
    (sample_host / "etc/NIXOS").touch()
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run") == 69


def test_exit_code_69_where_the_menu_has_no_normal_entry_and_no_generator_may_run(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("/etc/grub.d/10_linux", "/etc/grub.d/40_custom"))
    before = tree(sample_host)
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 69
    assert tree(sample_host) == before


def test_a_default_entry_that_no_profile_changes_is_told(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    section = "### {} /etc/grub.d/40_custom ###\n"
    own = section.format("BEGIN") + "menuentry mine {\n linux /vmlinuz iommu=off\n}\n" + section.format("END")
    menu.write_text(menu.read_text().replace('set default="0"', 'set default="mine"') + own)
    report = json.loads(run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json").stdout)
    assert "default-entry-not-ours" in [finding["rule"] for finding in report["findings"]]
    menu.write_text(menu.read_text().replace('set default="mine"', 'set default="0"'))
    report = json.loads(run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json").stdout)
    assert "default-entry-not-ours" not in [finding["rule"] for finding in report["findings"]]


def test_a_menu_that_does_not_exist_yet_stops_nothing_where_its_generator_is(sample_host: Path) -> None:
    (sample_host / "boot/grub/grub.cfg").unlink()
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 69
    (sample_host / "usr/sbin").mkdir()
    (sample_host / "usr/sbin/grub-mkconfig").write_text("#!/bin/sh\n")
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 0


def test_exit_code_70_for_a_defect_of_ours(sample_host: Path) -> None:
    script = "import iommuctl.app.change.apply as a; a.plan_apply = None; from iommuctl.cli import main; main()"
    command = [sys.executable, "-c", script, "apply", "passthrough-perf", "--json", "--root", str(sample_host)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (error["code"], error["kind"]) == (70, "internal")


def test_exit_code_74_for_a_target_that_is_read_only(sample_host: Path) -> None:
    needs_root()
    before = (sample_host / "etc/default/grub").read_bytes()
    script = 'mount --bind "$0/etc/default" "$0/etc/default" && mount -o remount,ro,bind "$0/etc/default" && exec "$@"'
    apply = [*PROGRAM, "apply", "passthrough-perf", "--root", str(sample_host), *NEVER, "--yes"]
    command = ["unshare", "--mount", "sh", "-c", script, str(sample_host), *apply]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    assert done.returncode == 74, done.stderr
    assert (sample_host / "etc/default/grub").read_bytes() == before


def test_exit_code_75_where_a_file_changes_between_question_and_answer(sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) as screen:
        screen.read_until("write this?")
        grub = sample_host / "etc/default/grub"
        changed = grub.read_bytes() + b"# somebody else\n"
        grub.write_bytes(changed)
        screen.type("y\n")
        assert screen.finish() == 75
    assert grub.read_bytes() == changed


def test_exit_code_77_for_who_may_not_write(readable_host: Path) -> None:
    needs_root()
    before = tree(readable_host)
    apply = ("apply", "passthrough-perf", "--root", str(readable_host), *NEVER)
    done = run_as_nobody(*apply)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (77, "hint: run the same command as root (sudo)")
    done = run_as_nobody(*apply, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "+GRUB_CMDLINE_LINUX_DEFAULT=" in done.stdout
    assert tree(readable_host) == before


def test_a_menu_that_may_not_be_read_is_said(readable_host: Path) -> None:
    needs_root()
    run("apply", "passthrough-perf", "--root", str(readable_host), *NEVER)
    (readable_host / "boot/grub/grub.cfg").chmod(0o600)
    done = run_as_nobody("apply", "passthrough-perf", "--root", str(readable_host), "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "grub-cfg-unreadable" in [finding["rule"] for finding in json.loads(done.stdout)["findings"]]


def test_exit_code_78_for_what_cannot_be_represented(sample_host: Path) -> None:
    (sample_host / "etc/default/grub").write_text(CONDITIONAL)
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        "iommuctl: error: /etc/default/grub:2: GRUB_CMDLINE_LINUX_DEFAULT is assigned inside the 'if' of line 1\n"
        f"    the path is one inside {sample_host}\n"
        "hint: edit /etc/default/grub by hand, then run the same command again\n"
    )


def test_exit_code_78_for_a_source_that_changed_since(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    old = grub.read_bytes()
    root = ("--root", str(sample_host), *NEVER)
    assert code_of("apply", "passthrough-perf", *root) == 0
    grub.write_bytes(grub.read_bytes() + b"# mine\n")
    changed = grub.read_bytes()
    assert code_of("rollback", *root) == 78
    assert grub.read_bytes() == changed
    assert code_of("rollback", *root, "--force", "changed-since-snapshot") == 0
    assert grub.read_bytes() == old
