# SPDX-License-Identifier: Apache-2.0
"""The guest's side of a power cut: runs the installed iommuctl, and tells the host over the console how far it is.

Arguments: `once` or `forever`, a profile, a backend, and patterns of the configuration files. An interpreter takes
seconds to start under emulation, so this process loads iommuctl once, and each of its commands is a fork that calls its
main function.

`once` applies and rolls back, and leaves the files of each stage in /run/result. `forever` recovers, tells what it
finds (`@@STATE` and a JSON object), then applies and rolls back until it is killed, and tells what each left (`@@DONE`
and a JSON object). `@@STEP` is one call of iommuctl that changes names.
"""

import importlib
import json
import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

CONSOLE = "/dev/console"
RESULT = Path("/run/result")
_FOLDERS = {"grub2": "grub", "bls": "bls", "systemd-boot": "systemd_boot"}
_NEEDED = (
    *(
        "augeas",
        "iommuctl.app.change.apply",
        "iommuctl.app.change.execute",
        "iommuctl.app.look.history",
        "iommuctl.app.change.recover",
    ),
    *("iommuctl.app.rollback.plan", "iommuctl.cli.application", "iommuctl.cli.change", "iommuctl.documents.models"),
    *("iommuctl.cli.commands.apply", "iommuctl.cli.commands.rollback", "iommuctl.cli.commands.recover"),
)
Commands = tuple[tuple[str, ...], tuple[str, ...]]  # an apply and a rollback
_CHANGES_NAMES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def load(backend: str) -> None:
    """Import what the commands need, so that each fork of this process has it."""
    for name in (*_NEEDED, f"iommuctl.backends.{_FOLDERS[backend]}.backend"):
        importlib.import_module(name)


def tell(console: int, text: str) -> None:
    """Write one line to the host."""
    os.write(console, f"{text}\n".encode())


def run(console: int, *arguments: str) -> tuple[int, str]:
    """Run one command of iommuctl in a child; give its exit code and what it printed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(reading)
        # Those of the parent are of a file perhaps, where these are of a pipe.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        sys.addaudithook(lambda event, args: _step(console, event, args))
        _end_with(arguments)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as output:
        text = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def read_files(patterns: Sequence[str]) -> dict[str, bytes]:
    """Return every configuration file by its path."""
    found = sorted({path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))})
    return {str(path).lstrip("/"): path.read_bytes() for path in found}


def once(console: int, commands: Commands, patterns: Sequence[str]) -> int:
    """Apply and roll back; leave the files as they were before, between and after."""
    stages = [read_files(patterns)]
    for command in commands:
        code, output = run(console, *command)
        sys.stdout.write(output)
        if code:
            tell(console, f"@@FAILED {json.dumps([command, code, output])}")
            return code
        stages.append(read_files(patterns))
    os.sync()
    content = [{path: b64encode(content).decode() for path, content in stage.items()} for stage in stages]
    (RESULT / "stages").write_text(json.dumps(content))
    return 0


def forever(console: int, commands: Commands, patterns: Sequence[str]) -> int:
    """Recover, tell, and go on until the end, which is not of our making."""
    code, output = run(console, "recover", "--json")
    left = [str(path) for folder in ("etc", "boot") for path in Path("/", folder).rglob(".iommuctl-*")]
    state = {"code": code, "output": output, "left": left, "files": digests(patterns)}
    tell(console, f"@@STATE {json.dumps(state)}")
    applied = is_applied(console)
    while True:
        command = commands[applied]
        code, output = run(console, *command)
        if code:
            tell(console, f"@@FAILED {json.dumps([command, code, output])}")
            return code
        tell(console, f"@@DONE {json.dumps({'command': command[0], 'files': digests(patterns)})}")
        applied = not applied


def digests(patterns: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of every configuration file by its path."""
    return {path: sha256(content).hexdigest() for path, content in read_files(patterns).items()}


def is_applied(console: int) -> bool:
    """Whether an apply is in force, by iommuctl's own account."""
    code, output = run(console, "history", "--json")
    snapshots = json.loads(output)["snapshots"] if code == 0 else []
    return any(one["action"] == "apply" and one["state"] == "applied" for one in snapshots)


def _step(console: int, event: str, arguments: tuple[object, ...]) -> None:
    creates = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    if creates or event in _CHANGES_NAMES:
        tell(console, "@@STEP")


def _end_with(arguments: Sequence[str]) -> None:
    """Be iommuctl, and end as it ends."""
    from iommuctl.cli import main  # noqa: PLC0415 - of the child alone

    sys.argv = ["iommuctl", *arguments]
    code = 70
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main() -> int:
    mode, profile, backend, *patterns = sys.argv[1:]
    commands = (("apply", profile, "--backend", backend, "--yes"), ("rollback", "--backend", backend, "--yes"))
    console = os.open(CONSOLE, os.O_WRONLY | os.O_CLOEXEC)
    load(backend)
    tell(console, "@@LOADED")
    return (once if mode == "once" else forever)(console, commands, patterns)


if __name__ == "__main__":
    sys.exit(_main())
