# SPDX-License-Identifier: Apache-2.0
"""Clean Debian trees with systemd-boot's tools, installed by mmdebstrap once and kept outside the project.

Its packages come from where this machine gets its own: no mirror is named here.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lacking import lacks

PACKAGES = (
    "dash",
    "grub-common",
    "grub2-common",
    "sed",
    "systemd",
    "systemd-boot",
    "systemd-boot-efi",
    "systemd-ukify",
)
# The newest systemd that Debian carries.
NEWEST_PACKAGES = ("systemd", "systemd-boot-tools")
TIMEOUT_SECONDS = 600
# An archive that is kept aside for a while is as good: its lists may be older than they promise.
_OPTIONS = (
    "--mode=root",
    "--variant=essential",
    "--quiet",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    '--aptopt=Acquire::Check-Valid-Until "false"',
)
_NOT_COPIED = frozenset({"dev", "proc", "run", "sys", "tmp", "usr"})
_UNSHARED = ("unshare", "--mount", "--pid", "--fork", "--propagation=private")
# What systemd asks of an ESP: that something is mounted there, and, unless told otherwise, that it is one by its type.
_CONFINED = (
    'mount --bind "$1/boot/efi" "$1/boot/efi" && mount -t proc proc "$1/proc" && root=$1 && shift && '
    'exec env -i LC_ALL=C PATH=/usr/sbin:/usr/bin SYSTEMD_RELAX_ESP_CHECKS=1 chroot "$root" "$@"'
)


@dataclass(frozen=True, slots=True)
class DebianTree:
    """A host to change at will, `/usr` excepted: its files are shared with every other copy."""

    path: Path

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the tree; `path` is relative to its top."""
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def run(self, *argv: str) -> str:
        """Run a program of the tree, in a mount and a pid namespace of its own; give its stdout."""
        command = (*_UNSHARED, "sh", "-c", _CONFINED, "sh", str(self.path), *argv)
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def debian_host(tmp_path: Path) -> DebianTree:
    """A fresh Debian 13; skipped where none can be installed, a failure where CI=true."""
    return _fresh(tmp_path, "debian-13", "trixie", PACKAGES)


@pytest.fixture
def newest_host(tmp_path: Path) -> DebianTree:
    """A fresh tree of Debian's unstable suite; skipped where none can be installed, a failure where CI=true."""
    return _fresh(tmp_path, "debian-unstable", "sid", NEWEST_PACKAGES)


def _fresh(tmp_path: Path, name: str, suite: str, packages: tuple[str, ...]) -> DebianTree:
    try:
        cached = _cached(name, suite, packages)
    except MissingError as error:
        lacks(str(error))
    if why := subprocess.run((*_UNSHARED, "true"), capture_output=True, text=True, check=False).stderr.strip():
        lacks(f"no mounts of its own for a tree, as in a chroot(2) of a plain directory: {why}")
    return _copy(cached, tmp_path / name)


class MissingError(Exception):
    """Why there is no tree of that suite here."""


def mirror() -> str:
    """Where this machine gets Debian's packages from, by its own apt."""
    if shutil.which("apt-get") is None:
        raise MissingError("no apt-get here that tells where the packages are")
    argv = ("apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Identifier: Packages")
    listed = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    mirrors = [line.split(" ", 2)[2] for line in listed if line.startswith("Debian main ")]
    if not mirrors:
        raise MissingError("this machine's apt knows no archive of Debian (apt-get update reads the lists)")
    return mirrors[0]


def _cached(name: str, suite: str, packages: tuple[str, ...]) -> Path:
    """Return the installed tree, made once for each state of this file. Raises MissingError with the reason."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise MissingError("programs of another root run in a chroot, for which one must be root")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iommuctl-tests"
    cached = base / f"{name}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cached.is_dir():
            _install(cached, suite, packages)
    return cached


def _install(target: Path, suite: str, packages: tuple[str, ...]) -> None:
    if shutil.which("mmdebstrap") is None:
        raise MissingError("mmdebstrap is not installed")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    argv = ("mmdebstrap", *_OPTIONS, f"--include={','.join(packages)}", suite, str(unfinished), mirror())
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{suite} could not be installed in time") from error
    if done.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise MissingError(f"{suite} could not be installed: {'; '.join(done.stderr.splitlines()[-3:])}")
    unfinished.rename(target)


def _copy(cached: Path, target: Path) -> DebianTree:
    target.mkdir()
    for path in _entries(cached):
        if path.is_symlink():
            (target / path.name).symlink_to(path.readlink())
        elif path.is_dir():
            shutil.copytree(path, target / path.name, symlinks=True)
    try:
        shutil.copytree(cached / "usr", target / "usr", symlinks=True, copy_function=os.link)
    except shutil.Error:  # the cache is on another file system
        shutil.rmtree(target / "usr")
        shutil.copytree(cached / "usr", target / "usr", symlinks=True)
    for name in ("dev", "proc", "run", "sys", "tmp", "boot/efi"):
        (target / name).mkdir(parents=True, exist_ok=True)
    os.mknod(target / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (target / "dev/null").chmod(0o666)
    return DebianTree(target)


def _entries(cached: Path) -> Iterator[Path]:
    yield from (path for path in sorted(cached.iterdir()) if path.name not in _NOT_COPIED)
