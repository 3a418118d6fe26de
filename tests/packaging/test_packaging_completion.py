# SPDX-License-Identifier: Apache-2.0
"""The completion that packages carry is the application's own, and real shells complete with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lacking import program
from project import PROJECT

GENERATOR = PROJECT / "packaging" / "completion"
FILES = {"bash": "bash/iommuctl", "fish": "fish/iommuctl.fish", "zsh": "zsh/_iommuctl"}
TIMEOUT_SECONDS = 120
# Where the shells ask for it: a program of that name, made of this project.
PROGRAM = f'#!/bin/sh\nexec {sys.executable} -m iommuctl "$@"\n'
# A library that looks at the processes above for a shell must not be needed: whoever calls it fails.
NO_PROBE = """
class ShellDetectionFailure(Exception):
    pass


def detect_shell():
    raise AssertionError("a shell was looked for")
"""
BASH = """
. "$1"
COMP_WORDS=(iommuctl apply pass) COMP_CWORD=2
_iommuctl_completion iommuctl
printf '%s\\n' "${COMPREPLY[@]}"
complete -p iommuctl
"""
ZSH = """
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell "PROMPT=; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; print re''ady"
zpty -r shell seen '*ready*'
zpty -w -n shell $'iommuctl apply pass\\t'
zpty -r shell seen '*through-perf*' && print -r -- "$seen"
zpty -d shell
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("programs")
    program = folder / "iommuctl"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (folder / "shellingham.py").write_text(NO_PROBE)
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}:{PROJECT}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    subprocess.run([GENERATOR, folder, sys.executable], check=True, timeout=TIMEOUT_SECONDS)
    return folder


def shell(argv: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_only_the_three_shells_are_written(made: Path) -> None:
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()) == sorted(FILES.values())


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_is_what_the_application_tells(made: Path, name: str, environment: dict[str, str]) -> None:
    told = shell(["iommuctl"], {**environment, "_IOMMUCTL_COMPLETE": f"source_{name}"}).strip("\n").splitlines()
    written = (made / FILES[name]).read_text().strip("\n").splitlines()
    if name == "zsh":  # what it registers is called at once: zsh runs the file when something is to be completed
        assert (told[-1], written[-1]) == ("compdef _iommuctl_completion iommuctl", '_iommuctl_completion "$@"')
        told, written = told[:-1], written[:-1]
    assert written == told


def test_zsh_finds_whose_completion_it_is_in_the_first_line(made: Path) -> None:
    assert (made / FILES["zsh"]).read_text().splitlines()[0] == "#compdef iommuctl"


@pytest.mark.programs
def test_bash_completes(made: Path, environment: dict[str, str]) -> None:
    argv = [program("bash"), "--norc", "-c", BASH, "bash", str(made / FILES["bash"])]
    assert shell(argv, environment) == ("passthrough-perf\ncomplete -o default -F _iommuctl_completion iommuctl\n")


@pytest.mark.programs
def test_fish_completes(made: Path, environment: dict[str, str]) -> None:
    text = f'source {made / FILES["fish"]}; complete -C "iommuctl apply pass"'
    assert shell([program("fish"), "--no-config", "-c", text], environment) == "passthrough-perf\n"


@pytest.mark.programs
def test_zsh_completes_at_the_first_time(made: Path, environment: dict[str, str]) -> None:
    argv = [program("zsh"), "-f", "-c", ZSH, "zsh", str((made / FILES["zsh"]).parent)]
    assert "iommuctl apply passthrough-perf" in shell(argv, environment)


def test_a_program_that_does_not_answer_ends_the_build(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    done = subprocess.run([GENERATOR, tmp_path / "completion", program], check=False, timeout=TIMEOUT_SECONDS)
    assert done.returncode != 0
