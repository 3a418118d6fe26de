# SPDX-License-Identifier: Apache-2.0
"""What will stop an apply is told by the dry-run already; the plan is shown all the same."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from console import run
from grubtree import GrubTree, grub_host

__all__ = ["grub_host"]  # the fixture

LINKED = "it will fail as things are: /etc/default/grub: it has 2 names (hard links), which a replacement would part"


def findings(root: Path, *arguments: str) -> dict[str, str]:
    done = run(*arguments, "--dry-run", "--json", "--root", str(root))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["files"]
    return {one["rule"]: one["message"] for one in report["findings"]}


def test_a_hard_linked_source_is_told(sample_host: Path) -> None:
    os.link(sample_host / "etc/default/grub", sample_host / "etc/other")
    assert findings(sample_host, "apply", "passthrough-perf")["target-not-writable"] == LINKED


def test_a_hard_linked_source_is_told_of_a_rollback_too(sample_host: Path) -> None:
    run("apply", "passthrough-perf", "--root", str(sample_host))
    os.link(sample_host / "etc/default/grub", sample_host / "etc/other")
    assert findings(sample_host, "rollback")["target-not-writable"] == LINKED


@pytest.mark.parametrize("path", ["etc/default/grub", "etc/default"])
def test_an_immutable_target_is_told(path: str, sample_host: Path) -> None:
    if subprocess.run(["chattr", "+i", str(sample_host / path)], capture_output=True, check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        told = findings(sample_host, "apply", "passthrough-perf")["target-not-writable"]
    finally:
        subprocess.run(["chattr", "-i", str(sample_host / path)], check=True)
    assert told == f"it will fail as things are: '/{path}' may not be replaced: attribute +i"


@pytest.mark.programs
@pytest.mark.parametrize("name", ["grub-mkconfig", "grub-script-check"])
def test_a_missing_generator_is_told(name: str, grub_host: GrubTree) -> None:
    folder = "sbin" if name == "grub-mkconfig" else "bin"
    (grub_host.path / "usr" / folder / name).unlink()
    (grub_host.path / "boot/grub/grub.cfg").write_text("menuentry 'Debian' {\n linux /vmlinuz\n}\n")
    told = findings(grub_host.path, "apply", "passthrough-perf", "--regenerate", "always")
    assert told["program-missing"] == f"it will fail as things are: no program {name!r}"


@pytest.mark.parametrize("arguments", [(), ("--regenerate", "never")], ids=" ".join)
def test_nothing_is_told_where_nothing_stops_it(arguments: tuple[str, ...], sample_host: Path) -> None:
    told = findings(sample_host, "apply", "passthrough-perf", *arguments)
    assert {"target-not-writable", "program-missing"} & set(told) == set()
