# SPDX-License-Identifier: Apache-2.0
"""A reader that goes away neither ends a change half-way nor makes it look failed."""

import os
import subprocess
from pathlib import Path

import pytest
from program import ENVIRONMENT, PROFILE, WANTED, command_line


@pytest.mark.parametrize("arguments", [("--yes",), ("--yes", "--json"), ("--dry-run",)])
def test_a_closed_pipe_changes_neither_the_work_nor_the_exit_code(
    sample_host: Path, arguments: tuple[str, ...]
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            command_line("apply", PROFILE, "--root", str(sample_host), *arguments),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (WANTED in (sample_host / "etc/default/grub").read_text()) == ("--dry-run" not in arguments)
