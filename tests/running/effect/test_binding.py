# SPDX-License-Identifier: Apache-2.0
"""Ids of vfio-pci: what they mean; and which drivers hold a device for a guest."""

import pytest

from iommuctl.running.effect.binding import DeviceId, is_held
from iommuctl.running.state import Device

CARD = Device("0000:03:00.0", "030000", "10de", "1b80", "vfio-pci", subsystem=("1043", "85aa"))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("10de:1b80", True),
        ("10DE:1B80", True),
        ("10de:1b81", False),
        ("10de:1b80:1043:85aa", True),
        ("10de:1b80:1458:85aa", False),
        ("10de:1b80:ffffffff:85aa", True),
        ("10de:ffffffff", True),
        ("10de:1b80:ffffffff:ffffffff:030000:ff0000", True),
        ("10de:1b80:ffffffff:ffffffff:040300:ffff00", False),
    ],
)
def test_an_id_means_a_device(text: str, means: bool) -> None:
    ident = DeviceId.parse(text)
    assert ident is not None
    assert ident.means(CARD) is means


@pytest.mark.parametrize("text", ["", "10de", "10de:", "10de:xyz", "1:2:3:4:5:6:7"])
def test_what_vfio_refuses_means_nothing(text: str) -> None:
    assert DeviceId.parse(text) is None


@pytest.mark.parametrize(
    ("driver", "held"),
    [("vfio-pci", True), ("vfio_pci", True), ("nvgrace_gpu_vfio_pci", True), ("nouveau", False), (None, False)],
)
def test_vfio_and_its_variants_hold_a_device(driver: str | None, held: bool) -> None:
    assert is_held(CARD._replace(driver=driver)) is held
