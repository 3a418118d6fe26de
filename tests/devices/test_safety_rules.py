# SPDX-License-Identifier: Apache-2.0
"""The safety rules: for each a function on which it fires and, next to it, one on which it must not."""

from typing import Any

import pytest

from iommuctl.devices.inventory import Function, Inventory, Role, Use
from iommuctl.devices.judgement import judge, judge_ids
from iommuctl.devices.rules import RULES, Choice
from iommuctl.findings import FORCED_FOR_DEVICES, NEVER_FORCED, Rule, Severity
from iommuctl.running.state import Device

E, W, I = Severity  # noqa: E741 - the tables below are read in columns

PLAIN = Device("0000:01:00.0", "010802", "144d", "a808", "nvme", reset=("flr", "bus"), group=1)
DISK = Function(PLAIN, uses=(Use(Role.DISK, "nvme0n1"),))
NIC = Function(
    PLAIN._replace(device_class="020000", vendor="8086", device="10d3", driver="e1000e"),
    uses=(Use(Role.INTERFACE, "ens1"),),
)
GPU = Function(PLAIN._replace(device_class="030000", vendor="10de", device="1b80", driver="nouveau"))
OTHER_GPU = Function(GPU.device._replace(address="0000:00:02.0", vendor="8086", device="3e9b", group=2))
SOUND = Function(
    GPU.device._replace(address="0000:01:00.1", device_class="040300", device="10f0", driver="snd_hda_intel")
)
USB = Function(PLAIN._replace(device_class="0c0330", vendor="8086", device="43ed", driver="xhci_hcd"))
BRIDGE = Function(PLAIN._replace(address="0000:00:01.0", device_class="060400", driver="pcieport", group=0, port=7))
ROOT, SERIAL = Use(Role.ROOT, "/"), ("serial console ttyS0",)


def on(function: Function, *uses: Use) -> Function:
    return function._replace(uses=uses)


def of(function: Function, **facts: Any) -> Function:  # noqa: ANN401 - whatever a row changes
    return function._replace(device=function.device._replace(**facts))


def alone(function: Function, *others: Function, **facts: Any) -> Choice:  # noqa: ANN401 - likewise
    """One function that is chosen, next to others that are not."""
    made = Inventory.of((function, *others), **facts)
    return Choice(made, frozenset({function.address}))


MATE = of(SOUND, address="0000:02:00.0")
ROWS: list[tuple[Rule, Choice, Severity | None]] = [
    (Rule.DEVICE_CARRIES_ROOT, alone(on(DISK, ROOT)), E),
    (Rule.DEVICE_CARRIES_ROOT, alone(on(DISK, Use(Role.MOUNT, "/srv"))), None),
    (Rule.DEVICE_CARRIES_STORAGE, alone(on(DISK, Use(Role.MOUNT, "/srv"))), E),
    (Rule.DEVICE_CARRIES_STORAGE, alone(on(DISK, Use(Role.HELD, "sda1", "LVM2_member"))), E),
    (Rule.DEVICE_CARRIES_STORAGE, alone(DISK), None),
    (Rule.STORAGE_UNRESOLVED, alone(DISK, unresolved=("/",)), E),
    (Rule.STORAGE_UNRESOLVED, alone(USB, unresolved=("/",)), E),
    (Rule.STORAGE_UNRESOLVED, alone(GPU, unresolved=("/",)), None),
    (Rule.STORAGE_UNRESOLVED, alone(of(DISK, driver="vfio-pci"), unresolved=("/",)), None),
    (Rule.STORAGE_UNRESOLVED, alone(DISK), None),
    (Rule.DEVICE_IS_UPLINK, alone(on(NIC, Use(Role.UPLINK, "ens1"))), E),
    (Rule.DEVICE_IS_UPLINK, alone(on(NIC, Use(Role.LINK, "ens1"))), None),
    (Rule.DEVICE_IN_USE_NETWORK, alone(on(NIC, Use(Role.LINK, "ens1"))), W),
    (Rule.DEVICE_IN_USE_NETWORK, alone(NIC), None),
    (Rule.DEVICE_IN_USE, alone(on(NIC)), W),
    (Rule.DEVICE_IN_USE, alone(NIC), None),
    (Rule.DEVICE_IN_USE, alone(on(of(NIC, driver="vfio-pci"))), None),
    (Rule.DEVICE_IN_USE, alone(GPU), None),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(GPU), E),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(GPU, ways_in=SERIAL), E),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(GPU._replace(is_boot_display=True), OTHER_GPU), E),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(GPU._replace(is_boot_display=True), OTHER_GPU, ways_in=SERIAL), W),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(GPU, OTHER_GPU), None),
    (Rule.DEVICE_IS_BOOT_DISPLAY, alone(of(GPU, driver="vfio-pci")), None),
    (Rule.DEVICE_IS_BMC, alone(of(GPU, vendor="1a03", device="2000", driver="ast"), OTHER_GPU), E),
    (Rule.DEVICE_IS_BMC, alone(of(GPU, vendor="102b", device="0536", driver=None), OTHER_GPU), E),
    (Rule.DEVICE_IS_BMC, alone(of(DISK, driver="hpilo")), E),
    (Rule.DEVICE_IS_BMC, alone(of(GPU, vendor="102b", device="0540"), OTHER_GPU), None),
    (Rule.DEVICE_IS_KEYBOARD, alone(on(USB, Use(Role.KEYBOARD, "Dell"))), W),
    (Rule.DEVICE_IS_KEYBOARD, alone(on(USB, Use(Role.KEYBOARD, "Dell")), keyboards=1), None),
    (Rule.DEVICE_IS_KEYBOARD, alone(USB), None),
    (Rule.DEVICE_IS_BRIDGE, alone(BRIDGE), E),
    (Rule.DEVICE_IS_BRIDGE, alone(of(BRIDGE, device_class="060700")), E),
    (Rule.DEVICE_IS_BRIDGE, alone(DISK), None),
    *((Rule.DEVICE_IS_PLATFORM, alone(of(DISK, device_class=kind)), E) for kind in ("060000", "060100", "0c0500")),
    *((Rule.DEVICE_IS_PLATFORM, alone(of(DISK, device_class=kind)), E) for kind in ("068000", "050000", "080600")),
    (Rule.DEVICE_IS_PLATFORM, alone(of(USB, address="0000:00:1f.5", device_class="0c8000")), E),
    (Rule.DEVICE_IS_PLATFORM, alone(of(SOUND, device_class="0c8000")), None),
    (Rule.DEVICE_HAS_VFS, alone(of(NIC, virtual_functions=2)), E),
    (Rule.DEVICE_HAS_VFS, alone(of(NIC, maximal_virtual_functions=64)), None),
    (Rule.DEVICE_DENYLISTED, alone(of(DISK, vendor="8086", device="37c8")), E),
    (Rule.DEVICE_DENYLISTED, alone(of(DISK, vendor="10de", device="37c8")), None),
    (Rule.RESERVED_DIRECT, alone(NIC._replace(is_pinned=True)), E),
    (Rule.RESERVED_DIRECT, alone(NIC), None),
    (Rule.NO_IOMMU_GROUP, alone(of(NIC, group=None)), W),
    (Rule.NO_IOMMU_GROUP, alone(of(NIC, group=None), OTHER_GPU), W),
    (Rule.NO_IOMMU_GROUP, alone(NIC), None),
    (Rule.GPU_FUNCTIONS, alone(GPU, SOUND, OTHER_GPU), E),
    (Rule.GPU_FUNCTIONS, alone(GPU, of(SOUND, driver="vfio-pci"), OTHER_GPU), None),
    (Rule.GPU_FUNCTIONS, alone(GPU, of(SOUND, vendor="1022"), OTHER_GPU), None),
    (Rule.GROUP_MATES, alone(GPU, MATE, OTHER_GPU), E),
    (Rule.GROUP_MATES, alone(GPU, of(MATE, driver="pcieport"), OTHER_GPU), None),
    (Rule.GROUP_MATES, alone(GPU, of(MATE, driver=None), OTHER_GPU), None),
    (Rule.GROUP_MATES, alone(GPU, of(MATE, driver="mlx5_vfio_pci"), OTHER_GPU), None),
    (Rule.GROUP_MATES, alone(GPU, of(MATE, group=5), OTHER_GPU), None),
    (Rule.GROUP_MATE_ESSENTIAL, alone(GPU, on(MATE, ROOT), OTHER_GPU), E),
    (Rule.GROUP_MATE_ESSENTIAL, alone(GPU, on(MATE, Use(Role.LINK, "ens1")), OTHER_GPU), W),
    (Rule.GROUP_MATE_ESSENTIAL, alone(GPU, MATE, OTHER_GPU), None),
    (Rule.NO_RESET, alone(of(NIC, reset=())), W),
    (Rule.NO_RESET, alone(of(NIC, reset=("bus",)), of(SOUND, group=4)), W),
    (Rule.NO_RESET, alone(of(NIC, reset=("bus",))), None),
    (Rule.NO_RESET, alone(NIC), None),
    (Rule.BEHIND_PCI_BRIDGE, alone(NIC._replace(above=(BRIDGE.address,)), BRIDGE), I),
    (Rule.BEHIND_PCI_BRIDGE, alone(NIC._replace(above=(BRIDGE.address,)), of(BRIDGE, port=4)), None),
    (Rule.DEVICE_IN_GUEST, alone(on(NIC, Use(Role.GUEST, "guest web1"))), W),
    (Rule.DEVICE_IN_GUEST, alone(NIC), None),
    (Rule.REBAR, alone(GPU._replace(rebar=True), OTHER_GPU), I),
    (Rule.REBAR, alone(GPU, OTHER_GPU), None),
    (Rule.VBIOS_BOOT_GPU, alone(GPU._replace(is_boot_display=True, has_rom=True), OTHER_GPU), I),
    (Rule.VBIOS_BOOT_GPU, alone(GPU._replace(has_rom=True), OTHER_GPU), None),
]


@pytest.mark.parametrize(("rule", "choice", "severity"), ROWS)
def test_safety_rule_fires_where_it_must_and_nowhere_else(
    rule: Rule, choice: Choice, severity: Severity | None
) -> None:
    found = [one.severity for one in judge(choice) if one.rule is rule]
    assert found == ([severity] if severity else [])


def test_every_safety_rule_has_a_row_that_fires_and_one_that_must_not() -> None:
    rows = {(row[0], row[2] is not None) for row in ROWS}
    assert {(rule.id, fires) for rule in RULES for fires in (True, False)} <= rows


def test_each_error_is_forced_or_is_not() -> None:
    errors = {rule.id for rule in RULES if rule.severity is Severity.ERROR}
    known = FORCED_FOR_DEVICES | NEVER_FORCED
    assert errors <= known
    assert not FORCED_FOR_DEVICES & NEVER_FORCED


TWIN = of(NIC, address="0000:02:00.0", group=3)
OTHER_CARD = of(TWIN, subsystem=("1043", "8769"))


@pytest.mark.parametrize(
    ("inventory", "value", "meant", "rules"),
    [
        ((NIC,), "8086:10d3", (), []),
        ((NIC,), "8086:10D3", (), []),
        ((NIC,), "8086:dead", (), [(Rule.ID_MATCHES_NOTHING, E)]),
        ((), "8086:dead", (), []),
        ((NIC, TWIN), "8086:10d3", (), [(Rule.IDENTICAL_IDS, W)]),
        ((NIC, TWIN), "8086:10d3", (NIC.address,), [(Rule.IDENTICAL_IDS, E)]),
        ((NIC, TWIN), "8086:10d3", (NIC.address, TWIN.address), []),
        ((NIC, OTHER_CARD), "8086:10d3:1043:8769", (TWIN.address,), []),
        ((BRIDGE,), "144d:a808", (), [(Rule.DEVICE_IS_BRIDGE, E)]),
        (
            (on(DISK, ROOT), of(DISK, address="0000:09:00.0")),
            "144d:a808",
            (),
            [(Rule.IDENTICAL_IDS, W), (Rule.DEVICE_CARRIES_ROOT, E)],
        ),
    ],
)
def test_an_id_counts_for_every_device_that_has_it(
    inventory: tuple[Function, ...], value: str, meant: tuple[str, ...], rules: list[tuple[Rule, Severity]]
) -> None:
    found = judge_ids(Inventory.of(inventory), value, frozenset(meant))
    assert [(one.rule, one.severity) for one in found] == rules
