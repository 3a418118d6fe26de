# SPDX-License-Identifier: Apache-2.0
"""Stop a program at each of its write-side system calls, by a kill or an error, and let a checker judge what is left.

A program is traced once to number its calls; strace then injects into the n-th call of one name. A kill strikes before
the call acts, so the kill at the next one stands for "just after". The program is loaded once and forked for each run.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from lacking import lacks
from warm import Program, Warm, loaded

WRITE_CALLS = (
    *("open", "openat", "creat", "write", "writev", "pwrite64", "pwritev", "ftruncate", "truncate", "fallocate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link", "linkat"),
    *("symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown"),
    *("setxattr", "fsetxattr", "removexattr", "fremovexattr", "utimensat", "fsync", "fdatasync", "syncfs"),
    *("copy_file_range", "sendfile"),
)
Arguments = Callable[[Path], Sequence[str]]  # by the tree to work on
KILL = "signal=KILL"  # lost, seen with strace 6.1, when strace runs with --seccomp-bpf
WORKERS = 2
TIMEOUT_SECONDS = 60

_CALL = re.compile(r"^(\w+)\((.*)$")
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


@dataclass(frozen=True, slots=True)
class Traced:
    """A run under strace: its exit code and stderr, and the main process's calls by name, with what strace shows."""

    code: int
    stderr: str
    calls: tuple[tuple[str, str], ...]


def require_strace() -> None:
    """Skip with the reason where strace is missing or may not trace."""
    if not shutil.which("strace"):
        lacks("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        lacks("strace may not trace here (no ptrace)")


def python_environment() -> dict[str, str]:
    """Return an environment in which `python -S -B` finds the project and its libraries, and starts fast."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)}


def write_points(
    program: Program, arguments: Arguments, environment: Mapping[str, str], tree: Path
) -> tuple[Point, ...]:
    """Run a program on a tree, to its end, and give its write-side calls in order. It must succeed."""
    with _rehearsed(program, arguments, environment, tree) as warm, tempfile.TemporaryDirectory() as scratch:
        run = trace(warm, arguments(tree), ["-s", "120"], Path(scratch, "trace"))
        assert run.code == 0, run.stderr
    counts: Counter[str] = Counter()
    points: list[Point] = []
    for call, shown in run.calls:
        counts[call] += 1
        if _writes(call, shown):
            points.append(Point(call, counts[call], shown))
    return tuple(points)


def strike(
    program: Program,
    arguments: Arguments,
    environment: Mapping[str, str],
    pristine: Path,
    scratch: Path,
    strikes: Iterable[tuple[Point, str]],
    check: Callable[[Path, Outcome], None],
) -> int:
    """Run the program on a fresh copy of `pristine` once for each strike, and `check` each copy. Gives how many ran.

    An action is `error=NAME` or `signal=NAME`, such as KILL. `check` asserts; the first failure is raised with its
    outcome named.
    """
    idle = SimpleQueue[Warm]()

    def one(numbered: tuple[int, tuple[Point, str]]) -> None:
        index, (point, action) = numbered
        tree = scratch / f"{index:04}"
        shutil.copytree(pristine, tree, symlinks=True)
        warm = idle.get()
        try:
            options = ["-e", f"inject={point.call}:{action}:when={point.number}"]
            run = trace(warm, arguments(tree), options, scratch / f"{index:04}.trace")
        finally:
            idle.put(warm)
        outcome = Outcome(point, action, run.code, run.stderr)
        try:
            if action == KILL:
                assert run.code == -signal.SIGKILL, "the program got by"
                assert _writes(*run.calls[-1]), "struck at something else"
            elif action.startswith("error="):
                struck = [call for call in run.calls if "(INJECTED)" in call[1]]
                assert struck, "the program got by"
                assert _writes(*struck[0]), "struck at something else"
            check(tree, outcome)
        except Exception as error:
            raise AssertionError(f"{outcome}\nleft in {tree}") from error
        shutil.rmtree(tree)

    with ExitStack() as stack, ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(WORKERS):
            idle.put(stack.enter_context(_rehearsed(program, arguments, environment, pristine)))
        return len(list(pool.map(one, enumerate(strikes))))


@contextmanager
def _rehearsed(program: Program, arguments: Arguments, environment: Mapping[str, str], tree: Path) -> Iterator[Warm]:
    """Load a program so that each run makes the same calls: none of them is of a module that is loaded late."""
    with loaded(program, environment) as warm, tempfile.TemporaryDirectory() as scratch:
        warm.rehearse(arguments(shutil.copytree(tree, Path(scratch, "tree"), symlinks=True)))
        yield warm


def trace(warm: Warm, arguments: Sequence[str], options: Sequence[str], log: Path) -> Traced:
    """Run a loaded program once under strace, every write-side call of it from the first."""
    stderr = log.with_suffix(".stderr")
    process = warm.begin(arguments, Path(os.devnull), stderr)
    calls = f"trace={','.join(f'?{call}' for call in WRITE_CALLS)}"  # `?`: not every architecture has every call
    # Without `-f`: strace counts the calls of each process by themselves, and would strike at a helper's as well.
    command = ["strace", "-e", "signal=none", "-e", calls, *options, "-o", str(log), "-p", str(process)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        assert said.endswith("attached\n"), said
        code = warm.finish()
        strace.communicate(timeout=TIMEOUT_SECONDS)
    told, seen = (path.read_text(errors="replace") for path in (stderr, log))
    stderr.unlink()
    log.unlink()
    matches = (_CALL.match(line) for line in seen.splitlines())
    return Traced(code, told, tuple((match[1], match[2]) for match in matches if match))


def observe(root: Path, *, without: str, times: bool) -> dict[str, tuple[object, ...]]:
    """Return everything in a tree, by path: kind and mode, owner, content or link target, xattrs, and files' times."""
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


def _writes(call: str, arguments: str) -> bool:
    """Whether a call can change a file system: not the start of the interpreter, not a line on the terminal."""
    match call:
        case "open" | "openat":
            return not _READ_ONLY_OPEN.search(arguments) or bool(_CREATES.search(arguments))
        case "write" | "writev":
            return not arguments.startswith(("1,", "2,"))
        case _:
            return True
