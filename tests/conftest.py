# SPDX-License-Identifier: Apache-2.0
"""What every test may use: the project's own directories and the corpus of real boot files."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from lacking import lacks
from project import PROJECT

CORPUS = PROJECT.parent / "shared" / "corpus"

# A shared machine is slow at times, and a run in continuous integration must be the same twice.
settings.register_profile("project", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("project")

# A shell that starts a run in the background has it ignore SIGINT, nohup SIGHUP, and so would every program of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

UMASK = 0o022
os.umask(UMASK)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the golden trees be written anew, and each error strike each call."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew, to be read by eye")
    parser.addoption("--every-error", action="store_true", help="strike each call of a command with each error")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what is slow first, so that no worker has it in the end while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def project() -> Path:
    """The top of the project."""
    return PROJECT


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of real boot files; without it the test is skipped, or fails where CI=true."""
    if not CORPUS.is_dir():
        reason = f"no corpus of real boot files at {CORPUS}"
        lacks(reason)
    return CORPUS


@pytest.fixture
def sample_host(tmp_path: Path) -> Path:
    """A copy of the sample Debian host, to be changed at will."""
    return Path(shutil.copytree(PROJECT / "examples" / "debian-12", tmp_path / "host", symlinks=True))


@pytest.fixture(autouse=True)
def _own_umask() -> None:
    """Have what a tree lets others write come neither from the shell nor from the test before."""
    os.umask(UMASK)


@pytest.fixture(autouse=True)
def _own_limits() -> Iterator[None]:
    """Leave no limit on the size of files to the next test: one that is cut off in a generator's run has it still."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
