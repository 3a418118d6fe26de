# SPDX-License-Identifier: Apache-2.0
"""Run iommuctl as an administrator does, in a process of its own, and tell what it left in a tree."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import crash
from consent import agreed
from project import PROJECT

PROFILE = "passthrough-perf"
WANTED = "intel_iommu=on iommu=pt"  # what the profile adds where the vendor is unknown
STATE = "var/lib/iommuctl"
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",  # without one the interpreter asks the name service where it is
    "PYTHONPATH": os.pathsep.join([str(PROJECT), *(path for path in sys.path if path.endswith("-packages"))]),
    "PYTHONDONTWRITEBYTECODE": "1",
}
TIMEOUT_SECONDS = 120
UNDONE = "the undo succeeded: every file is as it was"

Seen = dict[str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Run:
    """What a run gave back."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, object]:
        """The one JSON object that a run with --json printed."""
        report: dict[str, object] = json.loads(self.stdout)
        return report


def command_line(*arguments: str, interpreter: str = sys.executable) -> tuple[str, ...]:
    return (interpreter, "-m", "iommuctl", *agreed(arguments))


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a run that the test talks to before it waits for it."""
    return subprocess.Popen(
        command_line(*arguments),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Run:
    stdout, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    return Run(process.returncode, stdout, stderr)


def iommuctl(
    *arguments: str,
    user: int | None = None,
    interpreter: str = sys.executable,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> Run:
    """Run to the end; `user` is the id of somebody else, with no groups next to one of the same number."""
    run = subprocess.run(
        command_line(*arguments, interpreter=interpreter),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
    )
    return Run(run.returncode, run.stdout, run.stderr)


def live(tree: Path, *, times: bool = True) -> Seen:
    """Everything below /etc and /boot, where boot configurations are: metadata, content, and files' times."""
    return {
        f"{folder}/{path}": facts
        for folder in ("etc", "boot")
        for path, facts in crash.observe(tree / folder, without=STATE, times=times).items()
    }


def debris(tree: Path) -> set[str]:
    """What a run leaves after only when it was cut off."""
    state = {path.name for path in (tree / STATE).iterdir()} if (tree / STATE).exists() else set()
    ours = {path.name for path in tree.rglob("*.tmp")} | {path.name for path in tree.rglob("*.partial")}
    return (state - {"index", "lock", "snapshots"}) | ours


def states(tree: Path) -> list[tuple[str, str]]:
    """Action and state of every snapshot, newest first."""
    run = iommuctl("history", "--json", "--root", str(tree))
    assert run.code == 0, run.stderr
    snapshots = run.report["snapshots"]
    assert isinstance(snapshots, list)
    return [(one["action"], one["state"]) for one in snapshots]
