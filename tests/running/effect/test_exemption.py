# SPDX-License-Identifier: Apache-2.0
"""What a kernel does by rules of its own, line by line: excused where it is known, not proven where it is not."""

from dataclasses import replace
from pathlib import Path

import pytest
from kernelhosts import AMD, ARM64, IDENTITY, INTEL, INTEL_CONFIG, INTEL_REGISTERS, PASSTHROUGH_LINE, KernelHost, Pci
from verified import observe, verified

from iommuctl.facts import Platform
from iommuctl.running.verdict import Verdict

ACTIVE, DRIFT, UNPROVEN = Verdict.ACTIVE, Verdict.DRIFT, Verdict.UNPROVEN
INTEL_P, AMD_P, ARM_P = Platform.INTEL, Platform.AMD, Platform.ARM64
EL8_4, EL8_10 = "4.18.0-305.3.1.el8_4.x86_64", "4.18.0-553.66.1.el8_10.x86_64"
EL9_4, EL9_6 = "5.14.0-427.13.1.el9_4.x86_64", "5.14.0-570.12.1.el9_6.x86_64"
EULER = "5.10.0-216.0.0.115.oe2203sp4.x86_64"
STRICT_IGFX = "ro intel_iommu=on,igfx_off,strict iommu.passthrough=0 iommu.strict=1"
LAZY = "ro intel_iommu=on iommu.passthrough=0 iommu.strict=0"
DEBIAN_CONFIG = f"{INTEL_CONFIG}CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n"

GPU = Pci("0000:00:02.0", "8086:3e9b", "030000", 3, "i915")
CARD = Pci("0000:03:00.0", "10de:1b80", "030000", 3, "nouveau")
NPU = Pci("0000:c6:00.1", "1022:1502", "118000", 3, "amdxdna", {}, (0x1B,))
WITH_ATS = replace(NPU, extended=(0x0F, 0x13, 0x1B))
PLUGGED = Pci("0000:05:00.0", "8086:15d2", "020000", 3, "igb")
SOLDERED = Pci("0000:00:1f.6", "8086:15b8", "020000", 3, "e1000e")
OLD_CARD = Pci("0000:06:01.0", "1274:5880", "040100", 3, "snd_ens1371", port=None)
TRACER = Pci("0000:7c:00.0", "19e5:a12e", "120000", 3, "hisi_ptt")


def with_device(host: KernelHost, device: Pci, kind: str, release: str, line: str = "", config: str = "") -> KernelHost:
    """The host with one more device in a group of its own."""
    return replace(
        host,
        devices=(*host.devices, device),
        types={**host.types, 3: kind},
        release=release,
        cmdline=line or host.cmdline,
        config=config or host.config,
    )


def passing(release: str, device: Pci) -> KernelHost:
    return with_device(replace(INTEL, types=IDENTITY), device, "DMA", release, PASSTHROUGH_LINE)


@pytest.mark.parametrize(
    ("host", "profile", "platform", "verdict"),
    [
        # igfx_off: the other display devices as well, until drivers/iommu/intel/iommu.c lost IDENTMAP_GFX.
        (with_device(INTEL, CARD, "identity", "6.1.0-50-amd64", STRICT_IGFX), "strict-isolation", INTEL_P, ACTIVE),
        (with_device(INTEL, CARD, "identity", EL8_10, STRICT_IGFX), "strict-isolation", INTEL_P, ACTIVE),
        (with_device(INTEL, CARD, "identity", EL9_4, STRICT_IGFX), "strict-isolation", INTEL_P, ACTIVE),
        (with_device(INTEL, CARD, "identity", EL9_6, STRICT_IGFX), "strict-isolation", INTEL_P, DRIFT),
        (with_device(INTEL, CARD, "identity", "6.12.1", STRICT_IGFX), "strict-isolation", INTEL_P, DRIFT),
        (with_device(INTEL, CARD, "identity", "6.6.1", STRICT_IGFX), "strict-isolation", INTEL_P, UNPROVEN),
        (with_device(INTEL, CARD, "identity", "6.1.0-50-amd64"), "strict-isolation", INTEL_P, DRIFT),
        (
            with_device(
                replace(INTEL, devices=(*INTEL.devices, Pci("0000:00:00.0", "8086:2a40", "060000", None))),
                GPU,
                "identity",
                "6.1.0-50-amd64",
            ),
            "strict-isolation",
            INTEL_P,
            ACTIVE,
        ),
        # Debian's kernel leaves the integrated GPU out until intel_iommu=on takes that back.
        (
            with_device(
                INTEL, GPU, "identity", "6.1.0-50-amd64", "ro", DEBIAN_CONFIG
            ),
            "strict-isolation",
            INTEL_P,
            Verdict.NOT_APPLIED,
        ),
        # AMD: PASID alone from 6.12 and el9 9.5, before together with ATS and PRI.
        (with_device(AMD, NPU, "identity", "6.12.1"), "strict-isolation", AMD_P, ACTIVE),
        (with_device(AMD, NPU, "identity", EL9_6), "strict-isolation", AMD_P, ACTIVE),
        (with_device(AMD, NPU, "identity", EL9_4), "strict-isolation", AMD_P, DRIFT),
        (with_device(AMD, WITH_ATS, "identity", EL9_4), "strict-isolation", AMD_P, ACTIVE),
        (with_device(AMD, NPU, "identity", "6.6.1"), "strict-isolation", AMD_P, UNPROVEN),
        (with_device(AMD, replace(NPU, extended=None), "identity", "6.12.1"), "strict-isolation", AMD_P, UNPROVEN),
        # Untrusted devices: told by `removable`, which el8 and 5.10 do not have.
        (passing("6.12.1", replace(PLUGGED, files={"removable": "removable"})), "passthrough-perf", INTEL_P, ACTIVE),
        (passing("6.12.1", PLUGGED), "passthrough-perf", INTEL_P, DRIFT),
        (passing("5.10.0-40-amd64", PLUGGED), "passthrough-perf", INTEL_P, UNPROVEN),
        (passing(EL8_10, PLUGGED), "passthrough-perf", INTEL_P, UNPROVEN),
        (passing(EULER, PLUGGED), "passthrough-perf", INTEL_P, UNPROVEN),
        (passing("5.10.0-40-amd64", SOLDERED), "passthrough-perf", INTEL_P, DRIFT),
        (
            with_device(replace(AMD, types=IDENTITY), PLUGGED, "DMA", EL8_4, "ro iommu=pt"),
            "passthrough-perf",
            AMD_P,
            DRIFT,
        ),
        # To 5.6 Intel's driver translated conventional devices and whatever has an RMRR.
        (passing("5.4.0-216-generic", OLD_CARD), "passthrough-perf", INTEL_P, ACTIVE),
        (passing("5.10.0-40-amd64", replace(OLD_CARD, address="0000:00:0a.0")), "passthrough-perf", INTEL_P, DRIFT),
        # HiSilicon's tracing device.
        (with_device(ARM64, TRACER, "identity", "6.12.1"), "strict-isolation", ARM_P, ACTIVE),
        (with_device(ARM64, TRACER, "identity", "5.10.0-40-arm64"), "strict-isolation", ARM_P, DRIFT),
    ],
)  # fmt: skip
def test_a_rule_excuses_where_the_line_has_it(
    tmp_path: Path, host: KernelHost, profile: str, platform: Platform, verdict: Verdict
) -> None:
    found = verified(observe(host, tmp_path), profile, platform)
    assert found.verdict is verdict, found.sentence


def test_what_cannot_be_excused_or_blamed_is_named(tmp_path: Path) -> None:
    found = verified(observe(passing("5.10.0-40-amd64", PLUGGED), tmp_path), "passthrough-perf", INTEL_P)
    assert found.exemptions == ()
    assert found.sentence == (
        "promised identity, found group 3 (0000:05:00.0) DMA: a device after an external port would be translated "
        "whatever is asked, and this kernel does not show which are"
    )


def test_no_single_device_explains_that_every_group_is_otherwise(tmp_path: Path) -> None:
    host = replace(INTEL, cmdline=PASSTHROUGH_LINE, release="5.10.0-40-amd64", devices=(replace(PLUGGED, group=1),))
    found = verified(observe(replace(host, types={1: "DMA"}), tmp_path), "passthrough-perf", INTEL_P)
    assert found.verdict is Verdict.IGNORED_BY_KERNEL


EMULATED = {**INTEL_REGISTERS, "cap": "d2008c222f06e6"}


@pytest.mark.parametrize(
    ("host", "platform", "reason"),
    [
        (
            replace(INTEL, cmdline=LAZY, units={"dmar0": INTEL_REGISTERS, "dmar1": EMULATED}),
            INTEL_P,
            "dmar1 is emulated for a guest (caching mode), and its driver never batches",
        ),
        (
            replace(INTEL, cmdline=LAZY, units={"virtio0": {}}, release="6.1.0-50-amd64"),
            INTEL_P,
            "virtio-iommu takes no lazy domains before 6.12",
        ),
    ],
)
def test_strict_where_lazy_was_promised_names_what_cannot(
    tmp_path: Path, host: KernelHost, platform: Platform, reason: str
) -> None:
    found = verified(observe(host, tmp_path), "translated-lazy", platform)
    assert {one.reason for one in found.exemptions} == {reason}
    assert found.is_active


def test_a_dart_does_what_its_hardware_can(tmp_path: Path) -> None:
    host = replace(ARM64, cmdline="ro iommu.passthrough=1", units={"apple-dart.383000000": {}}, release="6.12.1")
    found = verified(observe(host, tmp_path), "passthrough-perf", ARM_P)
    assert (found.verdict, [one.reason for one in found.exemptions]) == (
        ACTIVE,
        ["this DART has no bypass, so its devices are translated"],
    )


def test_a_group_without_a_default_domain_proves_nothing(tmp_path: Path) -> None:
    host = replace(ARM64, types={0: "DMA", 1: "unknown"}, devices=(*ARM64.devices, Pci("ae00000.gpu", "", "", 1)))
    found = verified(observe(host, tmp_path), "strict-isolation", ARM_P)
    assert found.verdict is UNPROVEN
    assert found.sentence == (
        "promised DMA, found group 1 (ae00000.gpu) unknown: its driver gave the group no default domain, "
        "so nothing shows what these devices reach"
    )


def test_mediated_devices_are_in_no_group_of_an_iommu(tmp_path: Path) -> None:
    made_up = Pci("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "", "", 40)
    host = replace(INTEL, devices=(*INTEL.devices, made_up), types={**INTEL.types, 40: "unknown"})
    assert verified(observe(host, tmp_path), "strict-isolation", INTEL_P).is_active
