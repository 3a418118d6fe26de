# SPDX-License-Identifier: Apache-2.0
"""Freezing an XFS: which one, and that it is thawed whatever happens. Needs root, a loop device and mkfs.xfs."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from lacking import lacks

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.host.mounts import unfreezable
from iommuctl.host.root import Root
from iommuctl.plan import Regenerate
from iommuctl.transaction import freeze
from iommuctl.transaction.freeze import freeze_and_thaw, settle
from iommuctl.transaction.store import STATE

XFS_SIZE = 320 * 1024 * 1024  # bytes; mkfs.xfs makes none below 300 MiB
DIES_WHILE_FROZEN = """
import fcntl, os, signal, sys
from iommuctl.transaction import freeze
from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
real, parent = fcntl.ioctl, os.getpid()
def ioctl(descriptor, request, argument):
    if request == freeze._FITHAW and os.getpid() == parent:
        sys.stdout.write("frozen")
        sys.stdout.flush()
        os.kill(parent, signal.SIGKILL)
    return real(descriptor, request, argument)
fcntl.ioctl = ioctl
freeze.freeze_and_thaw(os.open(sys.argv[1], os.O_RDONLY))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "root/boot").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def boot(tree: Path) -> Iterator[Path]:
    """A root whose /boot is an XFS of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    if not shutil.which("mkfs.xfs"):
        lacks("no mkfs.xfs here")
    image = tree.parent / "xfs.img"
    with image.open("wb") as file:
        file.truncate(XFS_SIZE)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(tree / "boot")], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount an XFS here: {mounted.stderr.decode().strip()}")
    try:
        yield tree / "boot"
    finally:
        subprocess.run(["fsfreeze", "-u", str(tree / "boot")], capture_output=True, check=False)
        # Lazily: the traceback of a test that fails keeps its root open.
        subprocess.run(["umount", "--lazy", str(tree / "boot")], check=True)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The requests that this process makes of file systems."""
    made: list[int] = []
    real = fcntl.ioctl

    def note(descriptor: int, request: int, argument: int) -> int:
        made.append(request)
        return real(descriptor, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", note)
    return made


def can_write(folder: Path) -> bool:
    """Whether a write ends; on a frozen file system it waits."""
    code = "import sys; open(sys.argv[1] + '/probe', 'w').write('x')"
    try:
        return subprocess.run([sys.executable, "-S", "-c", code, str(folder)], timeout=5, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def test_a_boot_of_its_own_is_frozen_and_thawed_once(tree: Path, boot: Path, requests: list[int]) -> None:
    (boot / "grub").mkdir()
    root = Root(tree)
    settle(root, STATE, [PurePosixPath("/boot"), PurePosixPath("/boot/grub"), PurePosixPath("/boot/none")])
    assert requests == [freeze._FIFREEZE, freeze._FITHAW]
    assert can_write(boot)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The file systems that are written out whole, by their device."""
    devices: list[int] = []
    monkeypatch.setattr(freeze, "_syncfs", lambda descriptor: devices.append(os.fstat(descriptor).st_dev))
    return devices


def test_the_file_system_of_our_state_is_synced_and_never_frozen(
    tree: Path, boot: Path, requests: list[int], synced: list[int]
) -> None:
    (boot / "state").mkdir()
    (tree / "var/lib").mkdir(parents=True)
    (tree / "var/lib/iommuctl").symlink_to("/boot/state")
    root = Root(tree)
    settle(root, STATE, [PurePosixPath("/boot")])
    assert (requests, synced) == ([], [boot.stat().st_dev])
    assert unfreezable(root, STATE, [PurePosixPath("/boot")]) == (PurePosixPath("/boot"),)


def test_the_file_system_of_the_root_is_synced_and_never_frozen(
    boot: Path, requests: list[int], synced: list[int]
) -> None:
    (boot / "boot").mkdir()
    root = Root(boot)
    settle(root, STATE, [PurePosixPath("/boot")])
    assert (requests, synced) == ([], [boot.stat().st_dev])


def test_syncfs_reaches_the_kernel(boot: Path) -> None:
    descriptor = os.open(boot, os.O_RDONLY)
    try:
        freeze._syncfs(descriptor)
    finally:
        os.close(descriptor)


def test_a_plan_tells_that_grub_may_lag_behind(boot: Path, project: Path) -> None:
    shutil.copytree(project / "examples/debian-12", boot, symlinks=True, dirs_exist_ok=True)
    plan = plan_apply(Host.open(boot), "passthrough-perf", Choices(regenerate=Regenerate.ALWAYS))
    # The sample host has no generator either, which is told as well.
    assert [finding.rule for finding in plan.steps.findings if finding.rule != "program-missing"] == ["xfs-not-frozen"]
    plan = plan_apply(Host.open(boot), "passthrough-perf", Choices(regenerate=Regenerate.NEVER))
    assert "xfs-not-frozen" not in [finding.rule for finding in plan.steps.findings]


def test_what_is_no_xfs_is_not_frozen(tree: Path, requests: list[int]) -> None:
    root = Root(tree)
    settle(root, STATE, [PurePosixPath("/boot")])
    assert requests == []


def test_a_death_while_frozen_is_thawed(boot: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DIES_WHILE_FROZEN, str(boot)],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (died.returncode, died.stdout) == (-9, "frozen"), died.stderr
    assert can_write(boot)


def test_what_somebody_else_froze_stays_frozen(boot: Path) -> None:
    if subprocess.run(["fsfreeze", "-f", str(boot)], capture_output=True, check=False).returncode:
        pytest.skip("fsfreeze does not work here")
    descriptor = os.open(boot, os.O_RDONLY)
    try:
        freeze_and_thaw(descriptor)
    finally:
        os.close(descriptor)
    assert subprocess.run(["fsfreeze", "-u", str(boot)], capture_output=True, check=False).returncode == 0


def test_what_cannot_be_frozen_is_no_failure() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)  # a file system that cannot be frozen
    try:
        freeze_and_thaw(descriptor)
    finally:
        os.close(descriptor)
