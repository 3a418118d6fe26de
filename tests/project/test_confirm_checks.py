# SPDX-License-Identifier: Apache-2.0
"""The checks of a trial boot that are shipped as examples: what each says, and with which exit code."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from project import PROJECT

CHECKS = PROJECT / "examples" / "confirm.d"
ROUTE = 'case $* in "route show default") echo "default via 192.0.2.1 dev eth0 proto dhcp" ;;'
SILENT = f"{ROUTE} *neigh*) echo '192.0.2.1 lladdr 52:54:00:00:00:01 {{}}' ;; esac"


def run(name: str, folder: Path, programs: Mapping[str, str]) -> tuple[int, str]:
    """Run a check with stand-ins for some programs."""
    for program, text in programs.items():
        (folder / program).write_text(f"#!/bin/sh\n{text}\n")
        (folder / program).chmod(0o755)
    done = subprocess.run(
        [CHECKS / name],
        env={"PATH": f"{folder}{os.pathsep}/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(
    ("ip", "ping", "code", "words"),
    [
        (f"{ROUTE} esac", "exit 0", 0, "192.0.2.1 answers through eth0"),
        (SILENT.format("REACHABLE"), "exit 1", 0, "192.0.2.1 is a neighbour at eth0, and answers no ping"),
        (SILENT.format("FAILED"), "exit 1", 1, "192.0.2.1 does not answer through eth0"),
        (":", "exit 0", 1, "there is no default route"),
        (
            'case $* in "route show default") echo "default dev tun0 scope link" ;; esac',
            "exit 0",
            1,
            "the default route goes to tun0, without a gateway to ask",
        ),
    ],
)
def test_the_default_route_has_to_lead_somewhere(ip: str, ping: str, code: int, words: str, tmp_path: Path) -> None:
    assert run("10-reach-default-route", tmp_path, {"ip": ip, "ping": ping}) == (code, words)


@pytest.mark.parametrize(
    ("programs", "code", "words"),
    [
        ({"virsh": "exit 0"}, 0, "libvirt answers"),
        ({"virsh": "exit 1"}, 1, "libvirt does not answer"),
        ({"pvesh": "exit 0", "systemctl": "exit 0"}, 0, "Proxmox is up"),
        ({"pvesh": "exit 0", "systemctl": "exit 3"}, 1, "Proxmox is not up"),
    ],
)
def test_what_runs_the_guests_has_to_work(programs: Mapping[str, str], code: int, words: str, tmp_path: Path) -> None:
    assert run("40-hypervisor", tmp_path, programs) == (code, words)


def test_every_check_is_one_that_a_trial_would_run() -> None:
    names = sorted(path.name for path in CHECKS.iterdir())
    assert names == ["10-reach-default-route", "20-mounts", "30-drivers", "40-hypervisor"]
    assert all(path.stat().st_mode & 0o111 for path in CHECKS.iterdir())
