# SPDX-License-Identifier: Apache-2.0
"""Commands: the only module that starts processes. Argument lists only, never a shell; nothing outlives its run."""

import errno
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from iommuctl.errors import ExecutionError, IommuctlError, NotPermittedError
from iommuctl.host.descendants import Descendants
from iommuctl.host.mounts import BlockDevice, own_devices
from iommuctl.host.programs import SEARCH_PATH, find_program
from iommuctl.host.root import Root
from iommuctl.host.signals import Interrupts
from iommuctl.host.space import Room
from iommuctl.value import NamedTuple

TIMEOUT = 600.0  # seconds; building the initramfs of several kernels takes minutes
OUTPUT_LIMIT = 16 * 1024 * 1024  # bytes for each stream; the grub.cfg of 1000 kernels has 2 MB
SHOWN_LINES = 10  # of stderr, in an error
SHOWN_COLUMNS = 300  # characters of one such line

# The program that confines, what it ends with where it cannot, and how what it says of that begins.
_CONFINE = str(Path(__file__).with_name("confine.py"))
_NOT_CONFINED, _COMPLAINT = 125, "confine: "
_CHUNK = 65536  # bytes; the size of a pipe, pipe(7)
_PATIENCE = 0.2  # seconds between two looks at whether a silent program has ended
_WATCH = 0.02  # seconds between two looks at how much space is left
_HASTE = 0.005  # seconds between two such looks where it is about to end
_GRACE = 5.0  # seconds that a program has to clean up after SIGTERM
_UUID = re.compile(r"[0-9A-Za-z-]{1,64}")
_SETTLING = 0.5  # seconds to wait for the killed; one that init has not reaped yet counts still, but cannot write


class Completed(NamedTuple):
    """A program that ran to its end. A negative `returncode` is the number of the signal that ended it.

    `left` names the processes that it left running on the host itself, where they may rightly stay.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    left: tuple[str, ...] = ()

    def check(self) -> "Completed":
        """Return it back if it succeeded. Raises ExecutionError with the end of what it complained about."""
        if self.returncode == 0:
            return self
        raise ExecutionError(
            f"{self.argv[0]!r} failed",
            details=(f"command: {shlex.join(self.argv)}", _outcome(self.returncode), *_last_lines(self.stderr)),
        )


class SystemRunner:
    """Runs the programs of one root: directly for `/`, else confined to it as `confine` does.

    A program sees an environment of LC_ALL and PATH alone and an empty stdin, and leads a session and process group.
    """

    def __init__(self, root: Path) -> None:
        self._root = Root(root)

    def run(self, command: tuple[str, ...], *, timeout: float = TIMEOUT, room: Room | None = None) -> Completed:
        """Run a program to its success. What it leaves running is waited for on the host, and ended in another root.

        Raises UnavailableError where the program is missing, ExecutionError where it fails, prints more than
        OUTPUT_LIMIT, takes longer than `timeout` seconds or leaves less than `room` free, NotPermittedError.
        """
        program = find_program(self._root, command[0])
        if self._root.is_running_system:
            with Descendants() as descendants:
                return _run(command, (str(program), *command[1:]), timeout, room, descendants).check()
        completed = _run(command, (*self._confinement(), str(program), *command[1:]), timeout, room)
        if completed.returncode == _NOT_CONFINED and completed.stderr.startswith(_COMPLAINT):
            raise self._unconfined(completed.stderr.removeprefix(_COMPLAINT).strip())
        return completed.check()

    def _confinement(self) -> tuple[str, ...]:
        devices = (f"{one.name}:{one.major}:{one.minor}:{_uuid(one)}" for one in own_devices(self._root.path))
        options = (word for device in devices for word in ("--device", device))
        return (sys.executable, "-I", "-S", _CONFINE, str(self._root.path.absolute()), *options, "--")

    def _unconfined(self, complaint: str) -> IommuctlError:
        if complaint.endswith(os.strerror(errno.EPERM)):
            return NotPermittedError(self._root.path, "run programs in")
        return ExecutionError(
            f"the programs of {str(self._root.path)!r} can't be confined to it, so none was run", details=(complaint,)
        )


def show_through(argv: tuple[str, ...], text: str, environment: Mapping[str, str]) -> bool:
    """Have a program show a text on this terminal, which may end before it has read all of it; False for no program."""
    try:
        subprocess.run(argv, input=text, encoding="utf-8", errors="backslashreplace", env=environment, check=False)
    except OSError:
        return False
    return True


def _uuid(device: BlockDevice) -> str:
    """Return the UUID of the file system on a device; empty where blkid knows none."""
    blkid = find_program(Root(Path("/")), "blkid")
    argv = (str(blkid), "--probe", "--match-tag", "UUID", "--output", "value", f"/dev/{device.name}")
    found = _run(("blkid", *argv[1:]), argv, TIMEOUT).stdout.strip()
    return found if _UUID.fullmatch(found) else ""


def _run(
    command: tuple[str, ...],
    argv: tuple[str, ...],
    timeout: float,
    room: Room | None = None,
    descendants: Descendants | None = None,
) -> Completed:
    """Run a program, and end its group with it; what is left of one that succeeded stays where `descendants` look."""
    left: tuple[str, ...] = ()
    # Held from before there is a process until somebody looks after it, and again while it is ended.
    with Interrupts() as interrupts, _start(command, argv) as process:
        try:
            interrupts.listen()
            stdout, stderr = _collect(process, command, timeout, room)
            if descendants is not None and _has_succeeded(process):
                left = descendants.wait(process.pid)
        except BaseException:
            _ask_to_end(process)
            raise
        finally:
            interrupts.hold()
            if left:
                process.wait()
            else:
                _end(process)
    return Completed(command, process.returncode, _text(stdout), _text(stderr), left)


def _start(command: tuple[str, ...], argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"LC_ALL": "C", "PATH": ":".join(SEARCH_PATH)},
            start_new_session=True,
            umask=0o022,
        )
    except PermissionError as error:
        raise NotPermittedError(PurePosixPath(argv[0]), "run") from error
    except OSError as error:
        raise ExecutionError(f"cannot start {command[0]!r}: {error.strerror}") from error


def _collect(
    process: subprocess.Popen[bytes], command: tuple[str, ...], timeout: float, room: Room | None
) -> tuple[bytes, bytes]:
    """Read both streams until the program has ended and they are drained. Raises ExecutionError."""
    output = {stream.fileno(): bytearray() for stream in (process.stdout, process.stderr) if stream is not None}
    deadline = time.monotonic() + timeout
    patience = _PATIENCE if room is None else _WATCH
    with selectors.DefaultSelector() as selector:
        for descriptor in output:
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            # Asked before the streams are read, so that its last words are read too. Something that it left after may
            # hold the streams open for ever: their end is not waited for.
            ended = _has_ended(process)
            ready = selector.select(0 if ended else patience if selector.get_map() else _HASTE)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                output[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if ended and not ready:
                stdout, stderr = output.values()
                return bytes(stdout), bytes(stderr)
            if max(map(len, output.values())) > OUTPUT_LIMIT:
                raise _stopped(command, f"printed more than {OUTPUT_LIMIT} bytes")
            if room is not None and room.is_short():
                left = f"left less than {room.kept} bytes free in the file system of its output"
                raise _stopped(command, left, hint=f"df {room.where}")
            if time.monotonic() > deadline:
                raise _stopped(command, f"did not end in {timeout:g} s")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    # WNOWAIT leaves the leader unreaped: until it is reaped nobody else can have its number, nor that of its group.
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _has_succeeded(process: subprocess.Popen[bytes]) -> bool:
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None and (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)


def _ask_to_end(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while not _has_ended(process) and time.monotonic() < deadline:
        time.sleep(_HASTE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, reap its leader, and wait until the others are gone, so that none of them writes on."""
    _signal_group(process, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _SETTLING
    while _signal_group(process, 0) and time.monotonic() < deadline:
        time.sleep(_HASTE)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal every process of the group; False where there is none left. The leader's id is the group's."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _stopped(command: tuple[str, ...], what: str, hint: str | None = None) -> ExecutionError:
    details = (f"command: {shlex.join(command)}",)
    return ExecutionError(f"{command[0]!r} {what} and was stopped", details=details, hint=hint)


def _outcome(returncode: int) -> str:
    return f"exit status: {returncode}" if returncode > 0 else f"killed by {signal.Signals(-returncode).name}"


def _last_lines(text: str) -> tuple[str, ...]:
    # What a program prints may hold escape sequences meant for the terminal of whoever reads the error.
    lines = [line[:SHOWN_COLUMNS] for line in text.splitlines() if line.strip()][-SHOWN_LINES:]
    return tuple("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line) for line in lines)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "surrogateescape")
