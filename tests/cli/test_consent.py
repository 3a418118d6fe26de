# SPDX-License-Identifier: Apache-2.0
"""Consent: where something would be written, somebody agrees to it: beforehand, or to the plan that was shown."""

import os
import pty
import subprocess
from pathlib import Path

import pytest
from console import NEVER, PROGRAM, code_of, in_process, terminal, tree, without_state
from project import PROJECT

from iommuctl.cli.pager import print_long

APPLY = ("apply", "passthrough-perf", "--root")


def test_nothing_is_written_where_nobody_can_be_asked(sample_host: Path) -> None:
    before = tree(sample_host)
    for more in ((), ("--json",)):
        done = in_process(*APPLY, str(sample_host), *more)
        assert (done.returncode, tree(sample_host)) == (2, before)
        assert "hint" in done.stderr
        assert f"iommuctl apply passthrough-perf --root {sample_host}{' --json' if more else ''} --yes" in done.stderr
        assert (done.stdout == "") is bool(more)


def test_the_refusal_says_what_it_comes_to(sample_host: Path) -> None:
    assert in_process(*APPLY, str(sample_host)).stderr == (
        "iommuctl: error: this would write, and nobody can be asked: nothing was written\n"
        "    1 file; 1 warning\n"
        f"hint: iommuctl apply passthrough-perf --root {sample_host} --yes\n"
    )


def test_a_rollback_is_asked_for_as_well(sample_host: Path) -> None:
    assert code_of(*APPLY, str(sample_host), *NEVER) == 0
    before = tree(sample_host)
    assert (in_process("rollback", "--root", str(sample_host)).returncode, tree(sample_host)) == (2, before)


def test_what_writes_nothing_needs_no_consent(sample_host: Path) -> None:
    assert code_of(*APPLY, str(sample_host), *NEVER) == 0
    assert in_process(*APPLY, str(sample_host), *NEVER).returncode == 0
    assert in_process(*APPLY, str(sample_host), "--dry-run").returncode == 0
    assert in_process("recover", "--root", str(sample_host)).returncode == 0


@pytest.mark.parametrize("end", ["pipe", "closed"])
def test_a_terminal_on_one_side_alone_is_nobody_to_ask(end: str, sample_host: Path) -> None:
    master, slave = pty.openpty()
    shell = 'exec "$@" | cat' if end == "pipe" else 'exec "$@" <&-'
    before = without_state(tree(sample_host))
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *PROGRAM, *APPLY, str(sample_host)],
        cwd=PROJECT,
        stdin=slave,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(master)
    os.close(slave)
    assert "nobody can be asked" in done.stderr
    assert without_state(tree(sample_host)) == before


def test_the_question_comes_after_what_it_comes_to(sample_host: Path) -> None:
    with terminal(*APPLY, str(sample_host), *NEVER) as screen:
        screen.read_until("write this? [y/N]:")
        screen.type("n\n")
        assert screen.finish() == 1
    assert "\r\n1 file; 1 warning\r\nwrite this? [y/N]:" in screen.text


@pytest.mark.parametrize(
    ("more", "env", "paged"),
    [
        ((), {"PAGER": "sed s/^/paged:/"}, True),
        ((), {"PAGER": ""}, False),
        ((), {"PAGER": "cat"}, False),
        ((), {"PAGER": "/no/such/program"}, False),
        (("--no-pager",), {"PAGER": "sed s/^/paged:/"}, False),
        (("--dry-run",), {"PAGER": "sed s/^/paged:/"}, True),
    ],
    ids=str,
)
def test_a_plan_that_the_terminal_does_not_hold_is_paged(
    more: tuple[str, ...], env: dict[str, str], paged: bool, sample_host: Path
) -> None:
    with terminal(*APPLY, str(sample_host), *NEVER, *more, LINES="10", COLUMNS="80", **env) as screen:
        if "--dry-run" not in more:
            screen.read_until("write this? [y/N]:")
            screen.type("n\n")
        screen.finish()
    assert ("paged:" in screen.text) is paged


def test_a_long_text_goes_to_a_pipe_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_long("line\n" * 500, pages=True)
    assert capsys.readouterr().out == "line\n" * 500
