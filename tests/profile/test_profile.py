# SPDX-License-Identifier: Apache-2.0
"""Profiles: what is refused and where the error points, and how one extends another."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.errors import NotFoundError, ProfileError
from iommuctl.facts import Platform
from iommuctl.profile.checks import check_value
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.names import names
from iommuctl.profile.profile import Absence, Input, InputType, ProfileText, Setting, Warn
from iommuctl.profile.schema import parse_profile
from iommuctl.profile.shipped import decode_profile, profiles, shipped_catalogue, shipped_profiles

HEAD = 'name = "mine"\nsummary = "s"\n'


def setting(parameter: str, more: str = "") -> str:
    return f'[[set]]\nparameter = "{parameter}"\nreason = "r"\n{more}'


def texts(**named: str) -> dict[str, ProfileText]:
    return {
        name: ProfileText(f'name = "{name}"\nsummary = "s"\n{text}', f"{name}.toml") for name, text in named.items()
    }


class Files:
    """A tree that holds some profiles."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: PurePosixPath) -> bytes | None:
        assert path.parent == PurePosixPath("/etc/iommuctl/profiles.d")
        return self.files.get(path.name)

    def read_part(self, path: PurePosixPath, start: int, size: int) -> bytes | None:
        raise AssertionError(f"a profile is read whole: {path}")

    def identity(self, directory: PurePosixPath) -> None:
        raise AssertionError(f"a profile has one name: {directory}")

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        assert directory == PurePosixPath("/etc/iommuctl/profiles.d")
        return tuple(sorted(self.files))


@pytest.mark.parametrize("character", sorted("\"'$`;\\|&<>(){}*?[]~#!^% \t\n\r\0\x7f\x9b\u00e9\u2028"))
def test_a_value_with_a_special_character_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match="holds something else"):
        check_value(f"a{character}b")


@given(st.text(max_size=8))
def test_a_value_is_accepted_only_if_every_character_is_harmless(value: str) -> None:
    harmless = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:,=@/+-")
    try:
        check_value(value)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == bool(value and set(value) <= harmless)


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        ("name = ", "p.toml:1: not valid TOML"),
        (HEAD + "\n[[set]\n", "p.toml:4: not valid TOML"),
        ("summary = 's'", "p.toml: name: is missing"),
        (HEAD + 'colour = "red"', "p.toml:3: colour: unknown key"),
        (HEAD + "sets = []", "p.toml:3: sets: unknown key"),
        (HEAD + setting("a=b") + setting("a=$x"), "p.toml:7: set[1].parameter: '$x' holds something else"),
        (HEAD + setting("a b=1"), "p.toml:4: set[0].parameter: 'a b' is no parameter name"),
        (HEAD + setting("initrd=/x.img"), "p.toml:4: set[0].parameter: 'initrd' is written by the boot loader"),
        (HEAD + setting("BOOT_IMAGE=/v"), "p.toml:4: set[0].parameter: 'BOOT_IMAGE' is written by the boot loader"),
        (HEAD + setting("systemd.machine-id=1"), "p.toml:4: set[0].parameter: 'systemd.machine-id' is written by"),
        (HEAD + setting("a", "colour = 1"), "p.toml:6: set[0].colour: unknown key"),
        (HEAD + '[[set]]\nparameter = "a"\n', "p.toml:3: set[0].reason: is missing"),
        (HEAD + '[[absent]]\nparameter = "a"\nreason = "\\u001b[2J"', "p.toml:5: absent[0].reason: must hold text"),
        (
            HEAD + setting("a", 'platforms = ["vax"]'),
            "p.toml:6: set[0].platforms[0]: must be 'intel', 'amd', 'x86' or 'arm64'",
        ),
        (HEAD + setting("a=1", 'value_from = "b"'), "p.toml:3: set[0]: value_from gives the value"),
        (
            HEAD + '[[input]]\nname = "a"\ntype = "int"\ndescription = "d"',
            "p.toml:5: input[0].type: must be 'string',",
        ),
        (
            HEAD + '[[input]]\nname = "a"\ntype = "bool"\ndescription = "d"\ndefault = "maybe"',
            "p.toml:3: input[0]: 'maybe' is neither 'true' nor 'false'",
        ),
        (
            HEAD + '[[input]]\nname = "a"\ntype = "bool"\ndescription = "d"\nrequired = "yes"',
            "p.toml:7: input[0].required: must be true or false",
        ),
        (HEAD.replace("mine", "../x"), "p.toml:1: name: '../x' is no profile name"),
        (HEAD + "[reset]\nwhy = 'x'\nreason = 'r'", "p.toml:4: reset.why: unknown key"),
        ("x = " + "[" * 5000, "p.toml: not valid TOML"),
        ("x = " + "9" * 5000, "p.toml: not valid TOML"),
        ("#" * 70_000, "p.toml: larger than"),
    ],
)
def test_an_invalid_profile_says_where(text: str, brief: str) -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, "p.toml")
    assert caught.value.brief.startswith(brief)
    assert caught.value.code == 65


def test_all_faults_are_told() -> None:
    with pytest.raises(ProfileError) as caught:
        parse_profile(HEAD + 'one = 1\ntwo = "2"', "p.toml")
    assert (caught.value.brief, caught.value.details) == ("p.toml:3: one: unknown key", ("p.toml:4: two: unknown key",))


@pytest.mark.parametrize(
    ("kind", "pattern", "value", "accepted"),
    [
        ("pci-ids", None, "10de:1b80", True),
        ("pci-ids", None, "10de:1b80,10DE:10f0:1462:3301", True),
        ("pci-ids", None, "10de:1b80,", False),
        ("pci-ids", None, "10de", False),
        ("pci-ids", None, "0000:01:00.0", False),
        ("pci-ids", None, "10de:1b80;reboot", False),
        ("bool", None, "true", True),
        ("bool", None, "1", False),
        ("string", r"[0-9]{1,3}", "12", True),
        ("string", r"[0-9]{1,3}", "12x", False),
        ("string", r"[0-9]{1,3}", "1234", False),
        ("string", r"a\.\d?", "a.", True),
        ("string", None, "a b", False),
    ],
)
def test_inputs_take_only_their_type_and_pattern(kind: str, pattern: str | None, value: str, accepted: bool) -> None:
    field = Input("x", InputType(kind), "d", pattern)
    if accepted:
        assert field.check(value) == value
    else:
        with pytest.raises(ValueError, match=r"no device id|neither|does not match|holds something else"):
            field.check(value)


@pytest.mark.parametrize(
    "pattern", ["a*", "a+", "(a|b)", "(a?){9}", ".", "a{1,}", r"\1", "[a", "a{1,999}b{1,999}", "a{2,1}", "a?" * 17]
)
def test_patterns_that_could_run_away_are_refused(pattern: str) -> None:
    with pytest.raises(ProfileError, match=r"input\[0\].pattern"):
        parse_profile(HEAD + f"[[input]]\nname='a'\ntype='string'\ndescription='d'\npattern='{pattern}'", "p.toml")


@pytest.mark.parametrize("pattern", ["a?+", "a{2}+", "[ab]{1,2}+", "a++", "a*+", "(?>a)", "(?>a?)b", r"\d?+x"])
def test_patterns_that_python_3_11_2_matches_wrongly_are_refused(pattern: str) -> None:
    with pytest.raises(ProfileError, match=r"input\[0\].pattern") as caught:
        parse_profile(HEAD + f"[[input]]\nname='a'\ntype='string'\ndescription='d'\npattern='{pattern}'", "p.toml")
    assert caught.value.code == 65


def test_a_child_wins_over_what_it_extends() -> None:
    named = texts(
        base=setting("iommu.strict=1")
        + setting("intel_iommu=on")
        + setting("quiet")
        + '[[absent]]\nparameter = "iommu=pt"\nreason = "r"\n',
        child='extends = "base"\n'
        + setting("intel-iommu=sm_on")
        + setting("iommu.strict=0", 'platforms = ["arm64"]\n'),
    )
    merged = load_profile("child", named)
    assert [(one.parameter.text, one.platforms) for one in merged.sets] == [
        ("iommu.strict=1", (Platform.INTEL, Platform.AMD)),
        ("quiet", ()),
        ("intel-iommu=sm_on", ()),
        ("iommu.strict=0", (Platform.ARM64,)),
    ]
    assert [one.parameter.text for one in merged.absent] == ["iommu=pt"]


def test_a_child_may_set_what_its_parent_forbids_and_keep_what_it_removes() -> None:
    named = texts(
        base='[[absent]]\nparameter = "iommu=pt"\nreason = "r"\n[[absent]]\nparameter = "nointremap"\nreason = "r"\n',
        child='extends = "base"\n'
        + setting("iommu=pt")
        + '[[warn]]\nparameter = "nointremap"\nrule = "ir-off"\nseverity = "info"\nmessage = "m"\n',
    )
    assert load_profile("child", named).absent == ()


def test_what_depends_on_an_input_does_not_displace() -> None:
    named = texts(
        base=setting("intel_iommu=on"),
        child='extends = "base"\n[[input]]\nname = "sm"\ntype = "bool"\ndescription = "d"\n'
        + setting("intel_iommu=sm_on", 'when = "sm"\n'),
    )
    assert [one.parameter.text for one in load_profile("child", named).sets] == ["intel_iommu=on", "intel_iommu=sm_on"]


@pytest.mark.parametrize(
    ("named", "brief"),
    [
        (texts(a='extends = "a"'), "a.toml: extends: a circle: a -> a"),
        (texts(a='extends = "b"', b='extends = "c"', c='extends = "b"'), "a.toml: extends: a circle: a -> b -> c -> b"),
        (texts(a='extends = "b"'), "a.toml: extends: no profile 'b'"),
        (texts(a=setting("x", 'when = "y"')), "a.toml: no input 'y' is declared, though it is used"),
        (texts(a=setting("x", 'value_from = "y"')), "a.toml: no input 'y' is declared, though it is used"),
        (
            texts(a=setting("x", 'when = "y"\n') + '[[input]]\nname = "y"\ntype = "string"\ndescription = "d"'),
            "a.toml: when: the input 'y' is not of type bool, pci-ids or devices",
        ),
        ({"a": ProfileText(HEAD, "a.toml")}, "a.toml: name: 'mine' must be the file's name, 'a'"),
    ],
)
def test_profiles_that_do_not_fit_together(named: dict[str, ProfileText], brief: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("a", named)
    assert caught.value.brief == brief


def test_a_missing_profile_is_not_found() -> None:
    with pytest.raises(NotFoundError) as caught:
        load_profile("nope", shipped_profiles())
    assert caught.value.code == 66


def test_the_shipped_profiles_are_those_of_the_design() -> None:
    assert sorted(shipped_profiles()) == [
        *(
            "dpdk-host",
            "hardened",
            "iommu-off",
            "kernel-default",
            "passthrough-perf",
            "proxmox-passthrough",
            "realtime-host",
            "sev-snp-host",
            "strict-isolation",
            "translated-lazy",
            "vfio-bind",
        )
    ]


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_every_shipped_profile_speaks_of_parameters_that_the_catalogue_knows(name: str) -> None:
    profile = load_profile(name, shipped_profiles())
    named: tuple[Setting | Absence | Warn, ...] = (*profile.sets, *profile.absent, *profile.warns)
    for parameter in (one.parameter for one in named):
        definition = shipped_catalogue().known(parameter.name)
        assert definition is not None, parameter.text
        known = {token.name for token in definition.tokens} | {myth.value for myth in definition.myths}
        values = set((parameter.value or "").split(","))
        assert parameter.value is None or not definition.tokens or values <= known, parameter.text


def test_a_host_may_override_a_shipped_profile_and_another_root_may_not() -> None:
    own = HEAD.replace("mine", "hardened").encode()
    tree = Files({"hardened.toml": own, "mine.toml": HEAD.encode(), "notes.txt": b"\xff"})
    found = profiles(tree, may_override=True)
    assert found["hardened"] == ProfileText(own.decode(), "/etc/iommuctl/profiles.d/hardened.toml")
    assert set(found) == {*shipped_profiles(), "mine"}
    with pytest.raises(ProfileError, match="a shipped profile has the name 'hardened'"):
        profiles(tree, may_override=False)


def test_a_profile_that_is_not_text_names_the_line() -> None:
    with pytest.raises(ProfileError, match=r"p.toml:2: not UTF-8"):
        decode_profile(b"a = 1\n\xff", "p.toml")


@pytest.mark.parametrize(
    "own", [{}, {"mine.toml": b"", "hardened.toml": b"", "notes.txt": b"", "no-text.toml": b"\xff"}]
)
def test_names_alone_are_those_of_the_profiles(own: dict[str, bytes]) -> None:
    readable = Files({name: content for name, content in own.items() if content != b"\xff"})
    unread = {name.removesuffix(".toml") for name, content in own.items() if content == b"\xff"}
    assert names(Files(own)) == tuple(sorted({*profiles(readable, may_override=True), *unread}))
