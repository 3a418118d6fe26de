# SPDX-License-Identifier: Apache-2.0
"""Run iommuctl as a user does, as nobody, on a terminal and in this process, and tell what it left."""

import io
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from consent import agreed
from project import PROJECT
from typer.testing import CliRunner

import iommuctl.cli
from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError

PROGRAM = (sys.executable, "-m", "iommuctl")
ESCAPE = "\x1b"
# Everything is loaded before the rights are given up.
AS_NOBODY = """
import contextlib, importlib, os, pathlib, pkgutil
import augeas, iommuctl, typer
from iommuctl.formats import lens
from iommuctl.profile import shipped
for package in (iommuctl, typer):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(AssertionError):  # what is for another system says so
                importlib.import_module(module.name)
shipped.shipped_profiles(), shipped.shipped_catalogue()
lens._LENSES = pathlib.Path(os.environ["READABLE_LENSES"])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
iommuctl.cli.main()
"""
NEVER = ("--regenerate", "never")
CONDITIONAL = 'if [ -e /x ]; then\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nfi\n'


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run iommuctl as a process."""
    return _run((*PROGRAM, *agreed(arguments)), env or {})


def in_process(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run iommuctl in this process, as it runs in one of its own but for what a process has once, such as signals."""
    out, err = io.StringIO(), io.StringIO()
    before = {name: os.environ.get(name) for name in env or {}}
    os.environ.update(env or {})
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = iommuctl.cli.run(arguments)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run iommuctl as who owns nothing, also where nobody else may read this project and its Python."""
    readable = Path(arguments[arguments.index("--root") + 1]).with_name("lenses")
    shutil.copytree(PROJECT / "iommuctl/formats/lenses", readable, dirs_exist_ok=True)
    return _run((sys.executable, "-c", AS_NOBODY, *agreed(arguments)), {"READABLE_LENSES": str(readable)})


def _run(command: tuple[str, ...], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run(
        command, cwd=PROJECT, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def code_of(*arguments: str) -> int:
    """Run a command in this process; give the exit code that it would end with."""
    result = CliRunner().invoke(application, agreed(arguments), obj=Session())
    error = result.exception
    if isinstance(error, IommuctlError):
        return error.code
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code


def tree(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a directory: mode, time and content."""
    return {
        str(path.relative_to(top)): (stat.st_mode, stat.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (top, *top.rglob("*"))
        for stat in (path.lstat(),)
    }


class Terminal:
    """iommuctl on a terminal of its own, with somebody who reads and types."""

    def __init__(self, arguments: tuple[str, ...], env: Mapping[str, str], program: tuple[str, ...]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=PROJECT,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, words: str | None) -> None:
        """Read until some words show, or to the end."""
        deadline = time.monotonic() + 30
        while words is None or words not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.text
            try:
                chunk = os.read(self.master, 4096)
            except OSError:  # EIO: the other side was closed
                chunk = b""
            if not chunk:
                assert words is None, self.text
                return
            self.text += chunk.decode()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def finish(self) -> int:
        self.read_until(None)
        return self.process.wait(timeout=30)


@contextmanager
def terminal(*arguments: str, **env: str) -> Iterator[Terminal]:
    with terminal_of(PROGRAM, *arguments, **env) as screen:
        yield screen


@contextmanager
def terminal_of(program: tuple[str, ...], *arguments: str, **env: str) -> Iterator[Terminal]:
    """Run a program that stands for iommuctl on a terminal."""
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "COLUMNS", "LINES")}
    opened = Terminal(arguments, {**plain, "TERM": "xterm", **env}, program)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.wait()
        os.close(opened.master)


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else or mount")


def without_state(found: dict[str, tuple[int, int, bytes]]) -> dict[str, tuple[int, int, bytes]]:
    return {path: content for path, content in found.items() if not path.startswith("var")}
