# SPDX-License-Identifier: Apache-2.0
"""Choice: what a line says about devices for guests."""

import pytest

from iommuctl.kernel.choice import ChosenDevice, choice_on, parse_choice, render_choice
from iommuctl.kernel.cmdline import Cmdline

GPU = ChosenDevice("0000:01:00.0", "10de", "2484")
SOUND = ChosenDevice("0000:01:00.1", "10de", "228b")
BELOW_VMD = ChosenDevice("10000:e1:00.0", "8086", "0a54")


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        ("0000:01:00.0@10de:2484", (GPU,)),
        ("0000:01:00.0@10de:2484,0000:01:00.1@10de:228b", (GPU, SOUND)),
        ("0000:01:00.1@10de:228b,0000:01:00.0@10de:2484", (SOUND, GPU)),
        ("10000:e1:00.0@8086:0a54", (BELOW_VMD,)),
    ],
)
def test_a_value_is_devices_in_its_order(value: str, devices: tuple[ChosenDevice, ...]) -> None:
    assert parse_choice(value) == devices


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        "0000:01:00.0@10de:2484,",
        "0000:01:00.0",
        "01:00.0@10de:2484",
        "0000:01:00@10de:2484",
        "0000:01:00.8@10de:2484",
        "0000:01:20.0@10de:2484",
        "00000:01:00.0@10de:2484",
        "0000:01:00.0@10DE:2484",
        "0000:01:00.0@10de",
        "0000:01:00.0@10de:2484:1043:87d5",
        "0000:01:00.0@10de:2484 ",
        "0000:01:00.0@10de:2484\n",
        "../../x@10de:2484",
        "0000:01:00.0@10de:2484,0000:01:00.0@10de:228b",
    ],
)
def test_what_no_device_has_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"no device such as|named twice"):
        parse_choice(value)


def test_a_choice_is_written_by_address_and_read_back() -> None:
    value = render_choice((SOUND, BELOW_VMD, GPU))
    assert value == "0000:01:00.0@10de:2484,0000:01:00.1@10de:228b,10000:e1:00.0@8086:0a54"
    assert render_choice(parse_choice(value)) == value


@pytest.mark.parametrize(
    ("line", "devices"),
    [
        ("ro quiet", ()),
        ("ro iommuctl.vfio=0000:01:00.0@10de:2484 quiet", (GPU,)),
        ("iommuctl.vfio=0000:01:00.0@10de:2484 iommuctl.vfio=0000:01:00.1@10de:228b", (SOUND,)),
        ("iommuctl.vfio=0000:01:00.0@10de:2484 iommuctl.vfio=", ()),
        ('"iommuctl.vfio=0000:01:00.0@10de:2484"', (GPU,)),
        ('a="b iommuctl.vfio=0000:01:00.0@10de:2484"', ()),
        ("ro -- iommuctl.vfio=0000:01:00.0@10de:2484", ()),
    ],
)
def test_the_last_choice_of_a_line_counts(line: str, devices: tuple[ChosenDevice, ...]) -> None:
    assert choice_on(Cmdline.parse(line)) == devices


def test_a_choice_that_cannot_be_read_is_told() -> None:
    with pytest.raises(ValueError, match="no device such as"):
        choice_on(Cmdline.parse("iommuctl.vfio=01:00.0"))
