# SPDX-License-Identifier: Apache-2.0
"""The real grub-mkconfig with 00_tuned of Debian's own package: what its word stands for decides."""

import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from grubtree import GrubTree, grub_host
from lacking import lacks, program

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.errors import BootConfigError
from iommuctl.plan import Regenerate

__all__ = ["grub_host"]  # the fixture
pytestmark = pytest.mark.programs

SCRIPT = "etc/grub.d/00_tuned"
CHOICES = Choices(regenerate=Regenerate.ALWAYS)
# What tuned's own plugin appends to /etc/default/grub (plugin_bootloader.py, _grub2_default_env_patch).
PATCH = (
    'GRUB_CMDLINE_LINUX_DEFAULT="${GRUB_CMDLINE_LINUX_DEFAULT:+$GRUB_CMDLINE_LINUX_DEFAULT }\\$tuned_params"\n'
    'GRUB_INITRD_OVERLAY="${GRUB_INITRD_OVERLAY:+$GRUB_INITRD_OVERLAY }\\$tuned_initrd"\n'
)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script out of the package, from where this machine gets its own."""
    folder = tmp_path_factory.mktemp("tuned")
    done = subprocess.run(
        [program("apt-get"), "download", "tuned"], cwd=folder, capture_output=True, text=True, check=False
    )
    packages = list(folder.glob("tuned_*.deb"))
    if done.returncode or not packages:
        lacks(f"the package tuned cannot be downloaded: {done.stderr.strip()}")
    subprocess.run([program("dpkg-deb"), "-x", packages[0].name, "out"], cwd=folder, check=True)
    return folder / "out" / SCRIPT


def with_tuned(host: GrubTree, script: Path, parameters: str) -> Host:
    shutil.copy(script, host.path / SCRIPT)
    host.write("/etc/tuned/bootcmdline", f'TUNED_BOOT_CMDLINE="{parameters}"\nTUNED_BOOT_INITRD_ADD=""\n')
    host.write("/etc/default/grub", host.read("/etc/default/grub") + PATCH)
    host.mkconfig()
    return Host.open(host.path)


@pytest.mark.parametrize("stale", [False, True], ids=["in the menu", "in the next menu"])
def test_tuned_that_turns_the_iommu_off_is_named_and_nothing_is_written(
    grub_host: GrubTree, script: Path, stale: bool
) -> None:
    host = with_tuned(grub_host, script, "isolcpus=2" if stale else "iommu.strict=0 intel_iommu=off")
    if stale:
        grub_host.write("/etc/tuned/bootcmdline", 'TUNED_BOOT_CMDLINE="intel_iommu=off"\nTUNED_BOOT_INITRD_ADD=""\n')
    before = grub_host.read(), grub_host.read("/etc/default/grub")
    with pytest.raises(BootConfigError, match="tuned sets it") as caught:
        plan_apply(host, "passthrough-perf", CHOICES)
    assert "tuned-adm profile" in (caught.value.hint or "")
    assert (grub_host.read(), grub_host.read("/etc/default/grub")) == before


def test_tuned_that_has_no_part_in_it_stays(grub_host: GrubTree, script: Path) -> None:
    host = with_tuned(grub_host, script, "isolcpus=2")
    plan = plan_apply(host, "passthrough-perf", CHOICES)
    carry_out(host, plan, progress=lambda _: nullcontext())
    assert "quiet intel_iommu=on iommu=pt $tuned_params" in grub_host.read()
    assert not plan_apply(host, "passthrough-perf", CHOICES).steps.is_changed
