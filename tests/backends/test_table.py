# SPDX-License-Identifier: Apache-2.0
"""The table's names are the names that backends go by."""

from iommuctl.backends.table import BACKENDS
from iommuctl.profile.shipped import shipped_catalogue


def test_each_row_makes_the_backend_of_its_name() -> None:
    assert {name: make(shipped_catalogue()).name for name, make in BACKENDS.items()} == {
        name: name for name in BACKENDS
    }
