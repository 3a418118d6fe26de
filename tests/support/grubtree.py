# SPDX-License-Identifier: Apache-2.0
"""A tree in which the GRUB tools of this machine run for real: its programs, a Debian host around them, no disk.

Only `grub-probe` and `grub-mkrelpath` are stand-ins, since a tree has no block device to ask.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lacking import lacks

from iommuctl.host.commands import Completed, SystemRunner

UUID = "8e0e7a53-96a4-4ae8-8f4b-2f1e6d4c5b3a"
KERNELS = ("6.1.0-49-amd64", "6.1.0-50-amd64")
DEFAULT_GRUB = """\
# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg.

GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""

_PROGRAMS = (
    *("awk", "basename", "cat", "chmod", "cp", "cut", "dirname", "env", "expr", "gettext", "grep", "head", "id", "ls"),
    *("mkdir", "mktemp", "mv", "printf", "pwd", "readlink", "rm", "sed", "sh", "sleep", "sort", "stat", "tail", "test"),
    *("touch", "tr", "true", "uname", "uniq", "wc", "grub-editenv", "grub-file", "grub-mkconfig", "grub-script-check"),
)
_DEBIAN_PROGRAMS = ("dpkg", "egrep", "fgrep")  # what Debian's patches call; elsewhere nothing asks for them
_SCRIPTS = (*("00_header", "05_debian_theme", "10_linux", "20_linux_xen", "30_os-prober", "40_custom", "41_custom"),)
_LIBRARY = Path("/usr/share/grub/grub-mkconfig_lib")
_MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, as on every Debian since 12

GRUB_PROBE = f"""\
#!/bin/sh
# Stands in for grub-probe on a host whose one disk holds an ext4 root, /boot included.
for argument; do
  case "$argument" in
    --target=*) target=${{argument#--target=}} ;;
    -t) target=next ;;
    *) if [ "$target" = next ]; then target=$argument; fi ;;
  esac
done
case "$target" in
  device) echo /dev/vda1 ;;
  fs) echo ext2 ;;
  fs_uuid) echo {UUID} ;;
  partuuid) echo 3b2f4c61-01 ;;
  partmap) echo msdos ;;
  compatibility_hint) echo hd0,msdos1 ;;
  hints_string) echo --hint-bios=hd0,msdos1 ;;
  abstraction | cryptodisk_uuid) ;;
  drive) echo '(hd0,msdos1)' ;;
  *) echo "grub-probe: error: no answer for \\`$*'" >&2; exit 1 ;;
esac
"""
GRUB_MKRELPATH = '#!/bin/sh\nfor path; do :; done\nexec readlink -m "$path"\n'


@dataclass(frozen=True, slots=True)
class GrubTree:
    """A host to change at will, `/usr` excepted: its files are shared with every other copy."""

    path: Path

    @property
    def runner(self) -> SystemRunner:
        return SystemRunner(self.path)

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the tree; `path` is absolute as seen inside it."""
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def set_variables(self, **values: str) -> None:
        """Append assignments to /etc/default/grub; each value is written as given, quotes included."""
        lines = "".join(f"{name}={value}\n" for name, value in values.items())
        self.write("/etc/default/grub", DEFAULT_GRUB + lines)

    def mkconfig(self, output: str = "/boot/grub/grub.cfg") -> Completed:
        """Run the real grub-mkconfig. Raises what SystemRunner.run raises."""
        return self.runner.run(("grub-mkconfig", "-o", output), timeout=60)

    def read(self, path: str = "/boot/grub/grub.cfg") -> str:
        return (self.path / path.lstrip("/")).read_text()

    def add_kernel(self, release: str) -> None:
        """Install a kernel as far as GRUB can tell."""
        self.write(f"/boot/vmlinuz-{release}", "no real kernel\n")
        self.write(f"/boot/initrd.img-{release}", "no real initrd\n")


def why_not() -> str | None:
    """Return why no tree can be made here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the tools of GRUB run in a chroot, for which one must be root"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    missing += [str(path) for path in (_LIBRARY, Path("/etc/grub.d/10_linux")) if not path.is_file()]
    return f"missing on this machine (package grub-common): {', '.join(missing)}" if missing else None


def make_tree(target: Path) -> GrubTree:
    """Make a fresh host in a directory that is not there yet: two kernels, recovery entries on."""
    cached = _cached_usr()
    target.mkdir()
    try:
        shutil.copytree(cached, target / "usr", symlinks=True, copy_function=os.link)
    except shutil.Error:  # the cache is on another file system
        shutil.rmtree(target / "usr")
        shutil.copytree(cached, target / "usr", symlinks=True)
    for name in _MERGED:
        (target / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "tmp", "boot/grub", "dev/disk/by-uuid", "etc/default/grub.d", "etc/grub.d"):
        (target / name).mkdir(parents=True)
    os.mknod(target / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (target / "dev/null").chmod(0o666)
    tree = GrubTree(target)
    tree.write(f"/dev/disk/by-uuid/{UUID}", "")
    tree.write("/etc/default/grub", DEFAULT_GRUB)
    tree.write("/etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    for name in _SCRIPTS:
        source = Path("/etc/grub.d", name)
        if source.is_file():
            tree.write(f"/etc/grub.d/{name}", source.read_text(), 0o755)
    for release in KERNELS:
        tree.add_kernel(release)
    return tree


@pytest.fixture
def grub_host(tmp_path: Path) -> Iterator[GrubTree]:
    """A fresh Debian host with the real tools of GRUB; skipped where there are none, a failure where CI=true."""
    if reason := why_not():
        lacks(reason)
    tree = make_tree(tmp_path / "grub-host")
    yield tree
    shutil.rmtree(tree.path)


def _cached_usr() -> Path:
    """Return the directory with the programs, made once for each state of the machine."""
    found = {name: shutil.which(name) for name in (*_PROGRAMS, *_DEBIAN_PROGRAMS)}
    programs = {name: Path(path).resolve() for name, path in found.items() if path is not None}
    wanted = {Path("/usr/bin", name): source for name, source in programs.items() if name != "grub-mkconfig"}
    wanted |= {Path("/usr/sbin/grub-mkconfig"): programs["grub-mkconfig"], _LIBRARY: _LIBRARY}
    key = hashlib.sha256(Path(__file__).read_bytes())
    for target, source in sorted(wanted.items()):
        status = source.stat()
        key.update(f"{target} {source} {status.st_size} {status.st_mtime_ns}\n".encode())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iommuctl-tests"
    cached = base / f"grub-{key.hexdigest()[:16]}"
    if not cached.is_dir():
        unfinished = base / f"{cached.name}.{os.getpid()}"
        for target, source in (wanted | libraries(wanted.values())).items():
            _copy(source, unfinished / target.relative_to("/usr"))
        for name, text in (("sbin/grub-probe", GRUB_PROBE), ("bin/grub-mkrelpath", GRUB_MKRELPATH)):
            (unfinished / name).write_text(text)
            (unfinished / name).chmod(0o755)
        try:
            unfinished.rename(cached)
        except OSError:  # another run was faster
            shutil.rmtree(unfinished)
    return cached


def libraries(programs: Iterable[Path]) -> dict[Path, Path]:
    """Return the shared libraries of programs and their loader, each under the name that it is looked up by."""
    binaries = [str(program) for program in programs if program.read_bytes()[:4] == b"\x7fELF"]
    printed = subprocess.run(["ldd", *binaries], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    found = {Path(name) for name in re.findall(r"(/\S+) \(0x", printed)}
    return {Path("/usr", *path.parts[2 if path.parts[1] == "usr" else 1 :]): path.resolve() for path in found}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
