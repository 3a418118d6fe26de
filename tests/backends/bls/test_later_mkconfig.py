# SPDX-License-Identifier: Apache-2.0
"""A grub2-mkconfig that somebody runs after an apply: its own rewriting of entries loses none of our parameters.

The stand-in does what 10_linux of Fedora and RHEL does to entries, block and /etc/kernel/cmdline, in a shell.
"""

import os
import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from lacking import program
from project import GOLDEN

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate

pytestmark = pytest.mark.programs

GOLDEN = GOLDEN / "bls"
CHOICES = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
# $1: the root; $2: the device that root= names; $3: whether entries hold $kernelopts, as in RHEL 8; $4: grub-editenv.
MKCONFIG = """\
cd "$1"
. ./etc/default/grub
line="root=$2 ro ${GRUB_CMDLINE_LINUX} ${GRUB_CMDLINE_LINUX_DEFAULT}"
if [ "$3" = kernelopts ]; then
    exec "$4" boot/grub2/grubenv set kernelopts="$line "
fi
for entry in boot/loader/entries/*.conf; do
    sed -i "s|^options.*|options $line|" "$entry"
done
if [ ! -f etc/kernel/cmdline ] || [ etc/kernel/cmdline -ot etc/default/grub ]; then
    mkdir -p etc/kernel
    echo "$line" >etc/kernel/cmdline
fi
"""
HOSTS = tuple(sorted(path.parent.name for path in GOLDEN.glob("*/before") if (path / "etc/default/grub").exists()))
PROFILES = ("passthrough-perf", "strict-isolation", "translated-lazy", "iommu-off", "kernel-default")


@pytest.fixture
def tree(tmp_path: Path, host: str) -> Path:
    return Path(shutil.copytree(GOLDEN / host / "before", tmp_path / "host", symlinks=True))


def mkconfig(tree: Path) -> None:
    entries = [path.read_text() for path in sorted((tree / "boot/loader/entries").glob("*.conf"))]
    uses = "kernelopts" if all("0-rescue" in text or "$kernelopts" in text for text in entries) else "options"
    block = (tree / "boot/grub2/grubenv").read_text()
    device = re.findall(r"\broot=(\S+)", block + "".join(entries))[0]
    argv = ("sh", "-c", MKCONFIG, "sh", str(tree), device, uses, program("grub-editenv", "grub2-editenv"))
    done = subprocess.run(argv, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def short_of(tree: Path, profile: str) -> tuple[str, ...]:
    plan = plan_apply(Host.open(tree), profile, CHOICES)
    found = plan.steps.survey
    return found.backend.read_back(found.tree, found.facts, plan.desired, generated=True)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_later_mkconfig_loses_nothing_of_the_profile(tree: Path, profile: str) -> None:
    host = Host.open(tree)
    carry_out(host, plan_apply(host, profile, CHOICES), progress=lambda _: nullcontext())
    cmdline = tree / "etc/kernel/cmdline"
    before = cmdline.read_bytes() if cmdline.exists() else None
    mkconfig(tree)
    assert short_of(tree, profile) == ()
    assert before is None or cmdline.read_bytes() == before, "older than GRUB's settings, and overwritten"


@pytest.mark.parametrize("host", [name for name in HOSTS if (GOLDEN / name / "before/etc/kernel/cmdline").exists()])
def test_the_stand_in_does_overwrite_what_is_older_and_entries_that_alone_were_edited(tree: Path) -> None:
    cmdline = tree / "etc/kernel/cmdline"
    os.utime(cmdline, (0, 0))
    entries = list((tree / "boot/loader/entries").glob("*.conf"))
    for path in (cmdline, *entries):
        text = path.read_text()
        path.write_text(re.sub(r"(?m)^(options.*|root=.*)$", r"\1 intel_iommu=on iommu=pt", text))
    os.utime(cmdline, (0, 0))
    mkconfig(tree)
    assert "intel_iommu=on" not in "".join(path.read_text() for path in (cmdline, *entries))
