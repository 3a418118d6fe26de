# SPDX-License-Identifier: Apache-2.0
"""Groups: what goes to a guest together, as a tree, as JSON and as a picture."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from devicetrees import MACHINES, Machine
from invoked import invoke, report
from kernelhosts import AMD_PASID, FIRMWARE_OFF, GPU, INTEL, RMRR, Pci, link, write
from lacking import program
from runninghost import running

__all__ = ["running"]  # the fixture

PCI_IDS = """\
8086  Intel Corporation
\t1572  Ethernet Controller X710 "for" 10GbE SFP+
C 02  Network controller
\t00  Ethernet controller
C 06  Bridge
\t04  PCI bridge
"""


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
        "reset_methods": ["bus"],
        "numvfs": 0,
        "totalvfs": 0,
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
