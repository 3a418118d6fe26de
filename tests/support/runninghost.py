# SPDX-License-Identifier: Apache-2.0
"""A root that is taken for the running system's."""

import pytest
from pytest_mock import MockerFixture

from iommuctl.host.root import Root


def run_in(mocker: MockerFixture) -> None:
    """Take every root for that of the running system from now on."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)


@pytest.fixture
def running(mocker: MockerFixture) -> None:
    """Take every root for that of the running system."""
    run_in(mocker)
