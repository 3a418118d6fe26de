# SPDX-License-Identifier: Apache-2.0
"""What surrounds the code: scripts that run, a true readme, one version, nothing of anyone's machine."""

import ast
import importlib
import io
import os
import pkgutil
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import documents
import pytest
from lacking import program
from project import PACKAGE, PROJECT
from typer.main import get_command

import iommuctl
from iommuctl import errors
from iommuctl.cli.application import application
from iommuctl.host import signals
from iommuctl.pattern import _Pattern

SHELL_PROGRAMS = (
    *(
        "scripts/try",
        "scripts/tour",
        "scripts/test",
        "scripts/package-test",
        "scripts/package-host",
        "scripts/fuzz",
        "scripts/ansible-env",
        "scripts/collection-test",
        "scripts/fleet-simulation",
        ".ci/run",
    ),
    "examples/fleet.sh",
    "examples/carriers/image-hook",
    *(f"examples/confirm.d/{name}" for name in ("10-reach-default-route", "20-mounts", "30-drivers", "40-hypervisor")),
    *("packaging/completion", "packaging/deb-tree", "packaging/export", "packaging/rpm-tree", "packaging/variant"),
    *("packaging/bundled/fetch", "packaging/bundled/install", "packaging/bundled/pin"),
    *("packaging/deb/tests/installed", "packaging/deb/tests/main-job"),
)
SHELL_TEXTS = (
    *SHELL_PROGRAMS,
    *("scripts/lib.sh", "packaging/deb/iommuctl.postrm", "packaging/deb/iommuctl.prerm"),
    *(f"iommuctl/app/initramfs/scripts/{name}.sh" for name in ("bind", "dracut-module-setup", "initramfs-tools-hook")),
)
LONGEST_MODULE = 400  # lines
SAMPLE = PROJECT / "examples" / "debian-12"

# Directories of one machine, and hosts that serve packages: where a package comes from is for pip's own configuration.
FOREIGN = re.compile(r"/home/[a-z]+/|\.pyenv|(?:pypi|pythonhosted)\.org|--(?:extra-)?index-url|--trusted-host")
IGNORED = {line.strip("/") for line in (PROJECT / ".gitignore").read_text().splitlines()} | {".git"}
OWN_SUFFIXES = {".py", ".toml", ".md", ".sh", ".aug", ".cfg", ".yml", ".yaml", ".json", ".service", ".rst", ""}


def own_files() -> list[Path]:
    """The project's own files: what .gitignore names, and the history, do not count."""
    return sorted(
        path
        for path in PROJECT.rglob("*")
        if not IGNORED.intersection(path.relative_to(PROJECT).parts) and path.is_file() and not path.is_symlink()
    )


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", SHELL_PROGRAMS)
def test_script_is_executable(name: str) -> None:
    assert os.access(PROJECT / name, os.X_OK)


@pytest.mark.parametrize("name", SHELL_TEXTS)
def test_script_has_shell_syntax(name: str) -> None:
    shell = "bash" if "bash" in (PROJECT / name).read_text().splitlines()[0] else "sh"
    result = subprocess.run([shell, "-n", name], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.programs
@pytest.mark.parametrize("name", SHELL_TEXTS)
def test_shellcheck_has_no_complaint(name: str) -> None:
    shellcheck = program("shellcheck")
    result = subprocess.run(
        [shellcheck, "--external-sources", name], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_readme_begins_with_the_two_commands() -> None:
    first_block = re.search(r"```sh\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert first_block is not None
    commands = [line.split("#")[0].strip() for line in first_block[1].splitlines()]
    assert commands == ["scripts/try", "scripts/test"]


def test_continuous_integration_runs_the_test_command_of_the_readme_and_the_boot_lab(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / ".ci/run", tmp_path / ".ci/run")
    ends = {}
    both = ["test", "boot-test"]
    for failing in ("", *both):
        for name in both:
            script = tmp_path / "scripts" / name
            script.write_text(f"#!/bin/sh\necho {name}\nexit {int(name == failing)}\n")
            script.chmod(0o755)
        done = subprocess.run([tmp_path / ".ci/run"], capture_output=True, text=True, check=False)
        ends[failing] = (done.stdout.split(), done.returncode)
    assert ends == {"": (both, 0), **dict.fromkeys(both, (both, 1))}


def first_column(document: str, head: str) -> str:
    """The first column of the table whose head begins so, one row a line."""
    text = (PROJECT / document).read_text()
    rows = text[text.index(f"| {head}") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return "\n".join(row.split(" | ")[0] for row in rows)


@pytest.mark.parametrize(("document", "head"), [("README.md", "command"), ("README.zh-CN.md", "命令")])
def test_readme_has_the_commands_that_there_are(document: str, head: str) -> None:
    commands = get_command(application).commands  # type: ignore[attr-defined]  # a group: it has subcommands
    assert set(re.findall(r"`([a-z]+)", first_column(document, head))) == set(commands)


def test_documents_name_no_target_of_make_that_is_missing() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named: set[str] = set()
    for document in (*documents.DOCUMENTS, PROJECT / "packaging/README.md"):
        text = document.read_text()
        lines = [line for block in documents.blocks(text) for line in documents.shell_lines(block)]
        named.update(re.findall(r"^make ([a-z-]+)", "\n".join(lines), re.MULTILINE))
        named.update(re.findall(r"`make ([a-z-]+)", text))
    assert named - targets == set()
    assert {"deb-source", "deb", "rpm", "wheel"} <= named


def test_reference_has_the_options_that_there_are() -> None:
    commands = get_command(application).commands  # type: ignore[attr-defined]  # a group: it has subcommands
    options = {
        option
        for name in ("apply", "rollback")
        for parameter in commands[name].params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert set(re.findall(r"--[a-z-]+", first_column("docs/reference.md", "option"))) == options


def test_reference_has_every_exit_code() -> None:
    rows = re.findall(r"^\d+(?:, \d+)*", first_column("docs/reference.md", "code").replace("| ", ""), re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.code for kind in kinds if issubclass(kind, errors.IommuctlError)}
    by_signal = {signals.SIGNAL_EXIT + number for number in signals.SIGNALS}
    assert [int(code) for row in rows for code in row.split(", ")] == sorted({0, 1, *codes, *by_signal})


def test_one_version() -> None:
    heading = re.compile(r"^## \[(\d+\.\d+\.\d+)\]", re.MULTILINE)
    released = heading.findall((PROJECT / "CHANGELOG.md").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", iommuctl.__version__)
    assert "## [Unreleased]" in (PROJECT / "CHANGELOG.md").read_text()
    assert released == sorted(released, key=_version_key, reverse=True)
    assert all(_version_key(version) <= _version_key(iommuctl.__version__) for version in released)


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_version_is_read_from_the_package(settings: dict[str, dict[str, object]]) -> None:
    assert settings["project"]["dynamic"] == ["version"]
    assert "version" not in settings["project"]


def test_licence_is_the_one_that_the_files_name(settings: dict[str, dict[str, object]]) -> None:
    assert settings["project"]["license"] == "Apache-2.0"
    text = (PROJECT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("folder", ["iommuctl", "tests", "scripts"])
def test_every_source_names_its_licence(folder: str) -> None:
    sources = [path for path in own_files() if path.is_relative_to(PROJECT / folder)]
    programs = [path for path in sources if path.suffix in {".py", ".sh", ".aug", ".toml"}]
    unnamed = [
        str(path.relative_to(PROJECT))
        for path in programs
        if "SPDX-License-Identifier: Apache-2.0" not in "".join(path.read_text().splitlines(keepends=True)[:3])
    ]
    assert unnamed == []


def test_no_module_has_more_than_one_reads_at_a_sitting() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): count for path, count in lines.items() if count > LONGEST_MODULE} == {}


def test_nothing_of_one_machine_is_written_down() -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {match[0]}"
        for path in own_files()
        if path.suffix in OWN_SUFFIXES and path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (match := FOREIGN.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("text", ["/home/someone/x", "pip --index-url x"])
def test_what_belongs_to_one_machine_is_seen(text: str) -> None:
    assert FOREIGN.search(text)


MATCHERS = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}


def compiled_patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Every pattern that a module of ours holds, those that wait for their first use too, with its name."""
    for module in pkgutil.walk_packages(iommuctl.__path__, "iommuctl."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                match value:
                    case re.Pattern():
                        yield module.name, value
                    case _Pattern():
                        yield module.name, re.compile(value._expression, value._flags)
                    case _:
                        pass


def literal_patterns(source: str) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    """Every pattern that is written down in a call such as `re.search`, with an `x` for each value put into it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(ast.Name("re"), name), args=[first, *_]) if name in MATCHERS:
                match first:
                    case ast.Constant(str() | bytes() as text):
                        yield re.compile(text)
                    case ast.JoinedStr(parts):
                        yield re.compile("".join(str(p.value) if isinstance(p, ast.Constant) else "x" for p in parts))
                    case _:
                        pass


def never_gives_back(pattern: re.Pattern[str] | re.Pattern[bytes]) -> bool:
    """Whether a pattern has a possessive quantifier or an atomic group."""
    with redirect_stdout(io.StringIO()) as shown:
        re.compile(pattern.pattern, pattern.flags | re.DEBUG)
    return re.search("POSSESSIVE_REPEAT|ATOMIC_GROUP", shown.getvalue()) is not None


def test_no_pattern_is_possessive_since_python_3_11_2_of_debian_12_matches_those_wrongly() -> None:
    # There an iteration of a possessive group that fails leaves the position where it failed (3.11.7 is right):
    # re.match(r"(?:[a#]++ *+(?!#))*+", "a #b")[0] is "a #" instead of "".
    literal = [
        (str(path.relative_to(PROJECT)), pattern)
        for path in sorted((PROJECT / "iommuctl").rglob("*.py"))
        for pattern in literal_patterns(path.read_text())
    ]
    assert [where for where, pattern in [*compiled_patterns(), *literal] if never_gives_back(pattern)] == []


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ('re.compile(r"(?:a|b)*+")', True),
        ('re.search(rf"{x}++c", text)', True),
        ('re.match(rb"(?:a(?>b+))?", text)', True),
        ('re.compile(r"a?+", re.ASCII)', True),
        (r're.compile(r"\++[*+]+")', False),
        ('text.split("a++")', False),
    ],
)
def test_a_possessive_pattern_is_seen(source: str, seen: bool) -> None:
    assert any(map(never_gives_back, literal_patterns(source))) is seen


def test_sample_host_has_no_iommu_parameter_yet() -> None:
    for name in ("etc/default/grub", "boot/grub/grub.cfg"):
        assert "iommu" not in (SAMPLE / name).read_text()


def test_sample_host_has_a_block_that_grub_can_write_to() -> None:
    block = (SAMPLE / "boot/grub/grubenv").read_bytes()
    assert len(block) == 1024
    assert block.startswith(b"# GRUB Environment Block\n")


@pytest.mark.programs
def test_grub_accepts_the_menu_of_the_sample_host() -> None:
    checker = program("grub-script-check", "grub2-script-check")
    result = subprocess.run([checker, str(SAMPLE / "boot/grub/grub.cfg")], check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
