# SPDX-License-Identifier: Apache-2.0
"""Where a shell that was started with -e ends in a settings file; the shells themselves are the judges."""

import subprocess
from pathlib import Path, PurePosixPath

import pytest
from lacking import program

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.assignments import parse_shell_file
from iommuctl.formats.shell.stops import first_stop
from iommuctl.formats.shell.words import Shell

FILE = PurePosixPath("/etc/default/grub")
ENDS = [
    (Shell.DASH, "A=1\nGRUB_TIMEOUT = 5\n", 2, "blanks around the = do not belong there"),
    (Shell.BASH, "A=1\nGRUB_TIMEOUT = 5\n", 2, "blanks around the = do not belong there"),
    (Shell.DASH, "V=1 B = 2\n", 1, "'B' is taken for a command"),
    (Shell.DASH, "V=1\nV+=2\n", 2, "write V="),
    (Shell.DASH, "GRUB-TIMEOUT=5\n", 1, "'GRUB-TIMEOUT' is no name of a variable"),
    (Shell.BASH, "GRUB-TIMEOUT=5\n", 1, "'GRUB-TIMEOUT' is no name of a variable"),
    (Shell.DASH, "A=1\nfalse\nB=2\n", 2, "false is a command that fails"),
    (Shell.DASH, "A=1\nexit 1\n", 2, "exit ends"),
    (Shell.DASH, "source /dev/null\n", 1, "'source' is a command that dash does not know"),
    (Shell.DASH, "declare -a X\n", 1, "'declare' is a command that dash does not know"),
    (Shell.DASH, ". /no/such/file\nA=1\n", 1, "/no/such/file, which is read here, is not there"),
    (Shell.BASH, ". /no/such/file\nA=1\n", 1, "/no/such/file, which is read here, is not there"),
    (Shell.BASH, "source /no/such/file\nA=1\n", 1, "/no/such/file, which is read here, is not there"),
    (Shell.DASH, ". /no/such/file || true\n", 1, "/no/such/file, which is read here, is not there"),
    (Shell.DASH, "A=1\n[ -f /no/such/file ] && . /no/such/file\n", 2, "the file ends with a test that fails"),
    (Shell.BASH, "A=1\n[ -f /no/such/file ] && . /no/such/file\n", 2, "the file ends with a test that fails"),
    (Shell.DASH, "[ -f /no/such/file ] && A=1\n", 1, "the file ends with a test that fails"),
    (Shell.BASH, "[[ -r /no/such/file ]] && A=1 && export A\n", 1, "the file ends with a test that fails"),
    (Shell.DASH, "A=1 && test -s /no/such/file && B=2\n", 1, "the file ends with a test that fails"),
    (Shell.DASH, "A=1\nGRUB_TIMEOUT= 5\n", 2, "blanks around the = do not belong there"),
    (Shell.BASH, "GRUB_TIMEOUT= 5\n", 1, "blanks around the = do not belong there"),
    (Shell.DASH, 'A=1\nX="${FOO BAR}"\n', 2, "no expansion that dash knows"),
    (Shell.BASH, 'X="${FOO!}"\n', 1, "no expansion that bash knows"),
    (Shell.BASH, 'X="${}" || true\n', 1, "no expansion that bash knows"),
    (Shell.DASH, "X=${FOO^^}\n", 1, "no expansion that dash knows"),
    (Shell.DASH, 'X="${FOO//a/b}"\n', 1, "no expansion that dash knows"),
    (Shell.DASH, 'echo "${FOO:0:1}"\n', 1, "no expansion that dash knows"),
    (Shell.DASH, 'X="${!FOO}"\n', 1, "no expansion that dash knows"),
    (Shell.DASH, 'X="${FOO[0]}"\n', 1, "no expansion that dash knows"),
    (Shell.DASH, 'A=1\nX="$(no-such-program -i)"\n', 2, "'no-such-program' is taken for a command"),
    (Shell.BASH, "X=$(true; no-such-program)\n", 1, "'no-such-program' is taken for a command"),
    (Shell.DASH, "local A=1\n", 1, "local is for functions alone"),
    (Shell.BASH, "local A=1\n", 1, "local is for functions alone"),
    (Shell.DASH, "A=1\nreturn 1\n", 2, "return 1 is taken for a failure"),
    (Shell.DASH, "export A = 5\n", 1, "'=' is no name of a variable"),
    (Shell.DASH, "A=1\nno-such-program\n", 2, "'no-such-program' is taken for a command"),
    (Shell.BASH, "A=1\nno-such-program\n", 2, "'no-such-program' is taken for a command"),
]
GOES_ON = [
    (Shell.DASH, "[ -f /no/such/file ] && . /no/such/file\nA=1\n"),
    (Shell.DASH, "if [ -f /no/such/file ]; then . /no/such/file; fi\n"),
    (Shell.DASH, "[ ! -f /no/such/file ] || . /no/such/file\n"),
    (Shell.DASH, 'X="${#FOO}${FOO%a}${FOO##*/}${FOO%%a*}$$ ${?}${#}${-}${1:-x}${*}"\n'),
    (Shell.BASH, 'FOO=/a\nX="${FOO^^}${FOO//a/b}${FOO:0:1}${!FOO*}${FOO[0]}${#FOO[@]}${FOO@Q}"\n'),
    (Shell.DASH, 'if false; then X="${FOO^^}"; fi\n'),
    (Shell.DASH, 'X="$(no-such-program || echo Debian)"\n'),
    (Shell.DASH, 'X="$(no-such-program | cat)"\n'),
    (Shell.DASH, 'X="$(no-such-program)$(true)"\n'),
    (Shell.DASH, 'echo "$(no-such-program)"\n'),
    (Shell.DASH, 'export X="$(no-such-program)"\n'),
    (Shell.DASH, "return 0\nfalse\n"),
    (Shell.DASH, "f() { local A=1; }\nf\n"),
    (Shell.DASH, "! [ -f /no/such/file ] && A=1\n"),
    (Shell.DASH, "[ -f /no/such/file ] | true && A=1\n"),
    (Shell.DASH, "if [ -f /no/such/file ]; then A=1; fi && B=1\n"),
    (Shell.DASH, "(test -f /no/such/file || true) && B=1\n"),
    (Shell.DASH, "[ -f /no/such/file ] && A=1 || B=1\n"),
    (Shell.DASH, "GRUB_TIMEOUT = 5 || true\n"),
    (Shell.DASH, "if GRUB_TIMEOUT = 5; then :; fi\n"),
    (Shell.DASH, "false | true\nA=1\n"),
    (Shell.DASH, "! true\nA=1\n"),
    (Shell.DASH, "OWN() { :; }\nOWN = 5\n"),
    (Shell.DASH, "if false; then no-such-program; fi\n"),
    (Shell.DASH, "return\nfalse\n"),
    (Shell.DASH, "no-such-program &\nA=1\n"),
    (Shell.BASH, "V=1\nV+=2\n"),
    (Shell.BASH, "declare -a X\nA=(1 2)\n"),
    (Shell.BASH, "[[ -f /dev/null ]] || source /dev/null\nA=1\n"),
    (Shell.DASH, "export A B=5\n"),
]


def stop(shell: Shell, text: str) -> tuple[int, str] | None:
    file = parse_shell_file(FILE, text, shell)
    found = first_stop(
        file.calls,
        file.last_list,
        shell,
        is_there=lambda path: Path(path).exists(),
        is_missing_program=lambda name: name.startswith("no-such"),
        functions=file.functions,
    )
    return found and (found.line, found.message)


def status(shell: Shell, text: str, folder: Path) -> int:
    (folder / "settings").write_text(text)
    argv = [program(shell.value), *(["--posix"] if shell is Shell.BASH else []), "-ec", ". ./settings"]
    return subprocess.run(argv, cwd=folder, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("shell", "text", "line", "message"), ENDS)
def test_a_shell_ends_where_we_say(shell: Shell, text: str, line: int, message: str, tmp_path: Path) -> None:
    found = stop(shell, text)
    assert found is not None
    assert (found[0], message in found[1]) == (line, True), found
    assert status(shell, text, tmp_path) != 0


@pytest.mark.parametrize(("shell", "text"), GOES_ON)
def test_a_shell_goes_on_where_we_say_nothing(shell: Shell, text: str, tmp_path: Path) -> None:
    assert stop(shell, text) is None
    assert status(shell, text, tmp_path) == 0


@pytest.mark.parametrize("text", ["A=(1 2)\n", "function f {\n:\n}\n"])
def test_what_dash_cannot_read_is_refused_by_its_line_alone_for_dash(text: str, tmp_path: Path) -> None:
    with pytest.raises(BootConfigError, match=r"^/etc/default/grub:1: .*dash does not know"):
        parse_shell_file(FILE, text, Shell.DASH)
    assert status(Shell.DASH, text, tmp_path) != 0
    parse_shell_file(FILE, text, Shell.BASH)
    assert status(Shell.BASH, text, tmp_path) == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('A=1\nV="quiet"\nW="a b""\n# it is `so\'\nB=2\n', 3),
        ('A=1\nV="quiet\nW="a"\nB=2\n', 2),
        ("A=1\nV='quiet\nW='a'\nB=2\n", 2),
        ('A=1\nV="a `b"\n', 2),
        ('A="two\nlines"\nB=2\nC="x\n', 4),
        ('A="two\nlines"\nB=2\nfi\n', 4),
        ("A=1\nif true; then\nB=2\n", 2),
        ("A=1\nif true; then\nB=2\nfor a in b; do\nC=1\nfi\n", 6),
        ("{\nA=1\n(\nB=2\n", 1),
        ('V="$(echo a"\nB=1\n', 1),
    ],
)
def test_the_line_of_an_error_is_the_one_with_the_fault(text: str, line: int) -> None:
    with pytest.raises(BootConfigError) as caught:
        parse_shell_file(FILE, text)
    assert caught.value.line == line, caught.value.brief


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 131072,
        "#" * 131072,
        ":;" * 65536,
        ":" + "&&:" * 43690,
        ":" + "|:" * 65535,
        "[ -e /a ]" + "&&[ -e /a ]" * 11900,
        "f(){ :;}\n" * 14560,
        'V="' + "$A" * 65000 + '"\n',
        "V='\n" * 30000,
    ],
    ids=["newlines", "comment", "commands", "lists", "pipelines", "tests", "functions", "references", "quotes"],
)
def test_a_file_at_its_limit_is_read_in_one_go(text: str) -> None:
    """What grows faster than the text would take minutes here."""
    try:
        stop(Shell.DASH, text)
    except BootConfigError as error:
        assert error.line is not None  # noqa: PT017 - either way counts, as long as it ends
