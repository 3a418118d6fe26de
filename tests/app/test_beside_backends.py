# SPDX-License-Identifier: Apache-2.0
"""Beside a profile on every backend: sequences, several values, a replaced and an empty one in order, and back."""

import json
import shutil
from pathlib import Path

import pytest
from console import in_process
from goldens import contents
from project import GOLDEN

SEQUENCE = ("hugepagesz=1G", "hugepages=16", "hugepagesz=2M", "hugepages=512")
ADDED = (*SEQUENCE, "console=hvc0", "console=ttyS1,9600", "test=")
HOSTS = {"grub2": "grub2/debian-12", "bls": "bls/rhel-9", "systemd-boot": "systemd-boot/debian-13"}


def run(root: Path, command: str, *words: str) -> dict[str, object]:
    done = in_process(command, *words, "--root", str(root), "--regenerate", "never", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def files(root: Path) -> dict[str, bytes]:
    return {path: found for path, found in contents(root).items() if not path.startswith("var/lib/iommuctl")}


def next_line(root: Path) -> list[str]:
    status = json.loads(in_process("status", "--root", str(root), "--json").stdout)
    return str(status["future_kernels"]["cmdline"]).split()


@pytest.mark.parametrize("backend", HOSTS)
def test_what_is_added_comes_in_order_and_goes_back_byte_for_byte(backend: str, tmp_path: Path) -> None:
    root = Path(shutil.copytree(GOLDEN / HOSTS[backend] / "before", tmp_path / "host", symlinks=True))
    before = files(root)
    adding = [word for text in ADDED for word in ("--add", text)]
    done = run(root, "apply", "passthrough-perf", *adding, "--add", "transparent_hugepage=always")
    assert (done["backend"], done["changed"]) == (backend, True)
    line = next_line(root)
    assert [word for word in line if word in ADDED] == list(ADDED)
    run(root, "apply", "none", "--add", "transparent_hugepage=never")
    replaced = [word.replace("always", "never") if word.startswith("transparent") else word for word in line]
    assert next_line(root) == replaced
    assert run(root, "apply", "passthrough-perf")["changed"] is False
    for _ in range(2):
        run(root, "rollback")
    assert files(root) == before
