# SPDX-License-Identifier: Apache-2.0
"""The real plugin of kernel-install, after an apply: the entry that it makes for a new kernel has the profile."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from entryhosts import CATALOGUE, desired, facts
from lacking import lacks
from trees import MemoryTree

from iommuctl.backends.systemd_boot import SystemdBoot
from iommuctl.cmdline import Cmdline

PLUGIN = Path("/usr/lib/kernel/install.d/90-loaderentry.install")
BEFORE = Path(__file__).resolve().parent / "golden" / "systemd-boot" / "debian-13" / "before"
RELEASE = "6.12.57+deb13-amd64"

pytestmark = pytest.mark.programs


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE, tmp_path / "host"))


def write(tree: MemoryTree, root: Path) -> None:
    for name, content in tree.files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def install_kernel(root: Path) -> None:
    """Run the plugin for a new kernel, as `kernel-install add` runs it, with every path inside the root."""
    if not PLUGIN.is_file():
        lacks("no kernel-install here")
    machine = (root / "etc/machine-id").read_text().strip()
    boot, image, staging = root / "boot/efi", root / "vmlinuz", root / "staging"
    folder = boot / machine / RELEASE
    folder.mkdir(parents=True)
    staging.mkdir()
    image.write_bytes(b"MZ")
    environment = {
        "PATH": os.defpath,
        "LC_ALL": "C",
        "KERNEL_INSTALL_CONF_ROOT": str(root / "etc/kernel"),
        "KERNEL_INSTALL_LAYOUT": "bls",
        "KERNEL_INSTALL_BOOT_ROOT": str(boot),
        "KERNEL_INSTALL_ENTRY_TOKEN": machine,
        "KERNEL_INSTALL_MACHINE_ID": machine,
        "KERNEL_INSTALL_STAGING_AREA": str(staging),
        "KERNEL_INSTALL_VERBOSE": "0",
    }
    done = subprocess.run(
        [PLUGIN, "add", RELEASE, folder, image], env=environment, capture_output=True, text=True, check=False
    )
    # Debian 12's gives the kernel to root, and only root may; it goes on all the same.
    complaints = [line for line in done.stderr.splitlines() if os.geteuid() == 0 or not line.startswith("chown: ")]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation", "iommu-off"])
def test_a_kernel_that_is_installed_later_boots_with_the_profile(host: Path, profile: str) -> None:
    backend, wanted = SystemdBoot(CATALOGUE), desired(profile)
    tree = MemoryTree.load(host)
    coming = backend.read(tree.after(backend.render(tree, facts(), wanted)), facts()).future
    write(tree.after(backend.render(tree, facts(), wanted)), host)
    install_kernel(host)

    after = MemoryTree.load(host)
    assert backend.read_back(after, facts(), wanted, generated=True) == ()
    (new,) = (each for each in backend.read(after, facts()).entries if each.kernel_release == RELEASE)
    assert new.ours
    assert new.path.name.endswith(f"-{RELEASE}+3.conf")
    machine = (host / "etc/machine-id").read_text().strip()
    assert new.cmdline.tokens == (*coming.cmdline.tokens, *Cmdline.parse(f"systemd.machine_id={machine}").tokens)


def test_without_an_apply_the_new_kernel_would_not_have_it(host: Path) -> None:
    (host / "etc/kernel/cmdline").write_text("root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro quiet\n")
    install_kernel(host)
    assert SystemdBoot(CATALOGUE).read_back(MemoryTree.load(host), facts(), desired(), generated=True) != ()
