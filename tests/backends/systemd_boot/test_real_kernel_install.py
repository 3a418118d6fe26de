# SPDX-License-Identifier: Apache-2.0
"""The real plugin of kernel-install, after an apply: the entry that it makes for a new kernel has the profile."""

import shutil
from pathlib import Path

import pytest
from entryhosts import CATALOGUE, desired, facts
from newkernel import RELEASE, install_kernel
from project import GOLDEN
from trees import MemoryTree

from iommuctl.backends.systemd_boot.backend import SystemdBoot
from iommuctl.kernel.cmdline import Cmdline

BEFORE = GOLDEN / "systemd-boot" / "debian-13" / "before"

pytestmark = pytest.mark.programs


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE, tmp_path / "host"))


def write(tree: MemoryTree, root: Path) -> None:
    for name, content in tree.files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


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
    assert coming.cmdline is not None
    assert new.cmdline.tokens == (*coming.cmdline.tokens, *Cmdline.parse(f"systemd.machine_id={machine}").tokens)


def test_without_an_apply_the_new_kernel_would_not_have_it(host: Path) -> None:
    (host / "etc/kernel/cmdline").write_text("root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 ro quiet\n")
    install_kernel(host)
    assert SystemdBoot(CATALOGUE).read_back(MemoryTree.load(host), facts(), desired(), generated=True) != ()
