# SPDX-License-Identifier: Apache-2.0
"""Ids of vfio-pci: what they mean, and whether each of their devices is held."""

import pytest

from iommuctl.running.effect.binding import DeviceId, judge_bindings, parse_ids
from iommuctl.running.state import Device
from iommuctl.running.verdict import Result

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
    ("ids", "driver", "result", "detail"),
    [
        ("10de:1b80", "vfio-pci", Result.PASS, "with vfio-pci: 0000:03:00.0"),
        ("10de:1b80", "nvgrace_gpu_vfio_pci", Result.PASS, "with vfio-pci: 0000:03:00.0"),
        ("10de:1b80", "nouveau", Result.FAIL, "not with vfio-pci: 0000:03:00.0 has nouveau"),
        ("10de:1b80", None, Result.FAIL, "not with vfio-pci: 0000:03:00.0 has no driver"),
        ("10de:1b80,10de:10f0", "vfio-pci", Result.FAIL, "no device has the id 10de:10f0"),
    ],
)
def test_each_id_has_a_device_and_each_device_is_held(
    ids: str, driver: str | None, result: Result, detail: str
) -> None:
    found = tuple(judge_bindings(parse_ids(ids), (CARD._replace(driver=driver),)))
    assert [(one.result, one.detail) for one in found] == [(result, detail)]
