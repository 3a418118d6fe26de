# SPDX-License-Identifier: Apache-2.0
"""Devices that a profile names: bound by id or by address, alone in their groups, and no other with them."""

from collections.abc import Mapping

import pytest

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.running.effect.devices import UNKNOWN, Around, Named, judge_devices
from iommuctl.running.state import Device, Group, Observed
from iommuctl.running.verdict import Result

PASS, FAIL, SKIP = Result
CARD = Device("0000:03:00.0", "030000", "10de", "1b80", "vfio-pci")
SOUND = Device("0000:03:00.1", "040300", "10de", "10f0", "vfio-pci")
NIC = Device("0000:05:00.0", "020000", "8086", "10d3", "vfio-pci")
TWIN = NIC._replace(address="0000:06:00.0", driver="e1000e")
PORT = Device("0000:00:01.0", "060400", "8086", "1901", "pcieport")
BY_ID, BY_ADDRESS = "vfio-pci.ids=10de:1b80", "iommuctl.vfio=0000:05:00.0@8086:10d3"
DISK = Device("0000:00:17.0", "010601", "8086", "a282", "ahci")


def judged(
    asked: str, *devices: Device, line: str = "", around: Around = UNKNOWN, groups: tuple[Group, ...] = ()
) -> Mapping[str, tuple[Result, str]]:
    observed = Observed(line, "6.12.0", devices=devices, groups=groups)
    found = judge_devices(observed, Named.of(Cmdline.parse(asked)), Cmdline.parse(line), around)
    return {one.name: (one.result, one.detail) for one in found}


WHOLE = "choose what is in the group too (--with-group)"
LOOK = "look for ids: iommuctl lint, and vfio-pci in /etc/modprobe.d"
LOST = "not chosen, and without the driver of the time of the apply"
LATE_ID = (
    "; nouveau was there before vfio-pci, or that is not loaded: bind it by its address "
    "(iommuctl apply vfio-bind --device 0000:03:00.0), or put 'softdep nouveau pre: vfio-pci' into /etc/modprobe.d and "
    "build the initramfs anew"
)
LATE_ADDRESS = (
    "; e1000e kept it: dmesg | grep iommuctl: tells what the initramfs did, and "
    "iommuctl apply vfio-bind --device 0000:05:00.0 looks at the images"
)
NOT_LOADED = (
    "; vfio-pci is not loaded: modprobe vfio-pci binds it now, and iommuctl apply vfio-bind --device 0000:03:00.0 from "
    "the next boot on"
)


@pytest.mark.parametrize(
    ("asked", "devices", "is_on", "result", "detail"),
    [
        (BY_ID, (CARD,), True, PASS, "with vfio-pci: 0000:03:00.0"),
        (BY_ID, (CARD._replace(driver="nvgrace_gpu_vfio_pci"),), True, PASS, "with vfio-pci: 0000:03:00.0"),
        (BY_ID, (CARD._replace(driver="nouveau"),), False, FAIL, "not with vfio-pci: 0000:03:00.0 has nouveau"),
        (
            BY_ID,
            (CARD._replace(driver="nouveau"),),
            True,
            FAIL,
            f"not with vfio-pci: 0000:03:00.0 has nouveau{LATE_ID}",
        ),
        (
            BY_ID,
            (CARD._replace(driver=None),),
            True,
            FAIL,
            f"not with vfio-pci: 0000:03:00.0 has no driver{NOT_LOADED}",
        ),
        (f"{BY_ID},10de:10f0", (CARD,), True, FAIL, "no device has the id 10de:10f0"),
        (BY_ADDRESS, (NIC, TWIN), True, PASS, "with vfio-pci: 0000:05:00.0"),
        (BY_ADDRESS, (NIC._replace(driver="e1000e"),), False, FAIL, "not with vfio-pci: 0000:05:00.0 has e1000e"),
        (
            BY_ADDRESS,
            (NIC._replace(driver="e1000e"),),
            True,
            FAIL,
            f"not with vfio-pci: 0000:05:00.0 has e1000e{LATE_ADDRESS}",
        ),
        (BY_ADDRESS, (CARD._replace(address=NIC.address),), True, FAIL, "10de:1b80 is at 0000:05:00.0, not 8086:10d3"),
        (BY_ADDRESS, (TWIN._replace(driver="vfio-pci"),), True, FAIL, "nothing is at 0000:05:00.0, not 8086:10d3"),
        (BY_ADDRESS, (), True, FAIL, "nothing is at 0000:05:00.0, not 8086:10d3"),
    ],
)
def test_each_named_device_is_held_where_it_is_named(
    asked: str, devices: tuple[Device, ...], is_on: bool, result: Result, detail: str
) -> None:
    assert judged(asked, *devices, line=asked if is_on else "quiet")["device-binding"] == (result, detail)


def test_a_profile_that_names_no_device_checks_none() -> None:
    assert judged("quiet iommu=pt", CARD, NIC) == {}
    assert judged("iommuctl.vfio= vfio-pci.ids=", CARD, NIC) == {}


@pytest.mark.parametrize(
    ("devices", "detail"),
    [
        ((NIC, TWIN), None),
        (
            (CARD._replace(address=NIC.address), TWIN),
            "8086:10d3 is at 0000:06:00.0 now, not at 0000:05:00.0: iommuctl apply vfio-bind --device 0000:06:00.0",
        ),
        ((CARD,), None),
    ],
)
def test_a_card_that_has_moved_is_told_with_its_place(devices: tuple[Device, ...], detail: str | None) -> None:
    found = judged(BY_ADDRESS, *devices, line=BY_ADDRESS).get("address-moved")
    assert found == (None if detail is None else (FAIL, detail))


@pytest.mark.parametrize(
    ("mates", "result", "detail"),
    [
        ((), PASS, "the host uses nothing else of group 3"),
        ((PORT,), PASS, "the host uses nothing else of group 3"),
        ((SOUND,), PASS, "the host uses nothing else of group 3"),
        ((SOUND._replace(driver=None),), PASS, "the host uses nothing else of group 3"),
        ((SOUND._replace(driver="pci-stub"),), PASS, "the host uses nothing else of group 3"),
        (
            (PORT, SOUND._replace(driver="snd_hda_intel"), DISK),
            FAIL,
            f"group 3 goes to no guest: 0000:03:00.1 has snd_hda_intel, 0000:00:17.0 has ahci: {WHOLE}",
        ),
    ],
)
def test_a_group_goes_to_a_guest_as_a_whole(mates: tuple[Device, ...], result: Result, detail: str) -> None:
    other = Group(4, "identity", (TWIN,))
    found = judged(BY_ID, CARD, *mates, groups=(Group(3, "identity", (CARD, *mates)), other))
    assert found["group-viable"] == (result, detail)


def test_a_mate_that_is_named_too_keeps_no_group() -> None:
    late = SOUND._replace(driver="snd_hda_intel")
    asked = f"{BY_ID},10de:10f0"
    assert judged(asked, CARD, late, groups=(Group(3, "identity", (CARD, late)),))["group-viable"][0] is PASS


@pytest.mark.parametrize(
    ("devices", "elsewhere", "result", "detail"),
    [
        ((NIC,), (), PASS, "no other device has the ids of a chosen one"),
        ((NIC, TWIN), (), PASS, "left to the host: 0000:06:00.0"),
        (
            (NIC, TWIN._replace(driver="vfio-pci")),
            (),
            FAIL,
            f"not chosen, and with vfio-pci all the same: 0000:06:00.0; {LOOK}",
        ),
        ((NIC, TWIN._replace(driver="vfio-pci")), (TWIN.address,), PASS, "left to the host: 0000:06:00.0"),
        ((NIC, CARD), (), PASS, "no other device has the ids of a chosen one"),
    ],
)
def test_a_twin_stays_with_the_host(
    devices: tuple[Device, ...], elsewhere: tuple[str, ...], result: Result, detail: str
) -> None:
    found = judged(BY_ADDRESS, *devices, around=Around(elsewhere=frozenset(elsewhere)))
    assert found["twins-untouched"] == (result, detail)


def test_ids_take_every_twin_so_none_is_to_be_spared() -> None:
    assert "twins-untouched" not in judged("vfio-pci.ids=8086:10d3", NIC, TWIN)


THEN = {"0000:05:00.0@8086:10d3": "e1000e", "0000:06:00.0@8086:10d3": "e1000e", "0000:00:17.0@8086:a282": "ahci"}
KEPT = (PASS, "every other device has a driver that had one when the profile was applied")


@pytest.mark.parametrize(
    ("devices", "elsewhere", "expected"),
    [
        ((NIC, TWIN, DISK), (), KEPT),
        ((NIC, TWIN._replace(driver="igb"), DISK), (), KEPT),
        ((NIC, DISK), (), KEPT),
        ((NIC, CARD._replace(address=TWIN.address, driver=None), DISK), (), KEPT),
        ((NIC, TWIN._replace(driver="vfio-pci"), DISK), (TWIN.address,), KEPT),
        (
            (NIC, TWIN._replace(driver=None), DISK._replace(driver="vfio-pci")),
            (),
            (
                FAIL,
                f"{LOST}: 0000:06:00.0 had e1000e and has no driver, 0000:00:17.0 had ahci and has vfio-pci",
            ),
        ),
    ],
)
def test_no_other_device_loses_its_driver(
    devices: tuple[Device, ...], elsewhere: tuple[str, ...], expected: tuple[Result, str]
) -> None:
    found = judged(BY_ADDRESS, *devices, around=Around(THEN, frozenset(elsewhere)))
    assert found["no-other-loss"] == expected


@pytest.mark.parametrize(
    ("images", "result", "detail"),
    [
        ({}, SKIP, "no image is known that takes the script"),
        ({"6.1": True, "6.12": True}, PASS, "built since the script is there: the image of 6.1, 6.12"),
        (
            {"6.1": True, "6.12": False},
            FAIL,
            "older than the script that binds devices: the image of 6.12; make images builds it anew",
        ),
    ],
)
def test_every_image_was_built_with_the_script(images: Mapping[str, bool], result: Result, detail: str) -> None:
    around = Around(images=images, build="make images")
    assert judged(BY_ADDRESS, NIC, around=around)["mechanism-in-image"] == (result, detail)
    assert "mechanism-in-image" not in judged(BY_ID, CARD, around=around)


def test_without_a_snapshot_no_loss_is_claimed_and_none_denied() -> None:
    assert judged(BY_ADDRESS, NIC)["no-other-loss"] == (SKIP, "no snapshot tells which drivers the devices had before")
