# SPDX-License-Identifier: Apache-2.0
"""The hint of every golden refusal is carried out in a copy of its tree, and gets on: another state than before.

What a person edits is edited, what a program of the host does is done by a stand-in that records how it was called.
"""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from peimages import addon
from refused import HOSTS, TREES, platform
from trees import MemoryTree
from typer.testing import CliRunner

from iommuctl.backends.systemd_boot.images import images
from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError

MENU = TREES / "arch-two-loaders/before/boot/grub/grub.cfg"
PARAMETERS = {"intel": ("intel_iommu=on", "iommu=pt"), "arm64": ("iommu.passthrough=1",)}


class State(NamedTuple):
    """What a dry-run of the profile ends with."""

    brief: str
    details: tuple[str, ...] = ()
    hint: str = ""


class Stage(NamedTuple):
    """A copy of a golden tree, and what its refusal said."""

    host: str
    root: Path
    before: State

    @property
    def parameters(self) -> tuple[str, ...]:
        return PARAMETERS[platform(self.host)]

    def state(self, *options: str) -> State:
        arguments = ("apply", "passthrough-perf", "--platform", platform(self.host), "--dry-run", *options)
        result = CliRunner().invoke(application, [*arguments, "--root", str(self.root)], obj=Session())
        error = result.exception
        if isinstance(error, IommuctlError):
            return State(error.brief, error.details, error.hint or "")
        assert (result.exit_code, error) == (0, None)
        return State("planned")

    def edit(self, path: str, number: int, add: str, remove: str) -> None:
        """Edit a line as a person would: what goes is taken out, what comes is put at its end, inside its quotes."""
        file = self.root / path.lstrip("/")
        lines = file.read_text().split("\n")
        line = lines[number - 1]
        for word in remove.split():
            line = re.sub(rf"(?<![^\s\"'=]) ?{re.escape(word)}(?![^\s\"'])", "", line)
        body, end = re.fullmatch(r"(.*?)((?:</string>|[\"'])?)", line).groups()  # type: ignore[union-attr] # matches all
        lines[number - 1] = f"{body} {add}{end}" if add else f"{body}{end}"
        file.write_text("\n".join(lines))

    def call(self, command: str) -> list[str]:
        """Run a command through a shell for which its program is a stand-in; give the arguments that it got."""
        program = command.split(maxsplit=1)[0]
        stand_in = self.root.parent / "bin" / Path(program).name
        stand_in.parent.mkdir()
        stand_in.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        stand_in.chmod(0o755)
        script = command.replace(program, stand_in.name, 1)
        path = {"PATH": f"{stand_in.parent}:/bin"}
        done = subprocess.run(("sh", "-ec", script), capture_output=True, text=True, check=True, env=path, timeout=20)
        return done.stdout.splitlines()


def edit_lines(stage: Stage, found: re.Match[str]) -> None:
    """Edit the lines that are named, then run what makes boot files of them, and find nothing left to do."""
    facts = (
        re.fullmatch(r"(/\S+):(\d+): (?:add ([^/]*?))?(?: and )?(?:remove (.*))?", one) for one in stage.before.details
    )
    edits = [each.groups(default="") for each in facts if each]
    assert {path for path, *_ in edits} == {found["file"]}
    assert ", ".join(number for _, number, *_ in edits) == found["numbers"]
    for path, number, add, remove in edits:
        stage.edit(path, int(number), add, remove)
    if found["run"]:
        program = found["run"].split()[0]
        assert list(stage.root.rglob(program)) or program == "lilo"
    after = stage.state()
    assert after.brief.endswith("boots this host, and what it reads has what profile 'passthrough-perf' asks for")
    assert "iommuctl verify passthrough-perf tells whether it took effect" in after.hint


def add_line(stage: Stage, found: re.Match[str]) -> None:
    with (stage.root / found["file"].lstrip("/")).open("a") as file:
        file.write(f"{found['line']}\n")
    assert stage.state().brief.endswith("has what profile 'passthrough-perf' asks for")


def name_backend(stage: Stage, found: re.Match[str]) -> None:
    for backend in re.findall(r"--backend ([\w-]+)", found[0]):
        assert stage.state("--backend", backend) == State("planned")


def mount(stage: Stage, found: re.Match[str]) -> None:
    (stage.root / "boot/grub").mkdir(parents=True)
    shutil.copy(MENU, stage.root / "boot/grub/grub.cfg")
    assert stage.state() == State("planned")


def call(stage: Stage, found: re.Match[str]) -> None:
    arguments = " ".join(stage.call(found["command"]))
    assert all(parameter in arguments for parameter in stage.parameters)


def ask_xen(stage: Stage, found: re.Match[str]) -> None:
    assert stage.call(found["command"]) == ["--get-xen", "iommu"]


def write_toml(stage: Stage, found: re.Match[str]) -> None:
    assert tomllib.loads(found["text"]) == {"kargs": list(stage.parameters)}


def write_words(stage: Stage, found: re.Match[str]) -> None:
    assert re.findall(r"[\w.]+=\w+", found["words"].replace("autoopts+=", "")) == list(stage.parameters)


def add_addon(stage: Stage, found: re.Match[str]) -> None:
    lent = " ".join(stage.parameters)
    target = stage.root / found["path"].lstrip("/")
    target.parent.mkdir()
    target.write_bytes(addon(lent))
    (image,) = images(MemoryTree.load(stage.root), None)
    assert str(image.cmdline).endswith(lent)


REQUESTS: tuple[tuple[str, Callable[[Stage, re.Match[str]], None]], ...] = (
    (
        (
            r"(?:add .*|remove .*|make the changes above) in lines? (?P<numbers>[\d, ]+) of (?P<file>/\S+) \([^)]*\)"
            r"(?:, run (?P<run>[^,]+))?, then reboot"
        ),
        edit_lines,
    ),
    (r"add the line (?P<line>.*) to (?P<file>/\S+), then reboot", add_line),
    (r"name the one that boots with --backend .*", name_backend),
    (r"mount the boot file systems of that system .*", mount),
    (r"(?P<command>zbm-kcl .*?) puts .* into the property org\.zfsbootmenu:commandline .*; then reboot", call),
    (r"(?P<command>(?:rpm-)?ostree .*)", call),
    (r"(?P<command>(?:midclt call|snap set|grub2-editenv) .*?) (?:with|where) .*then reboot", call),
    (r".* is shown by (?P<command>\S+ --get-xen iommu), and set by its --set-xen; then reboot", ask_xen),
    (r"add a file with (?P<text>.*) to /usr/lib/bootc/kargs\.d in the image, then bootc upgrade", write_toml),
    (r"set boot\.kernelParams = \[ (?P<words>.*) \] in .*, then nixos-rebuild switch", write_words),
    (r"put (?P<words>.*) (?:after append in /boot/syslinux|into Arguments of OpenLinuxBoot).*", write_words),
    (r"add an addon next to it \(ukify build --cmdline=… --output=(?P<path>\S+)\)", add_addon),
)


@pytest.mark.parametrize("host", HOSTS)
def test_the_hint_of_a_refusal_gets_on(host: str, tmp_path: Path) -> None:
    root = tmp_path / "host"
    shutil.copytree(TREES / host / "before", root, symlinks=True)
    stage = Stage(host, root, State(""))
    stage = stage._replace(before=stage.state())
    matching = [
        (found, carry_out) for pattern, carry_out in REQUESTS if (found := re.fullmatch(pattern, stage.before.hint))
    ]
    assert len(matching) == 1, stage.before.hint
    found, carry_out = matching[0]
    carry_out(stage, found)


@pytest.mark.parametrize("host", HOSTS)
def test_without_a_profile_no_placeholder_is_shown(host: str, tmp_path: Path) -> None:
    root = tmp_path / "host"
    shutil.copytree(TREES / host / "before", root, symlinks=True)
    result = CliRunner().invoke(application, ["status", "--root", str(root)], obj=Session())
    assert isinstance(result.exception, IommuctlError)
    assert result.exception.hint
    assert not re.search(
        r"\b(?:PARAMETER|VALUE|NAME)\b|[{}]", " ".join((*result.exception.details, result.exception.hint))
    )
