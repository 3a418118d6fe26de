# SPDX-License-Identifier: Apache-2.0
"""Man pages: generated where they can be, in step with the application both ways, and tidy for every reader."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import documents
import pytest
from consent import agreed
from kernelhosts import write
from lacking import program
from project import PROJECT
from pydantic import BaseModel
from shownhosts import Stage
from typer.main import get_command

from iommuctl import errors
from iommuctl.cli.application import application
from iommuctl.findings import Rule
from iommuctl.host import signals
from iommuctl.kernel.explain import describe, explain
from iommuctl.profile.schema import ProfileModel
from iommuctl.profile.shipped import shipped_catalogue

MAN = PROJECT / "man"
SOURCES = sorted(MAN.glob("*.rst"))
PAGE = (MAN / "iommuctl.8.rst").read_text()
PROFILE_PAGE = (MAN / "iommuctl-profile.5.rst").read_text()


def generated() -> str:
    spec = importlib.util.spec_from_file_location("parameters_page", MAN / "parameters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page: str = module.page()
    return page


def test_the_page_is_what_its_generator_makes_of_the_catalogue() -> None:
    assert (MAN / "iommuctl-parameters.7.rst").read_text() == generated()


def test_every_parameter_is_explained_as_the_command_does() -> None:
    page = generated()
    for definition in shipped_catalogue().definitions:
        words = describe(explain(definition.name, shipped_catalogue())).splitlines()
        assert [line for line in words if line.strip() and f"    {line}" not in page] == [], definition.name


# Pages as programs read them


RST2MAN = ("rst2man", str(Path(sys.executable).with_name("rst2man")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with every page, made as packages make it."""
    top = tmp_path_factory.mktemp("man")
    shutil.copytree(MAN, top / "man")
    shutil.copy(PROJECT / "Makefile", top)
    made = subprocess.run(
        [program("make"), "--silent", "man", f"RST2MAN={program(*RST2MAN)}"],
        cwd=top,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    return top / "build" / "man"


@pytest.mark.programs
def test_every_source_becomes_a_page(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == [path.stem for path in SOURCES]


@pytest.mark.programs
@pytest.mark.parametrize("name", [path.stem for path in SOURCES])
def test_mandoc_has_no_complaint(name: str, built: Path) -> None:
    lint = subprocess.run(
        [program("mandoc"), "-T", "lint", name], cwd=built, capture_output=True, text=True, check=False
    )
    assert (lint.stdout, lint.stderr, lint.returncode) == ("", "", 0)


@pytest.mark.programs
@pytest.mark.parametrize("name", [path.stem for path in SOURCES])
def test_a_page_is_found_by_its_name(name: str, built: Path) -> None:
    text = subprocess.run(
        [program("mandoc"), "-T", "ascii", name], cwd=built, capture_output=True, text=True, check=True
    )
    lines = re.sub(".\b", "", text.stdout).splitlines()
    stem, section = name.rsplit(".", 1)
    assert lines[0].startswith(f"{stem.upper()}({section})")
    assert lines[2] == "NAME"
    assert lines[3].strip().startswith(f"{stem} - ")


# Commands and options, both ways


def chapter(text: str, heading: str) -> str:
    """What is below a heading of the first rank."""
    return re.split(r"^.+\n={4,}$", text.split(f"\n{heading}\n{'=' * len(heading)}\n")[1], flags=re.MULTILINE)[0]


def sections(text: str) -> dict[str, str]:
    """The parts of a chapter, each by its heading."""
    parts = re.split(r"^(\S.*)\n-{3,}$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def terms(text: str) -> list[str]:
    """The terms of a list of definitions, and options of a list of options."""
    return re.findall(r"^(\S.*)\n {4}\S", text, re.MULTILINE)


def words_of(heading: str) -> str:
    """The words that call a command, without its arguments."""
    return " ".join(word for word in heading.split() if word.islower())


COMMANDS = documents.leaves()
HEADINGS = {words_of(heading): heading for heading in sections(chapter(PAGE, "COMMANDS"))}
TEXTS = {words_of(heading): text for heading, text in sections(chapter(PAGE, "COMMANDS")).items()}


def parameters(command: object, kind: str) -> list[Any]:
    """The options or the arguments of a command."""
    return [one for one in getattr(command, "params", ()) if one.param_type_name == kind]


def spelled(commands: Iterable[object]) -> set[tuple[str, ...]]:
    """Every way to write each option of some commands; the help, which each has, among them."""
    own = {tuple(sorted(option.opts)) for command in commands for option in parameters(command, "option")}
    return own | {("--help", "-h")}


def long_options(commands: Iterable[object]) -> set[str]:
    return {name for names in spelled(commands) for name in names if name.startswith("--")}


def test_the_page_has_every_command_and_no_other() -> None:
    assert set(HEADINGS) == set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS)
def test_the_page_gives_a_command_the_options_that_it_has(words: str) -> None:
    listed = TEXTS[words].partition("\nOptions: ")[2]
    assert set(re.findall(r"``(--[a-z-]+)``", listed)) == long_options([COMMANDS[words]]) - {"--help"}


@pytest.mark.parametrize("words", COMMANDS)
def test_the_page_gives_a_command_the_arguments_that_it_has(words: str) -> None:
    arguments = [
        (f"{one.metavar}{'...' * (one.nargs != 1)}", one.required) for one in parameters(COMMANDS[words], "argument")
    ]
    assert HEADINGS[words] == " ".join((words, *(name if required else f"[{name}]" for name, required in arguments)))


def test_the_page_explains_every_option_and_no_other() -> None:
    listed = {tuple(sorted(re.findall(r"(?<!\S)--?[a-z-]+", term))) for term in terms(chapter(PAGE, "OPTIONS"))}
    assert listed == spelled([get_command(application), *COMMANDS.values()])


def test_the_page_names_no_option_that_the_application_lacks() -> None:
    known = long_options([get_command(application), *COMMANDS.values()])
    assert set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE)) - known == set()


def test_every_example_is_taken_by_the_application() -> None:
    lines = [line for line in re.findall(r"^ {4}(\S.*)$", PAGE + PROFILE_PAGE, re.MULTILINE) if "iommuctl " in line]
    calls = [call for line in lines for call in documents.invocations(line)]
    assert len(calls) > 10
    assert [(call, why) for call in calls if (why := documents.complaint(call)) is not None] == []


def examples(text: str) -> list[str]:
    """The commands of a chapter."""
    return [
        line for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE) if line.startswith(("iommuctl ", "reboot"))
    ]


def codes(lines: list[str], stage: Stage, replaced: Mapping[str, Path]) -> list[tuple[str, int]]:
    """Run lines one after the other on the shown host, with these paths instead of those; give each with its code."""
    host = stage.running("host")
    ran = []
    for line in lines:
        command = line
        for path, real in replaced.items():
            command = command.replace(path, str(real))
        if agreed(line.split()[1:]) != tuple(line.split()[1:]):
            command += " --yes"  # what is typed on a terminal is agreed to there
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=stage.work,
            env=stage.environment("" if "--root" in line else str(host)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        ran.append((line, done.returncode))
    return ran


def test_the_examples_of_the_page_do_what_they_say(tmp_path: Path) -> None:
    stage = Stage.build(tmp_path / "stage")
    lines = examples(chapter(PAGE, "EXAMPLES"))
    assert len(lines) > 10
    different = {line: 1 for line in lines if "--exit-code" in line}
    assert different
    ran = codes(lines, stage, {"/mnt/image": stage.image("debian-12")})
    assert ran == [(line, different.get(line, 0)) for line in lines]


def test_the_example_of_the_profile_page_does_what_it_says(tmp_path: Path) -> None:
    stage = Stage.build(tmp_path / "stage")
    text = chapter(PROFILE_PAGE, "EXAMPLE")
    path = re.findall(r"^``(\S+)``::", text, re.MULTILINE)[0]
    real = stage.running("host") / path.removeprefix("/")
    write(real, dedent(text.split("::\n\n")[1].partition("\n\nIt is")[0]))
    lines = examples(text)
    assert codes(lines, stage, {path: real}) == [(line, 0) for line in lines]
    assert len(lines) == 2


# Findings, exit codes, files, the format of profiles


def test_the_page_has_every_rule_with_its_meaning_and_no_other() -> None:
    rows = "".join(f"``{rule}``\n    {rule.meaning[:1].upper()}{rule.meaning[1:]}.\n\n" for rule in sorted(Rule))
    assert chapter(PAGE, "FINDINGS").partition("\n\n")[2] == rows


def test_the_page_has_every_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    codes = {kind.code for kind in kinds if issubclass(kind, errors.IommuctlError)}
    shown = [int(code) for term in terms(chapter(PAGE, "EXIT STATUS")) for code in term.split(", ")]
    assert shown == sorted({0, 1, *codes, *(signals.SIGNAL_EXIT + number for number in signals.SIGNALS)})


def test_the_profile_page_has_every_key_and_no_other() -> None:
    described = {"": set(terms(chapter(PROFILE_PAGE, "KEYS")))}
    for heading, text in sections(chapter(PROFILE_PAGE, "TABLES")).items():
        keys = {key for term in terms(text) for key in term.split(", ")}
        described |= dict.fromkeys(re.findall(r"\[([a-z]+)\]", heading), keys)
    expected: dict[str, set[str]] = {"": set()}
    for name, field in ProfileModel.model_fields.items():
        table = model_within(field.annotation)
        if table is None:
            expected[""].add(name)
        else:
            expected[field.alias or name] = set(table.model_fields)
    assert described == expected


def model_within(annotation: object) -> type[BaseModel] | None:
    """The model of a table, within whatever is around it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (model_within(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in inner if model is not None), None)
