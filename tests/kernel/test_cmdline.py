# SPDX-License-Identifier: Apache-2.0
"""The command line's grammar against a model of the kernel's next_arg() and parse_args(), byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iommuctl.kernel.cmdline import Cmdline, Parameter, canonical_name, join

# lib/ctype.c: bytes whose entry in _ctype has the bit _S.
KERNEL_SPACES = frozenset(b"\t\n\v\f\r \xa0")
QUOTE = ord('"')


def next_arg(args: bytes) -> tuple[bytes, bytes | None, bytes]:
    """lib/cmdline.c next_arg(): name, value (None without `=`), and the rest of the line."""
    quoted = in_quote = args[:1] == b'"'
    args = args[1:] if quoted else args
    i = equals = 0
    while i < len(args):
        if args[i] in KERNEL_SPACES and not in_quote:
            break
        if equals == 0 and args[i : i + 1] == b"=":
            equals = i
        if args[i] == QUOTE:
            in_quote = not in_quote
        i += 1
    rest = args[i + 1 :]
    if not equals:
        name, value = args[:i], None
    else:
        name, value = args[:equals], args[equals + 1 : i]
        if value[:1] == b'"':
            value = value[1:]
            if args[i - 1] == QUOTE:
                value = value[:-1] if value else value
    if quoted and i > 0 and args[i - 1] == QUOTE:
        if value is None:
            name = name[:-1]
        elif not args[equals + 1 : i].startswith(b'"'):
            value = value[:-1]
    return name, value, rest.lstrip(bytes(KERNEL_SPACES))


def kernel_parameters(line: bytes) -> list[tuple[bytes, bytes | None]]:
    """kernel/params.c parse_args(): what is handed to the parameters' handlers."""
    found: list[tuple[bytes, bytes | None]] = []
    rest = line.lstrip(bytes(KERNEL_SPACES))
    while rest:
        name, value, rest = next_arg(rest)
        if value is None and name == b"--":
            return found
        found.append((name, value))
    return found


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def line(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# Bytes that matter to the grammar, and a two-byte character whose second byte is a space to the kernel.
pieces = st.sampled_from(
    [b"a", b"b", b"-", b"--", b"=", b'"', b" ", b"  ", b"\t", b",", b"\xc3\xa0", b"\xff", b"'", b"\\"]
)
grammatical = st.lists(pieces, max_size=16).map(b"".join)
any_bytes = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"").replace(b"\n", b""))
lines = st.one_of(grammatical, any_bytes)
additions = st.sampled_from(["iommu=pt", "quiet", "a=b,c"])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("iommu=pt", "iommu", "pt"),
        ("quiet", "quiet", None),
        ("a=", "a", ""),
        ("a=b=c", "a", "b=c"),
        ('b="x y"', "b", "x y"),
        ('"b=x y"', "b", "x y"),
        ('"quiet"', "quiet", None),
        ('c=x"y z"w', "c", 'x"y z"w'),
        ('a="x', "a", "x"),
        ("=a", "=a", None),
        ("--=1", "--", "1"),
        ("'a=b'", "'a", "b'"),
    ],
)
def test_parameter_is_split_as_the_kernel_splits_it(text: str, name: str, value: str | None) -> None:
    assert Parameter.parse(text) == Parameter(text, name, value, name.replace("-", "_"))


@pytest.mark.parametrize(
    ("text", "parameters", "init"),
    [
        ("a b=1", ["a", "b=1"], []),
        ("a -- b", ["a"], ["b"]),
        ("a --=1 b", ["a", "--=1", "b"], []),
        ("-- a -- b", [], ["a", "--", "b"]),
        ('a "--" b', ["a"], ["b"]),
        ('a="-- b" c', ['a="-- b"', "c"], []),
        ("", [], []),
    ],
)
def test_terminator_ends_the_kernels_parameters(text: str, parameters: list[str], init: list[str]) -> None:
    cmdline = Cmdline.parse(text)
    assert [parameter.text for parameter in cmdline.parameters] == parameters
    assert [parameter.text for parameter in cmdline.init_arguments] == init


@given(lines)
def test_every_line_comes_back_byte_for_byte(data: bytes) -> None:
    assert raw(str(Cmdline.parse(line(data)))) == data


@given(lines)
def test_parameters_are_those_of_the_kernel(data: bytes) -> None:
    found = [
        (raw(parameter.name), None if parameter.value is None else raw(parameter.value))
        for parameter in Cmdline.parse(line(data)).parameters
    ]
    assert found == kernel_parameters(data)


@given(lines, st.data())
def test_remove_drops_one_token_and_keeps_the_others(data: bytes, draw: st.DataObject) -> None:
    cmdline = Cmdline.parse(line(data))
    if not cmdline.tokens:
        return
    index = draw.draw(st.integers(0, len(cmdline.tokens) - 1))
    kept = [token.text for at, token in enumerate(cmdline.tokens) if at != index]
    removed = cmdline.remove(index)
    assert [token.text for token in removed.tokens] == kept
    if cmdline.is_closed:
        assert Cmdline.parse(str(removed)) == removed


@given(lines, additions, st.data())
def test_substitute_changes_one_token_and_no_blank(data: bytes, text: str, draw: st.DataObject) -> None:
    cmdline = Cmdline.parse(line(data))
    if not cmdline.tokens:
        return
    index = draw.draw(st.integers(0, len(cmdline.tokens) - 1))
    changed = cmdline.substitute(index, text)
    assert changed.blanks == cmdline.blanks
    assert changed.tokens == (*cmdline.tokens[:index], Parameter.parse(text), *cmdline.tokens[index + 1 :])


@given(lines, additions)
def test_append_adds_the_last_parameter_that_the_kernel_reads(data: bytes, text: str) -> None:
    cmdline = Cmdline.parse(line(data))
    if not cmdline.is_closed:
        with pytest.raises(ValueError, match="open quote"):
            cmdline.append(text)
        return
    appended = cmdline.append(text)
    added = Parameter.parse(text)
    assert kernel_parameters(raw(str(appended))) == [
        *kernel_parameters(data),
        (raw(added.name), None if added.value is None else raw(added.value)),
    ]
    assert appended.init_arguments == cmdline.init_arguments
    assert appended.remove(cmdline.kernel_count).tokens == cmdline.tokens


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "iommu=pt"),
        ("quiet", "quiet iommu=pt"),
        ("quiet ", "quiet iommu=pt "),
        (" quiet", " quiet iommu=pt"),
        ("quiet -- init", "quiet iommu=pt -- init"),
        ("-- init", "iommu=pt -- init"),
        ("  -- init", "  iommu=pt -- init"),
    ],
)
def test_append_stands_before_the_terminator(before: str, after: str) -> None:
    assert str(Cmdline.parse(before).append("iommu=pt")) == after


@pytest.mark.parametrize(("index", "after"), [(0, "  b\tc "), (1, "  a\tc "), (2, "  a b ")])
def test_remove_takes_one_blank_along(index: int, after: str) -> None:
    assert str(Cmdline.parse("  a b\tc ").remove(index)) == after


def test_named_finds_every_spelling_in_order() -> None:
    cmdline = Cmdline.parse("vfio-pci.ids=a vfio_pci.ids=b x vfio-pci.idsx=c -- vfio-pci.ids=d")
    assert [parameter.value for parameter in cmdline.named("vfio_pci.ids")] == ["a", "b"]


def test_names_differ_by_case_but_not_by_dashes() -> None:
    assert canonical_name("intel-iommu") == canonical_name("intel_iommu")
    assert canonical_name("Intel_iommu") != canonical_name("intel_iommu")


def test_join_puts_one_blank_between() -> None:
    assert join(["a", "b=1"]) == "a b=1"
