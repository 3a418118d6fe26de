# SPDX-License-Identifier: Apache-2.0
"""Which token changes bring a line to what is desired, and that they are enough, few and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.predict import DomainType, Machine, predict
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted, Watched
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.segments import Segment, SegmentError, TokenChange, apply_changes
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles

CATALOGUE = shipped_catalogue()


def desire(
    profile: str, platform: Platform = Platform.INTEL, kernel: str = "6.12.1", ids: str | None = None
) -> DesiredArguments:
    facts = Facts(platform, platform_assumed=False, distribution=Distribution(), kernels=(kernel,))
    inputs = {} if ids is None else {"vfio-pci.ids": ids}
    return resolve(load_profile(profile, shipped_profiles()), CATALOGUE, facts, inputs)


def split(parameter: str) -> tuple[str, str | None]:
    name, equals, value = parameter.partition("=")
    return name, value if equals else None


def want(*parameters: str, absent: tuple[str, ...] = ()) -> DesiredArguments:
    wanted = tuple(Wanted(*split(parameter), "w") for parameter in parameters)
    unwanted = tuple(Unwanted(*split(parameter), "u") for parameter in absent)
    return DesiredArguments("test", Platform.X86, wanted, unwanted)


def run(desired: DesiredArguments, *lines: str, into: int = -1) -> tuple[str, ...]:
    """Conform the lines, of which the one with index `into` takes additions."""
    segments = tuple(Segment(Cmdline.parse(line), at == into % len(lines)) for at, line in enumerate(lines))
    changes = Conformer(desired, CATALOGUE).conform(segments)
    return tuple(
        str(apply_changes(segment.cmdline, (change for change in changes if change.segment == at)))
        for at, segment in enumerate(segments)
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "intel_iommu=on iommu=pt"),
        ("quiet splash", "quiet splash intel_iommu=on iommu=pt"),
        ("quiet -- iommu=off", "quiet intel_iommu=on iommu=pt -- iommu=off"),
        ("iommu=pt intel_iommu=on", "iommu=pt intel_iommu=on"),
        ("iommu=ptx intel_iommu=once", "iommu=ptx intel_iommu=once"),
        ("intel-iommu=on iommu=pt", "intel-iommu=on iommu=pt"),
        ('"iommu=pt" intel_iommu="on"', '"iommu=pt" intel_iommu="on"'),
        ("iommu=pt iommu=pt intel_iommu=on,on", "iommu=pt iommu=pt intel_iommu=on,on"),
        ("intel_iommu=igfx_off", "intel_iommu=igfx_off,on iommu=pt"),
        ("intel_iommu=off,igfx_off", "intel_iommu=on,igfx_off iommu=pt"),
        ("intel_iommu=on,strict,igfx_off", "intel_iommu=on,igfx_off iommu=pt"),
        ("intel_iommu=on,off", "intel_iommu=on iommu=pt"),
        ("intel_iommu=on,,sm_on", "intel_iommu=on,,sm_on iommu=pt"),
        ("intel_iommu=", "intel_iommu=on iommu=pt"),
        ("intel_iommu=sm_on,", "intel_iommu=sm_on,on iommu=pt"),
        ("intel_iommu=on intel_iommu=off", "intel_iommu=on iommu=pt"),
        ("iommu=soft", "iommu=pt intel_iommu=on"),
        ("iommu=nopt,panic", "iommu=pt,panic intel_iommu=on"),
        ('"iommu=nopt"  splash', '"iommu=pt"  splash intel_iommu=on'),
        ('iommu="nopt" x', 'iommu="pt" x intel_iommu=on'),
        ("iommu.passthrough=0 iommu_x=1", "iommu_x=1 intel_iommu=on iommu=pt"),
        ("iommu=pt iommu.passthrough=1", "iommu=pt intel_iommu=on"),
        ("iommu.strict=1 nointremap intremap=off,nopost", "intremap=nopost intel_iommu=on iommu=pt"),
        ("iommu=forcesac,pt", "iommu=pt intel_iommu=on"),
        ("iommu=usedac,pt", "iommu=usedac,pt intel_iommu=on iommu=pt"),
        ("amd_iommu=on amd-iommu=fullflush,pgtbl_v1", "amd-iommu=pgtbl_v1 intel_iommu=on iommu=pt"),
        ("iommu=1 intel_iommu=pt", "iommu=pt intel_iommu=on"),
        ("iommu=2 amd_iommu=enable", "iommu=pt intel_iommu=on"),
        ("vfio.enable_unsafe_noiommu_mode", "intel_iommu=on iommu=pt"),
        (
            "console=tty0 console=ttyS0,115200 console=tty0",
            "console=tty0 console=ttyS0,115200 console=tty0 intel_iommu=on iommu=pt",
        ),
        ("  a\tiommu=off  b ", "  a\tiommu=pt  b intel_iommu=on "),
        ("iommu.pt iommu", "iommu.pt iommu intel_iommu=on iommu=pt"),
    ],
)
def test_passthrough_on_intel(before: str, after: str) -> None:
    assert run(desire("passthrough-perf"), before) == (after,)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("iommu.strict=0 x", "iommu.strict=1 x intel_iommu=on iommu.passthrough=0"),
        ("intel_iommu=on iommu.passthrough=n iommu.strict=y", "intel_iommu=on iommu.passthrough=n iommu.strict=y"),
        ("intel_iommu=on iommu.passthrough=of iommu.strict=1x", "intel_iommu=on iommu.passthrough=of iommu.strict=1x"),
        ("iommu.strict iommu.strict=1", "iommu.strict=1 intel_iommu=on iommu.passthrough=0"),
        ("iommu.strict=enable", "iommu.strict=1 intel_iommu=on iommu.passthrough=0"),
        ('"iommu.strict=0"', '"iommu.strict=1" intel_iommu=on iommu.passthrough=0'),
        ("iommu.strict=0 iommu.strict=0", "iommu.strict=1 intel_iommu=on iommu.passthrough=0"),
        ("iommu=pt", "intel_iommu=on iommu.passthrough=0 iommu.strict=1"),
        ("iommu=nopt", "iommu=nopt intel_iommu=on iommu.passthrough=0 iommu.strict=1"),
        ("intel_iommu=strict,tboot_noforce", "intel_iommu=tboot_noforce,on iommu.passthrough=0 iommu.strict=1"),
        ("iommufd.allow_unsafe_interrupts", "intel_iommu=on iommu.passthrough=0 iommu.strict=1"),
    ],
)
def test_strict_on_intel(before: str, after: str) -> None:
    assert run(desire("strict-isolation"), before) == (after,)


@pytest.mark.parametrize(
    "token", ["iommufd.allow_unsafe_interrupts=0", "pci=config_acs=1@0:1.0;0:2.0,nomsi", "amd_iommu=force_isolation"]
)
def test_strict_keeps_what_does_not_weaken_it_or_is_only_warned_of(token: str) -> None:
    line = "intel_iommu=on iommu.passthrough=0 iommu.strict=1"
    assert run(desire("strict-isolation"), f"{token} {line}") == (f"{token} {line}",)


def test_a_lazy_profile_removes_the_spelling_that_is_read_later() -> None:
    assert run(desire("translated-lazy"), "iommu.passthrough=0 iommu.strict=0 intel_iommu=on,strict") == (
        "iommu.passthrough=0 iommu.strict=0 intel_iommu=on",
    )


def test_a_kernel_before_5_14_gets_the_older_spelling_too() -> None:
    desired = desire("strict-isolation", kernel="4.18.0-348.el8_5.x86_64")
    assert run(desired, "intel_iommu=on quiet") == ("intel_iommu=on,strict quiet iommu.passthrough=0 iommu.strict=1",)


def test_kernel_default_keeps_device_bindings_firmware_fixes_and_foreign_tokens() -> None:
    line = (
        "ro iommu=1 pci=noats,nomsi vfio-pci.ids=8086:1572 efi=runtime,disable_early_pci_dma"
        " intel_iommu=on,sm_on ivrs_hpet=0@00:14.0"
    )
    assert run(desire("kernel-default"), line) == (
        "ro pci=nomsi vfio-pci.ids=8086:1572 efi=runtime ivrs_hpet=0@00:14.0",
    )


@pytest.mark.parametrize(
    ("lines", "after"),
    [
        (("intel_iommu=on", "quiet"), ("intel_iommu=on", "quiet iommu=pt")),
        (("iommu=off", "quiet"), ("", "quiet intel_iommu=on iommu=pt")),
        (("intel_iommu=off,igfx_off", ""), ("intel_iommu=igfx_off", "intel_iommu=on iommu=pt")),
        (("iommu=pt", "iommu=nopt intel_iommu=on"), ("iommu=pt", "intel_iommu=on")),
        (("intel_iommu=on iommu=pt", "quiet -- iommu=off"), ("intel_iommu=on iommu=pt", "quiet -- iommu=off")),
        (("intel_iommu=on iommu=pt --", "iommu=off"), ("intel_iommu=on iommu=pt --", "iommu=off")),
    ],
)
def test_additions_go_to_the_segment_that_takes_them_and_removals_to_any(
    lines: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert run(desire("passthrough-perf"), *lines) == after


def test_a_wrong_value_is_replaced_in_place_only_where_additions_go() -> None:
    assert run(want("iommu.strict=1"), "iommu.strict=0 a", "b iommu.strict=0 c") == ("a", "b iommu.strict=1 c")
    assert run(want("iommu.strict=1"), "iommu.strict=0 a", "b") == ("a", "b iommu.strict=1")
    assert run(want("iommu.strict=1"), "a iommu.strict=0", "b iommu.strict=0", into=0) == ("a iommu.strict=1", "b")


@pytest.mark.parametrize(
    ("lines", "after"),
    [
        (("quiet",), ("quiet iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",)),
        (("iommu=pt vfio_pci.ids=10DE:1B80,10de:10f0",), ("iommu=pt vfio_pci.ids=10DE:1B80,10de:10f0",)),
        (("iommu=pt vfio-pci.ids=8086:1572",), ("iommu=pt vfio-pci.ids=8086:1572,10de:1b80,10de:10f0",)),
        (("iommu=pt vfio-pci.ids=1:2 vfio-pci.ids=10de:10f0",), ("iommu=pt vfio-pci.ids=10de:10f0,10de:1b80",)),
        (
            ("iommu=pt vfio-pci.ids=10de:1b80 vfio-pci.ids=10de:1b80,10de:10f0",),
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",),
        ),
        (
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0 vfio-pci.ids=10de:1b80,10de:10f0",),
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0 vfio-pci.ids=10de:1b80,10de:10f0",),
        ),
        (("vfio-pci.ids=8086:1572", "iommu=pt"), ("", "iommu=pt vfio-pci.ids=8086:1572,10de:1b80,10de:10f0")),
        (("vfio-pci.ids=10de:1b80,10de:10f0", "iommu=pt"), ("vfio-pci.ids=10de:1b80,10de:10f0", "iommu=pt")),
        (("iommu=pt vfio-pci.ids",), ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",)),
        (("iommu=pt vfio-pci.ids=",), ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",)),
        (
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0 pci-stub.ids=10de:1b80,1:2",),
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0 pci-stub.ids=1:2",),
        ),
        (
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0 pci-stub.ids=1:2 pci-stub.ids=10de:1b80",),
            ("iommu=pt vfio-pci.ids=10de:1b80,10de:10f0",),
        ),
    ],
)
def test_device_ids_merge_into_the_occurrence_that_counts(lines: tuple[str, ...], after: tuple[str, ...]) -> None:
    assert run(desire("vfio-bind", Platform.AMD, ids="10de:1b80,10de:10f0"), *lines) == after


@pytest.mark.parametrize(
    ("wanted", "absent", "before", "after"),
    [
        (("console=tty0", "console=ttyS0"), (), "ro", "ro console=tty0 console=ttyS0"),
        (("console=tty0", "console=ttyS0"), (), "console=ttyS0 ro", "ro console=tty0 console=ttyS0"),
        (("console=tty0", "console=ttyS0"), (), "console=tty0 ro", "console=tty0 ro console=ttyS0"),
        (("console=tty0", "console=ttyS0"), (), "console=tty0 console=hvc0 console=ttyS0", None),
        (("ivrs_ioapic=1@00:14.0", "ivrs_ioapic=2@00:15.0"), (), "ro",
         "ro ivrs_ioapic=1@00:14.0 ivrs_ioapic=2@00:15.0"),
        (("hugepagesz=1G", "hugepages=4", "hugepagesz=2M", "hugepages=8"), (), "hugepages=4 ro",
         "ro hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=8"),
        (("hugepagesz=1G", "hugepages=4"), (), "hugepagesz=1G hugepages=4 ro", None),
        (("hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4"), (), "ro",
         "ro hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=4"),
        (("hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4"), (), "hugepagesz=2M hugepages=4 ro",
         "hugepagesz=2M hugepages=4 ro hugepagesz=1G hugepages=4"),
        (("hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4"), (), "hugepagesz=1G hugepages=4 ro",
         "ro hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=4"),
        (("hugepagesz=2M", "hugepages=4", "hugepagesz=1G", "hugepages=4"), (),
         "hugepagesz=2M hugepages=4 x hugepagesz=1G hugepages=4", None),
        (("a=9",), ("a",), "x a=3 y", "x a=9 y"),
        (("a=9",), ("a",), "x a y a=4", "x a=9 y"),
        (("a=9",), ("a",), "a=9 y a=4", "a=9 y"),
        (("a=9",), ("a",), "x", "x a=9"),
        (("a=1", "a=2"), ("a",), "a=7 x a=8 a=9", "a=1 x a=2"),
        (("a=",), ("a",), "x a=3", "x a="),
        (("a=",), (), "x a", "x a a="),
        (("a=",), (), "a= x", None),
        (("hugepages=9",), ("hugepages",), "hugepagesz=1G hugepages=4 x", "hugepagesz=1G hugepages=9 x"),
    ],
)  # fmt: skip
def test_each_value_of_a_name_is_there_in_its_order(
    wanted: tuple[str, ...], absent: tuple[str, ...], before: str, after: str | None
) -> None:
    desired = want(*wanted, absent=absent)
    once = run(desired, before)
    assert once == (after or before,)
    assert run(desired, *once) == once


@pytest.mark.parametrize(
    ("lines", "into", "after"),
    [
        (("", "console=tty0"), 0, ("console=tty0 console=ttyS0", "")),
        (("console=tty0", ""), -1, ("console=tty0", "console=ttyS0")),
        (("console=ttyS0", "x"), -1, ("", "x console=tty0 console=ttyS0")),
    ],
)
def test_values_keep_their_order_over_the_segments_of_a_line(
    lines: tuple[str, ...], into: int, after: tuple[str, ...]
) -> None:
    desired = want("console=tty0", "console=ttyS0")
    assert run(desired, *lines, into=into) == after
    assert run(desired, *after, into=into) == after


def test_unknown_parameters_are_added_beside_others_of_their_name() -> None:
    assert run(want("console=ttyS0,115200", "quiet"), "console=tty0") == ("console=tty0 console=ttyS0,115200 quiet",)
    assert run(want(absent=("console=tty0",)), "console=tty0 console=ttyS0") == ("console=ttyS0",)
    assert run(want(absent=("console",)), "console=tty0 x console=ttyS0") == ("x",)


def test_changes_name_each_token_with_its_reason() -> None:
    segments = (
        Segment(Cmdline.parse("a iommu=off"), takes_additions=False),
        Segment(Cmdline.parse("intel_iommu=off,sm_on"), takes_additions=True),
    )
    desired = want("intel_iommu=on", "iommu=pt", absent=("iommu=off",))
    assert Conformer(desired, CATALOGUE).conform(segments) == (
        TokenChange(0, 1, "iommu=off", None, "u"),
        TokenChange(1, 0, "intel_iommu=off,sm_on", "intel_iommu=on,sm_on", "contradicts intel_iommu=on: w; w"),
        TokenChange(1, None, None, "iommu=pt", "w"),
    )


@pytest.mark.parametrize(
    ("lines", "segment", "index"),
    [
        (("quiet -- init", "splash"), 0, 1),
        (('a="x', "splash"), 0, 0),
        (("quiet", 'b a="x'), 1, 1),
        (('intel_iommu="on,x,strict,y"z',), 0, 0),
    ],
)
def test_what_the_kernel_would_not_read_is_refused(lines: tuple[str, ...], segment: int, index: int) -> None:
    desired = want("iommu=pt", absent=('intel_iommu=y"z',))
    with pytest.raises(SegmentError) as caught:
        run(desired, *lines)
    assert (caught.value.segment, caught.value.index) == (segment, index)


def test_no_segment_for_additions_is_refused() -> None:
    with pytest.raises(SegmentError):
        Conformer(want("iommu=pt"), CATALOGUE).conform((Segment(Cmdline.parse("a"), takes_additions=False),))


def test_an_open_quote_of_an_earlier_part_would_swallow_an_addition_too() -> None:
    parts = (Segment(Cmdline.parse('a="x'), takes_additions=False), Segment(Cmdline.parse(""), takes_additions=True))
    with pytest.raises(SegmentError, match="would swallow an addition") as caught:
        Conformer(want("iommu=pt"), CATALOGUE).conform(parts)
    assert (caught.value.segment, caught.value.index) == (0, 0)


def test_a_closing_edit_makes_an_open_line_ready_for_additions() -> None:
    assert run(want("intel_iommu=on", absent=("iommu=nopt",)), 'a iommu="nopt') == ("a intel_iommu=on",)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("intel_iommu=on iommu=pt", ()),
        ("iommu=pt -- intel_iommu=on", ("'intel_iommu=on' is missing",)),
        ("intel_iommu=on iommu=pt iommu.strict=1", ("'iommu.strict=1' is left over",)),
        ("intel_iommu=on iommu=nopt", ("'iommu=nopt' should be 'iommu=pt'",)),
        ('iommu=pt "', ("an open quote in '\"' would swallow an addition",)),
    ],
)
def test_satisfied_says_what_differs(line: str, words: tuple[str, ...]) -> None:
    assert Conformer(desire("passthrough-perf"), CATALOGUE).shortcomings(Cmdline.parse(line)) == words


def test_observe_reports_what_stays_as_written_and_once() -> None:
    finding = Finding(Rule.IGFX_BYPASS, Severity.WARNING, "m", None, "h")
    desired = DesiredArguments("t", Platform.INTEL, (), (), (), (Watched("intel_iommu", "igfx_off", finding),))
    lines = [
        Cmdline.parse("intel_iommu=on,igfx_off a"),
        Cmdline.parse("intel_iommu=on,igfx_off"),
        Cmdline.parse("-- intel_iommu=igfx_off"),
    ]
    assert Conformer(desired, CATALOGUE).observe(lines) == (
        Finding(Rule.IGFX_BYPASS, Severity.WARNING, "m", "intel_iommu=on,igfx_off", "h"),
    )


# What may stand on a line: everything that the profiles speak of, and things that are nobody's business.
JUNK = st.sampled_from(
    [
        *("iommu=pt", "iommu=nopt", "iommu=off", "iommu=soft", "iommu=pt,off", "iommu=1", "iommu=usedac,pt"),
        *("iommu=merge", "iommu.passthrough=1", "iommu.passthrough=0", "iommu.passthrough=maybe", "iommu.strict=1"),
        *('iommu.strict="0"', "iommu.strict", "iommu.strict=d", "intel_iommu=on", "intel_iommu=off", "intel_iommu"),
        *("intel_iommu=on,strict", "intel-iommu=strict", '"intel_iommu=off,igfx_off"', "intel_iommu=sm_on"),
        *("intel_iommu=", "intel_iommu=off,on,off", "amd_iommu=off", "amd_iommu=fullflush", "amd_iommu=on"),
        *("amd-iommu=force_isolation,off", "intremap=off", "nointremap", "vfio-pci.ids=1:2", "vfio-pci.ids"),
        *("vfio_pci.ids=10de:1b80,3:4", "pci-stub.ids=10de:1b80", "pci=noats,nomsi"),
    ]
)
FOREIGN = st.sampled_from(
    ["quiet", "console=tty0", "root=UUID=1-2", "console=ttyS0,115200", 'dyndbg="file x +p"', "ro"]
)
BLANKS = st.sampled_from([" ", "  ", "\t"])
LINES = st.lists(st.tuples(st.one_of(JUNK, FOREIGN), BLANKS), max_size=7).map(
    lambda parts: "".join(map("".join, parts))
)
TAILS = st.sampled_from(["", "-- iommu=off single"])
REQUIRED = {
    "vfio-bind": {"vfio-pci.ids": "10de:1b80"},
    "dpdk-host": {"hugepages": "8", "isolcpus": "2-15"},
    "realtime-host": {"isolcpus": "2-15"},
}
PROFILES = st.sampled_from(sorted(shipped_profiles()))
PLATFORMS = st.sampled_from([Platform.INTEL, Platform.AMD, Platform.X86])
KERNELS = st.sampled_from(["4.18.0-348.el8", "4.18.0-553.el8", "5.14.0-427.el9", "6.12.1", "7.1.0"])


def any_desire(profile: str, platform: Platform, kernel: str) -> DesiredArguments:
    on = Platform.AMD if profile == "sev-snp-host" else platform  # it is impossible elsewhere
    facts = Facts(on, platform_assumed=False, distribution=Distribution(), kernels=(kernel,))
    return resolve(load_profile(profile, shipped_profiles()), CATALOGUE, facts, REQUIRED.get(profile, {}))


@given(PROFILES, PLATFORMS, KERNELS, LINES, LINES, TAILS)
def test_a_second_run_changes_nothing(
    profile: str, platform: Platform, kernel: str, first: str, last: str, tail: str
) -> None:
    desired = any_desire(profile, platform, kernel)
    once = run(desired, first, last + tail)
    assert run(desired, *once) == once
    assert Conformer(desired, CATALOGUE).shortcomings(Cmdline.parse(" ".join(once))) == ()


@given(PROFILES, PLATFORMS, KERNELS, LINES, LINES, TAILS)
def test_foreign_tokens_stay_in_order(
    profile: str, platform: Platform, kernel: str, first: str, last: str, tail: str
) -> None:
    def foreign(lines: tuple[str, ...]) -> list[str]:
        tokens = [token.text for line in lines for token in Cmdline.parse(line).parameters]
        return [text for text in tokens if text.startswith(("quiet", "console", "root", "dyndbg", "ro"))]

    before = (first, last + tail)
    after = run(any_desire(profile, platform, kernel), *before)
    assert foreign(after) == foreign(before)
    assert after[1].endswith(tail)


PROMISES = {
    "passthrough-perf": DomainType.IDENTITY,
    "vfio-bind": DomainType.IDENTITY,
    "dpdk-host": DomainType.IDENTITY,
    "realtime-host": DomainType.IDENTITY,
    "proxmox-passthrough": DomainType.IDENTITY,
    "strict-isolation": DomainType.DMA,
    "hardened": DomainType.DMA,
    "translated-lazy": DomainType.DMA_FQ,
    "iommu-off": DomainType.OFF,
}


@given(
    st.sampled_from(sorted(PROMISES)),
    st.sampled_from([Platform.INTEL, Platform.AMD]),
    st.booleans(),
    KERNELS,
    LINES,
    LINES,
)
def test_the_kernel_chooses_what_the_profile_promises(
    profile: str, platform: Platform, assumed: bool, kernel: str, first: str, last: str
) -> None:
    desired = any_desire(profile, Platform.X86 if assumed else platform, kernel)
    known = Kernel.parse(kernel)
    assert known is not None
    machine = Machine(platform, known, vtd_default_on=False, passthrough_default=False, strict_default=False)
    line = Cmdline.parse(" ".join(run(desired, first, last)))
    assert predict(line, machine, CATALOGUE) is PROMISES[profile]
