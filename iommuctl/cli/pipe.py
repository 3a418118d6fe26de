# SPDX-License-Identifier: Apache-2.0
"""Pipe: what all output passes, and whose reader may go away. What is under way must not end for that.

Nothing reaches a terminal by it that could drive one, whoever wrote it. A full disk is no reader that went away: a
result that cannot be written is an error.
"""

import io
import os
import sys
from typing import TextIO

from iommuctl.cli.output.terminal import columns_of
from iommuctl.cli.output.text import printable
from iommuctl.cli.output.wrap import wrapped
from iommuctl.errors import ExecutionError

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2  # stdout(3)


class Pipe:
    """A stream that writes to nothing from the moment that nobody reads it any more, or that it fails.

    On a terminal lines are parted between words where they are longer than it is wide, unless `wraps` says no.

    Where it `is_result`, its failing raises ExecutionError; there is nowhere to tell that errors cannot be written.
    """

    def __init__(self, stream: TextIO, *, is_result: bool) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale may have no such character
        self._stream = stream
        self._is_result = is_result
        self.wraps = True

    def write(self, text: str) -> int:
        """Write a text, with what could drive a terminal spelled out, or drop it."""
        try:
            self._stream.write(wrapped(printable(text), columns_of(self._stream) if self.wraps else 0))
            return len(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    @property
    def terminal(self) -> TextIO:
        """The stream itself, for who draws on a terminal, of text that is visible already."""
        return self._stream

    def __getattr__(self, name: str) -> object:  # a stand-in has whatever its stream has
        return getattr(self._stream, name)

    def _drop(self, error: OSError) -> None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)
        if self._is_result and not isinstance(error, BrokenPipeError):
            reason = os.strerror(error.errno or 0).lower()
            raise ExecutionError(f"the output cannot be written: {reason}", hint="write it to another place") from error


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
        Pipe(stream or os.fdopen(number, "w", encoding="utf-8", closefd=False), is_result=number == _STANDARD_OUTPUT)
        for number, stream in ((_STANDARD_OUTPUT, sys.stdout), (_STANDARD_ERROR, sys.stderr))
    )
