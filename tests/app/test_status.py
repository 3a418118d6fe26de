# SPDX-License-Identifier: Apache-2.0
"""Status: what has drifted from the applied profile is told once for each source, by the file that differs."""

import re
import shutil
from contextlib import nullcontext
from pathlib import Path, PurePosixPath

import pytest
from project import GOLDEN

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.look.status import Drift, Status, read_status
from iommuctl.cli.commands.status import status_text
from iommuctl.facts import Platform
from iommuctl.findings import Rule
from iommuctl.plan import Regenerate

CHOICES = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
MISSING = ("intel_iommu=on, iommu=pt", "none")
SOFT = ("iommu=pt", "iommu=soft")
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"


def applied(tmp_path: Path, host: str) -> Path:
    tree = Path(shutil.copytree(GOLDEN / host / "before", tmp_path / "host", symlinks=True))
    opened = Host.open(tree)
    carry_out(opened, plan_apply(opened, "passthrough-perf", CHOICES), progress=lambda _: nullcontext())
    return tree


def status(tree: Path) -> Status:
    return read_status(Host.open(tree), platform=Platform.INTEL, backend=None)


@pytest.mark.parametrize(
    ("host", "soften", "drift"),
    [
        ("grub2/debian-12", None, [("/boot/grub/grub.cfg (3 entries)", *MISSING)]),
        (
            "grub2/debian-12",
            "etc/default/grub",
            [("/etc/default/grub (the next kernel)", *SOFT), ("/boot/grub/grub.cfg (3 entries)", *MISSING)],
        ),
        ("bls/rhel-9", None, []),
        ("bls/rhel-9", "etc/default/grub", [("/etc/default/grub", *SOFT)]),
        ("bls/rhel-9", "etc/kernel/cmdline", [("/etc/kernel/cmdline (the next kernel)", *SOFT)]),
        (
            "bls/rhel-9",
            f"boot/loader/entries/{MACHINE}-5.14.0-427.el9.x86_64.conf",
            [(f"/boot/loader/entries/{MACHINE}-5.14.0-427.el9.x86_64.conf", *SOFT)],
        ),
        ("systemd-boot/debian-13", None, []),
        ("systemd-boot/debian-13", "etc/kernel/cmdline", [("/etc/kernel/cmdline (the next kernel)", *SOFT)]),
        (
            "systemd-boot/pop-os",
            None,
            [
                ("/boot/efi/loader/entries/Pop_OS-oldkern.conf", "iommu=pt, intel_iommu=on", "iommu=soft"),
                ("/boot/efi/loader/entries/Pop_OS-current.conf", "iommu=pt, intel_iommu=on", "iommu=soft"),
            ],
        ),
        ("systemd-boot/proxmox-8-zfs", "etc/default/grub", [("/etc/default/grub", *SOFT)]),
        (
            "systemd-boot/arch-uki",
            None,
            [("/efi/EFI/Linux/arch-linux.efi", "iommu=pt, intel_iommu=on", "iommu=soft")],
        ),
    ],
)
def test_each_source_that_differs_is_named_once(
    tmp_path: Path, host: str, soften: str | None, drift: list[tuple[str, str, str]]
) -> None:
    tree = applied(tmp_path, host)
    if soften is not None:
        text = (tree / soften).read_text()
        assert "iommu=pt" in text
        (tree / soften).write_text(re.sub(r"\biommu=pt", "iommu=soft", text))
    found = status(tree)
    assert found.drift == tuple(Drift(*one) for one in drift)
    assert ("hint: iommuctl apply passthrough-perf --dry-run" in status_text(found, colour=False)) == bool(drift)


def test_what_is_left_over_is_what_should_not_be_there(tmp_path: Path) -> None:
    tree = applied(tmp_path, "bls/rhel-9")
    path = tree / "etc/kernel/cmdline"
    path.write_text(path.read_text().replace("iommu=pt", "iommu=pt iommu.strict=1 iommu.passthrough=0"))
    (found,) = status(tree).drift
    assert (found.where, "iommu.passthrough=0" in found.found) == ("/etc/kernel/cmdline (the next kernel)", True)


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize(("spoil", "drift"), [(" iommu.strict=1", 2), ("nothing", 0)])
def test_a_profile_that_was_given_by_a_path_is_compared_by_what_it_changed(
    tmp_path: Path, spoil: str, drift: int, *, gone: bool
) -> None:
    own = tmp_path / "own.toml"
    setting = 'parameter = "iommu.strict={}"\nreason = "r"\n'
    own.write_text(f'name = "own"\nsummary = "s"\n[[set]]\n{setting.format(1)}')
    tree = Path(shutil.copytree(GOLDEN / "systemd-boot/arch/before", tmp_path / "host", symlinks=True))
    host = Host.open(tree)
    choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
    carry_out(host, plan_apply(host, str(own), choices), progress=lambda _: nullcontext())
    own.write_text(own.read_text().replace("=1", "=0"))
    if gone:
        own.unlink()
    path = tree / "boot/loader/entries/arch.conf"
    path.write_text(path.read_text().replace(spoil, ""))
    found = status(tree)
    # The entry, and the next kernel, whose line is made of it.
    assert [one.expected for one in found.drift] == ["iommu.strict=1"] * drift
    assert found.way_in_step == f"iommuctl history show {host.store.list().snapshots[0].id} --root {tree}"


def test_an_image_is_shown_with_the_command_line_inside(tmp_path: Path) -> None:
    tree = applied(tmp_path, "systemd-boot/arch-uki")
    (image,) = status(tree).config.entries
    assert (image.path, image.ours) == (PurePosixPath("/efi/EFI/Linux/arch-linux.efi"), True)
    assert (image.kernel_release, image.reason) == (
        "6.15.2-arch1-1",
        "a unified kernel image, built of /etc/kernel/cmdline",
    )
    inside = "root=PARTUUID=925a7a67-1dc2-49cd-b92d-db03da598ca4 rw  quiet iommu=soft mitigations=auto"
    assert f"* arch-linux.efi\n    {inside}\n" in status_text(status(tree), colour=False)


def test_another_root_is_compared_for_the_platform_that_it_was_brought_to(tmp_path: Path) -> None:
    tree = Path(shutil.copytree(GOLDEN / "bls/rhel-9/before", tmp_path / "host", symlinks=True))
    host = Host.open(tree)
    choices = Choices(platform=Platform.AMD, regenerate=Regenerate.NEVER)
    carry_out(host, plan_apply(host, "strict-isolation", choices), progress=lambda _: nullcontext())
    found = read_status(host, platform=None, backend=None)
    assert (found.platform, found.drift) == (Platform.AMD, ())


def test_verbose_status_tells_of_each_entry_where_it_is_and_why_it_is_ours(tmp_path: Path) -> None:
    tree = Path(shutil.copytree(GOLDEN / "grub2/debian-12/before", tmp_path / "host", symlinks=True))
    short, whole = (status_text(status(tree), colour=False, verbose=verbose).splitlines() for verbose in (False, True))
    assert [line for line in whole if line not in short] == [
        "    /boot/grub/grub.cfg, kernel 6.1.0-40-amd64: normal entry",
        "    /boot/grub/grub.cfg, kernel 6.1.0-40-amd64: normal entry",
        "    /boot/grub/grub.cfg, kernel 6.1.0-40-amd64: recovery entry",
        "    /boot/grub/grub.cfg, kernel 6.1.0-37-amd64: normal entry",
        "    /boot/grub/grub.cfg, kernel 6.1.0-37-amd64: recovery entry",
    ]


def test_the_findings_of_an_applied_profile_lead_where_its_drift_does(tmp_path: Path) -> None:
    found = status(applied(tmp_path, "grub2/debian-12"))
    way = f"iommuctl apply passthrough-perf --dry-run --root {tmp_path / 'host'}"
    assert found.way_in_step == way
    assert [one.hint for one in found.findings if one.rule is Rule.SOURCES_DISAGREE] == [way]


def test_a_second_apply_leads_where_what_it_holds_back_does(tmp_path: Path) -> None:
    tree = applied(tmp_path, "grub2/debian-12")
    choices = Choices(platform=Platform.INTEL)
    hints = {one.rule: one.hint for one in plan_apply(Host.open(tree), "passthrough-perf", choices).steps.findings}
    assert "--regenerate always" in str(hints[Rule.REGENERATE_PENDING])
    assert hints[Rule.SOURCES_DISAGREE] == hints[Rule.REGENERATE_PENDING]
