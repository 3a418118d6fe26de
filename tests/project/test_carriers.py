# SPDX-License-Identifier: Apache-2.0
"""The examples for other carriers: what cloud-init runs, and what the build of an image calls."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from project import PROJECT
from shownhosts import Stage

CARRIERS = PROJECT / "examples/carriers"
PROFILE = "passthrough-perf"
ENTRY = "boot/loader/entries/3f1c0d6a5b7e4f52a9d08c6b1e2d3f40-6.14.5-300.fc42.x86_64.conf"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage.build(tmp_path / "stage")


def test_cloud_init_applies_and_reboots_once(stage: Stage) -> None:
    lines = (CARRIERS / "cloud-init.yaml").read_text().splitlines()
    assert lines[0] == "#cloud-config"
    commands = [json.loads(line.removeprefix("  - ")) for line in lines if line.startswith("  - ")]
    (condition,) = (line.split(": ", 1)[1] for line in lines if line.startswith("  condition: "))
    host = stage.running("host")
    environment = stage.environment(str(host))
    for argv in commands:  # a list is what a command is started with
        subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    assert "iommu=pt" in (host / ENTRY).read_text()
    waits = [subprocess.run(["sh", "-c", condition], env=environment, check=False).returncode]
    subprocess.run(["reboot"], env=environment, check=True)
    waits.append(subprocess.run(["sh", "-c", condition], env=environment, check=False).returncode)
    assert waits == [0, 1], "it waits for a reboot, and then for none"


@pytest.mark.parametrize("by", ["mkosi", "mmdebstrap"])
def test_the_build_of_an_image_sets_the_profile(stage: Stage, by: str) -> None:
    tree = Path(shutil.copytree(PROJECT / "examples/debian-12", stage.work / "image", symlinks=True))
    named = {"BUILDROOT": str(tree)} if by == "mkosi" else {}
    argument = "final" if by == "mkosi" else str(tree)
    subprocess.run(
        [str(CARRIERS / "image-hook"), argument],
        env={**stage.environment(), **named},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert "intel_iommu=on iommu=pt" in (tree / "etc/default/grub").read_text()


def test_an_image_that_is_not_named_is_none(stage: Stage) -> None:
    done = subprocess.run(
        [str(CARRIERS / "image-hook")], env=stage.environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0, "the tree of the image" in done.stderr) == (True, True)


def test_the_page_shows_the_cloud_config_as_it_is() -> None:
    config = (CARRIERS / "cloud-init.yaml").read_text()
    assert f"```yaml\n{config[config.index('runcmd:') :]}```\n" in (PROJECT / "docs/carriers.md").read_text()
