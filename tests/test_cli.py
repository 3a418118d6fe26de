# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: exit codes, errors, colours, the question, completion, hostile input."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import iommuctl
from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError

PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "iommuctl")
ESCAPE = "\x1b"
# Everything is loaded before the rights are given up.
AS_NOBODY = """
import contextlib, importlib, os, pathlib, pkgutil
import augeas, iommuctl, typer
from iommuctl import lens, shipped
for package in (iommuctl, typer):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(AssertionError):  # what is for another system says so
                importlib.import_module(module.name)
shipped.shipped_profiles(), shipped.shipped_catalogue()
lens._LENSES = pathlib.Path(os.environ["READABLE_LENSES"])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
iommuctl.cli.main()
"""
NEVER = ("--regenerate", "never")
CONDITIONAL = 'if [ -e /x ]; then\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nfi\n'

STRING_INPUT = """
name = "own"
summary = "one parameter of one's own"
[[input]]
name = "text"
type = "string"
required = true
description = "a value"
[[set]]
parameter = "own.text"
value_from = "text"
reason = "a test"
"""
OWN = 'name = "own"\nsummary = "s"\n[[set]]\nparameter = {parameter}\nreason = "r"\n'
SHIPPED_NAME = b'name = "passthrough-perf"\nsummary = "s"\n[[set]]\nparameter = "iommu=off"\nreason = "r"\n'

HOSTILE = [
    pytest.param(text, id=name)
    for name, text in {
        "double quote": 'a"b',
        "single quote": "a'b",
        "dollar": "$HOME",
        "command": "$(reboot)",
        "backtick": "`reboot`",
        "semicolon": "a;reboot",
        "newline": "a\nGRUB_DEFAULT=1",
        "return": "a\rb",
        "escape": f"a{ESCAPE}[31m",
        "tab": "a\tb",
        "delete": "a\x7fb",
        "blank": "a init=/bin/sh",
        "backslash": "a\\",
        "ampersand": "a&b",
        "pipe": "a|b",
        "redirection": "a>/etc/passwd",
        "glob": "a*",
        "brace": "a}",
        "hash": "a#b",
        "beyond ASCII": "\u00e4",
        "direction": "a\u202eb",
    }.items()
]


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run iommuctl as a process."""
    return _run((*PROGRAM, *arguments), env or {})


def run_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run iommuctl as who owns nothing, also where nobody else may read this project and its Python."""
    readable = Path(arguments[arguments.index("--root") + 1]).with_name("lenses")
    shutil.copytree(PROJECT / "iommuctl/lenses", readable, dirs_exist_ok=True)
    return _run((sys.executable, "-c", AS_NOBODY, *arguments), {"READABLE_LENSES": str(readable)})


def _run(command: tuple[str, ...], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run(
        command, cwd=PROJECT, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def code_of(*arguments: str) -> int:
    """Run a command in this process; give the exit code that it would end with."""
    result = CliRunner().invoke(application, arguments, obj=Session())
    error = result.exception
    if isinstance(error, IommuctlError):
        return error.code
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code


def tree(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: mode, time and content."""
    return {
        str(path.relative_to(top)): (stat.st_mode, stat.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (top, *top.rglob("*"))
        for stat in (path.lstat(),)
    }


class Terminal:
    """iommuctl on a terminal of its own, with somebody who reads and types."""

    def __init__(self, arguments: tuple[str, ...], env: Mapping[str, str]) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=PROJECT,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, words: str | None) -> None:
        """Read until some words show, or to the end."""
        deadline = time.monotonic() + 30
        while words is None or words not in self.text:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.text
            try:
                chunk = os.read(self.master, 4096)
            except OSError:  # EIO: the other side was closed
                chunk = b""
            if not chunk:
                assert words is None, self.text
                return
            self.text += chunk.decode()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def finish(self) -> int:
        self.read_until(None)
        return self.process.wait(timeout=30)


@contextmanager
def terminal(*arguments: str, **env: str) -> Iterator[Terminal]:
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    opened = Terminal(arguments, {**plain, "TERM": "xterm", **env})
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.wait()
        os.close(opened.master)


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else or mount")


@pytest.fixture
def readable_host(sample_host: Path) -> Iterator[Path]:
    """The sample host where everybody can reach it."""
    with_parents = [sample_host, *(parent for parent in sample_host.parents if parent.stat().st_uid == os.geteuid())]
    modes = {path: path.stat().st_mode for path in with_parents if path != Path("/")}
    for path, mode in modes.items():
        path.chmod(mode | 0o055)
    yield sample_host
    for path, mode in modes.items():
        path.chmod(mode)


# Exit codes


def test_exit_codes_of_what_goes_well(sample_host: Path) -> None:
    apply = ("apply", "passthrough-perf", "--root", str(sample_host), *NEVER)
    assert code_of(*apply, "--dry-run") == 0
    assert code_of(*apply, "--dry-run", "--exit-code") == 1
    assert code_of(*apply) == 0
    assert code_of(*apply) == 0
    assert code_of(*apply, "--dry-run", "--exit-code") == 0
    rollback = ("rollback", "--root", str(sample_host), *NEVER)
    assert code_of(*rollback, "--dry-run", "--exit-code") == 1
    assert code_of(*rollback) == 0
    assert code_of(*rollback) == 66


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(("apply",), 2, id="no profile"),
        pytest.param(("nonsense",), 2, id="no such command"),
        pytest.param(("apply", "passthrough-perf", "--regenerate", "sometimes"), 2, id="no such choice"),
        pytest.param(("apply", "vfio-bind", "--set", "vfio-pci.ids"), 2, id="set without a value"),
        pytest.param(("apply", "vfio-bind", "--set", "a=1", "--set", "a=2"), 2, id="set twice"),
        pytest.param(("apply", "passthrough-perf", "--backend", "lilo"), 2, id="no such backend"),
        pytest.param(("recover", "--accept-current", "--restore"), 2, id="contradiction"),
        pytest.param(("apply", "vfio-bind"), 65, id="input missing"),
        pytest.param(("apply", "passthrough-perf", "--set", "a=1"), 65, id="input not declared"),
        pytest.param(("apply", "iommu-off", "--platform", "arm64"), 65, id="impossible on the platform"),
        pytest.param(("apply", "nonsense"), 66, id="no such profile"),
        pytest.param(("apply", "/nonsense.toml"), 66, id="no such profile file"),
        pytest.param(("apply", "passthrough-perf", "--root", "/nonsense"), 66, id="no such root"),
        pytest.param(("rollback",), 66, id="nothing to roll back"),
        pytest.param(("rollback", "20200101T000000Z-aaaaaa"), 66, id="no such snapshot"),
        pytest.param(("history", "show", "2020"), 66, id="no such snapshot to show"),
    ],
)
def test_exit_code_of_what_was_asked_wrongly(arguments: tuple[str, ...], code: int, sample_host: Path) -> None:
    before = tree(sample_host)
    root = () if "--root" in arguments else ("--root", str(sample_host))
    assert code_of(*arguments, *root) == code
    after = tree(sample_host)
    # A command that may write prepares its own state folder first; nothing else changes.
    assert {path: after[path] for path in before if path not in ("var/lib", "var")} == {
        path: content for path, content in before.items() if path not in ("var/lib", "var")
    }


def test_exit_code_69_where_no_bootloader_is_known(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert code_of("apply", "passthrough-perf", "--root", str(tmp_path), "--dry-run") == 69


def test_exit_code_69_where_something_else_owns_the_command_line(sample_host: Path) -> None:
    (sample_host / "etc/NIXOS").touch()
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run") == 69


def test_exit_code_69_where_the_menu_has_no_normal_entry_and_no_generator_may_run(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("/etc/grub.d/10_linux", "/etc/grub.d/40_custom"))
    before = tree(sample_host)
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 69
    assert tree(sample_host) == before


def test_a_default_entry_that_no_profile_changes_is_told(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    section = "### {} /etc/grub.d/40_custom ###\n"
    own = section.format("BEGIN") + "menuentry mine {\n linux /vmlinuz iommu=off\n}\n" + section.format("END")
    menu.write_text(menu.read_text().replace('set default="0"', 'set default="mine"') + own)
    report = json.loads(run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json").stdout)
    assert "default-entry-not-ours" in [finding["rule"] for finding in report["findings"]]
    menu.write_text(menu.read_text().replace('set default="mine"', 'set default="0"'))
    report = json.loads(run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json").stdout)
    assert "default-entry-not-ours" not in [finding["rule"] for finding in report["findings"]]


def test_a_menu_that_does_not_exist_yet_stops_nothing(sample_host: Path) -> None:
    (sample_host / "boot/grub/grub.cfg").unlink()
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 0


def test_exit_code_70_for_a_defect_of_ours(sample_host: Path) -> None:
    script = "import iommuctl.app.apply as a; a.plan_apply = None; from iommuctl.cli import main; main()"
    command = [sys.executable, "-c", script, "apply", "passthrough-perf", "--json", "--root", str(sample_host)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == 70


def test_exit_code_74_for_a_target_that_is_read_only(sample_host: Path) -> None:
    needs_root()
    before = (sample_host / "etc/default/grub").read_bytes()
    script = 'mount --bind "$0/etc/default" "$0/etc/default" && mount -o remount,ro,bind "$0/etc/default" && exec "$@"'
    apply = [*PROGRAM, "apply", "passthrough-perf", "--root", str(sample_host), *NEVER]
    command = ["unshare", "--mount", "sh", "-c", script, str(sample_host), *apply]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    assert done.returncode == 74, done.stderr
    assert (sample_host / "etc/default/grub").read_bytes() == before


def test_exit_code_75_where_a_file_changes_between_question_and_answer(sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) as screen:
        screen.read_until("write this?")
        grub = sample_host / "etc/default/grub"
        changed = grub.read_bytes() + b"# somebody else\n"
        grub.write_bytes(changed)
        screen.type("y\n")
        assert screen.finish() == 75
    assert grub.read_bytes() == changed


def test_exit_code_77_for_who_may_not_write(readable_host: Path) -> None:
    needs_root()
    before = tree(readable_host)
    apply = ("apply", "passthrough-perf", "--root", str(readable_host), *NEVER)
    done = run_as_nobody(*apply)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (77, "hint: run the same command as root (sudo)")
    done = run_as_nobody(*apply, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "+GRUB_CMDLINE_LINUX_DEFAULT=" in done.stdout
    assert tree(readable_host) == before


def test_a_menu_that_may_not_be_read_is_said(readable_host: Path) -> None:
    needs_root()
    run("apply", "passthrough-perf", "--root", str(readable_host), *NEVER)
    (readable_host / "boot/grub/grub.cfg").chmod(0o600)
    done = run_as_nobody("apply", "passthrough-perf", "--root", str(readable_host), "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "grub-cfg-unreadable" in [finding["rule"] for finding in json.loads(done.stdout)["findings"]]


def test_exit_code_78_for_what_cannot_be_represented(sample_host: Path) -> None:
    (sample_host / "etc/default/grub").write_text(CONDITIONAL)
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        "iommuctl: error: /etc/default/grub:2: GRUB_CMDLINE_LINUX_DEFAULT is assigned inside the 'if' of line 1\n"
        "hint: edit /etc/default/grub by hand, then run the same command again\n"
    )


def test_exit_code_78_for_a_source_that_changed_since(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    old = grub.read_bytes()
    root = ("--root", str(sample_host), *NEVER)
    assert code_of("apply", "passthrough-perf", *root) == 0
    grub.write_bytes(grub.read_bytes() + b"# mine\n")
    changed = grub.read_bytes()
    assert code_of("rollback", *root) == 78
    assert grub.read_bytes() == changed
    assert code_of("rollback", *root, "--force", "changed-since-snapshot") == 0
    assert grub.read_bytes() == old


# Errors


def test_an_error_names_what_facts_and_the_next_command(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr == (
        "iommuctl: error: no profile 'nonsense'\n"
        "    profiles: hardened, iommu-off, kernel-default, passthrough-perf, strict-isolation, translated-lazy, "
        "vfio-bind\n"
        "hint: run iommuctl profile list\n"
    )


def test_the_way_back_names_the_root(sample_host: Path) -> None:
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--yes")
    identity = next((sample_host / "var/lib/iommuctl/snapshots").iterdir()).name
    last = done.stdout.splitlines()[-1]
    assert last == f"snapshot {identity}; to go back: iommuctl rollback {identity} --root {sample_host}"


def test_a_damaged_snapshot_is_told_of_in_the_history(sample_host: Path) -> None:
    run("apply", "passthrough-perf", "--root", str(sample_host), "--yes")
    manifest = next((sample_host / "var/lib/iommuctl/snapshots").glob("*/manifest.json"))
    manifest.write_text("no JSON")
    path = f"/{manifest.relative_to(sample_host)}"
    assert run("history", "--root", str(sample_host)).stdout == (
        f"no snapshots\n\nwarning[snapshot-damaged] state file {path!r} is damaged\n"
        f"    hint: look at {path}, or move it away\n"
    )


def test_debug_shows_where_an_error_came_from(sample_host: Path) -> None:
    done = run("apply", "nonsense", "--root", str(sample_host), "--dry-run", "--debug")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("hint: run iommuctl profile list\n")


# Hostile input


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_reaches_no_file(text: str, sample_host: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(STRING_INPUT)
    before = tree(sample_host)
    root = ("--root", str(sample_host), *NEVER)
    assert code_of("apply", str(own), "--set", "text=harmless", *root, "--dry-run") == 0
    assert code_of("apply", str(own), "--set", f"text={text}", *root, "--dry-run") == 65
    assert code_of("apply", "vfio-bind", "--set", f"vfio-pci.ids={text}", *root, "--dry-run") == 65
    assert tree(sample_host) == before
    assert code_of("apply", str(own), "--set", f"text={text}", *root) == 65
    assert without_state(tree(sample_host)) == without_state(before)


@pytest.mark.parametrize("where", ["iommu=pt{}", "iommu{}=pt", "iommu.{}"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_profile_reaches_no_file(text: str, where: str, sample_host: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(OWN.format(parameter=json.dumps(where.format(text))))
    folder = sample_host / "etc/iommuctl/profiles.d"
    folder.mkdir(parents=True)
    shutil.copy(own, folder)
    before = tree(sample_host)
    for profile in (str(own), "own"):
        assert code_of("apply", profile, "--root", str(sample_host), *NEVER) == 65
    assert code_of("profile", "check", str(own)) == 65
    assert without_state(tree(sample_host)) == without_state(before)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("passthrough-perf.toml", SHIPPED_NAME, id="a shipped name"),
        pytest.param("own.toml", b"name = ", id="no TOML"),
        pytest.param("own.toml", b'name = "own\xff"\n', id="not UTF-8"),
        pytest.param("own.toml", b'name = "other"\nsummary = "s"\n', id="another name"),
        pytest.param("own.toml", b'name = "own"\nsummary = "s"\nextends = "own"\n', id="a circle"),
        pytest.param("own.toml", b"a = " + b"[" * 5000, id="nested deeply"),
        pytest.param("own.toml", b"#" * 100_000, id="too large"),
        pytest.param("own.toml", b'name = "own"\nsummary = "s"\ncommand = "reboot"\n', id="an unknown key"),
    ],
)
def test_a_hostile_file_among_the_profiles_of_a_root(name: str, content: bytes, sample_host: Path) -> None:
    folder = sample_host / "etc/iommuctl/profiles.d"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    before = tree(sample_host)
    profile = name.removesuffix(".toml")
    assert code_of("apply", profile, "--root", str(sample_host), *NEVER) == 65
    assert code_of("profile", "list", "--root", str(sample_host)) == 65
    assert without_state(tree(sample_host)) == without_state(before)


def test_a_profile_of_a_root_cannot_show_a_file_of_the_host(sample_host: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.toml"
    outside.write_text(OWN.format(parameter='"own"'))
    folder = sample_host / "etc/iommuctl/profiles.d"
    folder.mkdir(parents=True)
    (folder / "own.toml").symlink_to(outside)
    assert code_of("apply", "own", "--root", str(sample_host), "--dry-run") == 66


def without_state(found: dict[str, tuple[int, int, bytes]]) -> dict[str, tuple[int, int, bytes]]:
    return {path: content for path, content in found.items() if not path.startswith("var")}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param("etc/default/grub", b'# \x1b[2J\x9b\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', id="not UTF-8"),
        pytest.param("etc/default/grub", '# \x1b[2J\x9b\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'.encode(), id="comment"),
        pytest.param("etc/default/grub", b'GRUB_CMDLINE_LINUX_DEFAULT="a\x1b[2J"\n', id="value"),
        pytest.param("etc/default/grub.d/\x1b[2J.cfg", CONDITIONAL.encode(), id="file name"),
        pytest.param(
            "etc/default/grub.d/\x1b[2J.cfg", b'GRUB_CMDLINE_LINUX_DEFAULT="x"\n', id="name of an edited file"
        ),
        pytest.param("etc/default/grub.d/\udcff.cfg", b'GRUB_CMDLINE_LINUX_DEFAULT="x"\n', id="name not UTF-8"),
        pytest.param("boot/grub/grub.cfg", b"menuentry '\x1b[2J' {\nlinux /k x\n}\n", id="title"),
        pytest.param("etc/os-release", b'ID="\x1b[2J"\n', id="distribution"),
        pytest.param("etc/iommuctl/profiles.d/\x1b[2J.toml", b"", id="profile"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [("apply", "kernel-default", "--dry-run", "-v"), ("apply", "passthrough-perf", "-v", *NEVER), ("status",)],
    ids=" ".join,
)
def test_a_hostile_file_cannot_drive_the_terminal(
    path: str, content: bytes, command: tuple[str, ...], sample_host: Path
) -> None:
    file = sample_host / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    done = run(*command, "--root", str(sample_host))
    assert done.returncode in (0, 69, 78), done.stderr
    assert {char for char in done.stdout + done.stderr if not char.isprintable()} <= {"\n", "\t"}
    done = run(*(word for word in command if word != "-v"), "--json", "--root", str(sample_host))
    assert done.returncode in (0, 69, 78), done.stderr
    json.loads(done.stdout or done.stderr)


def test_what_an_error_quotes_cannot_drive_the_terminal(sample_host: Path) -> None:
    root = ("--root", str(sample_host), *NEVER)
    assert code_of("apply", "passthrough-perf", *root) == 0
    grub = sample_host / "etc/default/grub"
    grub.write_bytes(grub.read_bytes() + b"# \x1b[2J\x0c\n")
    done = run("rollback", *root)
    assert done.returncode == 78
    assert "    -# \\x1b[2J\\x0c" in done.stderr.splitlines()
    assert ESCAPE not in done.stderr


def test_what_an_error_quotes_cannot_look_like_another_line(sample_host: Path) -> None:
    (sample_host / "etc/default/grub.d").mkdir()
    (sample_host / "etc/default/grub.d/a\nhint: sh x.cfg").touch()
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run")
    assert done.stderr == (
        "iommuctl: error: /etc/default/grub.d/a\\nhint: sh x.cfg: its name has control characters or is not UTF-8\n"
        "hint: rename the file\n"
    )


# Terminals


def test_output_is_plain_where_there_is_no_terminal(sample_host: Path) -> None:
    done = run("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", env={"TERM": "xterm"})
    assert ESCAPE not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=str,
)
def test_a_terminal_gets_colours_unless_it_wants_none(env: dict[str, str], coloured: bool, sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", **env) as screen:
        assert screen.finish() == 0
    assert (f"{ESCAPE}[32m+GRUB_CMDLINE_LINUX_DEFAULT" in screen.text) is coloured
    assert (ESCAPE in screen.text) is coloured


@pytest.mark.parametrize(
    ("answer", "code", "written"),
    [("n\n", 1, False), ("\n", 1, False), ("\x04", 1, False), ("y\n", 0, True)],
    ids=["no", "nothing", "end of input", "yes"],
)
def test_apply_asks_on_a_terminal(answer: str, code: int, written: bool, sample_host: Path) -> None:
    before = tree(sample_host)
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) as screen:
        screen.read_until("write this? [y/N]:")
        assert without_state(tree(sample_host)) == without_state(before)
        screen.type(answer)
        assert screen.finish() == code
    changed = without_state(tree(sample_host)) != without_state(before)
    assert (changed, "nothing was written" in screen.text) == (written, not written)


def test_yes_answers_beforehand(sample_host: Path) -> None:
    with terminal("apply", "passthrough-perf", "--root", str(sample_host), *NEVER, "--yes") as screen:
        assert screen.finish() == 0
    assert "write this?" not in screen.text
    assert "iommu=pt" in (sample_host / "etc/default/grub").read_text()


def test_nobody_is_asked_where_nothing_changes(sample_host: Path) -> None:
    arguments = ("apply", "passthrough-perf", "--root", str(sample_host), *NEVER)
    assert code_of(*arguments) == 0
    with terminal(*arguments) as screen:
        assert screen.finish() == 0
    assert "write this?" not in screen.text


# Help, completion, version


def commands() -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command with the words that call it."""

    def walk(words: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], object]]:
        yield words, command
        for name, below in getattr(command, "commands", {}).items():
            yield from walk((*words, name), below)

    yield from walk((), get_command(application))


@pytest.mark.parametrize(("words", "command"), [pytest.param(*one, id=" ".join(one[0]) or "-") for one in commands()])
def test_every_command_and_option_has_help(words: tuple[str, ...], command: object) -> None:
    result = CliRunner().invoke(application, [*words, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {' '.join(('iommuctl', *words))}")
    assert getattr(command, "help", None)
    silent = [parameter.name for parameter in getattr(command, "params", ()) if not getattr(parameter, "help", None)]
    assert silent == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    done = run(env={"_IOMMUCTL_COMPLETE": f"source_{shell}"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "iommuctl" in done.stdout
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("iommuctl apply pass", {"passthrough-perf"}),
        ("iommuctl apply iommu", {"iommu-off"}),
        ("iommuctl profile show v", {"vfio-bind"}),
        ("iommuctl roll", {"rollback"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completes_names(shell: str, words: str, completed: set[str]) -> None:
    env = {
        "_IOMMUCTL_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.rsplit(maxsplit=1)[-1],
    }
    done = run(env=env)
    assert done.stderr == ""
    assert all(name in done.stdout for name in completed)
    assert "strict-isolation" not in done.stdout


def test_version_is_told_without_what_it_does_not_need() -> None:
    script = (
        "import sys\nfrom iommuctl.cli import main\nsys.argv[1:] = ['--version']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('pydantic', 'augeas', 'rich', 'tomllib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"iommuctl {iommuctl.__version__}\n[]\n", "")
