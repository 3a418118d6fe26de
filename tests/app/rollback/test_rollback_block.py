# SPDX-License-Identifier: Apache-2.0
"""Rollback of GRUB's environment block: our variables go back, those of others stay."""

import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from lacking import program
from program import live
from project import GOLDEN
from rolling import apply, planned, rollback

from iommuctl.app.rollback.plan import CHANGED_SINCE
from iommuctl.errors import ConflictError
from iommuctl.formats.grubenv import GrubEnv

ADDED = "intel_iommu=on iommu=pt"
BLOCK = "boot/grub2/grubenv"


@pytest.fixture
def rhel8(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bls/rhel-8/before", tmp_path / "host", symlinks=True))


def editenv(root: Path, *arguments: str) -> None:
    editenv = program("grub-editenv", "grub2-editenv")
    subprocess.run([editenv, str(root / BLOCK), *arguments], check=True, capture_output=True)


def variables(root: Path) -> dict[str, str]:
    return dict(GrubEnv.parse(PurePosixPath("/", BLOCK), (root / BLOCK).read_bytes()).variables)


@pytest.mark.programs
def test_a_block_keeps_what_others_wrote_since(rhel8: Path) -> None:
    before, old = live(rhel8, times=False), variables(rhel8)
    apply(rhel8)
    editenv(rhel8, "set", "saved_entry=another", "boot_success=1", "new=x")
    name = rollback(rhel8)
    others = {"saved_entry": "another", "boot_success": "1", "new": "x"}
    assert variables(rhel8) == old | others
    assert {path: facts for path, facts in live(rhel8, times=False).items() if path != BLOCK} == {
        path: facts for path, facts in before.items() if path != BLOCK
    }
    editenv(rhel8, "set", "boot_success=0")
    rollback(rhel8, name)
    assert variables(rhel8)["kernelopts"].endswith(f"quiet {ADDED} ")
    assert {key: variables(rhel8)[key] for key in others} == others | {"boot_success": "0"}


@pytest.mark.programs
def test_a_block_in_which_our_variable_was_changed_is_kept_unless_forced(rhel8: Path) -> None:
    old = variables(rhel8)
    apply(rhel8)
    editenv(rhel8, "set", f"kernelopts={variables(rhel8)['kernelopts']}nosmt", "boot_success=1")
    before = live(rhel8)
    with pytest.raises(ConflictError, match="/boot/grub2/grubenv was changed since") as caught:
        planned(rhel8)
    assert (caught.value.code, live(rhel8)) == (78, before)
    rollback(rhel8, None, CHANGED_SINCE)
    assert variables(rhel8) == old | {"boot_success": "1"}


@pytest.mark.programs
def test_a_variable_that_we_made_goes(rhel8: Path) -> None:
    menu = "boot/grub2/grub.cfg"
    value = variables(rhel8)["kernelopts"]
    editenv(rhel8, "unset", "kernelopts")
    (rhel8 / menu).write_text(f'if [ -z "${{kernelopts}}" ]; then\n  set kernelopts="{value}"\nfi\nblscfg\n')
    before = variables(rhel8)
    apply(rhel8)
    assert ADDED in variables(rhel8)["kernelopts"]
    editenv(rhel8, "set", "boot_success=1")
    rollback(rhel8)
    assert variables(rhel8) == before | {"boot_success": "1"}
