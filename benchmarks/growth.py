# SPDX-License-Identifier: Apache-2.0
"""Growth: each reader takes twice the time for twice the input. Ends with 1 where one takes more.

`.venv/bin/python benchmarks/growth.py` prints a row for each. Ratios of CPU time in one process, so what else the
machine does matters little; a ratio of 2 is linear, one of 4 is quadratic. The largest input of each is about what the
reader takes at the most.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

from hosts import fedora  # noqa: E402 - found by the line above

from iommuctl.app.change.apply import plan_apply  # noqa: E402
from iommuctl.app.change.planning import Choices  # noqa: E402
from iommuctl.app.host import Host  # noqa: E402
from iommuctl.errors import IommuctlError  # noqa: E402
from iommuctl.facts import Platform  # noqa: E402
from iommuctl.formats.grubcfg import parse_menu  # noqa: E402
from iommuctl.formats.grubenv import GrubEnv  # noqa: E402
from iommuctl.formats.kernelcmdline import parse_kernel_cmdline  # noqa: E402
from iommuctl.formats.peimage import parse_image  # noqa: E402
from iommuctl.formats.shell.assignments import parse_shell_file  # noqa: E402
from iommuctl.kernel.cmdline import Cmdline  # noqa: E402
from iommuctl.plan import Regenerate  # noqa: E402

ALLOWED = 2.6  # twice the time, and what a machine that does other work adds
LEAST = 0.02  # seconds; what is faster is too short to compare
RUNS = 3
SOME = PurePosixPath("/etc/some-file")


def shell(line: str) -> Callable[[int], object]:
    """Read a file of settings that holds one line again and again."""
    return lambda size: parse_shell_file.__wrapped__(SOME, line * (size // len(line)))


def menu(line: str) -> Callable[[int], object]:
    """Read a menu that holds one line again and again."""
    return lambda size: parse_menu(SOME, line * (size // len(line)))


def image(size: int) -> object:
    """Read an image of as many bytes, all of which it calls headers of sections."""
    content = b"MZ".ljust(0x3C, b"\0") + (64).to_bytes(4, "little") + b"PE\0\0" + b"\xff" * size
    return parse_image(SOME, lambda start, count: content[start : start + count])


def plan(write: Callable[[Path, int], None]) -> Callable[[int], object]:
    """Plan on a Fedora host whose files somebody has written."""

    def run(size: int) -> object:
        with tempfile.TemporaryDirectory() as folder:
            tree = fedora(Path(folder) / "host", 2)
            write(tree, size)
            choices = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
            return plan_apply(Host.open(tree), "passthrough-perf", choices)

    return run


def loader_conf(tree: Path, size: int) -> None:
    """Make the host boot by systemd-boot, with a pattern of that many brackets."""
    (tree / "boot/grub2/grub.cfg").unlink()
    (tree / "boot/loader/loader.conf").write_text("default " + "[" * size + "\n")


def words(tree: Path, size: int) -> None:
    """Give the entries as many words that a menu sets."""
    count = size // 16
    sets = "".join(f"set w{number}=x{number}\n" for number in range(count))
    (tree / "boot/grub2/grub.cfg").write_text(f"{sets}insmod blscfg\nblscfg\n")
    for entry in (tree / "boot/loader/entries").iterdir():
        text = " ".join(f"$w{number}" for number in range(min(count, 400)))
        entry.write_text(entry.read_text().replace("$tuned_params", text))


KIB = 1024
ENTRY = """\
menuentry 'Debian GNU/Linux, with Linux 6.1.0-37-amd64' --class debian --class gnu-linux --class os \
$menuentry_id_option 'gnulinux-6.1.0-37-amd64-advanced-1c6a4b6e' {
\tload_video
\tinsmod gzio
\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
\tinsmod part_gpt
\tinsmod ext2
\tsearch --no-floppy --fs-uuid --set=root 1c6a4b6e-9a1d-4f5d-8f0b-0e2c9b1f7a11
\techo\t'Loading Linux 6.1.0-37-amd64 ...'
\tlinux\t/boot/vmlinuz-6.1.0-37-amd64 root=UUID=1c6a4b6e-9a1d-4f5d-8f0b-0e2c9b1f7a11 ro quiet
\techo\t'Loading initial ramdisk ...'
\tinitrd\t/boot/initrd.img-6.1.0-37-amd64
}
"""
READERS: Mapping[str, tuple[int, Callable[[int], object]]] = {
    "settings: empty lines": (128 * KIB, shell("\n")),
    "settings: assignments": (128 * KIB, shell('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX x"\n')),
    "settings: open braces": (128 * KIB, shell("{ ")),
    "settings: quotes": (128 * KIB, shell("'\"")),
    "settings: substitutions": (128 * KIB, shell("$(")),
    "settings: here-documents": (128 * KIB, shell("<<x ")),
    "menu: what grub-mkconfig writes": (16 * 1024 * KIB, menu(ENTRY)),
    "menu: comments": (16 * 1024 * KIB, menu("# a comment\n")),
    "menu: empty lines": (16 * 1024 * KIB, menu("\n")),
    "menu: entries": (1024 * KIB, menu("menuentry 'x' {\n linux /vmlinuz root=UUID=1 quiet\n}\n")),
    "menu: open braces": (256 * KIB, menu("menuentry x {\n")),
    "menu: variables": (256 * KIB, menu("set a=$a$a\n")),
    "menu: words": (256 * KIB, menu("linux " + "${a} " * 40 + "\n")),
    "command line": (256 * KIB, lambda size: Cmdline.parse("a=b " * (size // 4)).parameters),
    "kernel/cmdline": (256 * KIB, lambda size: parse_kernel_cmdline(SOME, "a=b c\n" * (size // 6))),
    "environment block": (64 * KIB, lambda size: GrubEnv.parse(SOME, b"# GRUB Environment Block\n".ljust(size, b"#"))),
    "image: headers": (1024 * KIB, image),
    "plan: a pattern of brackets": (32 * KIB, plan(loader_conf)),
    "plan: words of a menu": (128 * KIB, plan(words)),
}


def seconds(read: Callable[[int], object], size: int) -> float:
    """Return the least CPU time of a few runs; what is refused counts as it is."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        with suppress(IommuctlError):
            read(size)
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Double every input, and compare."""
    os.chdir(PROJECT)
    print("| input | half | whole | ratio |\n|---|---|---|---|")
    worse = []
    for name, (size, read) in READERS.items():
        half, whole = seconds(read, size // 2), seconds(read, size)
        ratio = whole / half if half else 0.0
        is_over = whole > LEAST and ratio > ALLOWED
        print(
            f"| {name} | {half * 1000:.0f} ms | {whole * 1000:.0f} ms | {ratio:.2f}{', **over**' if is_over else ''} |"
        )
        worse += [name] if is_over else []
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
