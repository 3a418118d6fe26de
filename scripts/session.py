# SPDX-License-Identifier: Apache-2.0
"""Write docs/session.svg: a terminal session as the program really prints it, for the README.

Usage: python scripts/session.py It runs on a copy of examples/debian-12; nothing of this machine is read or written.
"""

import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from xml.sax.saxutils import escape

PROJECT = Path(__file__).resolve().parent.parent
PICTURE = PROJECT / "docs" / "session.svg"
COLUMNS = 88
COMMANDS = (
    "lint --cmdline 'intel_iommu=on iommu=1'",
    "apply pasthrough-perf --root host",
    "apply passthrough-perf --root host --dry-run",
)
_COLOURS = {"1": "#ffffff", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}
_PLAIN = "#c9d1d9"
_LINE, _CHAR, _MARGIN = 17, 8.4, 14  # pixels


def typed(command: str, directory: Path) -> str:
    """Run a command in a terminal, and return what is seen there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 100, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PAGER": "cat", "PYTHONPATH": str(PROJECT)}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    argv = [sys.executable, "-m", "iommuctl", *shlex.split(command)]
    process = subprocess.Popen(argv, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = bytearray()
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # EIO: the other side was closed
            break
        seen += chunk
    process.wait()
    os.close(master)
    return seen.decode().replace("\r\n", "\n").replace(str(directory / "host"), "host")


def picture(lines: list[str]) -> str:
    """Return lines with the colours of a terminal as a picture."""
    rows = []
    for number, line in enumerate(lines, 1):
        spans, colour = [], _PLAIN
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                colour = _COLOURS.get(part[2:-1], _PLAIN)
            elif part:
                spans.append(f'<tspan fill="{colour}">{escape(part)}</tspan>')
        rows.append(f'<text x="{_MARGIN}" y="{_MARGIN + number * _LINE}">{"".join(spans)}</text>')
    width, height = int(COLUMNS * _CHAR) + 2 * _MARGIN, (len(lines) + 1) * _LINE + _MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" xml:space="preserve"'
    font = 'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="14"'
    return "\n".join(
        (f"{head} {font}>", '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>', *rows, "</svg>", "")
    )


def session() -> str:
    """Run the commands, and return what is seen of them as a picture."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(PROJECT / "examples" / "debian-12", Path(scratch, "host"), symlinks=True)
        lines: list[str] = []
        for command in COMMANDS:
            seen = typed(command, Path(scratch)).rstrip("\n").split("\n")
            lines += [f"\x1b[1m$ iommuctl {command}\x1b[0m", *seen, ""]
    return picture(lines[:-1])


if __name__ == "__main__":
    PICTURE.write_text(session(), "utf-8")
