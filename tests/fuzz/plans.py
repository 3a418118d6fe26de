# SPDX-License-Identifier: Apache-2.0
"""Plans on hosts whose files are bytes that nobody would write, and what must hold for each of them."""

import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath

from entryhosts import CATALOGUE, desired, facts
from project import GOLDEN, PROJECT
from shelljail import ShellJail
from stillroot import StillRoot
from trees import MemoryTree

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.backends.bls.backend import Bls
from iommuctl.backends.grub.backend import Grub2
from iommuctl.backends.systemd_boot.backend import SystemdBoot
from iommuctl.cli.output.plan import plan_text
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate

WANTED = "passthrough-perf"
CHOICES = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
LINE = "GRUB_CMDLINE_LINUX_DEFAULT"
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"


def feed_backend_bls(data: bytes) -> None:
    """One entry, taken apart at NUL: an entry, /etc/default/grub, /etc/kernel/cmdline."""
    entry, settings, line = (*data.split(b"\0", 2), b"", b"")[:3]
    tree = MemoryTree.of({
        "/etc/machine-id": f"{MACHINE}\n",
        "/etc/default/grub": settings or b"GRUB_ENABLE_BLSCFG=true\n",
        "/etc/kernel/cmdline": line,
        "/boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        f"/boot/loader/entries/{MACHINE}-6.14.conf": entry,
    })  # fmt: skip
    backend = Bls(CATALOGUE)
    backend.read(tree, facts())
    after = tree.after(backend.render(tree, facts(), desired()))
    assert backend.render(after, facts(), desired()).edits == (), "a second apply has something to do"


def feed_backend_systemd_boot(data: bytes) -> None:
    """Taken apart at NUL: an entry, loader.conf, /etc/kernel/cmdline."""
    entry, loader, line = (*data.split(b"\0", 2), b"", b"")[:3]
    tree = MemoryTree.of({
        "/etc/machine-id": f"{MACHINE}\n",
        "/boot/loader/loader.conf": loader,
        "/etc/kernel/cmdline": line or b"root=/dev/sda2\n",
        "/boot/loader/entries/arch.conf": entry,
    })  # fmt: skip
    backend = SystemdBoot(CATALOGUE)
    backend.read(tree, facts(id="arch"))
    after = tree.after(backend.render(tree, facts(id="arch"), desired()))
    assert backend.render(after, facts(id="arch"), desired()).edits == (), "a second apply has something to do"


def feed_backend_grub(data: bytes) -> None:
    """Taken apart at NUL: /etc/default/grub, a drop-in."""
    settings, drop_in = (*data.split(b"\0", 1), b"")[:2]
    tree = MemoryTree.of({
        "/etc/default/grub": settings,
        "/etc/default/grub.d/90-some.cfg": drop_in,
        "/boot/grub/grub.cfg": _menu(),
        "/etc/os-release": "ID=debian\n",
    })  # fmt: skip
    host = facts(id="debian")
    backend = Grub2(CATALOGUE)
    after = tree.after(backend.render(tree, host, desired()))
    assert backend.render(after, host, desired()).edits == (), "a second apply has something to do"


def feed_plan(data: bytes) -> None:
    """A whole plan and its text, on a host whose files are the bytes; what a shell makes of them changes as planned."""
    host = _host()
    settings, drop_in = (*data.split(b"\0", 1), b"")[:2]
    (host.path / "etc/default/grub").write_bytes(settings)
    (host.path / "etc/default/grub.d/90-some.cfg").write_bytes(drop_in)
    plan = plan_apply(host, WANTED, CHOICES)
    text = plan_text(plan, colour=False, verbose=True)
    assert not any(not char.isprintable() and char not in "\n\t" for char in text), "a control character is shown"
    after = {str(edit.path): edit.after or b"" for edit in plan.steps.edits}
    before = jail().values(settings + b"\n" + drop_in, (LINE, "GRUB_CMDLINE_LINUX"))
    if not before:  # no shell takes it
        return
    changed = jail().values(
        after.get("/etc/default/grub", settings) + b"\n" + after.get("/etc/default/grub.d/90-some.cfg", drop_in),
        (LINE, "GRUB_CMDLINE_LINUX"),
    )
    if changed is None:  # it waits for what never comes
        return
    assert changed, "after the edit no shell takes it"
    _differ_by_plan(before, changed)


def feed_plan_entries(data: bytes) -> None:
    """A whole plan and its text on a host that boots entries."""
    host = _entries_host()
    entry, line = (*data.split(b"\0", 1), b"root=/dev/sda2\n")[:2]
    (host.path / f"boot/loader/entries/{MACHINE}-6.14.conf").write_bytes(entry)
    (host.path / "etc/kernel/cmdline").write_bytes(line)
    plan = plan_apply(host, WANTED, CHOICES)
    text = plan_text(plan, colour=False, verbose=True)
    assert not any(not char.isprintable() and char not in "\n\t" for char in text), "a control character is shown"


def _differ_by_plan(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Every parameter that is not one of the IOMMU's is there as before, in its order."""
    for old, new in zip(before, after, strict=True):
        kept = [[one for one in line.split() if not _managed(one)] for line in (old, new)]
        assert kept[0] == kept[1], "a parameter of somebody else changed"
    joined = " ".join(after)
    for added in ("intel_iommu=on", "iommu=pt"):
        assert added in joined, "the shell does not see what was added"


def _managed(token: str) -> bool:
    name = token.partition("=")[0].strip('"').replace("-", "_")
    return (
        "iommu" in name or "vfio" in name or "pci" in name or "intremap" in name or name.startswith(("arm_smmu", "efi"))
    )


@cache
def jail() -> ShellJail:
    """The shell that evaluates, where one can be had."""
    return ShellJail()


@cache
def _menu() -> bytes:
    return (PROJECT / "examples/debian-12/boot/grub/grub.cfg").read_bytes()


@cache
def _host() -> Host:
    return _still_host(PROJECT / "examples" / "debian-12", "etc/default/grub", "etc/default/grub.d/90-some.cfg")


@cache
def _entries_host() -> Host:
    entry = f"boot/loader/entries/{MACHINE}-6.14.conf"
    return _still_host(GOLDEN / "bls" / "fedora-42" / "before", "etc/kernel/cmdline", entry)


def _still_host(sample: Path, *changing: str) -> Host:
    """A copy of a sample host, in memory, that these files alone make another: entries are among them or not there."""
    tree = Path(tempfile.mkdtemp(dir="/dev/shm")) / "host"
    shutil.copytree(sample, tree, symlinks=True)
    for path in tree.glob("boot/loader/entries/*"):
        path.unlink()
    (tree / "etc/machine-id").write_text(f"{MACHINE}\n")
    for name in changing:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    root = StillRoot(tree, [PurePosixPath("/", name) for name in changing])
    return Host(tree, root, lambda: datetime.now(UTC))
