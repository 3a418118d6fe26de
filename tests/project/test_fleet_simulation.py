# SPDX-License-Identifier: Apache-2.0
"""A fleet of simulated hosts, there and back, some of them broken on purpose."""

import os
from pathlib import Path

import fleetlab
import fleetplay
import pytest

HOSTS = 40


@pytest.mark.slow
def test_a_simulated_fleet_loses_no_host_and_names_each_that_is_broken(tmp_path: Path) -> None:
    assert fleetlab.simulate(tmp_path, HOSTS, 4).startswith(figures())


@pytest.mark.slow
def test_nor_does_it_by_the_collection(tmp_path: Path) -> None:
    assert fleetplay.simulate(tmp_path, HOSTS).startswith(figures())


def figures() -> str:
    """How the figures begin where every host is accounted for."""
    broken = len(fleetlab.WAYS) if os.geteuid() == 0 else len(fleetlab.WAYS) - 1
    return f"{HOSTS} hosts, {HOSTS - broken} converted and rolled back, {broken} broken ("
