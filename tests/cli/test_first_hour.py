# SPDX-License-Identifier: Apache-2.0
"""The first hour: what docs/first-hour.md says is typed, seen and given back, on terminals of three widths."""

import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import sys
import termios
import threading
from pathlib import Path

import pytest
from project import PROJECT

import iommuctl.cli
from iommuctl.cli.pipe import Pipe

TABLE = (PROJECT / "docs/first-hour.md").read_text()
ROW = re.compile(
    r"^\| `(?P<typed>[^`]+)`(?:, then `(?P<answer>\w)`)? \| (?P<seen>.+) \| (?P<code>\d+) \|$", re.MULTILINE
)
MINE = 'name = "mine"\nsummary = "mine"\nextends = "passthrough-perf"\n'
BROKEN = f'{MINE}[[set]]\nparamter = "nosmt"\nreason = "one thread a core"\n'
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """A terminal of this process: what runs meanwhile finds it as its standard streams."""

    def __init__(self, columns: int, answer: str | None) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 1000, columns, 0, 0))
        if answer is not None:
            os.write(self._master, f"{answer}\n".encode())
        self._bytes = bytearray()
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # EIO: the other side was closed
                return
            self._bytes += chunk

    def run(self, words: list[str]) -> tuple[int, str]:
        """Run iommuctl here; return its exit code and what is seen."""
        self._reader.start()
        streams = sys.stdin, sys.stdout, sys.stderr
        ends = [os.fdopen(os.dup(self._slave), mode, encoding="utf-8") for mode in ("r", "w", "w")]
        os.close(self._slave)
        sys.stdin = ends[0]
        sys.stdout, sys.stderr = (Pipe(end, is_result=end is ends[1]) for end in ends[1:])
        try:
            code = iommuctl.cli.run(words)
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams
            for end in ends:
                end.close()
            self._reader.join(timeout=10)
            os.close(self._master)
        seen = COLOUR.sub("", self._bytes.decode()).replace("\r\n", "\n")
        # What is typed beforehand is shown at once; who types ends the line of the question.
        return code, seen.replace("[y/N]: ", "[y/N]:\n")


def test_the_table_has_forty_rows() -> None:
    assert len(ROW.findall(TABLE)) == TABLE.count("\n| `") >= 40


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_what_is_typed_is_seen(columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PROJECT / "examples/debian-12", tmp_path / "host", symlinks=True)
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "broken.toml").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for typed, answer, words, code in ROW.findall(TABLE):
        ended, seen = Screen(columns, answer or None).run(shlex.split(typed)[1:])
        assert (typed, ended) == (typed, int(code)), seen
        assert " ".join(words.split()) in " ".join(seen.split()), f"{typed}: {seen}"
        cut = [line for line in seen.split("\n") if len(line) > columns and " " in line.strip(" \\")]
        assert (typed, cut) == (typed, [])
