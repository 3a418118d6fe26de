# SPDX-License-Identifier: Apache-2.0
"""What would take the host's root disk, the interface of the ssh session, or a group with one of them: refused by name,
by address, by the address of its slot, and by id. Nothing that lifts a rule lifts that of the root disk.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from console import in_process, tree
from devicetrees import PCI_IDS, Machine
from kernelhosts import write
from pytest_mock import MockerFixture

from iommuctl.host.root import Root

NAMES = "\t1521  I350 Gigabit Network Connection\n\t1502  82579LM Gigabit Network Connection\n"
CARD = ("0000:01:00.0", "10de:1b80", "GTX 1080")


def ssh_nic(machine: Machine) -> Machine:
    """The session comes in by a card on the root bus, and the default route leaves by none of ours."""
    return (
        machine.pci("0000:00:19.0", "8086:1502", "020000", "e1000e", 9)
        .interface("eno1", "0000:00:19.0")
        .route("eno1", "0002000A", "00FFFFFF")
        .file("proc/self/environ", "HOME=/root\0SSH_CONNECTION=10.0.9.1 4711 10.0.2.15 22\0")
    )


def root_disk(machine: Machine) -> Machine:
    """The file system of / is on NVMe."""
    return (
        machine.bridge("0000:00:1d.0")
        .pci("0000:00:1d.0/0000:04:00.0", "144d:a808", "010802", "nvme", 9)
        .disk("nvme0n1", 259, "0000:04:00.0", 2, below="nvme/nvme0")
        .mount("/", "259:2")
    )


def _next_to_the_card(machine: Machine) -> Machine:
    """A graphics card that could go to a guest, with the processor's graphics for the host, in group 2."""
    return (
        machine.pci("0000:00:02.0", "8086:3e9b", "030000", "i915", 1, {"boot_vga": "1"})
        .bridge("0000:00:01.0", 2)
        .pci("0000:00:01.0/0000:01:00.0", "10de:1b80", "030000", "nouveau", 2)
        .file("sys/class/tty/console/active", "tty0 ttyS0\n")
    )


def root_disk_in_the_group(machine: Machine) -> Machine:
    """The controller of the disk of / is in the group of the graphics card."""
    return (
        _next_to_the_card(machine)
        .pci("0000:00:01.0/0000:02:00.0", "144d:a808", "010802", "nvme", 2)
        .disk("nvme0n1", 259, "0000:02:00.0", 2, below="nvme/nvme0")
        .mount("/", "259:2")
    )


def ssh_nic_in_the_group(machine: Machine) -> Machine:
    """The card by which the session comes in is in the group of the graphics card."""
    return (
        _next_to_the_card(machine)
        .pci("0000:00:01.0/0000:02:00.0", "8086:1521", "020000", "igb", 2)
        .interface("ens1", "0000:02:00.0")
        .route("ens1", "0002000A", "00FFFFFF")
        .file("proc/self/environ", "HOME=/root\0SSH_CONNECTION=10.0.9.1 4711 10.0.2.15 22\0")
    )


def ways(address: str, ident: str, name: str, *more: str) -> list[tuple[str, ...]]:
    """Every way to ask for one card."""
    bus = address.removeprefix("0000:")
    devices = (address, bus, bus.rpartition(".")[0], name, name.lower(), ident)
    return [*(("--device", one, *more) for one in devices), *([] if more else [("--set", f"vfio-pci.ids={ident}")])]


GROUP = ("--with-group",)
ROWS: list[tuple[Callable[[Machine], Machine], tuple[str, ...], str]] = [
    *((root_disk, way, "device-carries-root") for way in ways("0000:04:00.0", "144d:a808", "SM981")),
    *((root_disk, way, "device-carries-root") for way in ways("0000:04:00.0", "144d:a808", "SM981", *GROUP)),
    *((ssh_nic, way, "device-is-uplink") for way in ways("0000:00:19.0", "8086:1502", "82579LM")),
    *((ssh_nic, way, "device-is-uplink") for way in ways("0000:00:19.0", "8086:1502", "82579LM", *GROUP)),
    *((root_disk_in_the_group, way, "group-mate-essential") for way in ways(*CARD)),
    *((root_disk_in_the_group, way, "device-carries-root") for way in ways(*CARD, *GROUP)),
    (root_disk_in_the_group, ("--set", "vfio-pci.ids=10de:1b80,144d:a808"), "device-carries-root"),
    (root_disk_in_the_group, ("--device", CARD[0], "--device", "SM981"), "device-carries-root"),
    *((ssh_nic_in_the_group, way, "group-mate-essential") for way in ways(*CARD)),
    *((ssh_nic_in_the_group, way, "device-is-uplink") for way in ways(*CARD, *GROUP)),
    (ssh_nic_in_the_group, ("--set", "vfio-pci.ids=10de:1b80,8086:1521"), "device-is-uplink"),
    (ssh_nic_in_the_group, ("--device", CARD[0], "--device", "I350"), "device-is-uplink"),
]


@pytest.fixture
def machine(sample_host: Path, mocker: MockerFixture) -> Machine:
    """A Debian host that runs, still without devices."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    made = Machine(sample_host)
    marked = "\t154c  Ethernet Virtual Function 700 Series\n"
    assert marked in PCI_IDS
    write(sample_host / "usr/share/misc/pci.ids", PCI_IDS.replace(marked, marked + NAMES))
    return made


@pytest.mark.parametrize(
    ("build", "choice", "rule"), ROWS, ids=[f"{row[0].__name__}: {' '.join(row[1])}" for row in ROWS]
)
def test_what_the_host_cannot_miss_is_never_taken(
    build: Callable[[Machine], Machine], choice: tuple[str, ...], rule: str, machine: Machine
) -> None:
    root = build(machine).root
    done = in_process("apply", "vfio-bind", "--platform", "intel", "--dry-run", *choice, "--root", str(root), "--json")
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    told = re.findall(r"[a-z]+(?:-[a-z]+)+", " ".join((*error["details"], error["hint"])))
    assert (done.returncode, error["kind"], done.stdout) == (65, "finding", "")
    assert rule in told


@pytest.mark.parametrize("choice", ways(*CARD), ids=" ".join)
def test_a_card_next_to_which_nothing_is_may_go(choice: tuple[str, ...], machine: Machine) -> None:
    root = str(_next_to_the_card(machine).root)
    done = in_process("apply", "vfio-bind", "--platform", "intel", "--dry-run", *choice, "--root", root, "--json")
    assert (done.returncode, [one["address"] for one in json.loads(done.stdout)["devices"]]) == (0, [CARD[0]])


@pytest.mark.parametrize("build", [root_disk, root_disk_in_the_group])
def test_no_force_takes_the_root_disk(build: Callable[[Machine], Machine], machine: Machine) -> None:
    root = build(machine).root
    before = tree(root)
    choice = ("--device", "SM981", "--with-group")
    rules = ("device-carries-storage", "group-mates", "group-mate-essential", "device-is-boot-display", "gpu-functions")
    forced = [word for rule in rules for word in ("--force", rule)]
    words = ("apply", "vfio-bind", "--platform", "intel", *choice, *forced, "--regenerate", "never", "--yes", "--json")
    done = in_process(*words, "--root", str(root))
    assert done.returncode == 65
    assert "no --force lifts device-carries-root" in json.loads(done.stderr.splitlines()[-1])["error"]["hint"]
    assert tree(root) == before


def test_the_session_that_is_forced_away_is_told(machine: Machine) -> None:
    root = str(ssh_nic(machine).root)
    words = ("apply", "vfio-bind", "--platform", "intel", "--device", "82579LM", "--force", "device-is-uplink")
    done = in_process(*words, "--dry-run", "--json", "--root", root)
    findings = json.loads(done.stdout)["findings"]
    assert [(one["severity"], one["address"]) for one in findings if one["rule"] == "device-is-uplink"] == [
        ("error", "0000:00:19.0")
    ]
