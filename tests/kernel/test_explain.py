# SPDX-License-Identifier: Apache-2.0
"""Explain: every entry of the catalogue in words, with its source; the question that people ask; completion."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from project import PACKAGE
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import NotFoundError
from iommuctl.findings import Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.explain import WIDTH, completions, describe, explain
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Definition
from iommuctl.kernel.spelling import nearest
from iommuctl.lint.engine import Subject, lint
from iommuctl.lint.line_rules import RULES
from iommuctl.profile.shipped import shipped_catalogue

CATALOGUE = shipped_catalogue()
SCHEMA = PACKAGE / "documents" / "schemas" / "explain.json"
WHICH = "iommu=1 or iommu=pt: which of the two do I want?"


def words(text: str) -> str:
    """A text without its line breaks."""
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("definition", CATALOGUE.definitions, ids=lambda one: one.name)
def test_every_parameter_is_explained_with_every_fact_and_its_source(definition: Definition) -> None:
    text = describe(explain(definition.name, CATALOGUE))
    facts = [definition.summary, f"source: {definition.source}", *definition.notes]
    facts += [token.meaning for token in definition.tokens]
    facts += [myth.meaning for myth in definition.myths]
    facts += [fact for fact in (definition.default, definition.effect, definition.same_as) if fact]
    assert [fact for fact in facts if fact not in words(text)] == []
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("asked", ["iommu=1", "iommu=pt", "iommu=on"])
def test_the_question_that_people_ask_is_answered(asked: str) -> None:
    text = words(describe(explain(asked, CATALOGUE)))
    assert WHICH in text
    assert "Never iommu=1" in text
    assert "passthrough-perf, strict-isolation and translated-lazy" in text


def test_other_values_of_it_do_not_raise_the_question() -> None:
    assert WHICH not in describe(explain("iommu=off", CATALOGUE))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("intel_iommu=1", ["a myth: no such token: VT-d is not enabled by it; what is meant is intel_iommu=on"]),
        ("amd-iommu=1", ["a myth: was never a value: AMD-Vi is on by itself"]),
        ("intel_iommu=what", ["no token that an IOMMU acts on"]),
        ("amd_iommu=force-isolation", ["no token that an IOMMU acts on; near it: force_isolation"]),
        ("sev=debug", ["print details"]),
        ("iommu=nodacx", ["read as nodac, for the kernel compares only the beginning: ignored with a warning"]),
        ("iommu=memaper=3", ["GART aperture option, memaper[=order]: no effect on VT-d and AMD-Vi"]),
        ("iommu.strict=0", ["read as 0"]),
        ("iommu.strict=maybe", ["no truth value: the kernel refuses it"]),
        ("iommufd.allow_unsafe_interrupts=1", ["read as 1; weakens isolation"]),
        ("intel_iommu=on,sp_off", [
            'DMA remapping on, if the firmware offers it; the log line "IOMMU enabled" proves only that this was read',
            "no super pages",
        ]),
        ("nointremap", []),
        ("nointremap=1", ["the value is not read: the parameter counts wherever it stands"]),
    ],
)  # fmt: skip
def test_each_item_of_a_value_is_explained(asked: str, said: list[str]) -> None:
    assert [one.meaning for one in explain(asked, CATALOGUE).said] == said


@pytest.mark.parametrize(
    ("asked", "rivals"),
    [
        ("iommu=nopt", {"iommu=pt", "iommu.passthrough=1"}),
        ("iommu.passthrough=1", {
            *("iommu=nopt", "iommu.passthrough=0", "iommu=off", "amd_iommu=force_isolation", "kvm-amd.sev_snp=1"),
        }),
        ("iommu.strict=0", {"iommu.strict=1", "intel_iommu=strict", "amd_iommu=fullflush", "s390_iommu=strict"}),
        ("intremap=on", {"intremap=off", "nointremap"}),
        ("nointremap", {"intremap=on"}),
        ("vfio-pci.ids", {"iommu=off", "intel_iommu=off", "amd_iommu=off"}),
        ("pci=noats", set()),
    ],
)  # fmt: skip
def test_conflicts_are_those_of_the_catalogue(asked: str, rivals: set[str]) -> None:
    assert set(explain(asked, CATALOGUE).rivals) == rivals


def test_what_explain_calls_a_conflict_lint_calls_an_error() -> None:
    silent = []
    for asked in ("iommu=pt", "iommu.strict=0", "intremap=on", "intel_iommu=on", "amd_iommu=pgtbl_v2"):
        for rival in explain(asked, CATALOGUE).rivals:
            found = lint(Subject(Cmdline.parse(f"{asked} {rival}"), CATALOGUE), RULES)
            if not any(one.severity is Severity.ERROR for one in found) and not rival.startswith("s390"):
                silent.append((asked, rival))
    assert silent == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("iommu.pasthrough", "iommuctl explain iommu.passthrough"),
        ("intel_iomu=on", "iommuctl explain intel_iommu"),
        ("INTEL_IOMMU=on", "iommuctl explain intel_iommu"),
    ],
)
def test_a_slip_is_met_with_the_name_that_is_meant(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain(name, CATALOGUE)
    assert (caught.value.code, caught.value.hint) == (66, hint)


@pytest.mark.parametrize(
    "name", ["vfio-pci.nothing", "quiet", "", "console=ttyS0", "root=UUID=1", "kvm.unheard_of=1", "kvm-intel.eptad=1"]
)
def test_a_parameter_outside_the_catalogue_is_said_to_be_kept(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain(name, CATALOGUE)
    assert "outside the catalogue" in caught.value.brief
    assert "kept" in caught.value.details[0]
    assert "explain" not in (caught.value.hint or "")


def test_an_unknown_parameter_of_a_known_module_is_met_with_its_others() -> None:
    with pytest.raises(NotFoundError) as caught:
        explain("vfio-pci.nothing", CATALOGUE)
    assert "vfio-pci.ids" in caught.value.details[1]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("efifb", "video=efifb:off"),
        ("efifb=off", "video=efifb:off"),
        ("vesafb:off", "video=vesafb:off"),
        ("sysfb_init", "initcall_blacklist=sysfb_init"),
        ("igfx_off", "intel_iommu=igfx_off"),
        ("pgtbl_v2", "amd_iommu=pgtbl_v2"),
        ("config_acs", "pci=config_acs="),
    ],
)
def test_a_value_that_is_taken_for_a_parameter_is_met_with_its_own(word: str, value: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        explain(word, CATALOGUE)
    assert f"no parameter by itself, but a value: {value}" in caught.value.details


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("video=efifb:off", "the driver efifb leaves the framebuffer of the firmware alone"),
        ("video=efifb:off,vesafb:off", "read as efifb:off, for the kernel compares only the beginning"),
        ("video=vesafb:off", "read, and without effect: the driver vesafb does not look at the answer"),
        ("video=HDMI-A-1:1920x1080", "mode of a display, or DRIVER:off"),
    ],
)
def test_what_a_framebuffer_driver_makes_of_off_is_said(asked: str, said: str) -> None:
    assert said in words(describe(explain(asked, CATALOGUE)))


@pytest.mark.parametrize(
    "asked",
    [
        *("kvm.ignore_msrs=1", "kvm-intel.nested=1", "kvm-amd.nested=1", "video=efifb:off", "hugepages=16"),
        *("initcall_blacklist=sysfb_init", "pcie_aspm=off", "isolcpus=2-15", "pci=realloc", "kvm-intel.tdx=1"),
    ],
)
def test_what_hypervisor_hosts_set_next_to_the_iommu_is_explained(asked: str) -> None:
    assert explain(asked, CATALOGUE).definition.name == asked.partition("=")[0]


@pytest.mark.parametrize("number", ["1", "2", "0", "16m"])
def test_every_number_of_iommu_is_the_same_myth(number: str) -> None:
    text = words(describe(explain(f"iommu={number}", CATALOGUE)))
    assert f"iommu={number}: a myth: a number is the size in bytes of the remapping area" in text
    assert WHICH in text


def test_passthrough_is_said_to_leave_the_devices_of_guests_as_they_are() -> None:
    text = words(describe(explain("iommu=pt", CATALOGUE)))
    assert "A device that a guest owns is translated with iommu=pt and without it" in text
    assert "What pt gives" in text
    assert "What pt takes" in text


def test_the_parameter_of_xen_is_told_from_that_of_linux() -> None:
    assert "on the line of the hypervisor" in words(describe(explain("iommu=dom0-strict", CATALOGUE)))


@pytest.mark.parametrize(
    ("asked", "release", "said"),
    [
        ("iommu.strict=1", "4.18.0-553.el8_10.x86_64", "iommu.strict=1 is read ("),
        ("iommu.strict=1", "4.18.0-348.el8_5.x86_64", "iommu.strict=1 is not read ("),
        ("iommu.strict=1", "4.18.0-348.el8_5", "iommu.strict=1 is not read on x86"),
        ("amd_iommu=pgtbl_v2", "5.14.0-400.el9", "whether amd_iommu=pgtbl_v2 is read is not known"),
        ("amd_iommu=on", "6.12", "amd_iommu=on is not read ("),
        ("intremap=posted_msi", "6.12.0-55.el10_0.x86_64", "intremap=posted_msi is not read (CONFIG_X86_POSTED_MSI=n"),
        ("intremap=posted_msi", "6.12.0-100.el10uek", "intremap=posted_msi is read ("),
        ("iommufd.allow_unsafe_interrupts", "6.12.107+deb13-amd64", "iommufd.allow_unsafe_interrupts is not read ("),
        ("iommufd.allow_unsafe_interrupts", "5.14.0-427.el9_4.x86_64", "iommufd.allow_unsafe_interrupts is read ("),
        ("intel_iommu=relax_rmrr", "6.8.12-43-pve", "intel_iommu=relax_rmrr is read ("),
        ("intel_iommu=relax_rmrr", "6.1.0-50-amd64", "intel_iommu=relax_rmrr is not read ("),
        ("rd.driver.pre=vfio-pci", "6.1", "rd.driver.pre=vfio-pci is read ("),
    ],
)
def test_a_kernel_is_asked_whether_it_reads_it(asked: str, release: str, said: str) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert f"kernel {kernel}: {said}" in words(describe(explain(asked, CATALOGUE, (kernel,))))


@pytest.mark.parametrize(
    ("asked", "release", "said"),
    [
        ("iommu=pt", "4.18.0-553.el8_10.x86_64", "VT-d off, and with intel_iommu=on untranslated (identity); AMD-Vi"),
        ("iommu.strict", "5.14.0-570.el9_6.x86_64", "VT-d off, and with intel_iommu=on translated lazily (DMA-FQ)"),
        ("intel_iommu", "6.12.107+deb13-amd64", "VT-d on but for integrated GPUs, translated lazily (DMA-FQ)"),
        ("iommu.passthrough", "6.12.107+deb13-arm64", "the SMMU of arm64 translated strictly (DMA) (linux-config"),
        ("iommu.passthrough", "5.15.0-300.el9uek.x86_64", "VT-d on, untranslated (identity); AMD-Vi untranslated"),
        ("iommu=pt", "6.4.0-150700.53.31-default", "how it is configured is not known"),
        ("iommu=pt", "6.12", "how it is configured is not known"),
    ],
)  # fmt: skip
def test_a_kernel_is_asked_what_it_does_by_itself(asked: str, release: str, said: str) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert f"kernel {kernel} by itself: {said}" in words(describe(explain(asked, CATALOGUE, (kernel,))))


def test_what_decides_no_domain_type_raises_no_question_of_it() -> None:
    kernel = Kernel.parse("4.18.0-553.el8_10.x86_64")
    assert kernel is not None
    assert "by itself:" not in describe(explain("vfio-pci.ids", CATALOGUE, (kernel,)))


def test_json_says_what_a_kernel_reads() -> None:
    report = json.loads(run("explain", "iommu.strict", "--kernel", "4.18.0-348.el8_5", "--json"))
    answers = report["parameters"][0]["kernels"]
    assert [(one["architecture"], one["reads"]) for one in answers] == [("arm64", True), ("x86", False)]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("intel_io", ("intel_iommu",)),
        ("iommu.s", ("iommu.strict",)),
        ("iommu.strict=", ("iommu.strict=0", "iommu.strict=1")),
        ("intel_iommu=sm", ("intel_iommu=sm_on", "intel_iommu=sm_off")),
        ("intel_iommu=on,st", ("intel_iommu=on,strict",)),
        ("pci=dis", ("pci=disable_acs_redir=",)),
        ("nothing=", ()),
    ],
)
def test_names_and_values_are_completed_without_myths(typed: str, offered: tuple[str, ...]) -> None:
    assert completions(typed, CATALOGUE) == offered


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("iommu.pasthrough", "iommu.passthrough"),
        ("intel-iomuu", "intel_iommu"),
        ("vfio_pci.isd", "vfio-pci.ids"),
        ("itnremap", "intremap"),
        ("iomum", "iommu"),
        ("iomem", None),
        ("noapic", None),
        ("pcx", None),
        ("amd_pstate", None),
    ],
)
def test_a_slip_is_told_from_another_name(name: str, found: str | None) -> None:
    assert nearest(name, tuple(one.name for one in CATALOGUE.definitions)) == found


def test_every_single_slip_in_a_name_is_found() -> None:
    names = tuple(one.name for one in CATALOGUE.definitions if len(one.name) > 8)
    missed = []
    for name in names[::4]:
        for at in range(len(name) - 1):
            dropped, swapped = name[:at] + name[at + 1 :], name[:at] + name[at + 1] + name[at] + name[at + 2 :]
            missed += [slip for slip in (dropped, swapped, f"{name[:at]}x{name[at:]}") if nearest(slip, names) != name]
    assert missed == []


def run(*arguments: str) -> str:
    """Run a command that succeeds in this process; give all that it prints, which nothing on stderr may be part of."""
    result = CliRunner().invoke(application, arguments, obj=Session(), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_several_parameters_are_explained_in_the_order_asked() -> None:
    text = run("explain", "iommu.strict=1", "nointremap")
    assert text.index("iommu.strict:") < text.index("nointremap: interrupt remapping off")


def test_json_has_what_the_catalogue_has() -> None:
    report = json.loads(run("explain", "nointremap", "amd_iommu=on", "--json"))
    assert report["parameters"][0] == {
        "asked": "nointremap",
        "name": "nointremap",
        "summary": "interrupt remapping off",
        "kind": "early",
        "grammar": "flag",
        "said": [],
        "advice": [],
        "available": [{"architecture": "x86", "since": None, "until": None}],
        "platforms": [],
        "default": None,
        "kconfig": [],
        "effect": None,
        "same_as": "intremap=off",
        "deprecated_since": "4.15",
        "unsafe": "set",
        "conflicts": ["intremap=on"],
        "tokens": [],
        "myths": [],
        "notes": ["sets the same variable as intremap=, so a later intremap=on takes it back"],
        "source": "drivers/iommu/irq_remapping.c:50 setup_nointremap at 7.1.5",
        "kernels": [],
        "defaults": [],
    }
    assert report["parameters"][1]["said"][0]["item"] == "on"


def test_json_says_what_kernels_do_by_themselves() -> None:
    kernels = [word for one in ("4.18.0-553.el8_10.x86_64", "6.6.0-custom.aarch64") for word in ("--kernel", one)]
    found = json.loads(run("explain", "iommu.passthrough", *kernels, "--json"))["parameters"][0]["defaults"]
    config = "kernel-ARCH.config at 4.18.0-240.22.1.el8_3 to 4.18.0-553.66.1.el8_10"
    keys = ("platform", "turns_on", "spares_gpu", "type", "source")
    assert [tuple(one[key] for key in keys) for one in found] == [
        ("intel", False, None, "identity", config),
        ("amd", True, None, "identity", config),
        ("arm64", True, None, None, None),
    ]
    assert json.loads(run("explain", "vfio-pci.ids", *kernels, "--json"))["parameters"][0]["defaults"] == []


def test_json_of_every_parameter_is_what_the_schema_says() -> None:
    report = json.loads(run("explain", *(one.name for one in CATALOGUE.definitions), "--json"))
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert len(report["parameters"]) == len(CATALOGUE.definitions)


@given(st.sampled_from([one.name for one in CATALOGUE.definitions]), st.text(max_size=20))
def test_any_value_of_any_parameter_is_explained(name: str, value: str) -> None:
    told = " ".join(describe(explain(f"{name}={value}", CATALOGUE)).split())  # whichever way it is wrapped
    assert f"source: {CATALOGUE.define(name).source}" in told
