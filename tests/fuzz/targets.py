# SPDX-License-Identifier: Apache-2.0
"""What is fed with bytes nobody would write, and what must hold whatever they are.

An error of ours is a refusal; any other exception, and a broken promise, is a finding of the fuzzer. Time and memory
are the engine's to watch.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from entryhosts import CATALOGUE, desired, facts
from project import FIXTURES, GOLDEN, PACKAGE, PROJECT, SHARED
from shelljail import ShellJail
from trees import MemoryTree

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.backends.bls.backend import Bls
from iommuctl.backends.grub.backend import Grub2
from iommuctl.backends.systemd_boot.backend import SystemdBoot
from iommuctl.backends.systemd_boot.kernelstub import read_parameters
from iommuctl.cli.output.plan import plan_text
from iommuctl.errors import InternalError, IommuctlError
from iommuctl.facts import Platform
from iommuctl.formats.blsentry import parse_entry
from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.grubmenu import default_entry, normal_entries
from iommuctl.formats.kernelcmdline import parse_kernel_cmdline
from iommuctl.formats.peimage import parse_image
from iommuctl.formats.shell.assignments import parse_shell_file
from iommuctl.formats.shell.edits import rewrite
from iommuctl.formats.shell.variables import chain
from iommuctl.host.probe import parse_load_option, parse_os_release
from iommuctl.host.root import Root
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Regenerate
from iommuctl.profile.conform import Conformer
from iommuctl.profile.schema import parse_profile
from iommuctl.profile.segments import apply_changes
from iommuctl.running.firmware import present
from iommuctl.running.state import parse_config
from iommuctl.transaction.statefile import read_journal_file, read_manifest

WANTED = "passthrough-perf"
LINE = "GRUB_CMDLINE_LINUX_DEFAULT"
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
SOME = PurePosixPath("/etc/some-file")


class Target(NamedTuple):
    """One thing to feed: what takes the bytes, where inputs to begin with are, and words that are often in them."""

    feed: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[str, ...] = ()
    is_whole_plan: bool = False


def takes(target: Target, data: bytes) -> bool:
    """Feed a target. Return whether it took the bytes; raises what must never be raised."""
    try:
        target.feed(data)
    except InternalError:
        raise
    except IommuctlError:
        return False
    return True


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def feed_cmdline(data: bytes) -> None:
    text = text_of(data)
    line = Cmdline.parse(text)
    assert str(line) == text
    changed = line
    conformer = Conformer(desired(), CATALOGUE)
    with contextlib.suppress(ValueError):
        changed = apply_changes(line, conformer.shortfall(line))
        assert conformer.shortcomings(changed) == (), "what was conformed does not conform"


def feed_shell(data: bytes) -> None:
    text = text_of(data)
    file = parse_shell_file(SOME, text)
    assert rewrite(file, {}) == text
    found = chain((file,), LINE)
    assert found is not None


def feed_menu(data: bytes) -> None:
    menu = parse_menu(SOME, text_of(data))
    normal_entries(menu)
    default_entry(menu)


def feed_block(data: bytes) -> None:
    block = GrubEnv.parse(SOME, data.ljust(1024, b"#") if len(data) < 1024 else data)
    assert block.set("ours", "x y").unset("ours").variables == block.variables


def feed_entry(data: bytes) -> None:
    parse_entry(SOME, text_of(data))


def feed_kernel_cmdline(data: bytes) -> None:
    parse_kernel_cmdline(SOME, text_of(data))


def feed_image(data: bytes) -> None:
    parse_image(SOME, lambda start, size: data[start : start + size])


def feed_profile(data: bytes) -> None:
    parse_profile(data.decode("utf-8", "replace"), "a profile")


def feed_kernelstub(data: bytes) -> None:
    read_parameters(MemoryTree({str(SOME): data}), SOME)


def feed_facts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parse_config(text), parse_os_release(text), parse_load_option(data), present(("IORT",), data)


def feed_state(data: bytes) -> None:
    folder = _scratch()
    (folder / "manifest.json").write_bytes(data)
    root = Root(folder)
    with contextlib.suppress(IommuctlError):
        read_journal_file(root, PurePosixPath("/manifest.json"))
    read_manifest(root, PurePosixPath("/manifest.json"), "20260101T000000Z-000000")


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
    tree = _host()
    settings, drop_in = (*data.split(b"\0", 1), b"")[:2]
    (tree / "etc/default/grub").write_bytes(settings)
    (tree / "etc/default/grub.d/90-some.cfg").write_bytes(drop_in)
    choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
    plan = plan_apply(Host.open(tree), WANTED, choices)
    text = plan_text(plan, colour=False, verbose=True)
    assert not any(not char.isprintable() and char not in "\n\t" for char in text), "a control character is shown"
    after = {str(edit.path): edit.after or b"" for edit in plan.steps.edits}
    before = jail().values(settings + b"\n" + drop_in, (LINE, "GRUB_CMDLINE_LINUX"))
    if before is None:  # no shell takes it, or not in the time that it has
        return
    changed = jail().values(
        after.get("/etc/default/grub", settings) + b"\n" + after.get("/etc/default/grub.d/90-some.cfg", drop_in),
        (LINE, "GRUB_CMDLINE_LINUX"),
    )
    assert changed is not None, "after the edit no shell takes it"
    _differ_by_plan(before, changed)


def feed_plan_entries(data: bytes) -> None:
    """A whole plan and its text on a host that boots entries."""
    tree = _entries_host()
    entry, line = (*data.split(b"\0", 1), b"root=/dev/sda2\n")[:2]
    (tree / f"boot/loader/entries/{MACHINE}-6.14.conf").write_bytes(entry)
    (tree / "etc/kernel/cmdline").write_bytes(line)
    plan = plan_apply(Host.open(tree), WANTED, Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER))
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
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(dir="/dev/shm"))


@cache
def _host() -> Path:
    tree = _scratch() / "host"
    shutil.copytree(PROJECT / "examples" / "debian-12", tree, symlinks=True)
    (tree / "etc/default/grub.d").mkdir(exist_ok=True)
    return tree


@cache
def _entries_host() -> Path:
    tree = _scratch() / "entries"
    shutil.copytree(GOLDEN / "bls" / "fedora-42" / "before", tree, symlinks=True)
    for path in (tree / "boot/loader/entries").iterdir():
        path.unlink()
    (tree / "etc/machine-id").write_text(f"{MACHINE}\n")
    return tree


def files(pattern: str, corpus: str = "", *, below: Path = GOLDEN) -> Callable[[], Iterator[bytes]]:
    """Inputs to begin with: files of the golden trees, and of the corpus of real files where that is."""

    def read() -> Iterator[bytes]:
        paths = [*below.rglob(pattern), *((SHARED / "corpus" / corpus).iterdir() if corpus and SHARED.is_dir() else ())]
        yield from (path.read_bytes() for path in sorted(paths) if path.is_file())

    return read


_SHELL = (
    "GRUB_CMDLINE_LINUX=",
    f"{LINE}=",
    '"',
    "'",
    "\\",
    "$",
    "${",
    "}",
    "+=",
    ". ",
    "if ",
    "fi",
    "\n",
    "iommu=pt",
    "#",
)
_KEYS = (
    "title ",
    "version ",
    "linux ",
    "options ",
    "machine-id ",
    "sort-key ",
    "uki ",
    "efi ",
    "$kernelopts",
    "\n",
    "\0",
)
_DEFAULTS = files("default/grub", "grub-default")
TARGETS = {
    "cmdline": Target(
        feed_cmdline, files("cmdline", "kernel-cmdline"), ("iommu=pt", "intel_iommu=", '"', "--", " ", ",")
    ),
    "shell": Target(feed_shell, _DEFAULTS, _SHELL),
    "menu": Target(
        feed_menu, files("grub.cfg"), ("menuentry ", "submenu ", "linux ", "{", "}", "'", '"', "\n", "set ", "$")
    ),
    "block": Target(feed_block, files("grubenv", "grubenv"), ("# GRUB Environment Block\n", "=", "\\", "\n", "#")),
    "entry": Target(feed_entry, files("*.conf", "bls"), _KEYS),
    "kernel-cmdline": Target(feed_kernel_cmdline, files("cmdline", "kernel-cmdline"), ("\n", "#", " ", "\t")),
    "image": Target(feed_image, files("*.efi"), ("MZ", "PE\0\0", ".cmdline", ".profile", ".linux")),
    "profile": Target(
        feed_profile, files("*.toml", below=PACKAGE), ("[[set]]\n", "[[absent]]\n", "parameter = ", '"', "\n")
    ),
    "kernelstub": Target(
        feed_kernelstub, files("configuration"), ('{"user": {"kernel_options": [', "\\ud800", "]", "}")
    ),
    "facts": Target(feed_facts, files("os-release"), ("CONFIG_", "=y\n", "direct ", "0x")),
    "state": Target(
        feed_state, files("*.json", below=FIXTURES), ('"path": "', '"..', "null", "1e999", "\\u0000", "{", "[")
    ),
    "backend-bls": Target(feed_backend_bls, files("*.conf", "bls"), _KEYS),
    "backend-systemd-boot": Target(feed_backend_systemd_boot, files("*.conf", "bls"), (*_KEYS, "default ", "[", "*")),
    "backend-grub": Target(feed_backend_grub, _DEFAULTS, _SHELL),
    "plan": Target(feed_plan, _DEFAULTS, _SHELL, is_whole_plan=True),
    "plan-entries": Target(feed_plan_entries, files("*.conf", "bls"), _KEYS, is_whole_plan=True),
}
