# SPDX-License-Identifier: Apache-2.0
"""What verify says of devices after a boot, with what the snapshot of their apply keeps and other programs claim."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from console import in_process
from devicetrees import MACHINES, Machine
from kernelhosts import link, write
from pytest_mock import MockerFixture

from iommuctl.app.initramfs.mechanism import FOR_INITRAMFS_TOOLS
from iommuctl.host.root import Root

FIRST, TWIN = "0000:00:05.0", "0000:00:06.0"
GUEST = "<domain><hostdev mode='subsystem' type='pci' managed='yes'><source>{}</source></hostdev></domain>"
ADDRESS = "<address domain='0x0000' bus='0x00' slot='0x06' function='0x0'/>"


@pytest.fixture
def host(sample_host: Path, mocker: MockerFixture) -> Path:
    """A host that gave the storage controller of a second disk to guests, as it is before the reboot."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    MACHINES["twins"](Machine(sample_host).pci("0000:00:07.0", "144d:a808", "010802", "nvme", 7))
    words = ("apply", "vfio-bind", "--platform", "intel", "--regenerate", "never", "--yes", "--root", str(sample_host))
    done = in_process(*words, "--set", "vfio-pci.ids=144d:a808")
    assert done.returncode == 0, done.stderr
    write(sample_host / "proc/cmdline", "quiet intel_iommu=on iommu=pt vfio-pci.ids=144d:a808\n")
    bind(sample_host, "0000:00:07.0", "vfio-pci")
    return sample_host


def bind(root: Path, address: str, driver: str | None) -> None:
    """Have a function with another driver, or with none."""
    place = root / "sys/bus/pci/devices" / address / "driver"
    place.unlink()
    if driver is not None:
        (root / f"sys/bus/pci/drivers/{driver}").mkdir(exist_ok=True)
        link(place, f"../../../bus/pci/drivers/{driver}")


def checks(root: Path, *profile: str, command: str = "verify") -> dict[str, str]:
    done = in_process(command, *profile, "--root", str(root), "--json")
    document: dict[str, Any] = json.loads(done.stdout or done.stderr.splitlines()[-1])
    if command == "status":
        return dict.fromkeys(document["effective"]["failed"], "fail")
    return {one["name"]: one["result"] for one in document["checks"]}


def test_what_the_host_had_it_has(host: Path) -> None:
    found = checks(host)
    assert [found[name] for name in ("device-binding", "group-viable", "no-other-loss")] == ["pass"] * 3
    assert "twins-untouched" not in found


@pytest.mark.parametrize("driver", [None, "vfio-pci"])
def test_a_driver_that_is_lost_is_told_by_verify_and_status(driver: str | None, host: Path) -> None:
    bind(host, TWIN, driver)
    assert checks(host)["no-other-loss"] == "fail"
    assert checks(host, "vfio-bind", "--set", "vfio-pci.ids=144d:a808")["no-other-loss"] == "fail"
    assert "no-other-loss" in checks(host, command="status")


def test_a_device_that_libvirt_binds_by_itself_is_no_loss(host: Path) -> None:
    bind(host, TWIN, "vfio-pci")
    write(host / "etc/libvirt/qemu/web1.xml", GUEST.format(ADDRESS))
    assert checks(host)["no-other-loss"] == "pass"


def test_a_device_that_a_guest_has_is_no_loss(host: Path) -> None:
    bind(host, TWIN, "vfio-pci")
    write(host / "proc/4711/cmdline", f"/usr/bin/qemu-system-x86_64\0-device\0vfio-pci,host={TWIN}\0")
    assert checks(host)["no-other-loss"] == "pass"


def test_without_the_snapshot_nothing_is_claimed(host: Path) -> None:
    bind(host, TWIN, None)
    (manifest,) = (host / "var/lib/iommuctl/snapshots").glob("*/manifest.json")
    document = json.loads(manifest.read_text())
    del document["drivers"]  # as an earlier version wrote it
    manifest.write_text(json.dumps(document))
    assert checks(host)["no-other-loss"] == "skip"


def test_metrics_count_the_checks_of_devices(host: Path, tmp_path: Path) -> None:
    path = tmp_path / "iommuctl.prom"

    def failed() -> int:
        in_process("verify", "--root", str(host), "--metrics", str(path))
        return int(path.read_text().split('iommuctl_checks{result="fail"} ')[1].split("\n")[0])

    before = failed()
    bind(host, FIRST, None)
    assert failed() == before + 1


@pytest.mark.parametrize(
    ("built", "has_script", "result"),
    [((2000, 2000), True, "pass"), ((2000, 500), True, "fail"), ((2000, 2000), False, "fail")],
    ids=["after the script", "one before it", "without the script"],
)
def test_the_image_of_each_kernel_was_built_since_the_script_is_there(
    built: tuple[int, int], has_script: bool, result: str, host: Path
) -> None:
    for program in ("update-initramfs", "mkinitramfs"):
        write(host / "usr/sbin" / program, "#!/bin/sh\n")
    for one in FOR_INITRAMFS_TOOLS if has_script else ():
        path = host / one.path.relative_to("/")
        write(path, one.content.decode())
        os.utime(path, (1000, 1000))
    for time, release in zip(built, ("6.1.0-37-amd64", "6.1.0-40-amd64"), strict=True):
        os.utime(host / f"boot/initrd.img-{release}", (time, time))
    bind(host, FIRST, "vfio-pci")
    choice = ("vfio-bind", "--set", f"devices={FIRST}@8086:10d3")
    assert checks(host, *choice)["mechanism-in-image"] == result
    assert "mechanism-in-image" not in checks(host, "vfio-bind", "--set", "vfio-pci.ids=144d:a808")


def test_where_nothing_builds_images_nothing_is_claimed_of_them(host: Path) -> None:
    assert checks(host, "vfio-bind", "--set", f"devices={FIRST}@8086:10d3")["mechanism-in-image"] == "skip"
