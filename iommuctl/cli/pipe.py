# SPDX-License-Identifier: Apache-2.0
"""Pipe: an output whose reader may go away. What is under way must not end for that."""

import os
import sys
from typing import Any, TextIO

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2  # stdout(3)


class Pipe:
    """A stream that writes to nothing from the moment that nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def __getattr__(self, name: str) -> Any:  # a stand-in has whatever its stream has
        return getattr(self._stream, name)

    def _drop(self) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)


def outlive_the_reader() -> None:
    """Have standard output and standard error taken by a Pipe each from now on.

    A standard stream that was closed leads to nothing, so that no file opened later gets its number.
    """
    # Python has None where a stream was closed when it started.
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_WRONLY)) <= _STANDARD_ERROR:
            pass
        os.close(descriptor)
    sys.stdout, sys.stderr = (
        Pipe(stream or os.fdopen(number, "w", encoding="utf-8", closefd=False))
        for number, stream in ((_STANDARD_OUTPUT, sys.stdout), (_STANDARD_ERROR, sys.stderr))
    )
