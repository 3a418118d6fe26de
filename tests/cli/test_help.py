# SPDX-License-Identifier: Apache-2.0
"""Help, completion and version: whole, with examples, and the examples are true."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import documents
import pytest
from console import run
from project import PROJECT
from typer.main import get_command
from typer.testing import CliRunner

import iommuctl
from iommuctl.backends.table import BACKENDS
from iommuctl.cli.application import application


def commands() -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command with the words that call it."""

    def walk(words: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], object]]:
        yield words, command
        for name, below in getattr(command, "commands", {}).items():
            yield from walk((*words, name), below)

    yield from walk((), get_command(application))


@pytest.mark.parametrize(("words", "command"), [pytest.param(*one, id=" ".join(one[0]) or "-") for one in commands()])
def test_every_command_and_option_has_help(words: tuple[str, ...], command: object) -> None:
    result = CliRunner().invoke(application, [*words, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {' '.join(('iommuctl', *words))}")
    assert getattr(command, "help", None)
    silent = [parameter.name for parameter in getattr(command, "params", ()) if not getattr(parameter, "help", None)]
    assert silent == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    done = run(env={"_IOMMUCTL_COMPLETE": f"source_{shell}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "iommuctl" in done.stdout
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("iommuctl apply pass", {"passthrough-perf"}),
        ("iommuctl apply iommu", {"iommu-off"}),
        ("iommuctl profile show v", {"vfio-bind"}),
        ("iommuctl roll", {"rollback"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completes_names(shell: str, words: str, completed: set[str]) -> None:
    env = {
        "_IOMMUCTL_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.rsplit(maxsplit=1)[-1],
    }
    done = run(env=env)
    assert done.stderr == ""
    assert all(name in done.stdout for name in completed)
    assert "strict-isolation" not in done.stdout


def test_version_is_told_without_what_it_does_not_need() -> None:
    script = (
        "import sys\nfrom iommuctl.cli import main\nsys.argv[1:] = ['--version']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('pydantic', 'augeas', 'rich', 'tomllib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"iommuctl {iommuctl.__version__}\n[]\n", "")


# Examples and summaries

COMMANDS = ["", "profile", *documents.leaves()]


def help_of(words: str) -> str:
    result = CliRunner().invoke(application, [*words.split(), "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("words", COMMANDS)
def test_the_help_ends_with_examples_of_that_command_that_the_application_takes(words: str) -> None:
    _, examples = help_of(words).split("  Examples:\n")
    lines = examples.splitlines()
    assert lines
    assert [line for line in lines if not line.startswith(f"    {f'iommuctl {words}'.strip()}")] == []
    assert [documents.complaint(call) for line in lines for call in documents.invocations(line)] == [None] * len(lines)


@pytest.mark.parametrize("words", ["", "profile", "history"])
def test_no_summary_in_a_list_of_commands_is_cut_short(words: str) -> None:
    rows = help_of(words).split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert rows
    assert [row for row in rows if row.endswith("...")] == []


def test_commands_are_listed_in_the_order_of_the_job() -> None:
    names = re.findall(r"^  ([a-z]+) ", help_of("").split("Commands:\n")[1], re.MULTILINE)
    assert names[:3] == ["apply", "rollback", "status"]


def test_help_names_every_backend() -> None:
    commands = get_command(application).commands  # type: ignore[attr-defined]  # a group: it has subcommands
    (backend,) = (parameter for parameter in commands["apply"].params if parameter.name == "backend")
    assert backend.metavar.split("|") == list(BACKENDS)


@pytest.mark.parametrize(
    ("line", "calls"),
    [
        ("sudo iommuctl apply passthrough-perf --dry-run    # looks", [["apply", "passthrough-perf", "--dry-run"]]),
        ("/opt/iommuctl/bin/iommuctl groups --format dot | dot -Tsvg", [["groups", "--format", "dot"]]),
        ("iommuctl check && iommuctl verify; echo iommuctl-done", [["check"], ["verify"]]),
        ("iommuctl lint --cmdline 'iommu=1 quiet' >out", [["lint", "--cmdline", "iommu=1 quiet"]]),
        ("cat iommuctl.toml", []),
    ],
)
def test_calls_on_a_shell_line_are_found(line: str, calls: list[list[str]]) -> None:
    assert documents.invocations(line) == calls


@pytest.mark.parametrize(
    "words",
    ["aply x", "explain", "apply x --dryrun", "apply x --platform a", "apply x --set y", "profile shw x", "history -z"],
)
def test_a_call_that_the_application_does_not_take_is_seen(words: str) -> None:
    assert documents.complaint(words.split())
