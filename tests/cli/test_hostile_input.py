# SPDX-License-Identifier: Apache-2.0
"""Hostile input: values, profiles and files that must reach no file, no terminal and no line of ours."""

import json
import os
import shutil
from pathlib import Path

import pytest
from console import (
    CONDITIONAL,
    ESCAPE,
    NEVER,
    code_of,
    run,
    tree,
    without_state,
)

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
        f"    the path is one inside {sample_host}\n"
        "hint: rename the file\n"
    )


def test_bytes_of_names_and_lines_that_are_not_utf_8_end_no_run(tmp_path: Path) -> None:
    entries = tmp_path / "boot/loader/entries"
    entries.mkdir(parents=True)
    (entries / "own.conf").write_text("linux /v\noptions root=/dev/sda2 ro\n")
    (tmp_path / "boot/loader/loader.conf").write_text("default own.conf\n")
    foreign = os.fsencode(entries) + b"/z\xe7.conf"
    Path(os.fsdecode(foreign)).write_bytes(b"title \xe7\nlinux /v\noptions root=\xe7\n")
    options = ("--root", str(tmp_path), "--platform", "intel")

    shown = json.loads(run("status", *options[:2], "--json").stdout)["entries"]
    (found,) = (one for one in shown if "raw" in one)
    assert (found["path"], found["title"], found["cmdline"]) == (
        "/boot/loader/entries/z\ufffd.conf",
        "\ufffd",
        "root=\ufffd",
    )
    raw = {name: bytes.fromhex(text) for name, text in found["raw"].items()}
    assert raw["path"] == b"/boot/loader/entries/z\xe7.conf"
    assert raw["cmdline"] == b"root=\xe7"
    assert r"z\xe7.conf is left alone" in run("apply", "passthrough-perf", *options, "--yes").stdout
    assert b"iommu=pt" in (entries / "own.conf").read_bytes()
    run("rollback", *options[:2], "--yes")
    assert b"iommu=pt" not in (entries / "own.conf").read_bytes()
