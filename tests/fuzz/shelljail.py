# SPDX-License-Identifier: Apache-2.0
"""A shell that evaluates hostile files, confined to a tree that holds nothing but itself."""

import selectors
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from grubtree import libraries
from project import PACKAGE

_PATIENCE = 60.0  # seconds for one file that waits for what never comes; one that works has its limits below
# Reads the names of variables, sources /input in a process of its own, and answers with their values.
_LOOP = """\
ulimit -S -t unlimited
while read -r one other; do
  ( ulimit -t 1; ulimit -v 262144; set -e; . /input >/dev/null 2>&1 </dev/null
    eval "printf '%s\\\\n%s\\\\n' \\"\\$$one\\" \\"\\$$other\\"" ) 2>/dev/null || printf 'refused\\n'
  printf '\\001\\n'
done
"""


class ShellJail:
    """One shell for many files; started again where a file has ended it."""

    def __init__(self) -> None:
        self._tree = Path(tempfile.mkdtemp(dir="/dev/shm"))
        (self._tree / "tmp").mkdir()
        shell = Path(str(shutil.which("dash"))).resolve()
        for target, source in libraries([shell]).items():
            for place in (target, Path("/", *target.parts[2:])):  # below /usr, and as the loader is named
                copy = self._tree / place.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)
        shutil.copy(shell, self._tree / "sh")
        self._process: subprocess.Popen[bytes] | None = None

    def values(self, content: bytes, names: tuple[str, str]) -> tuple[str, ...] | None:
        """Return what sourcing a file leaves in two variables: nothing where it is refused, None without an answer."""
        (self._tree / "input").write_bytes(content)
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{names[0]} {names[1]}\n".encode())
            process.stdin.flush()
            answer = self._answer(process)
        except OSError:
            answer = None
        if answer is None:
            self._end()
            return None
        lines = answer.decode("utf-8", "surrogateescape").split("\n")
        return () if lines[0] == "refused" or len(lines) != len(names) + 1 else tuple(lines[: len(names)])

    def _answer(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None
        answer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\001\n"):
                if not selector.select(_PATIENCE):
                    return None
                chunk = process.stdout.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader
                if not chunk or len(answer) > 1 << 20:
                    return None
                answer += chunk
        return answer.removesuffix(b"\001\n")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            argv = [
                sys.executable,
                "-I",
                "-S",
                str(PACKAGE / "host" / "confine.py"),
                str(self._tree),
                "--",
                "/sh",
                "-c",
                _LOOP,
            ]
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": "/nowhere"}
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
