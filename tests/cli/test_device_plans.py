# SPDX-License-Identifier: Apache-2.0
"""Devices in plans: what a plan says of each, what a snapshot keeps, and a plan file that is for other devices."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console import in_process
from devicetrees import MACHINES, Machine
from pytest_mock import MockerFixture

from iommuctl.host.root import Root

CARD = ("0000:01:00.0", "0000:01:00.1", "0000:01:00.2", "0000:01:00.3")
BIND = ("apply", "vfio-bind", "--platform", "intel", "--regenerate", "never")
Document = dict[str, Any]


@pytest.fixture
def host(sample_host: Path, mocker: MockerFixture) -> Path:
    """A Debian host that runs, with a graphics card of four functions."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    MACHINES["gpu-with-usb-c"](Machine(sample_host))
    return sample_host


def asked(root: Path, *words: str) -> tuple[int, Document]:
    """Run a command; give the exit code and the JSON of the result or of the error."""
    done = in_process(*words, "--root", str(root), "--json")
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


@pytest.fixture
def plan(host: Path, tmp_path: Path) -> Path:
    """The plan that gives the card to guests, as a file."""
    path = tmp_path / "plan.json"
    assert asked(host, *BIND, "--device", "RTX 2080", "--dry-run", "--out", str(path))[0] == 0
    return path


@pytest.mark.parametrize(
    "choice", [("--device", CARD[0]), ("--set", "vfio-pci.ids=10de:1e07,10de:10f7,10de:1ad6,10de:1ad7")]
)
def test_a_plan_names_each_device(choice: tuple[str, str], host: Path) -> None:
    code, document = asked(host, *BIND, *choice, "--dry-run")
    assert code == 0
    assert [one["address"] for one in document["devices"]] == [*CARD]
    assert document["devices"][1] == {
        "address": "0000:01:00.1",
        "id": "10de:10f7",
        "name": "NVIDIA Corporation TU102 High Definition Audio Controller",
        "group": 2,
        "driver_before": "snd_hda_intel",
        "twins": [],
        "mates": [CARD[0], CARD[2], CARD[3]],
        "functions": [*CARD],
    }


def test_twins_of_a_device_are_named(sample_host: Path, mocker: MockerFixture) -> None:
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    MACHINES["twins"](Machine(sample_host))
    choice = ("--set", "vfio-pci.ids=8086:10d3", "--force", "device-is-uplink")
    code, document = asked(sample_host, *BIND, *choice, "--dry-run")
    assert code == 0
    assert {one["address"]: one["twins"] for one in document["devices"]} == {
        "0000:00:05.0": ["0000:00:06.0"],
        "0000:00:06.0": ["0000:00:05.0"],
    }
    assert [one["address"] for one in document["findings"] if one["rule"] == "device-is-uplink"] == ["0000:00:05.0"]


def test_a_finding_of_no_device_has_no_address(host: Path) -> None:
    document = asked(host, *BIND, "--device", CARD[0], "--dry-run")[1]
    assert [one["address"] for one in document["findings"] if one["rule"] == "vfio-claims-all"] == [None]


def test_another_profile_has_no_devices(host: Path) -> None:
    code, document = asked(host, "apply", "passthrough-perf", "--platform", "intel", "--dry-run")
    assert (code, document["devices"]) == (0, [])


def test_a_snapshot_keeps_which_driver_each_device_of_the_host_has(host: Path) -> None:
    code, document = asked(host, *BIND, "--device", CARD[0], "--yes")
    assert code == 0
    manifest = json.loads((host / f"var/lib/iommuctl/snapshots/{document['snapshot']}/manifest.json").read_text())
    assert manifest["drivers"] == {
        "0000:00:02.0@8086:3e9b": "i915",
        "0000:00:17.0@8086:a282": "ahci",
        "0000:01:00.0@10de:1e07": "nouveau",
        "0000:01:00.1@10de:10f7": "snd_hda_intel",
        "0000:01:00.2@10de:1ad6": "xhci_hcd",
        "0000:01:00.3@10de:1ad7": "nvidia-gpu",
    }
    assert asked(host, "history")[1]["snapshots"][0]["id"] == document["snapshot"]


def test_a_plan_file_shows_its_devices(plan: Path) -> None:
    shown = in_process("plan", "show", str(plan)).stdout
    assert "devices for guests:\n" in shown
    name = "NVIDIA Corporation TU102 [GeForce RTX 2080 Ti Rev. A] (10de:1e07)"
    assert f"  {CARD[0]}  {name}  [now with nouveau, group 2]\n" in shown
    assert json.loads(plan.read_text())["choices"]["devices"] == [*CARD]


def test_a_plan_file_is_carried_out_where_its_devices_are(host: Path, plan: Path) -> None:
    (host / "sys/bus/pci/devices/0000:01:00.1/driver").unlink()  # as another boot may have it
    code, document = asked(host, "apply", "--plan", str(plan))
    assert (code, [one["address"] for one in document["devices"]]) == (0, [*CARD])
    assert asked(host, "apply", "--plan", str(plan))[1]["changed"] is False


def has_another_card(root: Path) -> None:
    for name in ("device", "vendor"):
        (root / f"sys/bus/pci/devices/0000:01:00.1/{name}").write_text("0x1d0f\n")


def is_gone(root: Path) -> None:
    (root / "sys/bus/pci/devices/0000:01:00.1").unlink()


@pytest.mark.parametrize(
    ("happens", "there"), [(has_another_card, "1d0f:1d0f"), (is_gone, "nothing")], ids=["another card", "gone"]
)
def test_a_plan_file_for_a_device_that_is_not_there_is_stale(
    happens: Callable[[Path], None], there: str, host: Path, plan: Path
) -> None:
    before = (host / "etc/default/grub").read_bytes()
    happens(host)
    code, document = asked(host, "apply", "--plan", str(plan))
    error = document["error"]
    name = "NVIDIA Corporation TU102 High Definition Audio Controller"
    fact = f"0000:01:00.1 was 10de:10f7, {name}; now {there} is there"
    assert (code, error["kind"], error["details"]) == (75, "stale-plan", [fact])
    assert error["hint"] == "iommuctl devices shows what is where now"
    assert (host / "etc/default/grub").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "value"),
    [("plan.devices", []), ("choices.devices", ["0000:00:17.0"]), ("plan.devices.0.address", "0000:00:02.0")],
)
def test_the_devices_of_a_plan_file_are_compared_and_never_obeyed(
    path: str, value: object, host: Path, plan: Path
) -> None:
    document = json.loads(plan.read_text())
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    plan.write_text(json.dumps(document))
    before = (host / "etc/default/grub").read_bytes()
    assert asked(host, "apply", "--plan", str(plan))[0] in {65, 75}
    assert (host / "etc/default/grub").read_bytes() == before
