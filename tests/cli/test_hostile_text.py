# SPDX-License-Identifier: Apache-2.0
"""Hostile text: whatever a file of a tree says, in whichever field, no byte of it can drive a terminal."""

import json
import os
import shutil
from pathlib import Path

import pytest
from console import run
from project import GOLDEN

# ESC, an operating system command, a carriage return, C1's CSI, a change of direction, a byte that is no UTF-8.
HOSTILE = (b"\x1b[2J", b"\x1b]0;x\x07", b"\r", "\x9b31m".encode(), "\u202e".encode(), b"\x9b\xff")
HOST = GOLDEN / "bls" / "fedora-42" / "before"
COMMANDS = (
    ("status", "-v"),
    ("lint",),
    ("apply", "passthrough-perf", "--dry-run", "-v"),
    ("apply", "strict-isolation", "--dry-run"),
    ("history",),
    ("profile", "list"),
    ("apply", "hostile", "--dry-run"),
)


def spoil(root: Path, text: bytes) -> None:
    """Write a text into every place of a tree that somebody may show."""
    for path in (root / "boot/loader/entries").iterdir():
        content = path.read_bytes().replace(b"title ", b"title " + text)
        path.write_bytes(content.replace(b"quiet", b"quiet x=" + text, 1))
    entry = next((root / "boot/loader/entries").iterdir()).read_bytes()
    name = b"other-" + text.replace(b"/", b"")
    more = b"\nversion " + text + b"\nmachine-id " + text + b"\nsort-key " + text + b"\nunknown-key " + text + b"\n"
    Path(os.fsdecode(os.fsencode(root / "boot/loader/entries") + b"/" + name + b".conf")).write_bytes(entry + more)
    for name_ in ("etc/default/grub", "etc/kernel/cmdline"):
        path = root / name_
        path.write_bytes(path.read_bytes().replace(b"quiet", b"quiet y=" + text.replace(b"\r", b"")))
    with (root / "etc/os-release").open("ab") as file:
        file.write(b"VERSION_ID=" + text + b"\nVARIANT_ID=" + text + b"\n")
    profiles = root / "etc/iommuctl/profiles.d"
    profiles.mkdir(parents=True)
    quoted = json.dumps(text.decode("utf-8", "replace"))
    (profiles / "hostile.toml").write_text(f'name = "hostile"\nsummary = {quoted}\n')


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
def test_nothing_that_a_tree_says_drives_a_terminal(tmp_path: Path, text: bytes, as_json: tuple[str, ...]) -> None:
    root = Path(shutil.copytree(HOST, tmp_path / "host", symlinks=True))
    spoil(root, text)
    for command in COMMANDS:
        done = run(*command, "--root", str(root), *(("--platform", "intel") if command[0] == "apply" else ()), *as_json)
        for stream in (done.stdout, done.stderr):
            raw = [char for char in stream if not char.isprintable() and char not in "\n\t"]
            assert raw == [], f"{command}: {raw!r}"
        assert done.returncode != 70, f"{command}: {done.stderr}"
        if as_json and done.stdout:
            json.loads(done.stdout)


FORGED = "error[forged]: run this"
NAMES = (
    f"boot/loader/entries/x\n{FORGED}\n.conf",
    f"boot/vmlinuz-6.1\n{FORGED}\n",
    f"lib/modules/6.1\n{FORGED}\n/modules.dep",
    f"boot/efi/EFI/Linux/x\n{FORGED}\n.efi",
    f"boot/efi/EFI/y\n{FORGED}\n/grub.cfg",
    f"etc/default/grub.d/x\n{FORGED}\n.cfg",
    f"etc/cmdline.d/x\n{FORGED}\n.conf",
    f"etc/modprobe.d/x\n{FORGED}\n.conf",
    f"etc/grub.d/40_x\n{FORGED}\n",
    f"etc/iommuctl/profiles.d/x\n{FORGED}\n.toml",
    f"var/lib/iommuctl/snapshots/20260101T000000Z-abcdef\n{FORGED}\n/manifest.json",
)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.partition("x\n")[0])
def test_no_name_of_a_file_makes_a_line_of_its_own(tmp_path: Path, name: str) -> None:
    root = Path(shutil.copytree(HOST, tmp_path / "host", symlinks=True))
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("title x\nlinux /vmlinuz-6.1\noptions root=UUID=other quiet iommu=off\n")
    for command in COMMANDS[4:6] if name.startswith(("etc/iommuctl", "var")) else COMMANDS[:3]:
        done = run(*command, "--root", str(root), *(("--platform", "intel") if command[0] == "apply" else ()))
        forged = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(FORGED)]
        assert forged == [], command
        assert done.returncode != 70, f"{command}: {done.stderr}"
