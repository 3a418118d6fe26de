# SPDX-License-Identifier: Apache-2.0
"""Managers: other programs that set kernel parameters, told by what they leave on a host."""

from collections.abc import Mapping

import pytest
from trees import MemoryTree

from iommuctl.running.managers import read_managers

TUNED = "[main]\ninclude=network-latency\n[bootloader]\ncmdline_iommu=+intel_iommu=on iommu=pt\n"


@pytest.mark.parametrize(
    ("files", "managers"),
    [
        (
            {"/etc/tuned/bootcmdline": 'TUNED_BOOT_CMDLINE="isolcpus=2 iommu=pt"\nTUNED_BOOT_INITRD_ADD=\n'},
            [("TuneD", "/etc/tuned/bootcmdline", "isolcpus=2 iommu=pt")],
        ),
        (
            {
                "/etc/tuned/active_profile": "host\n",
                "/etc/tuned/host/tuned.conf": TUNED,
                "/usr/lib/tuned/network-latency/tuned.conf": "[bootloader]\ncmdline_network_latency=skew_tick=1\n",
            },
            [
                ("TuneD", "/usr/lib/tuned/network-latency/tuned.conf", "skew_tick=1"),
                ("TuneD", "/etc/tuned/host/tuned.conf", "intel_iommu=on iommu=pt"),
            ],
        ),
        ({"/etc/tuned/active_profile": "loop\n", "/etc/tuned/loop/tuned.conf": "[main]\ninclude=loop\n"}, []),
        ({"/etc/tuned/active_profile": "../x\n"}, []),
        (
            {"/etc/machine-config-daemon/currentconfig": '{"spec": {"kernelArguments": ["intel_iommu=on"]}}'},
            [("the machine config operator", "/etc/machine-config-daemon/currentconfig", "intel_iommu=on")],
        ),
        (
            {"/etc/machine-config-daemon/currentconfig": "no json"},
            [("the machine config operator", "/etc/machine-config-daemon/currentconfig", "")],
        ),
        (
            {"/etc/machine-config-daemon/currentconfig": "[" * 200_000},
            [("the machine config operator", "/etc/machine-config-daemon/currentconfig", "")],
        ),
        (
            {"/etc/sriov-operator/sriov-interface-result.yaml": ""},
            [("the SR-IOV network operator", "/etc/sriov-operator", "intel_iommu=on iommu=pt")],
        ),
        (
            {
                "/etc/os-release": "ID=gardenlinux\n",
                "/etc/kernel/cmdline.d/50-kvm.cfg": 'CMDLINE_LINUX="$CMDLINE_LINUX iommu=pt"\n',
            },
            [("Garden Linux", "/etc/kernel/cmdline.d/50-kvm.cfg", "$CMDLINE_LINUX iommu=pt")],
        ),
        ({"/etc/os-release": "ID=debian\n", "/etc/kernel/cmdline.d/50.cfg": 'CMDLINE_LINUX="iommu=pt"\n'}, []),
    ],
)
def test_each_is_told_by_what_it_leaves(files: Mapping[str, str], managers: list[tuple[str, str, str]]) -> None:
    found = read_managers(MemoryTree.of(files))
    assert [(one.name, str(one.path), str(one.parameters)) for one in found] == managers
