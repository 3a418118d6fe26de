# SPDX-License-Identifier: Apache-2.0
"""Apply and roll back with the real grub-mkconfig, and with generators that misbehave: never a broken menu."""

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from grubtree import GrubTree, grub_host
from program import PROFILE, UNDONE, WANTED, Run, debris, iommuctl, live, states
from smalldisk import small_disk

from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubmenu import normal_entries

__all__ = ["grub_host"]  # the fixture
pytestmark = pytest.mark.programs

MENU = "/boot/grub/grub.cfg"
GENERATOR = "/usr/sbin/grub-mkconfig"
REAL = "/usr/sbin/grub-mkconfig.real"


@pytest.fixture
def host(grub_host: GrubTree) -> GrubTree:
    """A host whose menu is up to date."""
    grub_host.mkconfig()
    return grub_host


def apply(host: GrubTree, *options: str) -> Run:
    return iommuctl("apply", PROFILE, "--root", str(host.path), "--regenerate", "always", *options)


def rollback(host: GrubTree, *options: str) -> Run:
    return iommuctl("rollback", "--root", str(host.path), "--regenerate", "always", *options)


def entries(host: GrubTree) -> tuple[list[str], list[str]]:
    """The kernel's command lines in the menu: those of normal entries, then those of all others."""
    menu = parse_menu(PurePosixPath(MENU), host.read())
    normal = {entry.line for entry in normal_entries(menu)}
    lines = [(entry.line in normal, str(line.cmdline)) for entry in menu.entries for line in entry.linux]
    return [line for ours, line in lines if ours], [line for ours, line in lines if not ours]


def replace_generator(host: GrubTree, body: str) -> None:
    """Put a script in the generator's place; the real one stays at REAL, and `$2` is the file to write."""
    (host.path / GENERATOR[1:]).rename(host.path / REAL[1:])
    host.write(GENERATOR, f"#!/bin/sh\n{body}\n", 0o755)


def test_every_normal_entry_gets_the_parameters_and_no_recovery_entry(host: GrubTree) -> None:
    before_normal, before_others = entries(host)
    run = apply(host)
    assert run.code == 0, run.stderr
    normal, others = entries(host)
    assert len(normal) == 3
    assert len(others) == 2
    assert normal == [f"{line} {WANTED}" for line in before_normal]
    assert others == before_others
    assert f'GRUB_CMDLINE_LINUX_DEFAULT="quiet {WANTED}"\n' in host.read("/etc/default/grub")
    subprocess.run(["grub-script-check", host.path / MENU[1:]], check=True)
    assert debris(host.path) == set()


def test_a_second_apply_changes_nothing(host: GrubTree) -> None:
    assert apply(host).code == 0
    before = live(host.path)
    run = apply(host, "--json")
    assert (run.code, run.stderr) == (0, "")
    assert [run.report[key] for key in ("changed", "files", "commands", "snapshot")] == [False, [], [], None]
    assert live(host.path) == before
    assert states(host.path) == [("apply", "applied")]


def test_a_rollback_brings_back_every_byte(host: GrubTree) -> None:
    before = live(host.path, times=False)
    assert apply(host).code == 0
    assert live(host.path, times=False) != before
    run = rollback(host)
    assert run.code == 0, run.stderr
    assert live(host.path, times=False) == before
    assert states(host.path) == [("rollback", "applied"), ("apply", "rolled_back")]


def test_a_stale_menu_alone_is_generated_anew(host: GrubTree) -> None:
    stale = host.read()
    assert apply(host).code == 0
    fresh = host.read()
    host.write(MENU, stale)
    sources = host.read("/etc/default/grub")
    run = apply(host, "--json")
    assert run.code == 0, run.stderr
    assert (run.report["changed"], run.report["files"]) == (True, [])
    commands = run.report["commands"]
    assert isinstance(commands, list)
    assert [(one["argv"][0], one["ran"]) for one in commands] == [("grub-mkconfig", True), ("grub-script-check", True)]
    assert (host.read("/etc/default/grub"), host.read()) == (sources, fresh)


def test_a_host_without_a_menu_gets_one_and_a_rollback_takes_it_away(grub_host: GrubTree) -> None:
    before = live(grub_host.path, times=False)
    run = apply(grub_host)
    assert run.code == 0, run.stderr
    assert all(line.endswith(WANTED) for line in entries(grub_host)[0])
    assert rollback(grub_host).code == 0
    assert live(grub_host.path, times=False) == before


LIE = f"{REAL} -o $2.lie && sed 's/ {WANTED}//' $2.lie >$2"
HALF = f"{REAL} -o $2.all && head -c 3000 $2.all >$2"

MISBEHAVIOUR = {
    "leaves the parameters out": LIE,
    "leaves the parameters out of one entry": f"{REAL} -o $2.lie && sed '0,/ {WANTED}/s///' $2.lie >$2",
    "fails": "echo 'no such disk' >&2; exit 3",
    "fails after it wrote all": f"{REAL} -o $2; exit 1",
    "writes what GRUB cannot read": "echo \"menuentry 'x' {\" >$2",
    "writes half": HALF,
    "writes half and is killed": f"{HALF}; kill -KILL $$",
    "writes nothing": "exit 0",
    "writes an empty file": ": >$2",
    "writes a menu without entries": "echo 'set timeout=5' >$2",
    "writes a folder": "mkdir $2",
    "writes without an end": "exec head -c 1G /dev/zero >$2",
    "writes a link out of the folder": f"{REAL} -o $2.all; rm -f $2; ln -s {MENU} $2",
    "changes what the sources say": f"{REAL} -o $2; sed -i s/{WANTED.split()[1]}/iommu=off/ $2",
    "writes the live menu as well": f"{REAL} -o $2; {REAL} -o {MENU}",
    "writes the live menu as well, and lies": f"{LIE}; head -c 3000 $2.lie >{MENU}",
    "writes the live menu as well, and fails": f"echo garbage >{MENU}; exit 1",
    "writes the live menu alone": f"{REAL} -o {MENU}",
    "removes the live menu": f"{REAL} -o $2; rm {MENU}",
}


@pytest.mark.parametrize("body", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_a_generator_that_misbehaves_leaves_everything_as_it_was(host: GrubTree, body: str) -> None:
    before = live(host.path)
    replace_generator(host, body)
    run = apply(host)
    assert live(host.path) == before
    assert (run.code, UNDONE in run.stderr) == (74, True), run.stderr
    assert debris(host.path) == set()
    assert states(host.path) == [("apply", "undone")]


def test_a_generator_writes_no_longer_file_than_can_be_read(host: GrubTree) -> None:
    replace_generator(host, "exec head -c 1G /dev/zero >$2")
    assert "File too large" in apply(host).stderr


def test_a_generator_that_takes_all_the_room_is_stopped_and_what_it_left_goes(host: GrubTree) -> None:
    before = live(host.path)
    replace_generator(host, 'while :; do i=x$i; head -c 1048576 /dev/zero >"$2.$i"; done')
    with small_disk(host.path / "var/lib/iommuctl", 16 << 20) as disk:
        run = apply(host)
        assert live(host.path) == before
        assert (run.code, UNDONE in run.stderr) == (74, True), run.stderr
        assert run.stderr.startswith("iommuctl: error: 'grub-mkconfig' left less than "), run.stderr
        assert debris(host.path) == set()
        assert shutil.disk_usage(disk).used < 1 << 20


def test_the_words_of_a_generator_that_fails_are_shown(host: GrubTree) -> None:
    replace_generator(host, "echo 'no such disk' >&2; exit 3")
    assert apply(host).stderr.splitlines()[:4] == [
        "iommuctl: error: 'grub-mkconfig' failed",
        "    command: grub-mkconfig -o /var/lib/iommuctl/staging/grub.cfg",
        "    exit status: 3",
        "    no such disk",
    ]


def test_a_host_without_a_kernel_is_left_as_it_was(host: GrubTree) -> None:
    for path in (host.path / "boot").glob("*-amd64"):
        path.unlink()
    before = live(host.path)
    run = apply(host)
    assert (run.code, "no normal entry" in run.stderr, UNDONE in run.stderr) == (74, True, True), run.stderr
    assert live(host.path) == before


def test_a_host_without_the_generator_is_left_as_it_was(host: GrubTree) -> None:
    (host.path / GENERATOR[1:]).unlink()
    before = live(host.path)
    run = apply(host)
    assert (run.code, "install the package grub-common" in run.stderr) == (69, True), run.stderr
    assert live(host.path) == before


def test_a_rollback_with_a_generator_that_lies_leaves_everything_as_it_was(host: GrubTree) -> None:
    assert apply(host).code == 0
    host.add_kernel("6.1.0-51-amd64")
    host.mkconfig()
    before = live(host.path)
    replace_generator(host, f"{REAL} -o $2.lie && sed 's/ quiet/ quiet {WANTED}/' $2.lie >$2")
    run = rollback(host)
    assert (run.code, UNDONE in run.stderr) == (74, True), run.stderr
    assert live(host.path) == before
    assert states(host.path) == [("rollback", "undone"), ("apply", "applied")]


def test_nothing_of_the_machine_itself_is_touched(host: GrubTree) -> None:
    machine = [Path(path) for path in ("/etc/default/grub", MENU, "/var/lib/iommuctl")]
    before = [path.stat() if path.exists() else None for path in machine]
    assert apply(host).code == 0
    assert [path.stat() if path.exists() else None for path in machine] == before
