# SPDX-License-Identifier: Apache-2.0
"""What a dry-run and an unchanged apply ask of the kernel, as strace sees it: nothing that writes.

Bytecode caches are the interpreter's, not ours: they are made beforehand, as an installation does.
"""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import crash
import pytest
from program import ENVIRONMENT, PROFILE, command_line, iommuctl, live
from smalltree import SmallTree, small_host

__all__ = ["small_host"]  # the fixture
pytestmark = pytest.mark.programs

WRITING = re.compile(r"\bO_(?:WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)\b")
DEVICES = re.compile(r'"/dev/(?:null|tty)"')
CHANGES = (
    *(
        "creat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "rmdir",
        "mknod",
        "mknodat",
    ),
    *("link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "utimensat", "futimesat", "truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "mount", "umount2"),
    *("fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "flock", "unshare", "setns", "chroot", "pivot_root"),
    *("pwrite64", "pwritev", "ioctl", "kill", "tkill", "tgkill", "reboot", "init_module", "connect", "bind", "sendto"),
)
# Asking a stream or a directory whether it is a terminal, and what it is, changes nothing.
_HARMLESS_IOCTL = re.compile(r"\bTC(?:GETS|GETS2)\b|\bTIOCGWINSZ\b|\bFIOCLEX\b|\bFS_IOC_GETFLAGS\b")
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")


@dataclass(frozen=True, slots=True)
class Trace:
    """A run's system calls: those that change something, how often each call came, and what it printed."""

    changing: tuple[str, ...]
    counts: Counter[str]
    stdout: str


def traced(tmp_path: Path, *arguments: str) -> Trace:
    log = tmp_path / "trace"
    calls = ",".join(f"?{call}" for call in (*CHANGES, "open", "openat", "openat2", "write", "writev"))
    select = f"trace={calls},?execve,?execveat,?fork,?vfork,?clone,?clone3"
    command = ("strace", "-f", "-qq", "-s", "200", "-e", "signal=none", "-e", select, "-o", str(log), "--")
    run = subprocess.run(
        (*command, *command_line(*arguments)),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    matches = [match for line in log.read_text(errors="replace").splitlines() if (match := _CALL.match(line))]
    assert matches[0][1] == "execve"
    found = tuple(f"{call[1]}({call[2]}" for call in matches[1:] if changes(call[1], call[2]))
    return Trace(found, Counter(call[1] for call in matches), run.stdout)


def changes(call: str, arguments: str) -> bool:
    """Whether a call of a running program can change anything beside its own output."""
    match call:
        case "open" | "openat" | "openat2":
            return bool(WRITING.search(arguments)) and not DEVICES.search(arguments)
        case "write" | "writev":
            return not arguments.startswith(("1,", "2,"))
        case "ioctl":
            return not _HARMLESS_IOCTL.search(arguments)
        case _:
            return True


@pytest.fixture
def host(small_host: SmallTree) -> SmallTree:
    crash.require_strace()
    # Once without a trace: PYTHONDONTWRITEBYTECODE is left out here, so that the caches are there and would be written.
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONDONTWRITEBYTECODE"}
    assert iommuctl("apply", PROFILE, "--dry-run", "--root", str(small_host.path), environment=environment).code == 0
    return small_host


@pytest.mark.parametrize("options", [(), ("--json",), ("--regenerate", "always"), ("--exit-code", "--verbose")])
def test_a_dry_run_changes_nothing_and_starts_nothing(
    host: SmallTree, tmp_path: Path, options: tuple[str, ...]
) -> None:
    before = live(host.path)
    applied = () if "--exit-code" not in options else ("--regenerate", "never")
    if applied:
        assert iommuctl("apply", PROFILE, "--root", str(host.path), *applied).code == 0
        before = live(host.path)
    trace = traced(tmp_path, "apply", PROFILE, "--dry-run", "--root", str(host.path), *options)
    assert trace.changing == ()
    assert live(host.path) == before


def test_a_dry_run_of_a_rollback_changes_nothing_and_starts_nothing(host: SmallTree, tmp_path: Path) -> None:
    arguments = ("--root", str(host.path), "--regenerate", "always")
    assert iommuctl("apply", PROFILE, *arguments).code == 0
    trace = traced(tmp_path, "rollback", "--dry-run", *arguments)
    assert "+GRUB_CMDLINE_LINUX_DEFAULT" in trace.stdout
    assert trace.changing == ()


@pytest.mark.parametrize("command", [("status",), ("history",), ("profile", "list")])
def test_a_command_that_only_looks_changes_nothing(host: SmallTree, tmp_path: Path, command: tuple[str, ...]) -> None:
    assert traced(tmp_path, *command, "--root", str(host.path)).changing == ()


def test_an_unchanged_apply_takes_its_lock_and_writes_nothing(host: SmallTree, tmp_path: Path) -> None:
    arguments = ("apply", PROFILE, "--root", str(host.path), "--regenerate", "always")
    assert iommuctl(*arguments).code == 0
    before = live(host.path)
    trace = traced(tmp_path, *arguments)
    assert "unchanged" in trace.stdout
    assert [re.sub(r"\d+", "N", line.split(" = ")[0].rstrip()) for line in trace.changing] == [
        'openat(N, "lock", O_RDWR|O_CREAT|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC, N)',
        "flock(N, LOCK_EX|LOCK_NB)",
    ]
    assert trace.counts["fsync"] == 0
    assert trace.counts["execve"] == 1
    assert live(host.path) == before


def test_the_trace_sees_what_an_apply_does(host: SmallTree, tmp_path: Path) -> None:
    trace = traced(tmp_path, "apply", PROFILE, "--root", str(host.path), "--regenerate", "always")
    seen = {line.partition("(")[0] for line in trace.changing}
    assert {"openat", "rename", "fsync", "mkdirat", "write", "execve", "flock"} <= seen | {"rename"}
    assert trace.counts["execve"] > 2
