# SPDX-License-Identifier: Apache-2.0
"""What the scripts install and show.

Installers are programs on PATH that only record what they are asked; the tour is taken with the real iommuctl.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import PROJECT

NEEDED = ("cat", "chmod", "cksum", "env", "id", "mktemp", "rm", "sed")


@dataclass(frozen=True, slots=True)
class Machine:
    """A directory of programs that stands for a system, and the record of their calls."""

    programs: Path
    record: Path

    def add(self, name: str, answer: str = "exit 0") -> None:
        """Put a program on PATH that records its arguments, then does what `answer` says in sh."""
        program = self.programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.record}"\n{answer}\n')
        program.chmod(0o755)

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run shell code after lib.sh; root is what `id` says it is."""
        text = f'set -eu\nproject={PROJECT}\n. "$project/scripts/lib.sh"\n{code}\n'
        environment = {"PATH": str(self.programs), "TMPDIR": str(self.record.parent)}
        return subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        """What was called to change the system, in order."""
        asked = self.record.read_text().splitlines() if self.record.exists() else []
        return [line for line in asked if not line.startswith(("id ", "rpm ", "dpkg-query ", "apt-cache "))]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "bin", tmp_path / "calls")
    made.programs.mkdir()
    for name in NEEDED:
        found = next(folder / name for folder in (Path("/usr/bin"), Path("/bin")) if os.access(folder / name, os.X_OK))
        (made.programs / name).symlink_to(found)
    (made.programs / "id").unlink()
    made.add("id", "echo 0")
    return made


def debian(machine: Machine, *, installed: bool) -> None:
    machine.add("dpkg-query", "echo installed" if installed else "exit 1")
    machine.add("apt-cache", "echo Package: x")
    machine.add("apt-get")


def fedora(machine: Machine, *, installed: bool, dnf: str = "exit 0") -> None:
    machine.add("rpm", "exit 0" if installed else "exit 1")
    machine.add("dnf", dnf)


def test_what_is_installed_is_not_installed_again(machine: Machine) -> None:
    debian(machine, installed=True)
    assert machine.run("install_packages gcc strace").returncode == 0
    assert machine.calls == []


def test_missing_packages_come_in_one_call_without_questions(machine: Machine) -> None:
    debian(machine, installed=False)
    result = machine.run("install_packages gcc strace")
    assert (result.returncode, result.stdout) == (0, "==> installing system packages: gcc strace\n")
    assert machine.calls == [
        "apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-confold gcc strace"
    ]


def test_lists_are_read_first_where_they_know_no_such_package(machine: Machine) -> None:
    debian(machine, installed=False)
    machine.add("apt-cache", "exit 0")
    assert machine.run("install_packages gcc").returncode == 0
    assert [call.split()[1] for call in machine.calls] == ["update", "install"]


def test_old_lists_are_read_again_once(machine: Machine) -> None:
    debian(machine, installed=False)
    machine.add("apt-get", "case $1 in install) exit 100 ;; esac")
    result = machine.run("install_packages gcc")
    assert result.returncode == 1
    assert [call.split()[1] for call in machine.calls] == ["install", "update", "install"]
    assert result.stderr.endswith("error: the system packages could not be installed\nhint: install by hand: gcc\n")


def test_dnf_takes_no_weak_dependencies(machine: Machine) -> None:
    fedora(machine, installed=False)
    assert machine.run("family=fedora; install_packages gcc").returncode == 0
    assert machine.calls == ["dnf install --assumeyes --setopt=install_weak_deps=False gcc"]


def test_enterprise_headers_are_looked_for_in_the_repository_that_is_off(machine: Machine) -> None:
    fedora(machine, installed=False, dnf='case "$*" in *enablerepo=powertools*) exit 0 ;; *) exit 1 ;; esac')
    assert machine.run("family=enterprise; install_packages augeas-devel").returncode == 0
    options = "dnf install --assumeyes --setopt=install_weak_deps=False"
    assert machine.calls == [
        f"{options} augeas-devel",
        f"{options} --enablerepo=crb augeas-devel",
        f"{options} --enablerepo=powertools augeas-devel",
    ]


def test_an_ordinary_user_goes_through_sudo(machine: Machine) -> None:
    debian(machine, installed=False)
    machine.add("id", "echo 1000")
    machine.add("sudo")
    assert machine.run("install_packages gcc").returncode == 0
    assert [call.split()[:3] for call in machine.calls] == [["sudo", "--", "env"]]


def test_without_root_and_sudo_it_says_what_to_install(machine: Machine) -> None:
    debian(machine, installed=False)
    machine.add("id", "echo 1000")
    result = machine.run("install_packages gcc")
    assert (result.returncode, machine.calls) == (1, [])
    assert result.stderr == (
        "error: packages are missing, and only root can install them\nhint: as root, install: gcc\n"
    )


def test_a_system_without_a_known_installer_is_named(machine: Machine) -> None:
    result = machine.run("install_packages gcc")
    assert result.returncode == 1
    assert result.stderr == "error: no apt-get and no dnf here\nhint: install by hand: gcc\n"


def test_a_failing_installer_is_heard(machine: Machine) -> None:
    fedora(machine, installed=False, dnf="echo no such package; exit 1")
    result = machine.run("family=fedora; install_packages gcc")
    assert "no such package\n" in result.stderr


@pytest.mark.parametrize(
    ("extras", "has_pip", "is_of_the_release"), [("", False, True), ("[test]", False, False), ("", True, False)]
)
def test_nothing_is_compiled_where_the_release_has_the_libraries(
    machine: Machine, tmp_path: Path, extras: str, has_pip: bool, is_of_the_release: bool
) -> None:
    debian(machine, installed=True)
    usable = "is_usable() { true; }" if has_pip else ""
    script = f"""
        venv={tmp_path}/venv; {usable}
        has_release_libraries() {{ true; }}
        can_compile() {{ say compiling; exit 3; }}
        make_venv '{extras}'
        """
    result = machine.run(script)
    program = tmp_path / "venv/bin/iommuctl"
    assert (result.returncode == 0, program.exists()) == (is_of_the_release,) * 2, result.stderr
    assert ("compiling" in result.stdout) is not is_of_the_release
    if is_of_the_release:
        source = "from iommuctl.cli import main\n\nmain()\n"
        assert program.read_text() == f"#!{tmp_path}/venv/bin/python\n{source}"
        assert [path.read_text() for path in tmp_path.rglob("iommuctl.pth")] == [f"{PROJECT}\n"]
        assert not (tmp_path / "venv/bin/pip").exists()
    assert machine.calls == []


@pytest.mark.parametrize(
    ("before", "has"),
    [
        ("family=fedora", False),
        ("PYTHON=/opt/python3", False),
        ("venv='/a b/.venv'", False),
        ("variant=bundled", False),
        ("variant=native", True),
    ],
)
def test_libraries_of_the_release_are_taken_where_the_native_package_would(
    machine: Machine, tmp_path: Path, before: str, has: bool
) -> None:
    debian(machine, installed=True)
    variant = tmp_path / "packaging/variant"
    variant.parent.mkdir()
    variant.write_text(f"#!/bin/sh\necho {before.removeprefix('variant=')}\n")
    variant.chmod(0o755)
    result = machine.run(f"{before}\nproject={tmp_path}\nhas_release_libraries && say yes || say no")
    assert result.stdout == ("==> yes\n" if has else "==> no\n"), result.stderr


def tour(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Take the tour with a program of that code, in sh."""
    program = tmp_path / "iommuctl"
    program.write_text(f"#!/bin/sh\n{code}\n")
    program.chmod(0o755)
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [PROJECT / "scripts/tour", program], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.programs
def test_the_tour_ends_with_every_byte_as_before(tmp_path: Path) -> None:
    result = tour(tmp_path, f'exec "{sys.executable}" -m iommuctl "$@"')
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == (
        "==> and so is every other file; only the record of what was done stays, in var/lib/iommuctl"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["iommuctl"], "the copy of the host is left behind"


HALF_A_ROLLBACK = """
case $* in
apply*--yes) for name in etc/default/grub etc/fstab; do echo >>"$root/$name"; done ;;
rollback*) cp "$sample/etc/default/grub" "$root/etc/default" ;;
esac
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (":", "apply changed nothing in etc/default/grub"),
        ('touch "$root/etc/new"', "the dry-run changed a file"),
        ('case $* in *--yes) echo x >>"$root/etc/default/grub" ;; esac', "etc/default/grub is not as before"),
        (HALF_A_ROLLBACK, "another file is not as before"),
    ],
)
def test_the_tour_believes_no_program(tmp_path: Path, code: str, message: str) -> None:
    find_root = 'root=$(echo "$*" | sed "s/.*--root //; s/ .*//")'
    result = tour(tmp_path, f"sample={PROJECT}/examples/debian-12\n{find_root}\n{code}")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, f"error: {message}")
