# SPDX-License-Identifier: Apache-2.0
"""The RPM's specification as each release expands it: what it needs, what it carries, what its scriptlets do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lacking import program
from project import PROJECT

SPEC = PROJECT / "packaging" / "rpm" / "iommuctl.spec"
RELEASES = {"el8": ("rhel", "8"), "el9": ("rhel", "9"), "el10": ("rhel", "10"), "fedora": ("fedora", "43")}
ENTERPRISE = ("el8", "el9", "el10")
# What the build hosts of those releases define, by name only: each becomes a comment that shows where it is.
MACROS = (
    *("pyproject_buildrequires", "pyproject_wheel", "pyproject_install", "pyproject_save_files"),
    *("pyproject_check_import", "systemd_post", "systemd_preun", "systemd_postun"),
)
DEFINED = {
    **{name: f"# macro: {name}" for name in MACROS},
    "dist": "%{nil}",
    "python3": "/usr/bin/python3",
    "pyproject_files": "pyproject-files",
    "systemd_requires": "Requires(post): systemd",
}
pytestmark = pytest.mark.programs


SECTIONS = (
    *("description", "prep", "generate_buildrequires", "build", "install", "check"),
    *("post", "preun", "postun", "files", "changelog"),
)


def rpmspec(release: str, *arguments: str) -> list[str]:
    name, number = RELEASES[release]
    defines = [f"{key} {value}" for key, value in {**DEFINED, name: number}.items()]
    options = [word for define in defines for word in ("--define", define)]
    other = [word for other, _ in RELEASES.values() if other != name for word in ("--undefine", other)]
    argv = [program("rpmspec"), *options, *other, *arguments, str(SPEC)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


def section(release: str, name: str) -> list[str]:
    """The lines of a section of the expanded specification, without empty ones."""
    found: list[str] | None = None
    for line in rpmspec(release, "--parse"):
        first = line.split(" ", 1)[0].removeprefix("%")
        if line.startswith("%") and first in SECTIONS:
            if found is not None:
                return found
            found = [] if first == name else None
        elif found is not None and line:
            found.append(line)
    return found or []


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_understands_it(release: str) -> None:
    assert [line.rsplit(".", 1)[0] for line in rpmspec(release, "--query", "--builtrpms")] == ["iommuctl-0.1.0-1"]


@pytest.mark.parametrize(("release", "python"), [("el8", "python3.12"), ("el9", "python3.12"), ("el10", "python3")])
def test_enterprise_releases_get_libraries_in_the_package(release: str, python: str) -> None:
    needed = rpmspec(release, "--query", "--buildrequires")
    assert {f"{python}-devel", f"{python}-pip", "augeas-devel", "gcc", "libxml2-devel"} <= set(needed)
    assert python in rpmspec(release, "--query", "--requires")
    assert "/usr/lib/iommuctl" in section(release, "files")
    assert "packaging/bundled/install" in section(release, "install")[0]
    assert section(release, "install")[0].endswith(f" /usr/bin/{python}")


@pytest.mark.parametrize(("release", "python"), [("el8", "python3.12"), ("el9", "python3.12"), ("el10", "python3")])
def test_libraries_are_fetched_for_the_python_of_the_package(tmp_path: Path, release: str, python: str) -> None:
    program("rpmspec")
    shutil.copytree(PROJECT / "packaging", tmp_path / "packaging")
    for name, lines in (("export", 'mkdir "$1"'), ("bundled/fetch", 'mkdir "$1"; echo "$2" >"$(dirname "$0")/python"')):
        (tmp_path / "packaging" / name).write_text(f"#!/bin/sh\n{lines}\n")
    macro, number = RELEASES[release]
    (tmp_path / ".rpmmacros").write_text(f"%{macro} {number}\n")
    subprocess.run(
        [tmp_path / "packaging/rpm-tree", tmp_path / "top", "bundled"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    assert (tmp_path / "packaging/bundled/python").read_text() == f"{python}\n"


def test_fedora_builds_with_its_own_macros_and_libraries() -> None:
    lines = rpmspec("fedora", "--parse")
    assert [name for name in MACROS if f"# macro: {name}" not in " ".join(lines)] == []
    assert "BuildArch:      noarch" in lines
    assert not [line for line in lines if "bundled" in line and not line.startswith("#")]


@pytest.mark.parametrize("release", RELEASES)
def test_it_owns_what_the_application_uses(release: str) -> None:
    assert {
        "%dir /etc/iommuctl",
        "%dir /etc/iommuctl/profiles.d",
        "%dir %attr(0700,root,root) /var/lib/iommuctl",
        "/usr/bin/iommuctl",
        "/usr/lib/systemd/system/iommuctl-recover.service",
        "/usr/lib/systemd/system/iommuctl-verify.service",
        "/usr/lib/systemd/system-preset/80-iommuctl.preset",
    } <= set(section(release, "files"))


@pytest.mark.parametrize("release", RELEASES)
def test_its_scriptlets_are_those_of_systemd_and_one_that_waits(release: str) -> None:
    units = "iommuctl-recover.service iommuctl-verify.service"
    assert section(release, "post") == [f"# macro: systemd_post {units}"]
    assert section(release, "postun")[0] == f"# macro: systemd_postun {units}"
    assert section(release, "preun")[-1] == f"# macro: systemd_preun {units}"


@pytest.mark.parametrize(
    ("argument", "interrupted", "code"), [("0", True, 1), ("0", False, 0), ("1", True, 0)], ids=["erase", "no", "up"]
)
def test_a_removal_waits_for_an_interrupted_change(tmp_path: Path, argument: str, interrupted: bool, code: int) -> None:
    state = tmp_path / "iommuctl"
    state.mkdir()
    if interrupted:
        (state / "journal.json").write_text("{}")
    script = "\n".join(section("el9", "preun")).replace("/var/lib/iommuctl", str(state))
    done = subprocess.run(
        ["sh", "-euc", script, "sh", argument],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr.endswith("hint: iommuctl recover\n") is bool(code)
