# SPDX-License-Identifier: Apache-2.0
"""Cut disk: a small disk for what a host writes when it is configured, so that it can be read after every single write.

The contract: `make(path)` gives an empty disk of two partitions, an ESP and an ext4. A guest mounts them where `MOUNTS`
says. `Reader` gives the files of the same disk at another moment, below the paths that the guest knows, after what a
mount would do (ext4's journal), and tells what the checkers of the file systems complain of.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from boot.blocklog import Area

MIB = 1 << 20
ESP = Area(MIB, 40 * MIB)  # FAT32 with clusters of one sector has 65525 of them at least
EXT4 = Area(41 * MIB, 40 * MIB)
SIZE = 82 * MIB
_SECTOR = 512
# Where the directories of the ext4 partition are mounted, and the directory of the ESP that is of interest.
FOLDERS = {"default": "etc/default", "kernel": "etc/kernel", "boot": "boot", "state": "var/lib/iommuctl"}
ESP_MOUNT = "boot/efi"
ESP_FOLDER = "loader"
TIMEOUT_SECONDS = 60

# What fsck.fat says of a disk whose power was cut, and which harms nothing: it was not unmounted, space that no name
# leads to, a second table of clusters that is after the first (which alone is read), a count of free clusters that
# nobody trusts, and parts of a long name without their file, which nobody reads: the parts lie in two sectors at times.
_HARMLESS = re.compile(
    r"fsck\.fat |There are differences between boot sector and its backup|This is mostly harmless|  \d+:\d\d/\d\d"
    r"|  Not automatically fixing this|Dirty bit is set|\s*Automatically removing dirty bit|Reclaimed \d+ unused"
    r"|FATs differ but appear to be intact|\s*Using first FAT|Free cluster summary wrong|\s*Auto-correcting"
    r"|Orphaned long file name part|\s*Auto-deleting|Long filename fragment .* found outside a LFN sequence"
    r"|\s*\(Maybe the start bit is missing on the last fragment\)|\s*Not auto-correcting this"
    r"|Leaving filesystem unchanged|\s*$|\S+: \d+ files, \d+/\d+ clusters"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """One partition at one moment: its files by path, and what is wrong with it, in the words of the checkers."""

    files: dict[str, bytes]
    complaints: tuple[str, ...]


def make(path: Path) -> None:
    """Make a disk with both file systems, empty."""
    parts = {ESP: path.with_suffix(".esp"), EXT4: path.with_suffix(".ext4")}
    for area, part in (*parts.items(), (Area(0, SIZE), path)):
        with part.open("wb") as file:
            file.truncate(area.size)
    _call("mkfs.vfat", "-F", "32", "-s", "1", str(parts[ESP]))
    _call("mke2fs", "-q", "-t", "ext4", "-b", "4096", str(parts[EXT4]))
    table = "label: dos\n" + "".join(
        f"start={area.offset // _SECTOR}, size={area.size // _SECTOR}, type={kind}\n"
        for area, kind in ((ESP, "ef"), (EXT4, "83"))
    )
    _call("sfdisk", "--quiet", str(path), given=table)
    for area, part in parts.items():
        seek = f"seek={area.offset // MIB}"
        _call("dd", f"if={part}", f"of={path}", "bs=1M", seek, "conv=notrunc,sparse", "status=none")
        part.unlink()


class Reader:
    """Reads partitions at one moment after the other, in a directory of its own."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        scratch.mkdir(parents=True)

    def esp(self, image: Path) -> Moment:
        """Return the files of an ESP, as mtools reads them, and all that fsck.fat says but what every cut leaves."""
        target = self._fresh("esp")
        copied = _run("mcopy", "-s", "-n", "-m", "-i", str(image), f"::{ESP_FOLDER}", str(target))
        checked = _run("fsck.vfat", "-n", str(image))
        complaints = [line.strip() for line in copied.stderr.splitlines() if copied.returncode]
        complaints += [line.strip() for line in checked.stdout.splitlines() if not _HARMLESS.match(line)]
        return Moment(_files(target, ESP_MOUNT), tuple(complaints))

    def ext4(self, image: Path) -> Moment:
        """Return the files of an ext4 after its journal is replayed, and what e2fsck still finds then."""
        mounted = Path(shutil.copy(image, self._scratch / "ext4.image"))
        replayed = _run("e2fsck", "-p", str(mounted))
        checked = _run("e2fsck", "-fn", str(mounted))
        complaints: list[str] = []
        for done, well in ((replayed, (0, 1)), (checked, (0,))):
            if done.returncode not in well:
                complaints += [line.strip() for line in f"{done.stdout}{done.stderr}".splitlines() if line.strip()]
        target = self._fresh("ext4")
        dumped = _run("debugfs", "-R", f"rdump {' '.join(FOLDERS)} {target}", str(mounted))
        complaints += [line for line in dumped.stderr.splitlines() if not line.startswith("debugfs ")]
        files: dict[str, bytes] = {}
        for name, place in FOLDERS.items():
            files |= _files(target / name, place)
        return Moment(files, tuple(complaints))

    def _fresh(self, name: str) -> Path:
        folder = self._scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def write_tree(files: dict[str, bytes], root: Path) -> None:
    """Lay files out below a root, readable by nobody else, as our state directory has to be."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(content)
    for folder in FOLDERS.values():
        (root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)


def _files(folder: Path, below: str) -> dict[str, bytes]:
    return {
        f"{below}/{Path(top, name).relative_to(folder)}": Path(top, name).read_bytes()
        for top, _, names in os.walk(folder)
        for name in names
        if Path(top, name).is_file() and not Path(top, name).is_symlink()
    }


def _run(*argv: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        input=given,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={
            **os.environ,
            "LC_ALL": "C",
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "MTOOLS_SKIP_CHECK": "1",
        },
    )


def _call(*argv: str, given: str | None = None) -> None:
    done = _run(*argv, given=given)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
