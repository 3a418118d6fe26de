# SPDX-License-Identifier: Apache-2.0
"""Rules of hosts: for each lines and places where it fires and, next to them, places where it must not."""

from pathlib import PurePosixPath
from typing import NamedTuple

import pytest

from iommuctl.facts import Platform
from iommuctl.findings import Finding, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.environment import Manager, ModuleOption, Seal, Surroundings
from iommuctl.kernel.lines import parse_kernels
from iommuctl.lint.engine import Subject, lint
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES
from iommuctl.profile.desired import DesiredArguments, Wanted
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.state import Device

CATALOGUE = shipped_catalogue()
E, W, I = Severity  # noqa: E741 - the tables below are read in columns
DMAR = frozenset({"DMAR", "FACP"})
MODPROBE, CRYPTTAB = PurePosixPath("/etc/modprobe.d/host.conf"), PurePosixPath("/etc/crypttab")


class Place(NamedTuple):
    """Where a line is used."""

    known: Surroundings = Surroundings()
    kernels: str = ""
    devices: tuple[Device, ...] = ()
    applies: bool = True


def option(module: str, name: str, value: str) -> Surroundings:
    return Surroundings(options=(ModuleOption(module, name, value, MODPROBE),))


def sealed(*pcrs: int) -> Surroundings:
    return Surroundings(seals=(Seal("volume 'root'", CRYPTTAB, frozenset(pcrs)),))


def managed(name: str, line: str) -> Surroundings:
    return Surroundings(managers=(Manager(name, PurePosixPath("/etc/manager"), Cmdline.parse(line)),))


SNP_ON = option("kvm_amd", "sev_snp", "1")
GRACE = (Device("0009:01:00.0", "030200", "10de", "2342", "nvidia"),)
H100S = tuple(Device(f"0000:{bus}:00.0", "030200", "10de", "2330", "nvidia") for bus in ("1b", "43"))
MI300S = tuple(Device(f"0000:{bus}:00.0", "120000", "1002", "74a1", "amdgpu") for bus in ("05", "26"))
IGPU = Device("0000:00:02.0", "030000", "8086", "3e9b", "i915", group=0)
CARD = Device("0000:05:00.0", "030000", "10de", "1b81", "nouveau", group=3)
PCR_8 = "PCR 8: what GRUB runs, the kernel's line included"
DEBIAN = Surroundings(spares_gpu=True)

# rule, line, platform, where, severity of the finding or None where there is none
ROWS: tuple[tuple[str, str, str, Place, Severity | None], ...] = (
    ("myth", "iommu=1", "intel", Place(Surroundings(vtd_default_on=False), applies=False), E),
    ("myth", "iommu=1", "intel", Place(Surroundings(vtd_default_on=True), applies=False), E),
    ("myth", "iommu=pt", "intel", Place(Surroundings(vtd_default_on=True), applies=False), None),
    ("line-ignored", "quiet", "intel", Place(Surroundings(ignores_loader=True)), E),
    ("line-ignored", "quiet", "intel", Place(Surroundings(ignores_loader=False)), None),
    ("bootconfig-too-late", "", "", Place(Surroundings(bootconfig=Cmdline.parse("iommu=pt")), applies=False), E),
    ("bootconfig-too-late", "", "", Place(Surroundings(bootconfig=Cmdline.parse("iommu=pt"))), W),
    ("bootconfig-too-late", "", "", Place(Surroundings(bootconfig=Cmdline.parse("intel_iommu=on quiet"))), None),
    ("xen-host", "", "", Place(Surroundings(is_xen_host=True)), W),
    ("xen-host", "", "", Place(Surroundings(is_xen_host=False)), None),
    ("guest", "iommu.strict=0", "intel", Place(Surroundings(is_guest=True)), W),
    ("guest", "iommu.strict=1", "intel", Place(Surroundings(is_guest=True)), None),
    ("guest", "iommu.strict=0", "intel", Place(Surroundings(is_guest=False)), None),
    ("firmware-off", "intel_iommu=on", "intel", Place(Surroundings(tables=frozenset({"FACP"}))), W),
    ("firmware-off", "intel_iommu=on", "intel", Place(Surroundings(tables=DMAR)), None),
    ("firmware-off", "iommu=pt", "amd", Place(Surroundings(tables=DMAR)), W),
    ("firmware-off", "quiet", "intel", Place(Surroundings(tables=frozenset({"FACP"}))), None),
    ("firmware-off", "intel_iommu=on", "intel", Place(), None),
    ("snp-lost", "iommu=pt", "amd", Place(SNP_ON, "6.12"), W),
    ("snp-lost", "iommu=pt", "amd", Place(SNP_ON, "6.1.0-17-amd64"), W),
    ("snp-lost", "iommu.passthrough=1", "amd", Place(Surroundings(uses_snp=True), "6.12"), W),
    ("snp-lost", "iommu=pt", "amd", Place(Surroundings(has_snp=True), "6.12"), I),
    ("snp-lost", "iommu=pt", "amd", Place(SNP_ON, "7.3"), I),
    ("snp-lost", "iommu=pt", "amd", Place(SNP_ON, "5.10"), None),
    ("snp-lost", "iommu=pt", "amd", Place(option("kvm_amd", "sev_snp", "0"), "6.12"), None),
    ("snp-lost", "iommu=pt", "amd", Place(Surroundings(has_snp=True, uses_snp=False), "6.12"), None),
    ("snp-lost", "iommu=pt iommu=nopt", "amd", Place(SNP_ON, "6.12"), None),
    ("snp-lost", "iommu=pt", "intel", Place(SNP_ON, "6.12"), None),
    ("pasid-under-passthrough", "iommu.passthrough=1", "arm64", Place(kernels="6.8.1", devices=GRACE), W),
    ("pasid-under-passthrough", "iommu.passthrough=1", "arm64", Place(kernels="6.12.1", devices=GRACE), None),
    (
        "pasid-under-passthrough",
        "iommu.passthrough=1",
        "arm64",
        Place(kernels="5.14.0-570.12.1.el9_6.aarch64", devices=GRACE),
        I,
    ),
    ("pasid-under-passthrough", "iommu.passthrough=0", "arm64", Place(kernels="6.8.1", devices=GRACE), None),
    ("pasid-under-passthrough", "iommu.passthrough=1", "arm64", Place(kernels="6.8.1"), None),
    ("gpu-fabric", "iommu.passthrough=0", "intel", Place(devices=H100S), W),
    ("gpu-fabric", "iommu.passthrough=0", "amd", Place(devices=MI300S), W),
    ("gpu-fabric", "iommu.passthrough=1", "arm64", Place(devices=(*GRACE, *H100S)), W),
    ("gpu-fabric", "iommu=pt", "intel", Place(devices=H100S), None),
    ("gpu-fabric", "iommu.passthrough=0", "intel", Place(devices=H100S[:1]), None),
    ("gpu-fabric", "iommu.passthrough=0", "intel", Place(devices=(CARD, IGPU)), None),
    ("integrated-gpu", "intel_iommu=on iommu.passthrough=0", "intel", Place(DEBIAN, devices=(IGPU,)), W),
    ("integrated-gpu", "intel_iommu=on iommu=pt", "intel", Place(DEBIAN, devices=(IGPU,)), None),
    ("integrated-gpu", "intel_iommu=on iommu.passthrough=0", "intel", Place(DEBIAN, devices=(CARD,)), None),
    ("integrated-gpu", "intel_iommu=on iommu.passthrough=0", "intel", Place(devices=(IGPU,)), None),
    ("integrated-gpu", "iommu.passthrough=0", "intel", Place(DEBIAN, devices=(IGPU,)), None),
    ("ids-shadow-modprobe", "vfio-pci.ids=10de:1b81", "", Place(option("vfio_pci", "ids", "10de:2484,10de:228b")), W),
    ("ids-shadow-modprobe", "vfio-pci.ids=10de:2484", "", Place(option("vfio_pci", "ids", "10DE:2484")), None),
    ("ids-shadow-modprobe", "iommu=pt", "", Place(option("vfio_pci", "ids", "10de:2484")), None),
    ("tpm-sealed", "iommu=pt", "", Place(sealed(7, 8)), W),
    ("tpm-sealed", "iommu=pt", "", Place(sealed(7, 12), applies=False), I),
    ("tpm-sealed", "iommu=pt", "", Place(sealed(7)), None),
    ("tpm-sealed", "iommu=pt", "", Place(Surroundings(seals=(Seal("volume 'root'", CRYPTTAB, None),))), W),
    ("tpm-sealed", "iommu=pt", "", Place(), None),
    ("other-manager", "iommu=pt", "", Place(managed("TuneD", "iommu=pt isolcpus=2")), W),
    ("other-manager", "iommu=pt", "", Place(managed("TuneD", "isolcpus=2")), None),
    ("other-manager", "iommu=pt", "", Place(managed("the machine config operator", "")), W),
)  # fmt: skip


def findings(line: str, platform: str, place: Place) -> tuple[Finding, ...]:
    desired = DesiredArguments("own", Platform.X86, (), ()) if place.applies else None
    subject = Subject(
        Cmdline.parse(line),
        CATALOGUE,
        Platform(platform) if platform else None,
        parse_kernels(tuple(place.kernels.split())),
        desired,
        place.known,
        place.devices,
    )
    return lint(subject, (*RULES, *HOST_RULES))


@pytest.mark.parametrize(("rule", "line", "platform", "place", "severity"), ROWS)
def test_host_rule_fires_where_it_must_and_nowhere_else(
    rule: str, line: str, platform: str, place: Place, severity: Severity | None
) -> None:
    found = [one.severity for one in findings(line, platform, place) if one.rule == rule]
    assert found == ([severity] if severity else [])


def test_every_rule_has_a_row_that_fires_and_one_that_must_not() -> None:
    rows = {(row[0], row[4] is not None) for row in ROWS}
    assert {(rule.id, fires) for rule in HOST_RULES for fires in (True, False)} <= rows


@pytest.mark.parametrize(
    ("line", "place", "messages"),
    [
        (
            "vfio-pci.ids=10de:1b81",
            Place(option("vfio_pci", "ids", "10de:2484,10de:1b81")),
            ["takes the place of the ids in /etc/modprobe.d/host.conf: 10de:2484 go back to their own drivers"],
        ),
        (
            "iommu=pt",
            Place(sealed(7, 8)),
            [f"the TPM opens volume 'root' by {PCR_8} (/etc/crypttab); a changed line keeps it shut"],
        ),
        (
            "iommu=pt",
            Place(managed("TuneD", "quiet intel_iommu=on iommu=pt")),
            ["TuneD sets intel_iommu=on iommu=pt too (/etc/manager): who writes last has the last word"],
        ),
    ],
)
def test_what_is_there_is_named(line: str, place: Place, messages: list[str]) -> None:
    assert [one.message for one in findings(line, "amd", place)] == messages


@pytest.mark.parametrize(("asked", "severity"), [("vfio-pci.ids", E), ("iommu", W)])
def test_ids_that_are_asked_for_stop_where_they_shadow_others(asked: str, severity: Severity) -> None:
    wanted = (Wanted(asked, "10de:1b81", "the test"),)
    desired = DesiredArguments("own", Platform.X86, wanted, ())
    known = option("vfio_pci", "ids", "10de:2484")
    subject = Subject(Cmdline.parse("vfio-pci.ids=10de:1b81"), CATALOGUE, None, (), desired, known)
    assert [one.severity for one in lint(subject, HOST_RULES) if one.rule == "ids-shadow-modprobe"] == [severity]
