# SPDX-License-Identifier: Apache-2.0
"""The commands that look at the running kernel, on trees that stand for one."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from devicetrees import MACHINES, Machine
from invoked import invoke, report
from kernelhosts import AMD_PASID, FIRMWARE_OFF, GPU, INTEL, RMRR, Pci, link, write
from lacking import program
from project import PROJECT
from pytest_mock import MockerFixture

from iommuctl import __version__
from iommuctl.cli.output.metrics import metrics_text
from iommuctl.host.root import Root
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.verdict import Verdict, Verification

CATALOGUE = shipped_catalogue()
PCI_IDS = """\
8086  Intel Corporation
\t1572  Ethernet Controller X710 "for" 10GbE SFP+
C 02  Network controller
\t00  Ethernet controller
C 06  Bridge
\t04  PCI bridge
"""


def run_in(mocker: MockerFixture) -> None:
    """Take every root for that of the running system from now on."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)


@pytest.fixture
def running(mocker: MockerFixture) -> None:
    """Take every root for that of the running system."""
    run_in(mocker)


@pytest.mark.parametrize("command", ["verify", "groups", "check"])
def test_another_root_has_no_running_kernel(sample_host: Path, command: str) -> None:
    arguments = (command, "strict-isolation") if command == "verify" else (command,)
    assert invoke(sample_host, *arguments) == (2, f"{command} needs the running system")


@pytest.mark.usefixtures("running")
def test_verify_of_an_active_profile(tmp_path: Path) -> None:
    code, text = invoke(AMD_PASID.write(tmp_path), "verify", "strict-isolation", "--platform", "amd")
    assert (code, text) == (
        0,
        """\
result  what                 found
pass    cmdline              the running kernel was started with the parameters of the profile
pass    kernel-version       kernel 6.12 (debian) reads what its line says of the profile
pass    kernel-config        nothing in /boot/config-6.12.107+deb13-amd64 speaks against it
pass    environment          no hypervisor shows
pass    firmware-tables      the firmware tells of an IOMMU: IVRS
pass    units                ivhd0 active
pass    group-types          promised DMA, found 3 DMA, 1 identity; 1 otherwise by the kernel's own rules
pass    ungrouped-devices    every device that can start a transfer is in a group
pass    interrupt-remapping  interrupts go through the IOMMU (IR- in /proc/interrupts)
group 3 is identity: AMD leaves devices with PASID untranslated without force_isolation (0000:03:00.0)

active: the running kernel does what 'strict-isolation' promises: 3 of 4 groups are DMA, 1 otherwise by the \
kernel's own rules
""",
    )


@pytest.mark.usefixtures("running")
def test_verify_that_fails_exits_with_1_and_names_the_way(tmp_path: Path) -> None:
    code, text = invoke(FIRMWARE_OFF.write(tmp_path), "verify", "strict-isolation", "--platform", "intel")
    assert code == 1
    verdict, hint = text.splitlines()[-2:]
    assert verdict == (
        "firmware_off: the firmware shows no IOMMU, and no parameter can change that: "
        "the firmware tells of no IOMMU: none of DMAR VIOT; switch VT-d on in its setup"
    )
    assert hint == "hint: switch the IOMMU on in the setup of the firmware; for a guest, on its host"


@pytest.mark.usefixtures("running")
def test_verify_as_json(tmp_path: Path) -> None:
    code, document = report(INTEL.write(tmp_path), "verify", "verify", "translated-lazy", "--platform", "intel")
    assert (code, document["ok"], document["verdict"], document["exemptions"]) == (1, False, "not_applied", [])
    checks = document["checks"]
    assert isinstance(checks, list)
    assert {one["name"]: one["result"] for one in checks} == {
        "cmdline": "fail",
        "kernel-version": "pass",
        "kernel-config": "pass",
        "environment": "pass",
        "firmware-tables": "pass",
        "units": "pass",
        "group-types": "fail",
        "ungrouped-devices": "pass",
        "interrupt-remapping": "pass",
    }


@pytest.mark.usefixtures("running")
def test_a_verdict_is_written_for_monitoring(tmp_path: Path) -> None:
    path = tmp_path / "iommuctl.prom"
    path.write_text("old\n")
    words = ("strict-isolation", "--platform", "amd", "--metrics", str(path))
    code, _ = invoke(AMD_PASID.write(tmp_path / "host"), "verify", *words)
    lines = path.read_text().splitlines()
    assert (code, path.stat().st_mode & 0o777, [*tmp_path.glob(".iommuctl*")]) == (0, 0o644, [])
    samples = [line for line in lines if not line.startswith("#")]
    assert [one for one in samples if "timestamp" not in one] == [
        "iommuctl_up 1",
        f'iommuctl_profile_info{{profile="strict-isolation",version="{__version__}"}} 1',
        *(f'iommuctl_verdict{{verdict="{one}"}} {int(one == "active")}' for one in Verdict),
        'iommuctl_checks{result="pass"} 9',
        'iommuctl_checks{result="fail"} 0',
        'iommuctl_checks{result="skip"} 0',
    ]
    assert_collected(lines)


# What the collector takes: each metric told once with its type, a sample without a time, and gauges alone.
HELP = re.compile(r"# HELP (iommuctl_[a-z_]+) [^\\]+")
TYPE = re.compile(r"# TYPE (iommuctl_[a-z_]+) gauge")
SAMPLE = re.compile(r'(iommuctl_[a-z_]+)(\{[a-z]+="(?:[^"\\]|\\[\\"n])*"(,[a-z]+="(?:[^"\\]|\\[\\"n])*")*\})? \d+')


def assert_collected(lines: list[str]) -> None:
    """Hold lines against the text format 0.0.4 as node_exporter's collector wants it."""
    told: list[str] = []
    for help_line, *rest in _parts(lines):
        name, kind = HELP.fullmatch(help_line), TYPE.fullmatch(rest[0])
        samples = [SAMPLE.fullmatch(line) for line in rest[1:]]
        names = [one and one[1] for one in (name, kind, *samples)]
        assert samples
        assert len(set(names)) == 1, names
        assert len(set(rest)) == len(rest), "a sample is told twice"
        told.append(str(names[0]))
    assert len(set(told)) == len(told)


def _parts(lines: list[str]) -> Iterator[list[str]]:
    starts = [index for index, line in enumerate(lines) if line.startswith("# HELP")]
    assert starts[0] == 0
    yield from (lines[start:end] for start, end in pairwise([*starts, len(lines)]))


@pytest.mark.usefixtures("running")
def test_monitoring_is_told_of_groups_drift_and_a_reboot(tmp_path: Path) -> None:
    path, host = tmp_path / "iommuctl.prom", tmp_path / "host"
    shutil.copytree(PROJECT / "tests/golden/bls/fedora-42/before", host, symlinks=True)
    # The root and its flags are those of the entries: else they are another system's.
    booted = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 rootflags=subvol=root"
    replace(AMD_PASID, cmdline=f"{booted} {AMD_PASID.cmdline}").write(host)
    assert invoke(host, "apply", "passthrough-perf", "--platform", "amd")[0] == 0
    options = next((host / "boot/loader/entries").glob("*6.14.5*.conf"))
    options.write_text(options.read_text().replace(" iommu=pt", ""))
    assert invoke(host, "verify", "--metrics", str(path))[0] == 1
    lines = path.read_text().splitlines()
    assert_collected(lines)
    samples = [line for line in lines if line[0] != "#"]
    assert samples[samples.index('iommuctl_checks{result="skip"} 0') + 1 :] == [
        'iommuctl_bootloader_info{backend="bls",platform="amd"} 1',
        "iommuctl_reboot_required 1",
        "iommuctl_drift_places 1",
        'iommuctl_findings{severity="error"} 0',
        'iommuctl_findings{severity="warning"} 3',
        'iommuctl_findings{severity="info"} 1',
        "iommuctl_units 1",
        'iommuctl_groups{type="identity"} 1',
        'iommuctl_groups{type="DMA"} 3',
        'iommuctl_groups{type="DMA-FQ"} 0',
        "iommuctl_interrupts_remapped 1",
    ]


def test_a_label_of_metrics_is_escaped() -> None:
    found = Verification('a"b\\c\nd', Verdict.ACTIVE, None, "", (), ())
    assert_collected(metrics_text(found, None, datetime(2026, 1, 2, tzinfo=UTC)).splitlines())


@pytest.mark.usefixtures("running")
def test_where_nothing_can_be_compared_no_old_verdict_is_left_for_monitoring(tmp_path: Path) -> None:
    path = tmp_path / "iommuctl.prom"
    path.write_text('iommuctl_verdict{verdict="active"} 1\n')
    assert invoke(INTEL.write(tmp_path / "host"), "verify", "--metrics", str(path))[0] == 66
    samples = [line.split()[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    assert (samples, "iommuctl_up 0" in path.read_text()) == (
        ["iommuctl_up", "iommuctl_verify_timestamp_seconds"],
        True,
    )


@pytest.mark.usefixtures("running")
def test_verify_needs_a_profile_where_none_is_applied(tmp_path: Path) -> None:
    assert invoke(INTEL.write(tmp_path), "verify") == (66, "no profile is applied")


def test_verify_takes_the_profile_of_the_newest_apply(sample_host: Path, mocker: MockerFixture) -> None:
    for profile in ("passthrough-perf", "strict-isolation"):
        arguments = ("apply", profile, "--platform", "intel", "--regenerate", "never")
        assert invoke(sample_host, *arguments)[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    code, document = report(sample_host, "verify", "verify", "--platform", "intel")
    # The sample host has a kernel in /boot, which is new enough for the generic spelling.
    assert (code, document["profile"], document["verdict"]) == (0, "strict-isolation", "active")


def test_verify_and_status_take_the_inputs_of_the_newest_apply(sample_host: Path, mocker: MockerFixture) -> None:
    arguments = (
        "apply",
        "vfio-bind",
        "--platform",
        "intel",
        "--regenerate",
        "never",
        "--set",
        "vfio-pci.ids=10de:1b80",
    )
    assert invoke(sample_host, *arguments)[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    document = report(sample_host, "verify", "verify", "--platform", "intel")[1]
    assert document["profile"] == "vfio-bind"
    assert "'vfio-pci.ids=10de:1b80' is missing" in str(document["checks"])
    document = report(sample_host, "status", "status", "--platform", "intel", "--backend", "grub2")[1]
    assert "profile-not-compared" not in str(document["findings"])


def test_a_profile_that_was_rolled_back_is_not_the_applied_one(sample_host: Path, mocker: MockerFixture) -> None:
    invoke(sample_host, "apply", "strict-isolation", "--platform", "intel", "--regenerate", "never")
    assert invoke(sample_host, "rollback", "--regenerate", "never")[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    assert invoke(sample_host, "verify", "--platform", "intel") == (66, "no profile is applied")


def test_status_shows_the_effective_state_beside_the_configured_one(sample_host: Path, mocker: MockerFixture) -> None:
    assert report(sample_host, "status", "status")[1]["effective"] is None
    invoke(sample_host, "apply", "strict-isolation", "--platform", "intel", "--regenerate", "never")
    replace(INTEL, types={0: "DMA", 1: "DMA", 2: "identity"}).write(sample_host)
    run_in(mocker)
    arguments = ("status", "--platform", "intel", "--backend", "grub2")
    assert report(sample_host, "status", *arguments)[1]["effective"] == {
        "units": ["dmar0"],
        "group_types": {"DMA": 2, "identity": 1},
        "interrupts_remapped": True,
        "verdict": "drift",
        "by": None,
        "failed": ["group-types"],
    }
    lines = invoke(sample_host, *arguments)[1].splitlines()
    at = lines.index("effective: dmar0; groups: 2 DMA, 1 identity; interrupt remapping on")
    assert lines[at + 1 : at + 3] == [
        "verify: drift",
        "  group-types: promised DMA, found group 2 (0000:01:02.0) identity; the other 2 are as promised",
    ]


def test_status_of_a_profile_that_has_gone_compares_what_was_changed(
    sample_host: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nsummary = "s"\n[[set]]\nparameter = "iommu.passthrough=0"\nreason = "r"\n')
    invoke(sample_host, "apply", str(own), "--platform", "intel", "--regenerate", "never")
    own.unlink()
    replace(INTEL, types={0: "identity", 1: "identity", 2: "identity"}).write(sample_host)
    monkeypatch.setattr(Root, "is_running_system", property(lambda _: True))
    code, document = report(sample_host, "status", "status", "--platform", "intel", "--backend", "grub2")
    effective = document["effective"]
    assert isinstance(effective, dict)
    assert (code, effective["verdict"]) == (0, "drift")


@pytest.mark.usefixtures("running")
def test_groups_as_a_tree(tmp_path: Path) -> None:
    write(tmp_path / "usr/share/misc/pci.ids", PCI_IDS)
    host = replace(RMRR, files={"sys/kernel/iommu_groups/7/type": "DMA\n"})
    link(tmp_path / "sys/kernel/iommu_groups/7/devices/ahci.0", "../../../../devices/platform/ahci.0")
    assert invoke(host.write(tmp_path), "groups") == (
        0,
        """\
group 0  identity
|- 0000:00:01.0  PCI bridge: Intel Corporation 2030 (8086:2030)  [pcieport, reset: none]
`- cannot go to a guest: nothing but bridges
group 1  identity
|- 0000:01:00.0  Ethernet controller: Intel Corporation Ethernet Controller X710 "for" 10GbE SFP+ (8086:1572)  \
[i40e, reset: flr bus, SR-IOV: 1 of 64]
`- cannot go to a guest: 0000:01:00.0: it has 1 virtual function, which would go with it; 0000:01:02.0 is one of them \
(device-has-vfs)
group 2  DMA
|- 0000:01:02.0  Ethernet controller: Intel Corporation 154c (8086:154c)  \
[vfio-pci, reset: unknown, function of 0000:01:00.0]
`- cannot go to a guest: the firmware demands a 1:1 mapping (reserved region 'direct', RMRR)
group 7  DMA
|- ahci.0  [no driver]
`- goes to a guest alone: ahci.0
""",
    )


@pytest.mark.usefixtures("running")
def test_what_shares_a_group_goes_together(tmp_path: Path) -> None:
    sound = Pci("0000:03:00.1", "1002:ab30", "040300", 3, "snd_hda_intel")
    bridge = Pci("0000:02:00.0", "1022:1479", "060400", 3, "pcieport")
    screen = Pci("0000:00:02.0", "1002:1638", "030000", 4, "amdgpu")
    host = replace(AMD_PASID, devices=(bridge, GPU, sound, screen), types={3: "identity", 4: "identity"})
    groups = report(host.write(tmp_path), "groups", "groups")[1]["groups"]
    assert isinstance(groups, list)
    assert (groups[0]["assign_together"], groups[0]["obstacle"]) == (["0000:03:00.0", "0000:03:00.1"], None)
    assert groups[0]["devices"][1] == {
        "address": "0000:03:00.0",
        "class": "030000",
        "vendor": "1002",
        "device": "744c",
        "class_name": None,
        "vendor_name": None,
        "device_name": None,
        "driver": "amdgpu",
        "reset": ["bus"],
        "virtual_functions": 0,
        "maximal_virtual_functions": 0,
        "physical_function": None,
        "usable": True,
        "obstacles": [],
        "carries": [],
    }


@pytest.mark.usefixtures("running")
def test_a_part_of_the_platform_goes_to_no_guest(tmp_path: Path) -> None:
    parts = (Pci("0000:00:00.0", "8086:3ec2", "060000", 3), Pci("0000:00:1f.4", "8086:a2a3", "0c0500", 4, "i801_smbus"))
    host = replace(AMD_PASID, devices=parts, types={3: "identity", 4: "identity"})
    groups = report(host.write(tmp_path), "groups", "groups")[1]["groups"]
    assert isinstance(groups, list)
    assert [(one["assign_together"], one["obstacle"]) for one in groups] == [
        ([], "nothing but bridges and parts of the platform")
    ] * 2


@pytest.mark.usefixtures("running")
def test_what_the_host_needs_keeps_its_group(tmp_path: Path) -> None:
    machine = MACHINES["lvm-on-luks"](Machine(tmp_path))
    machine.pci("0000:00:1f.3", "8086:a2f0", "040300", None, 9)
    groups = report(machine.root, "groups", "groups")[1]["groups"]
    assert isinstance(groups, list)
    told = groups[-1]
    assert (told["assign_together"], told["obstacle"].split(" (")[0]) == (
        [],
        "0000:04:00.0: the host boots and lives from /",
    )
    assert [(one["usable"], [use["name"] for use in one["carries"]]) for one in told["devices"]] == [
        (False, []),
        (False, ["/", "/boot", "/boot/efi", "swap on /dev/dm-2"]),
    ]


@pytest.mark.usefixtures("running")
def test_a_host_without_groups_is_told_so(tmp_path: Path) -> None:
    assert invoke(FIRMWARE_OFF.write(tmp_path), "groups") == (
        0,
        "no IOMMU groups: no IOMMU is active\nhint: iommuctl check\n",
    )
    assert report(tmp_path, "groups", "groups")[1]["groups"] == []


@pytest.mark.usefixtures("running")
def test_a_group_without_an_iommu_goes_nowhere(tmp_path: Path) -> None:
    host = replace(AMD_PASID, devices=(GPU,), types={3: "unknown"})
    write(tmp_path / "sys/kernel/iommu_groups/3/name", "vfio-noiommu\n")
    groups = report(host.write(tmp_path), "groups", "groups")[1]["groups"]
    assert isinstance(groups, list)
    assert (groups[0]["assign_together"], groups[0]["obstacle"]) == (
        [],
        "no IOMMU stands behind this group (vfio-noiommu)",
    )


HOSTILE_NAME = 'a"b\\c\x1b[31m'


@pytest.mark.usefixtures("running")
def test_devices_in_no_group_are_listed(tmp_path: Path) -> None:
    host = replace(INTEL, devices=(replace(GPU, group=None),), types={0: "DMA"})
    text = invoke(host.write(tmp_path), "groups")[1]
    assert text.splitlines()[-3:] == [
        "in no group",
        "|- 0000:03:00.0  class 030000: 1002 744c (1002:744c)  [amdgpu, reset: bus]",
        "`- cannot go to a guest: no IOMMU holds them from any memory",
    ]
    left_out = report(tmp_path, "groups", "groups")[1]["ungrouped"]
    assert isinstance(left_out, list)
    assert [one["address"] for one in left_out] == ["0000:03:00.0"]


@pytest.mark.usefixtures("running")
def test_groups_as_a_graph(tmp_path: Path) -> None:
    write(tmp_path / "usr/share/misc/pci.ids", f"1002  AMD\n\t744c  {HOSTILE_NAME}\n")
    host = replace(AMD_PASID, devices=(GPU,), types={3: "identity"})
    code, text = invoke(host.write(tmp_path), "groups", "--format", "dot")
    assert (code, text) == (
        0,
        """\
graph iommu_groups {
  rankdir=LR;
  ranksep=0.3;
  nodesep=0.1;
  node [shape=box, fontsize=10, margin=0.05, height=0.3];
  subgraph cluster_3 {
    label="group 3: identity";
    "0000:03:00.0" [label="0000:03:00.0\\na\\"b\\\\c\\\\x1b[31m\\namdgpu", style=dashed];
  }
}
""",
    )


@pytest.mark.programs
@pytest.mark.usefixtures("running")
def test_graphviz_reads_the_graph(tmp_path: Path) -> None:
    dot = program("dot")
    write(tmp_path / "usr/share/misc/pci.ids", f"1002  AMD\n\t744c  {HOSTILE_NAME}\n")
    _, text = invoke(AMD_PASID.write(tmp_path), "groups", "--format", "dot")
    drawn = subprocess.run([dot, "-Tplain"], input=text, capture_output=True, text=True, check=False)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert sum(line.startswith("node ") for line in drawn.stdout.splitlines()) == 4


@pytest.mark.programs
@pytest.mark.usefixtures("running")
def test_a_picture_of_many_groups_is_about_as_wide_as_high(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number in range(100):
        port = f"0000:{number // 28:02x}:{number % 28 + 1:02x}.0"
        machine.bridge(port, 2 * number)
        machine.pci(f"{port}/0000:{number + 20:02x}:00.0", "8086:1572", "020000", "i40e", 2 * number + 1)
    _, text = invoke(tmp_path, "groups", "--format", "dot")
    drawn = subprocess.run([program("dot"), "-Tplain"], input=text, capture_output=True, text=True, check=True)
    _, _, width, height = drawn.stdout.splitlines()[0].split()
    assert 0.5 < float(width) / float(height) < 2


def test_check_looks_at_everything(sample_host: Path, mocker: MockerFixture) -> None:
    INTEL.write(sample_host)
    write(sample_host / "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    write(sample_host / "proc/self/mounts", "/dev/sda1 /boot/efi vfat rw 0 0\n/dev/sda2 /boot ext4 rw 0 0\n")
    run_in(mocker)
    code, document = report(sample_host, "check", "check", "--platform", "intel", "--backend", "grub2")
    items = document["items"]
    assert isinstance(items, list)
    assert {one["name"]: one["result"] for one in items} == {
        "cpu-vendor": "pass",
        "firmware-tables": "pass",
        "iommu": "pass",
        "kernel-config": "pass",
        "command-line-read": "pass",
        "guest": "pass",
        "xen": "pass",
        "bootloader": "pass",
        "boot-configuration": "pass",
        "command-line-length": "pass",
        "room-etc": "pass",
        "room-boot": "pass",
        "room-var": "pass",
        "room-boot-efi": "pass",
        "secure-boot": "unknown",
        "lockdown": "pass",
    }
    assert (code, document["ok"]) == (0, True)


@pytest.mark.usefixtures("running")
def test_check_fails_where_something_fails(tmp_path: Path) -> None:
    code, text = invoke(FIRMWARE_OFF.write(tmp_path), "check", "--platform", "intel")
    assert code == 1
    rows = text.splitlines()
    off = "the IOMMU is off in the firmware, or there is none"
    at = rows.index(f"fail     firmware-tables    none of DMAR VIOT: {off}")
    assert rows[at + 1].startswith("    hint: ")
    assert any(row.startswith("fail     bootloader") for row in rows)
