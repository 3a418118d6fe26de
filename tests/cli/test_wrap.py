# SPDX-License-Identifier: Apache-2.0
"""Wrapping: on a terminal no line is longer than it is wide unless one word is; in a pipe every line stays whole."""

import fcntl
import re
import struct
import termios
from pathlib import Path

import pytest
from console import run, terminal
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.cli.output import style
from iommuctl.cli.output.style import table
from iommuctl.cli.output.wrap import wrapped

ROWS = (
    ("pass", "cpu-vendor", "AuthenticAMD: amd"),
    ("fail", "firmware-tables", "none of IVRS VIOT: the host gives none"),
)
HEAD = ("result", "what", "found")


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("short\n", 40, ["short", ""]),
        ("one two three four five six\n", 20, ["one two three four", "    five six", ""]),
        ("    one two three four five\n", 20, ["    one two three", "        four five", ""]),
        ("hint: iommuctl apply hardened --dry-run\n", 24, ["hint: iommuctl apply \\", "    hardened --dry-run", ""]),
        ("hint: sudo iommuctl rollback\n", 20, ["hint: sudo \\", "    iommuctl \\", "    rollback", ""]),
        ("a" * 50, 20, ["a" * 50]),
        (f"\x1b[32m{'a ' * 9}a\x1b[0m", 20, [f"\x1b[32m{'a ' * 9}a\x1b[0m"]),
        ("one two three four five six", 0, ["one two three four five six"]),
        ("one two three four five six", 10, ["one two three four five six"]),
    ],
)
def test_a_line_is_parted_between_words(text: str, columns: int, lines: list[str]) -> None:
    assert wrapped(text, columns).split("\n") == lines


@given(st.text("abc \x1b", max_size=300).map(lambda text: text.replace("\x1b", "\x1b[1m")), st.integers(20, 90))
def test_no_word_is_cut_and_none_is_lost(text: str, columns: int) -> None:
    parts = wrapped(text, columns).split("\n")
    assert " ".join(parts).split() == text.split()
    plain = [re.sub(r"\x1b\[1m", "", part) for part in parts]
    assert all(len(part) <= columns or " " not in part.strip() for part in plain)


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (0, None),
        (200, None),
        (
            60,
            [
                "result  what             found",
                "pass    cpu-vendor       AuthenticAMD: amd",
                "fail    firmware-tables  none of IVRS VIOT: the host gives",
                "                         none",
            ],
        ),
        (
            40,
            [
                "pass",
                "  what: cpu-vendor",
                "  found: AuthenticAMD: amd",
                "fail",
                "  what: firmware-tables",
                "  found: none of IVRS VIOT: the host gives none",
            ],
        ),
    ],
)
def test_a_table_fits(columns: int, lines: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "columns_of", lambda: columns)
    whole = [
        "result  what             found",
        "pass    cpu-vendor       AuthenticAMD: amd",
        "fail    firmware-tables  none of IVRS VIOT: the host gives none",
    ]
    assert list(table(HEAD, ROWS)) == (lines or whole)


def test_a_pipe_is_the_same_however_wide_the_terminal_is(sample_host: Path) -> None:
    words = ("apply", "passthrough-perf", "--dry-run", "--root", str(sample_host))
    assert run(*words, env={"COLUMNS": "40"}).stdout == run(*words, env={"COLUMNS": "200"}).stdout
    assert run("apply", "--help", env={"COLUMNS": "40"}).stdout == run("apply", "--help", env={"COLUMNS": "200"}).stdout


def test_json_is_not_parted(sample_host: Path) -> None:
    words = ("status", "--json", "--root", str(sample_host))
    with terminal(*words, COLUMNS="40") as screen:
        screen.finish()
    assert screen.text.replace("\r\n", "\n") == run(*words).stdout


def test_the_size_is_that_of_the_terminal(sample_host: Path) -> None:
    with terminal("history", "show", "nothing", "--root", str(sample_host)) as screen:
        fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        screen.finish()
    assert all(len(line) <= 40 or " " not in line.strip() for line in screen.text.splitlines())
