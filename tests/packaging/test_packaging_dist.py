# SPDX-License-Identifier: Apache-2.0
"""The wheel and the sdist: what is in them, and that an index would take them."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PROJECT

import iommuctl

TIMEOUT_SECONDS = 300
CARRIED = ("docs", "iommuctl", "man", "packaging", "scripts", "systemd")
NOT_CARRIED = (".ci", "benchmarks", "examples", "tests")
FILES = (".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of both, built in a copy without history, as the project's own target does."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "project"
    copy.mkdir()
    for name in (*CARRIED, *NOT_CARRIED):
        shutil.copytree(PROJECT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(PROJECT / name, copy)
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "out"), str(copy)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder / "out"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"iommuctl-{iommuctl.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    return built / f"iommuctl-{iommuctl.__version__}.tar.gz"


def below(folder: Path) -> set[str]:
    """Every file of the project below a directory."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(PROJECT)) for path in paths}


def test_an_index_takes_both(built: Path) -> None:
    argv = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *sorted(map(str, built.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout + done.stderr


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == below(PROJECT / "iommuctl") - below(PROJECT / "iommuctl/formats/lenses/tests")
    assert {
        "iommuctl/formats/lenses/bls.aug",
        "iommuctl/profile/profiles/passthrough-perf.toml",
        "iommuctl/py.typed",
    } <= names


def test_the_wheel_needs_what_the_project_names_and_gives_one_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        information = f"iommuctl-{iommuctl.__version__}.dist-info"
        metadata = archive.read(f"{information}/METADATA").decode().splitlines()
        programs = archive.read(f"{information}/entry_points.txt").decode().split()
    needed = {line.split(": ", 1)[1] for line in metadata if line.startswith("Requires-Dist: ") and ";" not in line}
    assert needed == {"pydantic<3,>=2.5", "python-augeas>=1.2", "typer<0.29,>=0.12"}
    assert programs == ["[console_scripts]", "iommuctl", "=", "iommuctl.cli:main"]


def test_the_sdist_holds_what_builds_and_documents_the_application(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        files = [member.name.partition("/")[2] for member in archive if not member.isdir()]
        links = [member.name for member in archive if member.issym() or member.islnk()]
    wanted = set(FILES).union(*(below(PROJECT / folder) for folder in CARRIED))
    assert set(files) == wanted | {"PKG-INFO"}
    assert links == []


def test_the_sdist_leaves_behind_what_it_could_not_hold_as_it_is(sdist: Path) -> None:
    # The back end follows a link to a directory, so that the tree after it would be there under another name.
    with tarfile.open(sdist) as archive:
        tops = {member.name.split("/")[1] for member in archive}
    assert tops.isdisjoint(NOT_CARRIED)
