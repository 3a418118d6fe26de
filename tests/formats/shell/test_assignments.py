# SPDX-License-Identifier: Apache-2.0
"""Shell files: where variables are assigned, what hides an assignment, and what is refused."""

from pathlib import Path, PurePosixPath

import pytest

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.assignments import parse_shell_file
from iommuctl.formats.shell.words import Reach, Shell

FILE = PurePosixPath("/etc/default/grub")


def assignments(text: str) -> list[tuple[int, str, str, str | None]]:
    """Line, name, raw word and obstacle of every assignment; the span must spell the raw word."""
    file = parse_shell_file(FILE, text, Shell.BASH)
    assert [text[each.start : each.end] for each in file.assignments] == [each.raw for each in file.assignments]
    return [(each.line, each.name, each.raw, each.obstacle) for each in file.assignments]


MORE = "with more words after the value"
LATE = "not at the start of its line"
OPERATOR = "after && or ||"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# V=x\n\n##\n", []),
        ("V=x", [(1, "V", "x", None)]),
        ("V=\n", [(1, "V", "", None)]),
        ('V=""\n', [(1, "V", '""', None)]),
        ("\n\n  V='a b'  # why\n", [(3, "V", "'a b'", None)]),
        ("\tV=x;\t# why\n", [(1, "V", "x", None)]),
        ('V="dyndbg=\\"file x +p\\""\n', [(1, "V", '"dyndbg=\\"file x +p\\""', None)]),
        ("V='dyndbg=\"file x +p\"'\n", [(1, "V", "'dyndbg=\"file x +p\"'", None)]),
        ("V='a'\"b\"c\\ d\n", [(1, "V", "'a'\"b\"c\\ d", None)]),
        ('V="a \\\nb"\nW=c\n', [(1, "V", '"a \\\nb"', None), (3, "W", "c", None)]),
        ("V=a\\\nb\n", [(1, "V", "a\\\nb", None)]),
        ('V="a\nW=b"\n', [(1, "V", '"a\nW=b"', None)]),
        ("V=a#b # c\n", [(1, "V", "a#b", None)]),
        ('V="x"# y\n', [(1, "V", '"x"#', MORE)]),
        ("export V=x\n", [(1, "V", "x", None)]),
        (" export  V='x y' # z\n", [(1, "V", "'x y'", None)]),
        ("export V\nexport\n", []),
        ("export V=$W\n", [(1, "V", "$W", "with expansions outside quotes after export")]),
        ('export V="$W"\n', [(1, "V", '"$W"', None)]),
        ("export V=x W=y\n", [(1, "V", "x", MORE), (1, "W", "y", MORE)]),
        ("A=1; V=2\n", [(1, "A", "1", MORE), (1, "V", "2", LATE)]),
        ("A=1 V=2\n", [(1, "A", "1", MORE), (1, "V", "2", MORE)]),
        ("V=x make\n", [(1, "V", "x", MORE)]),
        ("V=x \\\nmake\n", [(1, "V", "x", MORE)]),
        ("V=x &\n", [(1, "V", "x", MORE)]),
        ("V=x >y\n", [(1, "V", "x", MORE)]),
        ("V=x && W=y\n", [(1, "V", "x", MORE), (1, "W", "y", OPERATOR)]),
        ("test -d /x ||\nV=x\n", [(2, "V", "x", OPERATOR)]),
        ('[ -n "$A" ] && V=x\n', [(1, "V", "x", OPERATOR)]),
        ('[[ -n $A && "$B" < c ]] && V=x\n', [(1, "V", "x", OPERATOR)]),
        ("true | V=x\n", [(1, "V", "x", "in a pipeline")]),
        ("! V=x\n", [(1, "V", "x", "after !")]),
        ("if true; then\n  V=x\nfi # d\n", [(2, "V", "x", "inside the 'if' of line 1")]),
        ("if V=x; then :; elif W=y; then :; else\nU=z; fi\n", [(1, "V", "x"), (1, "W", "y"), (2, "U", "z")]),
        ("for i in 1 2; do\nV=x\ndone\n", [(2, "V", "x", "inside the 'for' of line 1")]),
        ("while false\ndo V=x; done\n", [(2, "V", "x", "inside the 'while' of line 1")]),
        ("case $A in\n(a|b) V=x;;\n*) W=y\nesac\n", [(2, "V", "x"), (3, "W", "y")]),
        ("{ V=x; }\n", [(1, "V", "x", "inside the '{' of line 1")]),
        ("f() {\n if a; then V=x; fi\n}\n", [(2, "V", "x", "in a function")]),
        ("f () ( V=x )\n", []),
        ("function f {\nV=x\n}\n", [(2, "V", "x", "in a function of bash")]),
        ("( V=x )\n(\nW=y\n)\nU=z\n", [(5, "U", "z", None)]),
        ("A=$(V=x; case y in y) W=z;; esac)\n", [(1, "A", "$(V=x; case y in y) W=z;; esac)", None)]),
        ("A=`V=x; echo \\`y\\``\nB=1\n", [(1, "A", "`V=x; echo \\`y\\``", None), (2, "B", "1", None)]),
        ("A=$(cat <<E\n)\nE\n)\nB=1\n", [(1, "A", "$(cat <<E\n)\nE\n)", None), (5, "B", "1", None)]),
        ("A=$((1 + (2 * 3)))\n", [(1, "A", "$((1 + (2 * 3)))", None)]),
        ("cat <<EOF >/x\nV=x\n EOF\nEOF\nW=y\n", [(5, "W", "y", None)]),
        ("cat <<-'E F' <<\\G\nV=$(x\n\tE F\nV=y\nG\nW=y\n", [(6, "W", "y", None)]),
        ("echo V=x if then fi\n", []),
        ("V = x\n", []),
        ("X=(a b # c\n d)\nV=x\n", [(1, "X", "(a b # c\n d)", "an array"), (3, "V", "x", None)]),
        ("if=x\nif x; then :; fi\n", [(1, "if", "x", None)]),
        ("V=if\n", [(1, "V", "if", None)]),
        ("2>/dev/null cmd 2>&1 <x >>y\n", []),
    ],
)
def test_assignments_are_found_with_their_obstacles(text: str, expected: list[tuple[object, ...]]) -> None:
    found = assignments(text)
    assert [each[: len(row)] for each, row in zip(found, expected, strict=True)] == expected


def test_append_form_is_marked() -> None:
    assert [(each.raw, each.append) for each in parse_shell_file(FILE, 'V=a\nV+=" b"\n').assignments] == [
        ("a", False),
        ('" b"', True),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (". /etc/os-release\n", [(1, ".", None, Reach.EARLIER)]),
        ("A=1\nsource x\n", [(2, "source", None, Reach.EARLIER)]),
        ("eval V=x\n", [(1, "eval", None, Reach.EARLIER)]),
        ("command . x\n", [(1, ".", None, Reach.EARLIER)]),
        ("command -v grub\n", []),
        ("$A x\n", [(1, "a command whose name is computed", None, Reach.EARLIER)]),
        ("read -r V W <x\n", [(1, "read", ("REPLY", "V", "W"), Reach.EARLIER)]),
        ("unset V\n", [(1, "unset", ("V",), Reach.EARLIER)]),
        ('unset "$A"\n', [(1, "unset", None, Reach.EARLIER)]),
        ("readonly V=x\n", [(1, "readonly", ("V",), Reach.ALL)]),
        ("declare -u V\n", [(1, "declare", ("V",), Reach.ALL)]),
        ("export V W=x\n", [(1, "export", ("W",), Reach.EARLIER)]),
        ("export $A\n", [(1, "export", None, Reach.EARLIER)]),
        ("printf -v V x\n", [(1, "printf", None, Reach.EARLIER)]),
        ("printf 'x %s' -v\n", []),
        ("set -e\nset -- a b\n", []),
        ("set -n\n", [(1, "set", None, Reach.ALL)]),
        ("exit 0\n", [(1, "exit", None, Reach.ALL)]),
        ("[ -f x ] || return\n", [(1, "return", None, Reach.LATER)]),
        ("f() { return 1; }\n", []),
        ("break\nfor i in a; do break; done\n", [(1, "break", None, Reach.LATER), (2, "for i", ("i",), Reach.EARLIER)]),
        ("f() { read V; }\n", [(1, "read", ("REPLY", "V"), Reach.ALL)]),
        ("alias a=b\n", [(1, "alias", None, Reach.ALL)]),
        ("trap x EXIT\n", [(1, "trap", None, Reach.ALL)]),
        (": ${V:=x}\n", [(1, "a ${V=...} that assigns", ("V",), Reach.EARLIER)]),
        (": ${V:?x}\n", [(1, "a ${V?...} that may end the shell", None, Reach.LATER)]),
        (": $((V=1))\n", [(1, "an arithmetic expansion", None, Reach.EARLIER)]),
        ("[[ V=1 -eq 1 ]]\n", [(1, "arithmetic in '[['", None, Reach.EARLIER)]),
        ("( eval x; exit )\n", []),
        ("A=$(. /etc/os-release; exit)\n", []),
    ],
)
def test_hazards_are_found(text: str, expected: list[tuple[int, str, tuple[str, ...] | None, Reach]]) -> None:
    found = parse_shell_file(FILE, text).hazards
    assert [(each.line, each.what, each.names, each.reach) for each in found] == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nV=x\r\n", 2),
        ("V='a\0b'\n", 1),
        ("\ufeffV=x\n", 1),
        ('A=1\nV="x\n\n', 2),
        ("V='x\n", 1),
        ("V=`x\n", 1),
        ("V=$(x\n", 1),
        ("V=${A\n", 1),
        ("V=${A:-x\n", 1),
        ("V=x\\", 1),
        ("if true; then\nV=x\n", 1),
        ("if true; then\nfi\n", 2),
        ("fi\n", 1),
        ("}\n", 1),
        (")\n", 1),
        (";;\n", 1),
        ("; V=x\n", 1),
        ("V=x & && y\n", 1),
        ("case x in a) ;;\n", 2),
        ("for i in a; V=x; done\n", 1),
        ("cat <<E\nx\n", 1),
        ("cat <<E", 1),
        ("cat <<E\n$(x)\nE\n", 2),
        ("cat <<E\nx\\\nE\n", 2),
        ("cat <<E 'x\ny'\nE\n", 1),
        ("cat <<<x\n", 1),
        ("cat <(x)\n", 1),
        ("exec {V}>x\n", 1),
        ("((V=1))\n", 1),
        ("V=$[1]\n", 1),
        ("V=$'a\\'b'\n", 1),
        ("V=$\\\nA\n", 1),
        ("i\\\nf true; then :; fi\n", 1),
        ("V\\\nW=x\n", 1),
        ("V[0]=x\n", 1),
        (">x V[0]=x\n", 1),
        ("V=a\nin x\n", 2),
        ("V=a\n]]\n", 2),
        ("function V=a\n", 1),
        ("()\n", 1),
        ("if() { :; }\n", 1),
        ("function for { :; }\n", 1),
        ("[[ a\nV=x ]]\n", 1),
        ("[[ a || eval ]]\n", 1),
        ("export() { :; }\n", 1),
        ("select i in a; do :; done\n", 1),
        ("x |& y\n", 1),
        ("a b()\n", 1),
        ("V=a(b)\n", 1),
        ('V="${A:-"b\\c"}"\n', 1),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(BootConfigError) as caught:
        parse_shell_file(FILE, text)
    assert (caught.value.path, caught.value.line) == (FILE, line)


@pytest.mark.parametrize("text", ["(\n" * 5000, "V=$(" * 3000, "V=" + "${V:-" * 3000, "if " * 5000, "! " * 5000])
def test_hostile_nesting_is_refused(text: str) -> None:
    with pytest.raises(BootConfigError):
        parse_shell_file(FILE, text)


@pytest.mark.corpus
def test_every_real_file_is_read(corpus: Path) -> None:
    refused = []
    for path in sorted((corpus / "grub-default").iterdir()):
        try:
            parse_shell_file(FILE, path.read_bytes().decode("utf-8", "surrogateescape"))
        except BootConfigError as error:
            refused.append((path.name, str(error)))
    assert refused == []
