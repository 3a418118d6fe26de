# SPDX-License-Identifier: Apache-2.0
"""A reader that goes away neither ends a change half-way nor makes it look failed."""

import os
import shlex
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


@pytest.mark.parametrize(
    ("arguments", "changes"), [(("--dry-run",), False), (("--yes",), False), (("--yes", "--json"), True)]
)
def test_an_output_that_cannot_be_written_is_an_error_that_tells_of_the_change(
    sample_host: Path, arguments: tuple[str, ...], changes: bool
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_line("apply", PROFILE, "--root", str(sample_host), *arguments),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 74
    assert "the output cannot be written: no space left on device" in done.stderr
    assert ("the change itself is made: snapshot 2" in done.stderr) is changes
    assert (WANTED in (sample_host / "etc/default/grub").read_text()) is changes


def test_an_error_on_a_full_disk_keeps_its_exit_code(sample_host: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = command_line("apply", "nonsense", "--root", str(sample_host))
        assert subprocess.run(command, env=ENVIRONMENT, stderr=full, check=False).returncode == 66


@pytest.mark.parametrize("arguments", [("nonsense",), ("nonsense", "--json"), (PROFILE, "--platform", "nonsense")])
def test_an_error_that_nobody_reads_keeps_its_exit_code(sample_host: Path, arguments: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            command_line("apply", *arguments, "--root", str(sample_host)),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=write_end,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.returncode == (66 if "nonsense" in arguments[:1] else 2)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stop_nothing(sample_host: Path, closed: str) -> None:
    arguments = shlex.join(command_line("apply", PROFILE, "--root", str(sample_host), "--yes"))
    done = subprocess.run(["sh", "-c", f"{arguments} {closed}"], env=ENVIRONMENT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert WANTED in (sample_host / "etc/default/grub").read_text()
