# SPDX-License-Identifier: Apache-2.0
"""What the boot tests share: whether they can run here, the wheel under test, and where results are kept."""

import os
from pathlib import Path

import pytest
from boot import machine, wheel
from lacking import lacks
from project import PROJECT

# What takes minutes comes first, the longest before the others, so that no processor is idle at the end.
_FIRST = (
    "test_after_each_cut_recover_leaves_old_or_new",
    "test_every_boot_does_what_the_profile_promises",
    "test_a_trial_comes_back_or_stays",
    "test_exactly_the_chosen_card_is_bound",
    "test_after_every_write_the_files_are_whole_and_recover_ends_in_old_or_new",
)

# What waits for minutes: `scripts/boot-test --full` alone.
_WAITING = ["test_drill.py", "test_trial_failures.py", "test_trial_refused.py", "test_vfio_kept.py"]
collect_ignore = [] if os.environ.get("IOMMUCTL_BOOT_FULL") == "1" else _WAITING


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which they are to be dealt out."""
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.name.partition("[")[0], len(_FIRST)))


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
    """The directory of what the machines of this run showed; scripts/boot-test makes a page of it."""
    folder = PROJECT / "build" / "boot-results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
