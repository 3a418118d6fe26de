# SPDX-License-Identifier: Apache-2.0
"""Wrapped entries: the source that a distribution's own tool makes them of is edited, and the tool is called."""

import json
import re

import pytest
from archhosts import (
    ADDED,
    BACKEND,
    CMDLINE,
    ENTRY,
    NO_ENTRY,
    PROXMOX,
    applied,
    rendered,
)
from entryhosts import ENTRIES, OPTIONS, arch, desired, entry, facts
from trees import MemoryTree

from iommuctl.backends.systemd_boot.kernelstub import SIZE_LIMIT
from iommuctl.errors import BootConfigError
from iommuctl.facts import Runtime


def test_proxmox_keeps_both_sources_in_step_and_says_that_the_loader_is_unknown() -> None:
    files = {CMDLINE: "root=ZFS=x boot=zfs\n", "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'}
    tree = arch({**NO_ENTRY, **PROXMOX, **files})
    after = applied(tree, facts(id="debian"))
    assert after.files[CMDLINE].decode() == f"root=ZFS=x boot=zfs {ADDED}\n"
    assert after.files["/etc/default/grub"].decode() == f'GRUB_CMDLINE_LINUX_DEFAULT="quiet {ADDED}"\n'
    plan = rendered(tree, facts(id="debian"))
    assert [command.argv for command in plan.commands] == [("proxmox-boot-tool", "refresh")]
    assert [finding.rule for finding in plan.findings] == ["esp-loader-unknown"]
    proven = facts(Runtime("x", is_efi=True, loader_info="systemd-boot 252"), id="debian")
    assert rendered(tree, proven).findings == ()


def test_a_value_of_proxmox_that_grub_would_cut_short_is_refused() -> None:
    grub = "GRUB_CMDLINE_LINUX_DEFAULT='quiet # a=b'\n"
    tree = MemoryTree.of({**PROXMOX, "/etc/default/grub": grub, CMDLINE: "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"})
    with pytest.raises(BootConfigError) as caught:
        rendered(tree, facts(id="debian"))
    said = (
        "/etc/default/grub:1: GRUB_CMDLINE_LINUX_DEFAULT, as GRUB's script would have it: 'intel_iommu=on' is missing"
    )
    assert caught.value.brief == said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# c\nroot=x\n", ":1: holds no parameter, and proxmox-boot-tool reads no other line"),
        ("boot=zfs quiet\nroot=x\n", ":1: has no root=, without which proxmox-boot-tool writes no entry"),
        (None, "is missing, and proxmox-boot-tool makes the entries of it"),
    ],
)
def test_proxmox_reads_the_first_line_only(text: str | None, says: str) -> None:
    with pytest.raises(BootConfigError, match=re.escape(says)):
        rendered(arch({**NO_ENTRY, **PROXMOX, CMDLINE: text}))


def test_what_proxmox_does_not_read_does_not_count() -> None:
    after = applied(arch({**NO_ENTRY, **PROXMOX, CMDLINE: f"root=x\n{ADDED} intel_iommu=off\n"}))
    assert after.files[CMDLINE].decode() == f"root=x {ADDED}\n{ADDED}\n"


@pytest.mark.parametrize("indent", [2, 4, None])
@pytest.mark.parametrize("end", ["", "\n"])
def test_kernelstubs_list_is_edited_and_it_is_called(indent: int | None, end: str) -> None:
    own = {"kernel_options": ["quiet", "iommu=soft"], "é": ["x"]}
    settings = {"default": {"kernel_options": ["quiet"]}, "user": own}
    path = "/etc/kernelstub/configuration"
    current = f"{ENTRIES}/Pop_OS-current.conf"
    tree = arch({ENTRY: None, current: entry(), path: json.dumps(settings, indent=indent) + end})
    after = applied(tree)
    own["kernel_options"] = ["quiet", "iommu=pt", "intel_iommu=on"]
    assert after.files[path].decode() == json.dumps(settings, indent=indent) + end
    assert after.files[current] == tree.files[current]
    assert [command.argv for command in rendered(tree).commands] == [("kernelstub",)]
    assert BACKEND.read_back(after, facts(), desired(), generated=True) != ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"user":  {"kernel_options": []}}', "cannot be represented exactly"),
        ('{"user": {}}', "has no list user.kernel_options"),
        ('{"user": {"kernel_options": [1]}}', "has no list user.kernel_options"),
        ('{"user": {"kernel_options": "quiet"}}', "has no list user.kernel_options"),
        ('{"user": {"kernel_options": ["a\\ud800"]}}', r"has 'a\ud800' in user.kernel_options"),
        ('{"user": {"kernel_options": ["a\\u0000"]}}', r"has 'a\x00' in user.kernel_options"),
        (f'{{"a": {"[" * 20_000}{"]" * 20_000}}}', "is not JSON, or nested too deep"),
        (f'{{"a": {"9" * 5000}}}', "is not JSON"),
        ("\udcff", "is not JSON"),
        (f'{{"a": "{"x" * SIZE_LIMIT}"}}', f"is larger than {SIZE_LIMIT} bytes"),
    ],
)
def test_settings_of_kernelstub_that_would_not_come_back_are_refused(text: str, says: str) -> None:
    with pytest.raises(BootConfigError, match=re.escape(says)) as caught:
        rendered(arch({"/etc/kernelstub/configuration": text.encode("utf-8", "surrogateescape")}))
    assert caught.value.code == 78


@pytest.mark.parametrize("text", ["{", '{"user": {}}', '{"user": {"kernel_options": ["a\\ud800"]}}'])
def test_settings_of_kernelstub_that_cannot_be_read_hide_no_entry(text: str) -> None:
    config = BACKEND.read(arch({"/etc/kernelstub/configuration": text}), facts())
    assert (config.future.cmdline, [each.id for each in config.entries]) == (None, ["arch"])
    assert "settings-not-understood" in [one.rule for one in config.findings]


def test_settings_of_kernelstub_that_cannot_be_edited_are_still_shown() -> None:
    tree = arch({"/etc/kernelstub/configuration": '{"user":  {"kernel_options": ["quiet"]}}'})
    assert str(BACKEND.read(tree, facts()).future.cmdline) == "quiet"


def test_sdbootutil_is_called_where_entries_do_not_follow_their_sources() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: f"quiet {ADDED}\n"}
    assert [command.argv for command in rendered(arch(files)).commands] == [("sdbootutil", "update-all-entries")]
    assert rendered(arch({**files, ENTRY: entry(f"{OPTIONS} {ADDED}")})).commands == ()


def test_proxmox_gets_the_file_that_it_would_do_without_where_systemd_boot_is_proven() -> None:
    settings = {"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'}
    tree = arch({**NO_ENTRY, **PROXMOX, **settings, CMDLINE: None})
    runs = "initrd=\\EFI\\proxmox\\6.8.12-8-pve\\initrd.img root=ZFS=x boot=zfs"
    proven = facts(Runtime(runs, is_efi=True, loader_info="systemd-boot 252"), id="debian")
    assert applied(tree, proven).files[CMDLINE].decode() == f"root=ZFS=x boot=zfs {ADDED}\n"
    unknown = facts(id="debian")
    assert CMDLINE not in applied(tree, unknown).files
    assert [
        f"{CMDLINE} is missing, so one that boots by systemd-boot" in one.message
        for one in rendered(tree, unknown).findings
    ] == [True]


@pytest.mark.parametrize("vendor", [{}, {"/usr/lib/kernel/cmdline": f"{OPTIONS}\n"}])
def test_sdbootutil_gets_the_file_that_it_would_do_without(vendor: dict[str, str]) -> None:
    after = applied(arch({"/usr/bin/sdbootutil": "", **vendor}))
    assert after.files[CMDLINE].decode() == f"{OPTIONS} {ADDED}\n"


@pytest.mark.parametrize(
    ("vendor", "line"),
    [
        ({}, f"{OPTIONS} iommu=pt intel_iommu=on"),
        ({"/usr/lib/kernel/cmdline": f"{OPTIONS}\n"}, f"{OPTIONS} {ADDED}"),
    ],
)
def test_a_file_that_is_made_counts_together_with_its_drop_ins(vendor: dict[str, str], line: str) -> None:
    drop_in = "/etc/kernel/cmdline.d/50-site.conf"
    files = {"/usr/bin/sdbootutil": "", drop_in: "# ours\niommu=nopt\n", ENTRY: entry(f"{OPTIONS} iommu=nopt")}
    after = applied(arch({**files, **vendor}))
    assert after.files[drop_in] == b"# ours\n"
    assert str(BACKEND.read(after, facts()).future.cmdline) == line


def test_what_proxmox_reads_of_two_lines_is_what_the_next_kernel_has() -> None:
    tree = arch({**NO_ENTRY, **PROXMOX, CMDLINE: f"root=x\n{ADDED}\n"})
    config = BACKEND.read(tree, facts())
    assert str(config.future.cmdline) == "root=x"
    assert "kernel-cmdline-lines" in [one.rule for one in config.findings]


def test_a_drop_in_of_a_package_is_not_ours_to_change() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: "quiet\n", "/usr/kernel/cmdline.d/a.conf": "iommu=nopt\n"}
    with pytest.raises(BootConfigError, match="holds 'iommu=nopt', and belongs to a package"):
        rendered(arch(files))


def test_a_drop_in_of_a_package_is_replaced_by_one_of_its_name() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: "quiet\n", "/usr/kernel/cmdline.d/a.conf": "iommu=nopt\n"}
    after = applied(arch({**files, "/etc/kernel/cmdline.d/a.conf": ""}))
    assert after.files[CMDLINE].decode() == f"quiet {ADDED}\n"
    assert str(BACKEND.read(after, facts()).future.cmdline) == f"quiet {ADDED}"
