# SPDX-License-Identifier: Apache-2.0
"""What a profile comes to on one host: platform, kernels, inputs, contradictions."""

import pytest

from iommuctl.errors import ProfileError
from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.findings import Severity
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.schema import parse_profile
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles

EL8 = "4.18.0-348.23.1.el8_5.x86_64"
EL9 = "5.14.0-427.el9.x86_64"
REQUIRED = {
    "vfio-bind": {"vfio-pci.ids": "10de:1b80,10de:10f0"},
    "dpdk-host": {"hugepages": "8", "isolcpus": "2-15"},
    "realtime-host": {"isolcpus": "2-15"},
}
PT = "iommu=pt"
PAGES = "default_hugepagesz=1G hugepagesz=1G hugepages=8 isolcpus=2-15"
FREE = "isolcpus=2-15 nohz_full=2-15 rcu_nocbs=2-15"
KEPT = ("igfx_off", "sm_on", "sm_off", "sp_off", "tboot_noforce")


def facts(platform: Platform, *kernels: str) -> Facts:
    return Facts(platform, platform_assumed=False, distribution=Distribution(), kernels=kernels)


def shipped(name: str, platform: str = "intel", *kernels: str, **inputs: str) -> DesiredArguments:
    values = {key.replace("_", "-"): value for key, value in inputs.items()} | REQUIRED.get(name, {})
    profile = load_profile(name, shipped_profiles())
    return resolve(profile, shipped_catalogue(), facts(Platform(platform), *kernels), values)


def own(text: str, platform: str = "x86", **inputs: str) -> DesiredArguments:
    profile = parse_profile(f'name = "mine"\nsummary = "s"\n{text}', "mine.toml")
    return resolve(profile, shipped_catalogue(), facts(Platform(platform)), inputs)


def table(kind: str, parameter: str, more: str = "") -> str:
    return f'[[{kind}]]\nparameter = "{parameter}"\nreason = "r"\n{more}\n'


def wanted(desired: DesiredArguments) -> str:
    return " ".join(map(str, desired.wanted))


STRICT = "iommu.passthrough=0 iommu.strict=1"
LAZY = "iommu.passthrough=0 iommu.strict=0"
BOUND = "vfio-pci.ids=10de:1b80,10de:10f0"


@pytest.mark.parametrize(
    ("name", "intel", "amd", "x86", "arm64"),
    [
        ("passthrough-perf", "intel_iommu=on iommu=pt", "iommu=pt", "intel_iommu=on iommu=pt", "iommu.passthrough=1"),
        ("strict-isolation", f"intel_iommu=on {STRICT}", STRICT, f"intel_iommu=on {STRICT}", STRICT),
        ("translated-lazy", f"intel_iommu=on {LAZY}", LAZY, f"intel_iommu=on {LAZY}", LAZY),
        ("hardened", f"intel_iommu=on {STRICT}", STRICT, f"intel_iommu=on {STRICT}", STRICT),
        (
            "vfio-bind",
            f"intel_iommu=on iommu=pt {BOUND}",
            f"iommu=pt {BOUND}",
            f"intel_iommu=on iommu=pt {BOUND}",
            f"iommu.passthrough=1 {BOUND}",
        ),
        (
            "proxmox-passthrough",
            "intel_iommu=on iommu=pt",
            "iommu=pt",
            "intel_iommu=on iommu=pt",
            "iommu.passthrough=1",
        ),
        (
            "dpdk-host",
            f"intel_iommu=on iommu=pt {PAGES}",
            f"iommu=pt {PAGES}",
            f"intel_iommu=on iommu=pt {PAGES}",
            f"iommu.passthrough=1 {PAGES}",
        ),
        (
            "realtime-host",
            f"intel_iommu=on iommu=pt {FREE}",
            f"iommu=pt {FREE}",
            f"intel_iommu=on iommu=pt {FREE}",
            f"iommu.passthrough=1 {FREE}",
        ),
        ("iommu-off", "intel_iommu=off", "amd_iommu=off", "intel_iommu=off amd_iommu=off", None),
        ("kernel-default", "", "", "", ""),
    ],
)
def test_each_profile_is_the_row_of_the_design(name: str, intel: str, amd: str, x86: str, arm64: str | None) -> None:
    assert wanted(shipped(name, "intel")) == intel
    assert wanted(shipped(name, "amd")) == amd
    assert wanted(shipped(name, "x86")) == x86
    if arm64 is not None:
        assert wanted(shipped(name, "arm64")) == arm64


@pytest.mark.parametrize("platform", ["intel", "x86", "arm64"])
def test_sev_snp_is_of_amd_alone(platform: str) -> None:
    with pytest.raises(ProfileError, match=f"impossible on {platform}"):
        shipped("sev-snp-host", platform)
    assert wanted(shipped("sev-snp-host", "amd")) == "iommu.passthrough=0"
    assert {"iommu=pt", "amd_iommu=pgtbl_v2", "sev=nosnp", "kvm_amd.sev_snp=0"} <= {
        str(one) for one in shipped("sev-snp-host", "amd").unwanted
    }


def test_iommu_off_is_impossible_on_arm64() -> None:
    with pytest.raises(ProfileError, match="impossible on arm64") as caught:
        shipped("iommu-off", "arm64")
    assert caught.value.code == 65


REMOVED = {
    "passthrough-perf": """
        iommu.passthrough iommu.strict intel_iommu=off intel_iommu=strict amd_iommu=off amd_iommu=on amd_iommu=fullflush
        amd_iommu=force_isolation iommu=off iommu=nopt iommu=soft iommu=1 iommu=on iommu=force intremap=off
        intremap=nosid nointremap vfio.enable_unsafe_noiommu_mode""",
    "strict-isolation": """
        iommu=pt iommu=off iommu=soft intel_iommu=off intel_iommu=strict amd_iommu=off amd_iommu=fullflush amd_iommu=on
        intremap=off intremap=nosid nointremap vfio_iommu_type1.allow_unsafe_interrupts=1
        iommufd.allow_unsafe_interrupts=1 vfio.enable_unsafe_noiommu_mode=1 pcie_acs_override
        arm-smmu.disable_bypass=0 arm-smmu-v3.disable_bypass=0""",
    "translated-lazy": """
        iommu=pt iommu=off iommu=soft intel_iommu=off intel_iommu=strict amd_iommu=off amd_iommu=fullflush""",
    "iommu-off": """
        intel_iommu=on intel_iommu=strict amd_iommu=on amd_iommu=fullflush iommu=on iommu=pt iommu.passthrough
        iommu.strict vfio-pci.ids iommuctl.vfio""",
}


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_each_profile_removes_what_the_reference_names(name: str) -> None:
    removed = [str(one) for one in shipped(name).unwanted]
    assert [one for one in removed if one not in MYTHS or one in REMOVED[name].split()] == REMOVED[name].split()


# What guides recommend and no kernel reads so.
MYTHS = {
    *("iommu=1", "iommu=on", "iommu=true", "iommu=enabled", "iommu=auto", "iommu=strict"),
    *("intel_iommu=pt", "intel_iommu=1", "intel_iommu=true", "intel_iommu=enabled", "intel_iommu=igfx-off"),
    *("amd_iommu=on", "amd_iommu=1", "amd_iommu=enable", "amd_iommu=pt", "amd_iommu=nosnp"),
}


@pytest.mark.parametrize("name", sorted(set(shipped_profiles()) - {"kernel-default"}))
def test_every_profile_removes_the_same_myths_and_says_why(name: str) -> None:
    platform = "amd" if name == "sev-snp-host" else "x86"
    removed = {str(one): one.reason for one in shipped(name, platform).unwanted}
    assert set(removed) >= MYTHS
    assert all(removed[one] for one in MYTHS)


def test_a_profile_that_sets_a_myth_keeps_it() -> None:
    assert "iommu=1" not in {str(one) for one in own(table("set", "iommu=1")).unwanted}


def test_hardened_and_vfio_bind_remove_more_than_what_they_extend() -> None:
    strict = {str(one) for one in shipped("strict-isolation").unwanted}
    assert {str(one) for one in shipped("hardened").unwanted} - strict == {
        *("efi=no_disable_early_pci_dma", "sev=nosnp", "amd_iommu=pgtbl_v2")
    }
    passthrough = {str(one) for one in shipped("passthrough-perf").unwanted}
    assert {str(one) for one in shipped("vfio-bind").unwanted} - passthrough == {
        *("pci-stub.ids=10de:1b80", "pci-stub.ids=10de:10f0", "iommuctl.vfio")
    }


def test_vfio_bind_takes_devices_or_ids_and_never_both() -> None:
    profile = load_profile("vfio-bind", shipped_profiles())
    devices = {"devices": "0000:01:00.0@10de:1b80"}
    found = resolve(profile, shipped_catalogue(), facts(Platform.INTEL), devices)
    assert str(found.wanted[-1]) == "iommuctl.vfio=0000:01:00.0@10de:1b80"
    assert "vfio-pci.ids=10de:1b80" in {str(one) for one in found.unwanted}
    assert "vfio-claims-all" not in {one.rule for one in found.findings}
    with pytest.raises(ProfileError, match="takes either"):
        resolve(profile, shipped_catalogue(), facts(Platform.INTEL), devices | REQUIRED["vfio-bind"])
    with pytest.raises(ProfileError, match="is no device such as"):
        resolve(profile, shipped_catalogue(), facts(Platform.INTEL), {"devices": "01:00.0"})


def test_kernel_default_removes_every_iommu_parameter_and_no_device_binding() -> None:
    removed = {str(one) for one in shipped("kernel-default").unwanted}
    assert {
        "iommu",
        "intel_iommu",
        "amd_iommu",
        "iommu.strict",
        "intremap",
        "pci=noats",
        "pcie_acs_override",
    } <= removed
    assert not {"vfio-pci.ids", "pci-stub.ids", "rd.driver.pre", "pci", "efi", "swiotlb", "mem_encrypt"} & removed


@pytest.mark.parametrize("name", sorted(set(shipped_profiles()) - {"kernel-default"}))
def test_tokens_that_a_host_may_need_are_kept(name: str) -> None:
    removed = {str(one) for one in shipped(name, "amd" if name == "sev-snp-host" else "x86").unwanted}
    assert not {"intel_iommu", *(f"intel_iommu={token}" for token in KEPT)} & removed


@pytest.mark.parametrize("name", ["strict-isolation", "hardened"])
def test_strict_profiles_watch_the_bypass_of_the_graphics(name: str) -> None:
    watched = {(one.name, one.value): one.finding.rule for one in shipped(name).watched}
    assert watched == {
        ("intel_iommu", "igfx_off"): "igfx-bypass",
        ("intel_iommu", "tboot_noforce"): "tboot-noforce",
        ("pci", "disable_acs_redir"): "acs-weakened",
        ("pci", "config_acs"): "acs-weakened",
    }


@pytest.mark.parametrize(
    ("platform", "kernels", "expected", "legacy"),
    [
        ("intel", (EL8,), f"intel_iommu=on,strict {STRICT}", ["intel_iommu=strict"]),
        ("intel", (EL9, EL8), f"intel_iommu=on,strict {STRICT}", ["intel_iommu=strict"]),
        ("intel", (EL9,), f"intel_iommu=on {STRICT}", []),
        ("intel", ("unreadable",), f"intel_iommu=on {STRICT}", []),
        ("amd", (EL8,), f"amd_iommu=fullflush {STRICT}", ["amd_iommu=fullflush"]),
        (
            "x86",
            (EL8,),
            f"intel_iommu=on,strict amd_iommu=fullflush {STRICT}",
            ["intel_iommu=strict", "amd_iommu=fullflush"],
        ),
        ("arm64", (EL8,), STRICT, []),
    ],
)
def test_kernels_before_5_14_get_the_older_spelling(
    platform: str, kernels: tuple[str, ...], expected: str, legacy: list[str]
) -> None:
    desired = shipped("strict-isolation", platform, *kernels)
    assert wanted(desired) == expected
    assert [finding.parameter for finding in desired.findings] == legacy
    assert {finding.severity for finding in desired.findings} <= {Severity.INFO}
    assert not set(legacy) & {str(one) for one in desired.unwanted}


def test_only_strict_has_an_older_spelling() -> None:
    assert wanted(shipped("translated-lazy", "intel", EL8)) == f"intel_iommu=on {LAZY}"
    assert wanted(shipped("passthrough-perf", "intel", EL8)) == "intel_iommu=on iommu=pt"


@pytest.mark.parametrize(
    ("name", "platform", "inputs", "expected", "rules"),
    [
        (
            "strict-isolation",
            "amd",
            {"force_isolation": "true"},
            f"amd_iommu=force_isolation {STRICT}",
            ["amdgpu-force-isolation"],
        ),
        ("strict-isolation", "intel", {"force_isolation": "true"}, f"intel_iommu=on {STRICT}", []),
        (
            "hardened",
            "amd",
            {"disable_early_pci_dma": "true", "noats": "true"},
            f"{STRICT} efi=disable_early_pci_dma pci=noats",
            ["early-dma-black-screen"],
        ),
        ("hardened", "arm64", {"disable_early_pci_dma": "true", "noats": "true"}, STRICT, []),
        ("iommu-off", "amd", {}, "amd_iommu=off", ["interrupt-remapping-off", "no-device-assignment"]),
        ("iommu-off", "intel", {}, "intel_iommu=off", ["no-device-assignment"]),
    ],
)
def test_inputs_and_notices(name: str, platform: str, inputs: dict[str, str], expected: str, rules: list[str]) -> None:
    desired = shipped(name, platform, **inputs)
    assert (wanted(desired), [finding.rule for finding in desired.findings]) == (expected, rules)


def test_legacy_tokens_join_the_others_of_their_driver() -> None:
    desired = shipped("strict-isolation", "amd", EL8, force_isolation="true")
    assert wanted(desired) == f"amd_iommu=force_isolation,fullflush {STRICT}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs the input 'vfio-pci.ids'"),
        ({"vfio-pci.ids": "10de"}, "input 'vfio-pci.ids': '10de' is no device id"),
        ({"vfio-pci.ids": "10de:1b80 init=/bin/sh"}, "holds something else"),
        ({"vfio-pci.ids": "10de:1b80;reboot"}, "holds something else"),
        (REQUIRED["vfio-bind"] | {"other": "1"}, "has no input 'other'"),
    ],
)
def test_inputs_are_checked(given: dict[str, str], message: str) -> None:
    profile = load_profile("vfio-bind", shipped_profiles())
    with pytest.raises(ProfileError) as caught:
        resolve(profile, shipped_catalogue(), facts(Platform.INTEL), given)
    assert message in caught.value.brief
    assert caught.value.code == 65


def test_a_missing_input_is_asked_for_whatever_command_needs_it() -> None:
    with pytest.raises(ProfileError) as caught:
        resolve(load_profile("vfio-bind", shipped_profiles()), shipped_catalogue(), facts(Platform.INTEL), {})
    assert caught.value.hint == "run the same command with --set vfio-pci.ids=VALUE"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (table("set", "console=tty0") + table("set", "console=ttyS0"), ["console=tty0", "console=ttyS0"]),
        (table("set", "ivrs_hpet=0@00:14.0") + table("set", "ivrs_hpet=1@00:15.0"),
         ["ivrs_hpet=0@00:14.0", "ivrs_hpet=1@00:15.0"]),
        (table("set", "console=tty0") + table("set", "console=tty0"), ["console=tty0"]),
        (
            "".join(table("set", one) for one in ("hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4")),
            ["hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4"],
        ),
        (table("set", "a=") + table("absent", "a"), ["a="]),
        (table("set", "iommu.strict=1") + table("absent", "iommu.strict"), ["iommu.strict=1"]),
    ],
)  # fmt: skip
def test_values_that_a_profile_may_hold(text: str, values: list[str]) -> None:
    assert wanted(own(text)) == " ".join(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table("set", "iommu=pt") + table("absent", "iommu=pt"), "wants and forbids 'iommu=pt'"),
        (table("set", "iommu=pt") + table("absent", "iommu"), "wants and forbids 'iommu'"),
        (table("set", "quiet") + table("absent", "quiet"), "wants and forbids 'quiet'"),
        (table("set", "iommu=pt") + table("set", "iommu.passthrough=0"), "'iommu=pt' and 'iommu.passthrough=0'"),
        (table("set", "iommu.strict=0") + table("set", "intel_iommu=strict"), "contradicts itself"),
        (table("set", "iommu.strict=0") + table("set", "iommu.strict=1"), "wants both"),
        (table("set", "intel_iommu=on,off"), "contradicts itself"),
        (table("set", "nointremap") + table("set", "intremap=on"), "contradicts itself"),
        (table("set", "iommu.strict=maybe"), "is no truth value"),
        (table("set", "iommu.strict"), "is no truth value"),
        (table("set", "iommu"), "'iommu' lacks a value"),
        (table("set", "vfio-pci.ids"), "'vfio-pci.ids' lacks a value"),
        (table("set", "intel_iommu=on,"), "lacks a value"),
        (
            table("set", "iommu.strict=1", 'platforms = ["intel"]')
            + table("set", "iommu.strict=0", 'platforms = ["amd"]'),
            "wants both",
        ),
        (table("set", "iommu=pt") + '[reset]\nreason = "r"', "wants and forbids 'iommu'"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        own(text)
    assert message in caught.value.brief


def test_x86_drops_what_one_vendor_forbids_and_the_other_sets() -> None:
    text = table("set", "iommu.strict=1", 'platforms = ["amd"]') + table(
        "absent", "iommu.strict", 'platforms = ["intel"]'
    )
    assert wanted(own(text)) == "iommu.strict=1"
    assert {str(one) for one in own(text).unwanted} <= MYTHS
    assert {str(one) for one in own(text, "intel").unwanted} - MYTHS == {"iommu.strict"}


def test_tokens_of_one_parameter_are_set_together() -> None:
    assert wanted(
        own(table("set", "intel_iommu=on") + table("set", "quiet") + table("set", "intel-iommu=sm_on,on"))
    ) == ("intel_iommu=on,sm_on quiet")


def test_an_optional_input_without_a_value_sets_nothing() -> None:
    field = '[[input]]\nname = "root"\ntype = "string"\ndescription = "d"\n'
    text = field + table("set", "resume", 'value_from = "root"')
    assert wanted(own(text)) == ""
    assert wanted(own(text, root="UUID=1-2")) == "resume=UUID=1-2"
