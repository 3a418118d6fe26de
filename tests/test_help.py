# SPDX-License-Identifier: Apache-2.0
"""Help, completion and version."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from console import PROJECT, run
from typer.main import get_command
from typer.testing import CliRunner

import iommuctl
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
