# SPDX-License-Identifier: Apache-2.0
"""Typer is capped for what it costs, not for what it does: the first release above the cap works, only slower."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lacking import lacks
from project import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.programs]

RELEASE = "0.29.2"
HOST = PROJECT / "examples" / "debian-12"


@pytest.fixture(scope="module")
def above_the_cap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python finds that release first."""
    target = tmp_path_factory.mktemp("typer")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), f"typer=={RELEASE}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        lacks(f"pip does not get typer {RELEASE}: {done.stderr.strip().splitlines()[-1]}")
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{target}:{PROJECT}", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}


def test_the_release_is_above_the_cap() -> None:
    assert '"typer>=0.12,<0.29"' in (PROJECT / "pyproject.toml").read_text()


COMMANDS = (
    (0, ("--version",)),
    (0, ("--help",)),
    (0, ("profile", "list", "--json")),
    (0, ("explain", "iommu=pt")),
    (0, ("lint", "--cmdline", "iommu=pt", "--platform", "amd")),
    (2, ("apply", "passthrough-perf", "--regenerate", "perhaps")),
    (2, ("history", "--json", "--no-such-option")),
    (0, ("status", "--root", "HOST", "--json")),
    (0, ("apply", "vfio-bind", "--set", "vfio-pci.ids=10de:1b80", "--root", "HOST", "--dry-run", "--json")),
    (0, ("apply", "passthrough-perf", "--root", "HOST", "--yes", "--platform", "intel")),
    (0, ("history", "--root", "HOST")),
    (0, ("rollback", "--root", "HOST", "--yes")),
)


@pytest.mark.usefixtures("above_the_cap")
def test_every_kind_of_option_works_above_the_cap(above_the_cap: dict[str, str], tmp_path: Path) -> None:
    host = shutil.copytree(HOST, tmp_path / "host", symlinks=True)
    probe = [sys.executable, "-c", "import importlib.metadata as m; print(m.version('typer'))"]
    assert (
        subprocess.run(probe, env=above_the_cap, capture_output=True, text=True, check=True).stdout.strip() == RELEASE
    )
    for code, words in COMMANDS:
        argv = [sys.executable, "-m", "iommuctl", *(str(host) if word == "HOST" else word for word in words)]
        done = subprocess.run(argv, env=above_the_cap, capture_output=True, text=True, check=False)
        assert (words, done.returncode, "Traceback" in done.stderr) == (words, code, False), done.stderr
