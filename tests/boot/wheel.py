# SPDX-License-Identifier: Apache-2.0
"""Wheel: iommuctl as it is installed in a guest, and the libraries that a suite of Debian does not have."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from boot import archive
from project import PROJECT

TIMEOUT_SECONDS = 300
# Debian 12 has python3-augeas 0.5 and pydantic 1.10, and its python3 is 3.11.
_FROM_PYPI = {"bookworm": "3.11"}
_BINARY = ("pydantic>=2.5,<3", "typer>=0.12", "cffi")
_COMPILED = "python-augeas>=1.2"


def build(folder: Path) -> Path:
    """Build the wheel of the project as it is now."""
    folder.mkdir(parents=True, exist_ok=True)
    # Of a copy: a build leaves files after, and two may run at once.
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    shutil.copytree(PROJECT / "iommuctl", source / "iommuctl", ignore=shutil.ignore_patterns("__pycache__"))
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(source))
    return next(folder.glob("iommuctl-*.whl"))


def dependencies(suite: str) -> tuple[Path, ...]:
    """Return the wheels that iommuctl needs on a suite next to Debian's own packages."""
    version = _FROM_PYPI.get(suite)
    if version is None:
        return ()
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = archive.cache() / f"wheels-{suite}-{key}"
    if not folder.is_dir():  # one image has that suite, and its making is locked
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        platforms = ("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64")
        _pip(
            *("download", "--dest", str(unfinished), "--only-binary", ":all:", "--python-version", version, *platforms),
            *_BINARY,
        )
        _pip("wheel", "--no-deps", "--wheel-dir", str(unfinished), _COMPILED)
        for path in unfinished.glob("python_augeas-*.whl"):
            # Compiled against the stable ABI (`_augeas.abi3.so`), it fits every Python 3, whatever its name says.
            name, release, *_, platform = path.name.split("-")
            path.rename(path.with_name(f"{name}-{release}-py3-none-{platform}"))
        unfinished.rename(folder)
    return tuple(sorted(folder.glob("*.whl")))


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    assert done.returncode == 0, f"pip {arguments}: {done.stderr}"
