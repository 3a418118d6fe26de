# SPDX-License-Identifier: Apache-2.0
"""Terminals: colours where they are wanted, and the question before a change."""

from pathlib import Path

import pytest
from console import ESCAPE, NEVER, code_of, run, terminal, tree, without_state


def test_output_is_plain_where_there_is_no_terminal(sample_host: Path) -> None:
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", env={"TERM": "xterm"})
    assert ESCAPE not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_a_terminal_gets_colours_unless_it_wants_none(env: dict[str, str], coloured: bool, sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", **env) as screen:
        assert screen.finish() == 0
    assert (f"{ESCAPE}[32m+GRUB_CMDLINE_LINUX_DEFAULT" in screen.text) is coloured
    assert (ESCAPE in screen.text) is coloured


@pytest.mark.parametrize(
    ("answer", "code", "written"),
    [
        ("n\n", 1, False),
        ("\n", 1, False),
        ("\x04", 1, False),
        ("y\n", 0, True),
        ("Yes\n", 0, True),
        ("x\nn\n", 1, False),
    ],
    ids=["no", "nothing", "end of input", "yes", "yes in full", "neither"],
)
def test_apply_asks_on_a_terminal(answer: str, code: int, written: bool, sample_host: Path) -> None:
    before = tree(sample_host)
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) as screen:
        screen.read_until("write this? [y/N]:")
        assert without_state(tree(sample_host)) == without_state(before)
        screen.type(answer)
        assert screen.finish() == code
    changed = without_state(tree(sample_host)) != without_state(before)
    assert (changed, "nothing was written" in screen.text) == (written, not written)


def test_yes_answers_beforehand(sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER, "--yes") as screen:
        assert screen.finish() == 0
    assert "write this?" not in screen.text
    assert "iommu=pt" in (sample_host / "etc/default/grub").read_text()


def test_nobody_is_asked_where_nothing_changes(sample_host: Path) -> None:
    arguments = ("apply", "passthrough-perf", "--root", str(sample_host), *NEVER)
    assert code_of(*arguments) == 0
    with terminal(*arguments) as screen:
        assert screen.finish() == 0
    assert "write this?" not in screen.text
