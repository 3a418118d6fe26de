# SPDX-License-Identifier: Apache-2.0
"""The catalogue: whole, free of contradictions, and read as the kernel reads."""

import re
import subprocess
import sys

import pytest

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import (
    Architecture,
    Assignment,
    Definition,
    Grammar,
    Kind,
    Manages,
    kernel_bool,
    portable_bool,
    same_id,
)
from iommuctl.kernel.span import EVERYWHERE, Spans
from iommuctl.kernel.tables import behaviour, encryption, host, kvm
from iommuctl.kernel.tables.configuration import CONFIGURATION, SOURCES
from iommuctl.profile.shipped import shipped_catalogue

CATALOGUE = shipped_catalogue()


@pytest.mark.parametrize(
    "name",
    [
        *("iommu", "intel_iommu", "amd_iommu", "iommu.passthrough", "iommu.strict", "iommu.forcedac", "amd_iommu_dump"),
        *("iommu.debug_pagealloc", "iommu.prq_timeout", "amd_iommu_intr", "ivrs_ioapic", "ivrs_hpet", "ivrs_acpihid"),
        *("intremap", "nointremap", "nox2apic", "x2apic_phys", "arm-smmu.disable_bypass", "arm-smmu-v3.disable_bypass"),
        *("arm-smmu.force_stage", "arm-smmu-v3.disable_msipolling", "tegra241-cmdqv.disable_cmdqv", "s390_iommu"),
        *("tegra241-cmdqv.bypass_vcmdq", "s390_iommu_aperture", "dom0-iommu", "vfio-pci.ids", "vfio-pci.disable_vga"),
        *("vfio-pci.disable_idle_d3", "vfio-pci.nointxmask", "vfio-pci.enable_sriov", "vfio-pci.disable_denylist"),
        *("vfio_iommu_type1.allow_unsafe_interrupts", "vfio_iommu_type1.disable_hugepages", "rd.driver.pre"),
        "iommuctl.vfio",
        *("vfio_iommu_type1.dma_entry_limit", "iommufd.allow_unsafe_interrupts", "vfio.enable_unsafe_noiommu_mode"),
        *("kvm-amd.avic", "kvm-intel.enable_apicv", "kvm-amd.enable_device_posted_irqs", "pcie_acs_override", "pci"),
        *("kvm-intel.enable_device_posted_irqs", "pcie_ports", "efi", "swiotlb", "mem_encrypt", "sev", "pci-stub.ids"),
    ],
)
def test_catalogue_has_the_parameter_in_both_spellings(name: str) -> None:
    definition = CATALOGUE.known(name)
    assert definition is not None
    assert CATALOGUE.known(name.replace("-", "_")) is definition
    assert CATALOGUE.known(name.replace("_", "-")) is definition


def test_every_alias_names_something_that_sets_a_variable() -> None:
    aliases = {definition.same_as for definition in CATALOGUE.definitions}
    aliases |= {token.same_as for definition in CATALOGUE.definitions for token in definition.tokens}
    assert aliases - {None} == {
        *("iommu.passthrough=1", "iommu.passthrough=0", "iommu.strict=1", "iommu.forcedac=1", "intremap=off")
    }
    for alias in aliases - {None}:
        name, _, value = str(alias).partition("=")
        assert len(CATALOGUE.assignments(name, value)) == 1


def test_no_myth_is_a_token_that_the_kernel_reads() -> None:
    for definition in CATALOGUE.definitions:
        assert [myth.value for myth in definition.myths if definition.tokens_of(myth.value)] == []


def test_only_option_lists_have_tokens_and_only_theirs_are_managed_one_by_one() -> None:
    for definition in CATALOGUE.definitions:
        # The word next to the truth values of a bool is exact, and a truth value it is not.
        words = [token for token in definition.tokens if token.exact and kernel_bool(token.name) is None]
        lists = definition.grammar is Grammar.OPTION_LIST or len(words) == len(definition.tokens)
        # What a value may begin with that is read as one, such as video=efifb:off.
        begins = definition.grammar is Grammar.ACCUMULATING and all(token.foreign for token in definition.tokens)
        assert lists or begins, definition.name
        assert definition.manages is not Manages.TOKENS or definition.tokens, definition.name
        assert definition.available or definition.kind in {Kind.NOBODY, Kind.USERSPACE, Kind.EARLY}, definition.name


def test_one_token_begins_another_only_where_the_kernel_reads_both() -> None:
    overlapping = {
        (definition.name, token.name, other.name)
        for definition in CATALOGUE.definitions
        for token in definition.tokens
        for other in definition.tokens
        if token is not other and not token.takes_value and token.reads(other.name)
    }
    assert overlapping == {("iommu", "force", "forcesac")}


@pytest.mark.parametrize(
    ("name", "item", "tokens"),
    [
        ("iommu", "pt", ["pt"]),
        ("iommu", "ptx", ["pt"]),
        ("iommu", "p", []),
        ("iommu", "forcesac", ["force", "forcesac"]),
        ("iommu", None, []),
        ("intel_iommu", "once", ["on"]),
        ("intel_iommu", "igfx-off", []),
        ("efi", "disable_early_pci_dmax", []),
        ("pci", "noatsx", ["noats"]),
        ("pci", "config_acs=1@0:1.0", ["config_acs"]),
        ("pci", "config_acsx", []),
    ],
)
def test_tokens_match_by_the_kernels_rule(name: str, item: str | None, tokens: list[str]) -> None:
    assert [token.name for token in CATALOGUE.define(name).tokens_of(item)] == tokens


@pytest.mark.parametrize(
    ("name", "item", "variable", "value"),
    [
        ("iommu", "pt", "iommu.passthrough", "1"),
        ("iommu", "nopt", "iommu.passthrough", "0"),
        ("iommu.passthrough", "y", "iommu.passthrough", "1"),
        ("intel-iommu", "strict", "iommu.strict", "1"),
        ("amd_iommu", "fullflush", "iommu.strict", "1"),
        ("s390_iommu", "strict", "iommu.strict", "1"),
        ("intel_iommu", "forcedac", "iommu.forcedac", "1"),
        ("nointremap", None, "intremap:state", "off"),
        ("intremap", "off", "intremap:state", "off"),
        ("intel_iommu", "on", "intel_iommu:state", "on"),
        ("amd_iommu", "off", "amd_iommu:off", "off"),
        ("vfio.enable_unsafe_noiommu_mode", None, "vfio.enable_unsafe_noiommu_mode", "1"),
    ],
)
def test_two_spellings_set_one_variable(name: str, item: str | None, variable: str, value: str) -> None:
    assert CATALOGUE.assignments(name, item) == {Assignment(variable, value)}


@pytest.mark.parametrize(
    ("name", "item"),
    [("iommu.strict", None), ("iommu.strict", "maybe"), ("iommu", "1"), ("amd_iommu", "on"), ("no.such", "1")],
)
def test_what_the_kernel_does_not_read_sets_nothing(name: str, item: str | None) -> None:
    assert CATALOGUE.assignments(name, item) == frozenset()


@pytest.mark.parametrize(
    ("text", "newest", "every"),
    [
        ("1", True, True),
        ("1foo", True, True),
        ("Y", True, True),
        ("on", True, True),
        ("0", False, False),
        ("No", False, False),
        ("of", False, False),
        ("true", True, None),
        ("F", False, None),
        ("enable", True, None),
        ("d", False, None),
        ("o", None, None),
        ("2", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_bool_values_are_read_by_kstrtobool(text: str | None, newest: bool | None, every: bool | None) -> None:
    assert (kernel_bool(text), portable_bool(text)) == (newest, every)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [("10de:1b80", "10DE:1B80", True), ("1:2", "0001:0002", True), ("1:2", "1:2:3", False), ("1:2", "1:3", False)],
)
def test_device_ids_are_numbers(left: str, right: str, same: bool) -> None:
    assert same_id(left, right) is same


@pytest.mark.parametrize(
    ("name", "platform", "kernel", "understood"),
    [
        ("iommu.strict", Platform.INTEL, KernelVersion(5, 12), False),
        ("iommu.strict", Platform.AMD, KernelVersion(5, 14), True),
        ("iommu.strict", Platform.ARM64, KernelVersion(5, 4), True),
        ("arm-smmu-v3.disable_bypass", Platform.ARM64, KernelVersion(6, 8), True),
        ("arm-smmu-v3.disable_bypass", Platform.ARM64, KernelVersion(6, 12), False),
        ("intel_iommu", Platform.AMD, KernelVersion(6, 12), False),
        ("iommu", Platform.ARM64, KernelVersion(6, 12), False),
    ],
)
def test_versions_and_platforms(name: str, platform: Platform, kernel: KernelVersion, understood: bool) -> None:
    assert CATALOGUE.define(name).reads(platform, Kernel.upstream(kernel)) is understood


def test_an_unknown_parameter_matches_by_its_whole_value() -> None:
    definition = CATALOGUE.define("console")
    assert definition.items("ttyS0,115200") == ("ttyS0,115200",)
    assert not definition.serves("ttyS0", "ttyS0,115200")


def test_each_parameter_is_a_row_of_its_own() -> None:
    assert len(CATALOGUE.by_key) == len(CATALOGUE.names) == len(CATALOGUE.definitions)


def test_loading_the_catalogue_takes_neither_a_toml_reader_nor_pydantic_nor_generated_classes() -> None:
    code = "import sys; from iommuctl.kernel import tables; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "iommuctl.kernel.tables.generic" in loaded
    assert {"tomllib", "pydantic", "dataclasses"}.isdisjoint(loaded)


# A file with a release, of the kernel or of the program that reads the parameter.
PLACE = re.compile(r"(?:no match in )?\S*/\S+.* at \S*\d\S*.*")


def spans_of(definition: Definition) -> list[Spans]:
    """Every span of releases that a row and its tokens have."""
    available = [*definition.available, *(one for token in definition.tokens for one in token.available)]
    when = [one for token in definition.tokens for one in (token.deprecated_since, token.inert_since)]
    return [*(one.kernels for one in available), *(one for one in (definition.deprecated_since, *when) if one)]


@pytest.mark.parametrize("definition", CATALOGUE.definitions, ids=lambda one: one.name)
def test_every_row_has_a_source_with_file_and_release(definition: Definition) -> None:
    assert PLACE.fullmatch(definition.source), definition.source
    for spans in spans_of(definition):
        for _, span in spans.lines:
            assert PLACE.fullmatch(span.source), (definition.name, span)
        assert spans.upstream == EVERYWHERE or PLACE.fullmatch(spans.upstream.source), (definition.name, spans.upstream)


def test_every_behaviour_has_a_source_for_each_line() -> None:
    rows = [(name, value) for name, value in vars(behaviour).items() if isinstance(value, Spans) and name != "ALWAYS"]
    assert len(rows) > 25
    for name, spans in rows:
        for span in (spans.upstream, *(span for _, span in spans.lines)):
            assert PLACE.fullmatch(span.source), (name, span)


def test_every_line_with_a_configuration_has_its_source() -> None:
    named = {line for by_architecture in CONFIGURATION.values() for rows in by_architecture.values() for line in rows}
    assert named == set(SOURCES)


@pytest.mark.parametrize("text", ["drivers/iommu/iommu.c", "the source", "arch/x86/kernel/pci-dma.c iommu_setup"])
def test_a_source_without_a_release_is_none(text: str) -> None:
    assert PLACE.fullmatch(text) is None


def test_what_hosts_set_next_to_the_iommu_is_said_of_no_kernel_older_than_those_that_were_read() -> None:
    switches = [*host.PARAMETERS, *kvm.PARAMETERS, *(one for one in encryption.PARAMETERS if one.kind is Kind.MODULE)]
    available = {one.name: one.available for one in switches}
    for definition in CATALOGUE.definitions:
        available |= {f"{definition.name}={one.name}": one.available for one in definition.tokens if one.foreign}
    inherits = {"video=efifb:off", "video=simplefb:off"}  # as long as there is video=
    unbound = {name for name, spans in available.items() if not spans or any(one.since is None for one in spans)}
    assert len(available) > 45
    assert unbound == inherits


@pytest.mark.parametrize(
    ("asked", "release", "known"),
    [
        ("kvm.mmio_caching", "5.10.0-33-amd64", False),
        ("kvm.mmio_caching", "6.1.0-50-amd64", True),
        ("kvm-intel.tdx", "6.12.117+deb13-amd64", False),
        ("kvm-intel.tdx", "7.2.13+deb14-amd64", True),
        ("kvm-amd.sev_es", "5.10.0-33-amd64", False),
        ("kvm-amd.sev_es", "4.18.0-553.el8_10.x86_64", None),
        ("hugepages", "5.10.0-33-amd64", True),
        ("hugepages", "4.18.0-553.el8_10.x86_64", None),
    ],
)
def test_a_switch_of_hosts_is_known_from_the_release_that_was_read(
    asked: str, release: str, known: bool | None
) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert CATALOGUE.define(asked).is_known(Architecture.X86, kernel) is known


def test_what_is_no_matter_of_the_iommu_is_never_managed() -> None:
    managed = {name for name in CATALOGUE.names if CATALOGUE.define(name).manages is not Manages.NOTHING}
    assert managed & {one.name for one in (*host.PARAMETERS, *kvm.PARAMETERS)} == set()
    assert not any(token.foreign for token in CATALOGUE.define("iommu").tokens)
