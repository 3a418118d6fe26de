# SPDX-License-Identifier: Apache-2.0
"""A program that is loaded once: each run of it is a fork, which waits until whoever traces it is there.

Starting an interpreter and loading iommuctl takes longer than what it then does, and under strace many times that.
`python -S -B warm.py NAME MODULE:FUNCTION` serves runs: a line of JSON with the arguments and three paths (for stdout,
for stderr, and for the names of the modules that the run loaded, or null) comes in, the id of the process goes out; an
empty line lets that process go, and its exit code goes out (negative: killed by that signal).
"""

import ctypes
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SERVER = Path(__file__)
# linux/prctl.h: whoever runs as the same user may trace this process, where Yama would have it be an ancestor.
_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, in sys.argv and as a function without arguments."""

    name: str
    function: str


IOMMUCTL = Program("iommuctl", "iommuctl.cli:main")


@dataclass(slots=True)
class Warm:
    """A loaded program. One run at a time: `begin`, then `finish`."""

    process: subprocess.Popen[str]

    def rehearse(self, arguments: Sequence[str]) -> None:
        """Run once to learn what a run loads late, and load that, so that the runs to come load nothing."""
        with tempfile.NamedTemporaryFile() as modules:
            nowhere = Path(os.devnull)
            self.begin(arguments, nowhere, nowhere, Path(modules.name))
            assert self.finish() == 0, f"{arguments} cannot be rehearsed"

    def begin(self, arguments: Sequence[str], stdout: Path, stderr: Path, modules: Path | None = None) -> int:
        """Fork a run that waits; give its process id."""
        paths = (str(stdout), str(stderr), modules and str(modules))
        return int(self._ask(json.dumps([list(arguments), *paths])))

    def finish(self) -> int:
        """Let the run go on to its end; give its exit code, negative for the signal that killed it."""
        return int(self._ask(""))

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the loaded program is gone"
        return answer


@contextmanager
def loaded(program: Program, environment: Mapping[str, str]) -> Iterator[Warm]:
    """Load a program, in an environment where the interpreter finds it without its site module."""
    argv = (sys.executable, "-S", "-B", str(_SERVER), program.name, program.function)
    with subprocess.Popen(
        argv, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Warm(process)


def _serve(name: str, function: str) -> None:
    module, _, attribute = function.partition(":")
    main: Callable[[], None] = getattr(importlib.import_module(module), attribute)
    for line in sys.stdin:
        arguments, stdout, stderr, modules = json.loads(line)
        ready, gate = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(gate[1])
            _become([name, *arguments], stdout, stderr)
            os.close(ready[1])
            os.read(gate[0], 1)
            _end_as(main, modules)
        os.close(ready[1])
        os.close(gate[0])
        os.read(ready[0], 1)
        os.close(ready[0])
        _answer(child)
        sys.stdin.readline()
        os.close(gate[1])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if modules is not None:
            for one in Path(modules).read_text().split():
                if one not in sys.modules:
                    importlib.import_module(one)
        _answer(code)


def _become(argv: list[str], stdout: str, stderr: str) -> None:
    """Have the arguments and the three files of a run, and let others trace this process."""
    sys.argv = argv
    for descriptor, path in ((0, os.devnull), (1, stdout), (2, stderr)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)


def _end_as(main: Callable[[], None], modules: str | None) -> None:
    """Run and end as an interpreter does that runs nothing else; leave the names of what was loaded."""
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the interpreter's own last resort
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if modules is not None:
            Path(modules).write_text("\n".join(sys.modules))
        os._exit(code)


def _answer(number: int) -> None:
    os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    _serve(*sys.argv[1:])
