# SPDX-License-Identifier: Apache-2.0
"""What verify says of every row of the measured matrix: three kernels, emulated units, 40 command lines each."""

import csv
from collections.abc import Mapping

import pytest
from lacking import lacks
from project import SHARED

from iommuctl.app.look.running import desired_now
from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.profile.desired import DesiredArguments, Wanted
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles
from iommuctl.running.state import Device, Group, Observed, Unit
from iommuctl.running.verdict import Verdict, Verification
from iommuctl.running.verify import verify

CATALOGUE = shipped_catalogue()
REFERENCE = SHARED / "reference"
MEASURED = ("6.1", "6.12", "7.2")
INTEL_P, AMD_P = Platform.INTEL, Platform.AMD


def verified(observed: Observed, profile: str, platform: Platform) -> Verification:
    facts = Facts(platform, False, Distribution(), ())
    desired = desired_now(load_profile(profile, shipped_profiles()), CATALOGUE, facts, observed, {})
    return verify(observed, desired, CATALOGUE)


def failed(found: Verification) -> list[str]:
    return [check.name for check in found.failed]


PLATFORMS = {"intel": INTEL_P, "intel-cm": INTEL_P, "amd": AMD_P, "none": INTEL_P, "virtio": INTEL_P}
TABLES = {"intel": "DMAR", "intel-cm": "DMAR", "amd": "IVRS", "virtio": "VIOT", "none": "APIC"}
# What QEMU's units show: caching mode where asked, NpCache always, pass-through and interrupt remapping on Intel.
UNITS = {
    "intel": Unit("dmar0", 0, 0x48),
    "intel-cm": Unit("dmar0", 1 << 7, 0x48),
    "amd": Unit("ivhd0", 1 << 26),
}
# Debian's configuration of the measured kernels.
DEBIAN = {
    "CONFIG_INTEL_IOMMU": "y",
    "CONFIG_AMD_IOMMU": "y",
    "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF": "y",
    "CONFIG_IOMMU_DEFAULT_DMA_LAZY": "y",
}


def measured(release: str) -> list[dict[str, str]]:
    path = REFERENCE / f"iommu-matrix-{release}.tsv"
    if not path.is_file():
        reason = f"no measurements at {path}"
        lacks(reason)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 40
    return rows


def observed_of(row: Mapping[str, str]) -> Observed:
    """What that kernel showed, from the measured groups, units and log."""
    device, off = row["iommu_device"], row["result"] == "no groups"
    count = int(row["groups"].removeprefix("groups="))
    assert (row["units"] == "units=") is off
    return Observed(
        cmdline="" if row["parameters"] == "(nothing)" else row["parameters"],
        release=row["kernel"],
        units=() if off else (UNITS[device],),
        groups=tuple(Group(at, row["result"], (Device(f"0000:00:0{at}.0"),)) for at in range(count)),
        firmware_tables=frozenset({"APIC", TABLES[device]}),
        interrupts_remapped="Enabled IRQ remapping" in row["dmesg"],
        config=DEBIAN,
        config_source="/boot/config",
        hypervisor="QEMU",
    )


@pytest.mark.corpus
@pytest.mark.parametrize("release", MEASURED)
def test_measured_kernels_did_what_their_own_line_promises(release: str) -> None:
    differing = []
    for row in measured(release):
        observed, platform = observed_of(row), PLATFORMS[row["iommu_device"]]
        parameters = Cmdline.parse(observed.cmdline).parameters
        # The last of two spellings of one parameter is what the line means.
        values = {parameter.name: parameter.value for parameter in parameters}
        wanted = tuple(Wanted(name, value, "measured") for name, value in values.items())
        if len(values) < len(parameters):
            continue
        found = verify(observed, DesiredArguments("measured", platform, wanted, ()), CATALOGUE)
        expected = Verdict.FIRMWARE_OFF if row["iommu_device"] == "none" and wanted else Verdict.ACTIVE
        if found.verdict is not expected:
            differing.append((row["iommu_device"], row["parameters"], row["result"], failed(found)))
    assert differing == []


# What a profile promises, as the kernel names it.
PROMISES = {
    "passthrough-perf": {"identity"},
    "strict-isolation": {"DMA"},
    "translated-lazy": {"DMA-FQ"},
    "iommu-off": {"no groups"},
}
EMULATED_STRICTLY = {"intel-cm", "amd"}


@pytest.mark.corpus
@pytest.mark.parametrize("release", MEASURED)
@pytest.mark.parametrize("profile", PROMISES)
def test_effective_state_is_judged_by_what_measured_kernels_did(release: str, profile: str) -> None:
    differing: list[tuple[object, ...]] = []
    for row in measured(release):
        observed, device = observed_of(row), row["iommu_device"]
        found = verified(observed, profile, PLATFORMS[device])
        promised = set(PROMISES[profile])
        if profile == "translated-lazy" and device in EMULATED_STRICTLY:
            promised.add("DMA")
        kept = not {"units", "group-types"} & set(failed(found))
        if kept is not (row["result"] in promised):
            differing.append((device, row["parameters"], row["result"], failed(found)))
        # The firmware is judged off exactly where there is no unit at all, and something is asked of one.
        off = device == "none" and profile != "iommu-off"
        if (found.verdict is Verdict.FIRMWARE_OFF) is not off:
            differing.append((device, row["parameters"], row["result"], str(found.verdict)))
        short = "cmdline" in failed(found)
        if not off and short is not (found.verdict is Verdict.NOT_APPLIED):
            differing.append((device, row["parameters"], "cmdline", str(found.verdict)))
    assert differing == []
