# SPDX-License-Identifier: Apache-2.0
"""Devices for guests by name, by address and by id: what is chosen, what is refused, and who is asked."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from console import ESCAPE, terminal_of
from devicetrees import MACHINES, Machine
from kernelhosts import write
from pytest_mock import MockerFixture
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError
from iommuctl.findings import Severity
from iommuctl.host.root import Root

BIND = ("apply", "vfio-bind", "--platform", "intel", "--dry-run")


@pytest.fixture
def running(mocker: MockerFixture) -> None:
    """Take every root for that of the running system."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)


def host(root: Path, name: str) -> Path:
    """A Debian host that runs, with the devices of a built machine."""
    MACHINES[name](Machine(root))
    return root


def plan(root: Path, *arguments: str) -> tuple[int, Mapping[str, object]]:
    """Run with --json; give the exit code, and the plan or the error."""
    result = CliRunner().invoke(application, [*BIND, *arguments, "--json", "--root", str(root)], obj=Session())
    error = result.exception
    if isinstance(error, IommuctlError):
        return error.code, {"brief": error.brief, "details": error.details, "hint": error.hint}
    assert error is None or isinstance(error, SystemExit)
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return result.exit_code, document


def ids(document: Mapping[str, object]) -> set[str]:
    """The values of vfio-pci.ids that a plan writes."""
    changes = document["changes"]
    assert isinstance(changes, list)
    return {one["after"].partition("=")[2] for one in changes if (one["after"] or "").startswith("vfio-pci.ids=")}


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("name", "arguments", "rule"),
    [
        ("lvm-on-luks", ("--device", "SM981"), "device-carries-root"),
        ("lvm-on-luks", ("--device", "0000:04:00.0"), "device-carries-root"),
        ("lvm-on-luks", ("--set", "vfio-pci.ids=144d:a808"), "device-carries-root"),
        ("lvm-on-luks", ("--device", "04:00.0", "--force", "device-carries-storage"), "device-carries-root"),
        ("zfs-root", ("--device", "0000:00:17.0"), "device-carries-root"),
        ("vmd", ("--device", "0000:00:0e.0", "--with-group"), "device-carries-root"),
        ("vmd", ("--set", "vfio-pci.ids=144d:a808"), "device-carries-root"),
        ("nvme-multipath", ("--set", "vfio-pci.ids=144d:a808"), "device-carries-root"),
        ("twins", ("--device", "0000:00:06.0"), "identical-ids"),
        ("twins", ("--device", "0000:00:06.0", "--force", "device-is-uplink"), "identical-ids"),
        ("twins", ("--set", "vfio-pci.ids=8086:10d3"), "device-is-uplink"),
        ("bond-on-vlan", ("--set", "vfio-pci.ids=8086:1572"), "device-is-uplink"),
        ("zfs-root", ("--device", "0000:04:00.0"), "device-carries-storage"),
        ("pf-with-vfs", ("--device", "X710"), "device-has-vfs"),
        ("rmrr", ("--device", "X710"), "reserved-direct"),
        ("single-gpu", ("--device", "GTX 1080"), "device-is-boot-display"),
        ("gpu-with-usb-c", ("--set", "vfio-pci.ids=10de:1e07"), "gpu-functions"),
        ("gpu-with-usb-c", ("--set", "vfio-pci.ids=10de:dead"), "id-matches-nothing"),
        ("single-gpu", ("--set", "vfio-pci.ids=8086:1901"), "device-is-bridge"),
    ],
)
def test_what_the_host_needs_is_refused_with_the_rule(
    name: str, arguments: tuple[str, ...], rule: str, sample_host: Path
) -> None:
    code, error = plan(host(sample_host, name), *arguments)
    assert code == 65
    assert rule in f"{error['details']} {error['hint']}"


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("rule", ["device-carries-root", "identical-ids", "device-is-bridge"])
def test_what_nothing_forces_is_no_rule_to_force(rule: str, sample_host: Path) -> None:
    code, error = plan(host(sample_host, "lvm-on-luks"), "--device", "0000:04:00.0", "--force", rule)
    assert (code, error["brief"]) == (2, f"no finding that stops apply has the rule '{rule}'")


@pytest.mark.usefixtures("running")
def test_the_interface_of_the_ssh_session_is_refused(sample_host: Path) -> None:
    MACHINES["gpu-with-usb-c"](Machine(sample_host)).pci("0000:00:19.0", "8086:1502", "020000", "e1000e", 9).interface(
        "eno1", "0000:00:19.0"
    ).route("eno1", "0002000A", "00FFFFFF")
    write(sample_host / "proc/self/environ", "HOME=/root\0SSH_CONNECTION=10.0.9.1 4711 10.0.2.15 22\0")
    for arguments in (("--device", "0000:00:19.0"), ("--set", "vfio-pci.ids=8086:1502")):
        code, error = plan(sample_host, *arguments)
        assert (code, error["brief"]) == (
            65,
            "'vfio-pci.ids=8086:1502': 0000:00:19.0: the host is reached by eno1 (ssh session)",
        )


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("gpu-with-usb-c", ("--device", "0000:01:00.0"), "10de:1e07,10de:10f7,10de:1ad6,10de:1ad7"),
        ("gpu-with-usb-c", ("--device", "rtx 2080"), "10de:1e07,10de:10f7,10de:1ad6,10de:1ad7"),
        ("single-gpu", ("--device", "0000:00:14.0"), "8086:43ed"),
        ("zfs-root", ("--device", "0000:04:00.0", "--force", "device-carries-storage"), "144d:a808"),
        ("single-gpu", ("--device", "GTX", "--force", "device-is-boot-display"), "10de:1b80,10de:10f0"),
    ],
)
def test_a_device_becomes_the_ids_of_its_card(
    name: str, arguments: tuple[str, ...], value: str, sample_host: Path
) -> None:
    code, document = plan(host(sample_host, name), *arguments)
    assert (code, ids(document)) == (0, {value})


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("name", "arguments", "code", "brief"),
    [
        ("twins", ("--device", "82574L"), 65, "2 devices are meant by '82574L'"),
        ("twins", ("--device", "0000:09:00.0"), 65, "no device is meant by '0000:09:00.0'"),
        ("twins", (), 65, "no device is named"),
        ("lvm-on-luks", (), 65, "no device of this host can go to a guest"),
        ("twins", ("--with-group",), 2, "--with-group goes with --device"),
        (
            "twins",
            ("--device", "x", "--set", "vfio-pci.ids=8086:10d3"),
            2,
            "either --device or --set vfio-pci.ids, not both",
        ),
    ],
)
def test_what_means_no_device_is_told(
    name: str, arguments: tuple[str, ...], code: int, brief: str, sample_host: Path
) -> None:
    found = plan(host(sample_host, name), *arguments)
    assert (found[0], found[1]["brief"]) == (code, brief)


def test_the_devices_of_another_root_are_not_known(sample_host: Path) -> None:
    assert plan(sample_host, "--device", "0000:01:00.0")[0] == 2
    code, document = plan(sample_host, "--set", "vfio-pci.ids=10de:1b80")
    findings = document["findings"]
    assert isinstance(findings, list)
    assert code == 0
    assert [one["severity"] for one in findings if one["rule"] == "devices-unchecked"] == [Severity.WARNING]


@pytest.mark.usefixtures("running")
def test_ids_that_are_there_already_stop_no_other_profile(sample_host: Path) -> None:
    root = host(sample_host, "lvm-on-luks")
    defaults = root / "etc/default/grub"
    line = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet vfio-pci.ids=144d:a808"\n'
    defaults.write_text(f"{defaults.read_text()}{line}")
    arguments = ["apply", "passthrough-perf", "--platform", "intel", "--dry-run", "--json", "--root", str(root)]
    result = CliRunner().invoke(application, arguments, obj=Session())
    assert result.exit_code == 0
    found = [one["severity"] for one in json.loads(result.stdout)["findings"] if one["rule"] == "device-carries-root"]
    assert found == ["warning"]


AS_RUNNING = """
import sys
import iommuctl.cli
from iommuctl.host.root import Root
Root.is_running_system = property(lambda self: True)
iommuctl.cli.main()
"""


@pytest.mark.parametrize(
    ("typed", "said", "code"),
    [
        ("1\n", "vfio-pci.ids=8086:3e9b", 0),
        ("2\n", "vfio-pci.ids=10de:1e07,10de:10f7,10de:1ad6,10de:1ad7", 0),
        ("9\n2\n", "answer with numbers from 1 to 2", 0),
        ("\n", "nothing was written", 1),
        ("\x04", "nothing was written", 1),
    ],
    ids=["first", "second", "no such number", "nothing", "end of input"],
)
def test_a_terminal_is_asked_which(typed: str, said: str, code: int, sample_host: Path) -> None:
    root = host(sample_host, "gpu-with-usb-c")
    program = (sys.executable, "-c", AS_RUNNING)
    with terminal_of(program, *BIND, "--no-pager", "--root", str(root)) as screen:
        screen.read_until("none to stop:")
        shown = screen.text
        screen.type(typed)
        assert screen.finish() == code
    assert said in screen.text
    assert "  -  Intel Corporation 200 Series PCH SATA controller" in shown
    assert "[device-carries-root]" in shown.replace(f"{ESCAPE}[31m", "").replace(f"{ESCAPE}[0m", "")
