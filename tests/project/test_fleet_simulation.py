# SPDX-License-Identifier: Apache-2.0
"""A fleet of simulated hosts, there and back, some of them broken on purpose."""

import os
from pathlib import Path

import fleetlab
import pytest


@pytest.mark.slow
def test_a_simulated_fleet_loses_no_host_and_names_each_that_is_broken(tmp_path: Path) -> None:
    figures = fleetlab.simulate(tmp_path, 8, 4).splitlines()
    broken = len(fleetlab.WAYS) if os.geteuid() == 0 else len(fleetlab.WAYS) - 1
    assert figures[0].startswith(f"8 hosts, {8 - broken} converted and rolled back, {broken} broken (")
