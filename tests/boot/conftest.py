# SPDX-License-Identifier: Apache-2.0
"""What the boot tests share: whether they can run here, the wheel under test, and where results are kept."""

import os
from pathlib import Path

import pytest
from boot import machine, wheel
from lacking import lacks


@pytest.fixture(scope="session", autouse=True)
def laboratory() -> None:
    """Skip with the reason where no machine can be run; a failure where CI=true."""
    if (reason := machine.missing()) is not None:
        lacks(reason)


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the guests install: of the project as it is, or the one that IOMMUCTL_BOOT_WHEEL names."""
    named = os.environ.get("IOMMUCTL_BOOT_WHEEL")
    return Path(named).resolve() if named else wheel.build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def results() -> Path:
    """The folder of what the machines of this run showed; scripts/boot-test makes a page of it."""
    folder = wheel.PROJECT / "build" / "boot-results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
