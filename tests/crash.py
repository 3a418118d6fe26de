# SPDX-License-Identifier: Apache-2.0
"""Stop a program at each of its write-side system calls, by a kill or an error, and let a checker judge what is left.

A program is traced once to number its calls; strace then injects into the n-th call of one name. A kill strikes before
the call acts, so the kill at the next one stands for "just after".
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lacking import lacks

WRITE_CALLS = (
    *("open", "openat", "creat", "write", "writev", "pwrite64", "pwritev", "ftruncate", "truncate", "fallocate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat"),
    *("symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown"),
    *("setxattr", "fsetxattr", "removexattr", "fremovexattr", "utimensat", "fsync", "fdatasync", "syncfs"),
    *("copy_file_range", "sendfile"),
)
KILL = "signal=KILL"  # lost, seen with strace 6.1, when strace runs with --seccomp-bpf
WORKERS = 2
TIMEOUT_SECONDS = 60

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
_READ_ONLY_OPEN = re.compile(r"\bO_RDONLY\b|\bO_PATH\b")
_CREATES = re.compile(r"\bO_CREAT\b|\bO_TRUNC\b")


@dataclass(frozen=True, slots=True)
class Point:
    """The `number`-th call (from 1) of one name in the main process, as strace shows it."""

    call: str
    number: int
    shown: str

    def __str__(self) -> str:
        return f"{self.call}#{self.number} {self.shown[:90]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stopped program gave back: an exit code (negative: killed by that signal) and its stderr."""

    point: Point
    action: str
    code: int
    stderr: str

    def __str__(self) -> str:
        return f"{self.action} at {self.point}: exit {self.code}\n{self.stderr}"


def require_strace() -> None:
    """Skip with the reason where strace is missing or may not trace."""
    if not shutil.which("strace"):
        lacks("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        lacks("strace may not trace here (no ptrace)")


def python_environment() -> dict[str, str]:
    """Give an environment in which `python -S -B` finds the project and its libraries, and starts fast."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)}


def write_points(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[Point, ...]:
    """Run a program once, to its end, and give its write-side calls in order. It must succeed."""
    with tempfile.NamedTemporaryFile("r") as trace:
        run = _strace(argv, environment, ["-s", "120", "-o", trace.name])
        assert run.returncode == 0, run.stderr
        lines = trace.read().splitlines()
    counts: Counter[str] = Counter()
    points: list[Point] = []
    main = lines[0].split()[0]
    for line in lines:
        match = _CALL.match(line)
        if match and match[1] == main:
            counts[match[2]] += 1
            if _writes(match[2], match[3]):
                points.append(Point(match[2], counts[match[2]], match[3]))
    return tuple(points)


def strike(
    make_argv: Callable[[Path], Sequence[str]],
    environment: Mapping[str, str],
    pristine: Path,
    scratch: Path,
    strikes: Iterable[tuple[Point, str]],
    check: Callable[[Path, Outcome], None],
) -> int:
    """Run the program on a fresh copy of `pristine` once for each strike, and `check` each copy. Gives how many ran.

    An action is KILL or `error=NAME`. `check` asserts; the first failure is raised with its outcome named.
    """

    def one(numbered: tuple[int, tuple[Point, str]]) -> None:
        index, (point, action) = numbered
        tree = scratch / f"{index:04}"
        shutil.copytree(pristine, tree, symlinks=True)
        trace = scratch / f"{index:04}.trace"
        inject = f"inject={point.call}:{action}:when={point.number}"
        run = _strace(make_argv(tree), environment, ["-o", str(trace), "-e", inject])
        outcome = Outcome(point, action, run.returncode, run.stderr)
        struck = (
            run.returncode == -signal.SIGKILL if action == KILL else "(INJECTED)" in trace.read_text(errors="replace")
        )
        try:
            assert struck, "the program got by"
            check(tree, outcome)
        except Exception as error:
            raise AssertionError(f"{outcome}\nleft in {tree}") from error
        shutil.rmtree(tree)
        trace.unlink()

    with ThreadPoolExecutor(WORKERS) as pool:
        return len(list(pool.map(one, enumerate(strikes))))


def observe(root: Path, *, without: str, times: bool) -> dict[str, tuple[object, ...]]:
    """Give everything in a tree, by path: kind and mode, owner, content or link target, xattrs, and files' times."""
    seen: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if path.relative_to(root).is_relative_to(without):
                continue
            status = path.lstat()
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = path.readlink()
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            xattrs = {
                one: os.getxattr(path, one, follow_symlinks=False) for one in os.listxattr(path, follow_symlinks=False)
            }
            time = status.st_mtime_ns if times and stat.S_ISREG(status.st_mode) else None
            seen[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content, xattrs, time)
    return seen


def _strace(
    argv: Sequence[str], environment: Mapping[str, str], options: list[str]
) -> subprocess.CompletedProcess[str]:
    trace = f"trace={','.join(f'?{call}' for call in WRITE_CALLS)}"  # `?`: not every architecture has every call
    command = ["strace", "-f", "-qq", "-e", "signal=none", "-e", trace, *options, "--", *argv]
    return subprocess.run(
        command,
        env=dict(environment),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def _writes(call: str, arguments: str) -> bool:
    """Whether a call can change a file system: not the start of the interpreter, not a line on the terminal."""
    match call:
        case "open" | "openat":
            return not _READ_ONLY_OPEN.search(arguments) or bool(_CREATES.search(arguments))
        case "write" | "writev":
            return not arguments.startswith(("1,", "2,"))
        case _:
            return True
