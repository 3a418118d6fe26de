# SPDX-License-Identifier: Apache-2.0
"""What is fed with bytes nobody would write, and what must hold whatever they are.

An error of ours is a refusal; any other exception, and a broken promise, is a finding of the fuzzer. Time and memory
are the engine's to watch.
"""

import contextlib
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from entryhosts import CATALOGUE, desired
from plans import (
    LINE,
    MACHINE,
    feed_backend_bls,
    feed_backend_grub,
    feed_backend_systemd_boot,
    feed_plan,
    feed_plan_entries,
)
from project import FIXTURES, GOLDEN, PACKAGE, SHARED
from trees import MemoryTree

from iommuctl.backends.systemd_boot.kernelstub import read_parameters
from iommuctl.errors import InternalError, IommuctlError
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
from iommuctl.kernel.lines import parse_kernels
from iommuctl.profile.conform import Conformer
from iommuctl.profile.schema import parse_profile
from iommuctl.profile.segments import apply_changes
from iommuctl.running.effect.binding import parse_ids
from iommuctl.running.environment import parse_bootconfig
from iommuctl.running.firmware import present
from iommuctl.running.modprobe import parse_options
from iommuctl.running.pci_ids import parse_pci_ids
from iommuctl.running.seals import parse_tokens, read_seals
from iommuctl.running.state import (
    parse_capabilities,
    parse_config,
    parse_cpu,
    parse_interrupts,
    parse_master,
    parse_port,
    parse_regions,
)
from iommuctl.transaction.index import decode_rows, encode_rows
from iommuctl.transaction.statefile import read_journal_file, read_manifest

SNAPSHOT = "20261122T124500Z-1a2b3c"  # what the fixtures call themselves
_MACHINE_KEY = re.compile(rb"(?m)(?<=^machine-id )[ \t]*[0-9a-f]{32}$")
SOME = PurePosixPath("/etc/some-file")
_LUKS2 = struct.pack(">6sHQ", b"LUKS\xba\xbe", 2, 1 << 20).ljust(4096, b"\0")  # the head before its JSON area


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


def feed_running(data: bytes) -> None:
    """What a running kernel shows, and what is read of a host next to its boot files."""
    text = data.decode("utf-8", "replace")
    parse_interrupts(text), parse_regions(text), parse_cpu(text), parse_ids(text), parse_kernels(tuple(text.split()))
    parse_capabilities(data), parse_port(data), parse_master(data), parse_bootconfig(data)
    tuple(parse_options(text, SOME))
    parse_pci_ids(text, (("8086", "1234"), ("10de", "1eb8")))


def feed_seals(data: bytes) -> None:
    parse_tokens(_LUKS2 + data)
    read_seals(MemoryTree({"/etc/crypttab": data, "/var/lib/systemd/pcrlock.json": data}))


def feed_index(data: bytes) -> None:
    rows = decode_rows(data)
    assert not rows or encode_rows(rows.values()) == data, "a line has a second spelling"


def feed_state(data: bytes) -> None:
    folder = _scratch()
    (folder / "manifest.json").write_bytes(data)
    root = Root(folder)
    if b"marks" in data:
        read_journal_file(root, PurePosixPath("/manifest.json"))
    else:
        read_manifest(root, PurePosixPath("/manifest.json"), SNAPSHOT)


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(dir="/dev/shm"))


def files(pattern: str, corpus: str = "", *, below: Path = GOLDEN) -> Callable[[], Iterator[bytes]]:
    """Inputs to begin with: files of the golden trees, and of the corpus of real files where that is."""

    def read() -> Iterator[bytes]:
        paths = [*below.rglob(pattern), *((SHARED / "corpus" / corpus).iterdir() if corpus and SHARED.is_dir() else ())]
        yield from (path.read_bytes() for path in sorted(paths) if path.is_file())

    return read


def thinned(seeds: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
    """The same without their comments, of which a whole plan says nothing and for which it needs half its time."""

    def read() -> Iterator[bytes]:
        lines = (content.splitlines(keepends=True) for content in seeds())
        yield from (b"".join(line for line in each if line.strip()[:1] not in {b"#", b""}) for each in lines)

    return read


def of_this_machine(seeds: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
    """The same as entries that are the host's own: those of others are left alone."""

    def read() -> Iterator[bytes]:
        yield from (_MACHINE_KEY.sub(MACHINE.encode(), content) for content in seeds() if b"\nlinux" in content)

    return read


def given(*seeds: bytes) -> Callable[[], Iterator[bytes]]:
    """Inputs to begin with that no file of the tests has."""
    return lambda: iter(seeds)


_RUNNING = (
    b"options vfio-pci ids=8086:1234,10de:1eb8 disable_vga=1\noptions kvm \\\n  ignore_msrs=1\n",
    b"  0:         44   IO-APIC   2-edge      timer\n 24:          0   DMAR-MSI   0-edge      dmar0\n",
    b"0x00000000fee00000 0x00000000feefffff msi\n0x000000007d800000 0x000000007fffffff direct\n",
    b"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme vmx\n\n",
    b"8086  Intel Corporation\n\t1234  Some card\n\t\t1028 0001  A board\nC 02  Network controller\n\t00  Ethernet\n",
    b"6.1.0-40-amd64 5.14.0-503.el9.x86_64 6.14.5-300.fc42.x86_64 6.8.12-4-pve",
    b"kernel {\n  iommu = pt\n  console = ttyS0, tty0\n}\n#BOOTCONFIG\n",
    bytes([0x86, 0x80, 0x34, 0x12, 6, 0, 0x10, 0]).ljust(52, b"\0") + b"\x40" + bytes(11) + b"\x10\0\x42\0" + bytes(60),
)
_SEALS = (
    b"root UUID=1 none luks,tpm2-device=auto,tpm2-pcrs=7+8\nswap /dev/sda3 /dev/urandom swap # none\n",
    b'{"tokens": {"0": {"type": "systemd-tpm2", "tpm2-pcrs": [7, 8]}}}',
    b'{"tokens": {"1": {"type": "clevis", "jwe": {"protected": "e30"}}}}',
    b'{"pcrs": [{"pcr": 4, "values": ["00"]}], "nvIndex": 1}',
)
_INDEX = (
    b"iommuctl index 1\n20261122T124500Z-1a2b3c 940 1764000000000000000 2026-11-22T12:45:00.123456Z apply - "
    b"passthrough-perf intel applied - /etc/default/grub /boot/grub/grub.cfg\n"
)
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
_ENTRIES = files("*.conf", "bls")
TARGETS = {
    "cmdline": Target(
        feed_cmdline, files("cmdline", "kernel-cmdline"), ("iommu=pt", "intel_iommu=", '"', "--", " ", ",")
    ),
    "shell": Target(feed_shell, _DEFAULTS, _SHELL),
    "menu": Target(
        feed_menu, files("grub.cfg"), ("menuentry ", "submenu ", "linux ", "{", "}", "'", '"', "\n", "set ", "$")
    ),
    "block": Target(feed_block, files("grubenv", "grubenv"), ("# GRUB Environment Block\n", "=", "\\", "\n", "#")),
    "entry": Target(feed_entry, _ENTRIES, _KEYS),
    "kernel-cmdline": Target(feed_kernel_cmdline, files("cmdline", "kernel-cmdline"), ("\n", "#", " ", "\t")),
    "image": Target(feed_image, files("*.efi"), ("MZ", "PE\0\0", ".cmdline", ".profile", ".linux")),
    "profile": Target(
        feed_profile, files("*.toml", below=PACKAGE), ("[[set]]\n", "[[absent]]\n", "parameter = ", '"', "\n")
    ),
    "kernelstub": Target(
        feed_kernelstub, files("configuration"), ('{"user": {"kernel_options": [', "\\ud800", "]", "}")
    ),
    "facts": Target(feed_facts, files("os-release"), ("CONFIG_", "=y\n", "direct ", "0x")),
    "running": Target(
        feed_running, given(*_RUNNING), ("options ", "0000:", "MSI", "\n", "\t", "  ", "flags\t: ", "direct")
    ),
    "seals": Target(feed_seals, given(*_SEALS), ("tpm2-device=auto", "tpm2-pcrs=", "7+8", '"type"', "\n", "[", "{")),
    "index": Target(feed_index, given(_INDEX), (" ", "-", "%2F", "\n", "iommuctl index 1\n", ",", "=")),
    "state": Target(
        feed_state, files("*.json", below=FIXTURES), ('"path": "', '"..', "null", "1e999", "\\u0000", "{", "[")
    ),
    "backend-bls": Target(feed_backend_bls, of_this_machine(_ENTRIES), _KEYS),
    "backend-systemd-boot": Target(feed_backend_systemd_boot, _ENTRIES, (*_KEYS, "default ", "[", "*")),
    "backend-grub": Target(feed_backend_grub, _DEFAULTS, _SHELL),
    "plan": Target(feed_plan, thinned(_DEFAULTS), _SHELL, is_whole_plan=True),
    "plan-entries": Target(feed_plan_entries, of_this_machine(_ENTRIES), _KEYS, is_whole_plan=True),
}
