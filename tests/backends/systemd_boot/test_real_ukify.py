# SPDX-License-Identifier: Apache-2.0
"""The real ukify, by the real kernel-install: what it builds is what is read, and an apply that builds it is judged."""

import json

import pytest
from debiantree import DebianTree, debian_host
from program import PROFILE, UNDONE, WANTED, iommuctl, live

__all__ = ["debian_host"]  # the fixture
pytestmark = pytest.mark.programs

MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
OPTIONS = "root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro quiet"
RELEASES = ("6.12.48+deb13-amd64", "6.12.57+deb13-amd64")
IMAGES = tuple(f"{MACHINE}-{release}.efi" for release in RELEASES)
INSTALL_CONF = "layout=uki\nuki_generator=ukify\ninitrd_generator=none\nBOOT_ROOT=/boot/efi\n"
NAME = f"systemd.machine_id={MACHINE}"  # what kernel-install adds to an image of this machine


@pytest.fixture
def images(debian_host: DebianTree) -> DebianTree:
    """A host whose two kernels were installed by kernel-install as unified images."""
    debian_host.write("etc/machine-id", f"{MACHINE}\n")
    debian_host.write("etc/kernel/cmdline", f"{OPTIONS}\n")
    debian_host.write("etc/kernel/install.conf", INSTALL_CONF)
    debian_host.write("boot/efi/loader/loader.conf", "timeout 3\n")
    for release in RELEASES:
        debian_host.write(f"boot/vmlinuz-{release}", "MZ no real kernel\n")
        install_kernel(debian_host, release)
    return debian_host


def install_kernel(host: DebianTree, release: str) -> None:
    host.run("kernel-install", "add", release, f"/boot/vmlinuz-{release}")


def listed(host: DebianTree) -> dict[str, str]:
    """What bootctl reads: the command line inside each image."""
    found = json.loads(host.run("bootctl", "--esp-path=/boot/efi", "list", "--json=short"))
    return {entry["id"]: entry["options"] for entry in found if entry["type"] == "type2"}


def shown(host: DebianTree) -> dict[str, str]:
    """What status shows of each image."""
    entries = iommuctl("status", "--root", str(host.path), "--json").report["entries"]
    assert isinstance(entries, list)
    return {entry["id"]: entry["cmdline"] for entry in entries}


def test_status_shows_what_bootctl_reads(images: DebianTree) -> None:
    assert shown(images) == listed(images) == dict.fromkeys(IMAGES, f"{OPTIONS} {NAME}")


def test_an_apply_builds_every_image_anew_and_a_rollback_builds_them_back(images: DebianTree) -> None:
    arguments = ("--root", str(images.path), "--regenerate", "always")
    run = iommuctl("apply", PROFILE, *arguments)
    assert run.code == 0, run.stderr
    assert listed(images) == dict.fromkeys(IMAGES, f"{OPTIONS} {WANTED} {NAME}")
    run = iommuctl("apply", PROFILE, *arguments)
    assert (run.code, "unchanged" in run.stdout) == (0, True)

    run = iommuctl("rollback", *arguments)
    assert run.code == 0, run.stderr
    assert listed(images) == dict.fromkeys(IMAGES, f"{OPTIONS} {NAME}")


def test_an_image_that_is_not_built_anew_undoes_the_apply(images: DebianTree) -> None:
    """Its kernel has gone, so nothing builds it; a generator that reports success is not believed."""
    (images.path / f"boot/vmlinuz-{RELEASES[0]}").unlink()
    before = live(images.path, times=False)
    run = iommuctl("apply", PROFILE, "--root", str(images.path), "--regenerate", "always")
    assert run.code == 74
    assert f"/boot/efi/EFI/Linux/{IMAGES[0]} (inside {IMAGES[0]}): 'iommu=pt' is missing" in run.stderr
    assert UNDONE in run.stderr
    assert listed(images) == dict.fromkeys(IMAGES, f"{OPTIONS} {NAME}")
    changed = {path for path, seen in live(images.path, times=False).items() if before.get(path) != seen}
    assert changed <= {f"boot/efi/EFI/Linux/{IMAGES[1]}"}, "it holds the time of its building"
