# SPDX-License-Identifier: Apache-2.0
"""What each line and release is said to have, against every row that was read in the sources of these kernels."""

import csv
import re
from collections.abc import Iterator

import pytest
from lacking import lacks
from project import SHARED

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import BUILDS, Kernel, Line
from iommuctl.kernel.parameters import Architecture, Token
from iommuctl.kernel.predict import Machine, defaults, predict
from iommuctl.kernel.span import Spans
from iommuctl.kernel.tables import behaviour
from iommuctl.kernel.tables.configuration import configured
from iommuctl.profile.shipped import shipped_catalogue

CATALOGUE = shipped_catalogue()
TABLE = SHARED / "reference" / "kernel-lines.tsv"
Row = dict[str, str]

BEHAVIOUR = {
    "sysfs iommu_groups/N/type": behaviour.SHOWS_TYPE,
    "sysfs type writable": behaviour.WRITES_TYPE,
    "sysfs type shows DMA-FQ": behaviour.SHOWS_LAZY,
    "sysfs removable attribute of PCI devices": behaviour.SHOWS_REMOVABLE,
    "Kconfig choice IOMMU_DEFAULT_DMA_STRICT/LAZY/PASSTHROUGH": behaviour.HAS_STRICT_CHOICE,
    "log line DMA domain TLB invalidation policy": behaviour.LOGS_POLICY,
    "unknown parameters logged": behaviour.LOGS_UNKNOWN_PARAMETERS,
    "intel_iommu unknown token logged": behaviour.INTEL_LOGS_UNKNOWN_TOKENS,
    "amd_iommu reads whole tokens and logs unknown ones": behaviour.AMD_READS_WHOLE_TOKENS,
    "iommu=soft leaves the hardware IOMMU on": behaviour.SOFT_KEEPS_IOMMU,
    "igfx_off also makes every other display device identity": behaviour.IGFX_OFF_FREES_DISPLAYS,
    "DMAR opt-out of the firmware beats every parameter": behaviour.OPT_OUT_BEATS_LINE,
    "AMD devices with PASID alone are identity": behaviour.PASID_IS_ENOUGH,
    "AMD devices with ATS, PRI and PASID are identity": behaviour.PASID_WITH_ATS_AND_PRI,
    "AMD identity rule gives way to memory encryption": behaviour.ENCRYPTION_TRANSLATES_PASID,
    "SEV-SNP host refused with passthrough": behaviour.SNP_REFUSES_PASSTHROUGH,
    "SEV-SNP host refused with v2 page tables": behaviour.SNP_REFUSES_V2,
    "SEV-SNP rules lifted by FEATURE_SNP_PAGE_MODE0_SUP": behaviour.SNP_LIMITS_LIFTED,
    "AMD host translation may be off in hardware (HATDis)": behaviour.MAY_LACK_HOST_TRANSLATION,
    "untrusted devices translated (Intel)": behaviour.INTEL_TRANSLATES_UNTRUSTED,
    "untrusted devices translated (every driver)": behaviour.TRANSLATES_UNTRUSTED,
    "RMRR devices and PCI devices behind bridges are DMA under passthrough (Intel)": behaviour.RMRR_TRANSLATED,
    "HiSilicon PTT (19e5:a12e) always identity": behaviour.PTT_UNTRANSLATED,
    "Apple DART: units without bypass are DMA, page size larger than the CPU's identity": behaviour.DART_RULES,
    "virtio-iommu takes lazy domains (DMA-FQ)": behaviour.VIRTIO_LAZY,
    "mdev devices get a nameless IOMMU group of their own": behaviour.MDEV_NAMELESS,
    "kvm-amd.avic as int": behaviour.AVIC_INT,
    "kvm-amd.avic=auto": behaviour.AVIC_AUTO,
    "bool value t/f": behaviour.TRUTH_T,
    "bool value e/d": behaviour.TRUTH_E,
}
# What every kernel that was read does; nothing of ours asks for its release.
ALIKE = {
    "igfx_off: devices of units for graphics alone are in no group",
    "hardware without ECAP.PT is translated",
    "kvm-amd.avic as bool",  # what is neither of the other two
}
ABSENT = ("absent", "no", "registered", "iommu=off wins", "user's off wins")
LINES = {"azl3": Line.AZURE}
READ = ("5.10", "6.1", "6.12", "7.2")  # the releases of Debian that were read
VENDORS = {"intel": Platform.INTEL, "amd": Platform.AMD, "arm64": Platform.ARM64}
ARCHITECTURES = {"x86_64": Architecture.X86, "aarch64": Architecture.ARM64, "s390x": Architecture.S390}
OWN_RELEASES = {"24.04 tree": "6.8", "resolute": "7.0", "openSUSE 6.19.11": "6.19", "2026-08": "7.1", "7.2.3": "7.2"}
OWN_RELEASES["openSUSE, release not read"] = "6.19"


def rows() -> list[Row]:
    if not TABLE.is_file():
        lacks(f"no table at {TABLE}")
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def version(text: str) -> KernelVersion:
    found = KernelVersion.parse(text)
    assert found is not None, text
    return found


def kernel(line: Line, release: KernelVersion) -> Kernel:
    bases = {Line.EL8: KernelVersion(4, 18), Line.EL9: KernelVersion(5, 14), Line.EL10: KernelVersion(6, 12)}
    return Kernel(f"{line} {release}", line, bases.get(line, release), None, release, release)


def kernels_of(row: Row) -> Iterator[Kernel]:
    """Each kernel that a row was read in."""
    line = LINES.get(row["line"]) or Line(row["line"])
    first, _, last = OWN_RELEASES.get(row["release"], row["release"]).partition("..")
    known = {release for releases in BUILDS.values() for release in releases} if line in BUILDS else set()
    releases = known or {
        version(one)
        for one in (*READ, *(row[key] for key in ("since", "not_in", "until", "gone_in")))
        if one and one.count(".") == 1
    }
    releases |= {version(first), version(last or first)}
    for release in sorted(releases):
        if version(first) <= release <= version(last or first):
            yield kernel(line, release)


def expected(row: Row, one: Kernel) -> bool | None:
    """What a row says of a kernel; None where it says nothing."""
    if row["value"].startswith(ABSENT):
        return False
    at = one.least
    assert at is not None
    if row["since"] and at < version(row["since"]):
        return False if row["not_in"] and at <= version(row["not_in"]) else None
    if row["until"] and at > version(row["until"]):
        return False if row["gone_in"] and at >= version(row["gone_in"]) else None
    return True


def spans(row: Row) -> Spans | None:
    """The spans of ours that answer for an item; None for what is no parameter, token or behaviour."""
    item = row["item"].removesuffix("=")
    if item in BEHAVIOUR:
        return BEHAVIOUR[item]
    if item.startswith("platform DMA opt-in"):
        return behaviour.OPT_IN_BEATS_OFF
    if " deprecated" in item:
        return _token(item.split(" ")[0]).deprecated_since
    match = re.fullmatch(r"([\w.-]+)(?:=(\w+))?(?: \((x86|arm64|s390)\))?", item.split(",")[0])
    assert match is not None, item
    definition = CATALOGUE.known(match[1])
    assert definition is not None, item
    available = (_token(f"{match[1]}={match[2]}").available if match[2] else ()) or definition.available
    return next(one.kernels for one in available if match[3] in {None, one.on.value})


def _token(text: str) -> Token:
    name, _, value = text.partition("=")
    return next(token for token in CATALOGUE.define(name).tokens if token.name == value)


@pytest.mark.corpus
def test_every_line_and_release_has_what_was_read_in_it() -> None:
    differing = []
    compared = 0
    for row in rows():
        item = row["item"]
        if item in ALIKE or item == "build" or item.startswith(("CONFIG", "default domain type", "everything")):
            continue
        if row["line"] == "upstream" and row["release"] == "6.1.y":
            continue  # a stable release: tests/kernel/test_span.py
        if "iGPU" in item or "integrated GPU" in item:
            continue  # a device of Ubuntu's and Proxmox's kernels, which verify tells
        found = spans(row)
        for one in kernels_of(row):
            wanted, compared = expected(row, one), compared + 1
            got = None if found is None else found.cover(one)
            if (row["line"], item, str(one.base)) == ("upstream", "amd_iommu=irtcachedis", "6.1"):
                wanted = None  # a stable release of it has the token: tests/kernel/test_span.py
            if wanted is not None and got is not wanted:
                differing.append((row["line"], str(one.least), item, wanted, got))
    assert differing == []
    assert compared > 1500


@pytest.mark.corpus
def test_every_line_is_configured_as_it_was_read() -> None:
    differing = []
    for row in rows():
        match = re.fullmatch(r"(CONFIG_\w+) \((.*)\)", row["item"])
        if match is None:
            continue
        names = list(ARCHITECTURES) if match[2] == "all" else match[2].split(", ")
        value = "n" if row["value"].startswith("not in the file") else row["value"][0]
        for one in kernels_of(row):
            for name in names:
                got = configured(one, match[1], ARCHITECTURES[name])
                if got != value:
                    differing.append((row["line"], str(one.least), row["item"], value, got))
    assert differing == []


@pytest.mark.corpus
def test_an_empty_line_leads_to_the_default_that_was_read() -> None:
    differing = []
    for row in rows():
        match = re.fullmatch(r"default domain type, empty line \((\w+)\)", row["item"])
        if match is None or match[1] not in VENDORS:
            continue
        said = row["value"]
        for one in kernels_of(row):
            known = defaults(VENDORS[match[1]], one)
            off = "VT-d off" in said
            kind = said.split("alone: ")[-1].split(",")[0].split(" ")[0]
            kind = "DMA-FQ" if "lazy" in said else kind
            if match[1] == "intel":
                assert known.vtd_on is not off, (row["line"], one.least)
                assert known.spares_gpu is ("integrated GPU identity" in said or None) or not known.spares_gpu
            line = Cmdline.parse("intel_iommu=on" if off else "")
            machine = Machine(VENDORS[match[1]], one, bool(known.vtd_on), bool(known.passthrough), bool(known.strict))
            got = predict(line, machine, CATALOGUE)
            if got != kind or known.passthrough is None or (known.strict is None and not known.passthrough):
                differing.append((row["line"], str(one.least), match[1], said, got, known))
    assert differing == []


@pytest.mark.corpus
def test_each_build_begins_the_release_that_was_read() -> None:
    for row in rows():
        if row["item"] == "build":
            found = Kernel.parse(f"{row['value']}.{row['line']}")
            assert found is not None
            assert found.place == f"{row['line']} {row['release']}"
