# SPDX-License-Identifier: Apache-2.0
"""Question: ask on a terminal whether to go on. A signal ends the wait for the answer at once, whenever it comes."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

_ANSWERS = {b"y": True, b"yes": True, b"n": False, b"no": False, b"": False}
_CHUNK = 4096  # bytes; a terminal gives a line at a time, and no longer one (termios(3), canonical mode)


def confirmed(question: str) -> bool:
    """Ask until the answer is yes or no; no is also an empty line, and the end of the input."""
    while True:
        typer.echo(f"\n{question} [y/N]: ", nl=False)
        line = _read_line()
        if line is None:
            typer.echo()
            return False
        answer = _ANSWERS.get(line.strip().lower())
        if answer is not None:
            return answer
        typer.echo("answer y or n")


def answered(question: str, numbers: range) -> tuple[int, ...]:
    """Ask until the answer is numbers of a list; none of them for an empty line, and for the end of the input."""
    while True:
        typer.echo(f"\n{question}: ", nl=False)
        line = _read_line()
        if line is None:
            typer.echo()
            return ()
        words = line.decode("ascii", "replace").replace(",", " ").split()
        if all(word.isascii() and word.isdecimal() and int(word) in numbers for word in words):
            return tuple(dict.fromkeys(map(int, words)))
        typer.echo(f"answer with numbers from {numbers[0]} to {numbers[-1]}")


def _read_line() -> bytes | None:
    """Read what is typed, up to the end of a line; None at the end of the input."""
    terminal = sys.stdin.fileno()
    with _woken_by_signals() as wakes:
        while terminal not in select.select([terminal, wakes], [], [])[0]:
            os.read(wakes, _CHUNK)  # of a signal whose handler did not end the run
        return os.read(terminal, _CHUNK) or None


@contextmanager
def _woken_by_signals() -> Iterator[int]:
    """Give a descriptor that can be read once a signal has come, also one from just before anybody waits.

    Python runs a signal's handler between two of its own steps: one that comes behind the last of them, and before the
    system call that waits, would be heard only when that ends.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reading)
        os.close(writing)
