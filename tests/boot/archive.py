# SPDX-License-Identifier: Apache-2.0
"""Archive: Debian's packages of a suite, asked for through apt in a directory of its own, and slim kernels.

A kernel package of the lab keeps its name, its version and its maintainer scripts, so its hooks run as anywhere; left
out of it are the drivers of hardware that no machine of the lab has: unpacking them under emulation takes minutes.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import debiantree

TIMEOUT_SECONDS = 600
_LISTS_SECONDS = 24 * 3600
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_KERNEL = re.compile(r"linux-image-(\d\S*)")
# Below /lib/modules/RELEASE/kernel: what a machine of the lab needs to mount its file systems, and its devices.
KEPT = re.compile(
    r"^(lib|crypto|arch|fs/(ext4|jbd2|fat|nls|efivarfs|mbcache\S*|btrfs)|drivers/(block/(virtio_blk|loop)\S*|md/dm-mod\S*"
    r"|virtio|net/virtio_net\S*|net/net_failover\S*|net/ethernet/intel/e1000e|pps|ptp|vfio"
    r"|watchdog/(watchdog|i6300esb)\S*)|net/core|virt)(/|$)"
)


def cache() -> Path:
    """The directory that keeps what the lab made: IOMMUCTL_BOOT_LAB, else below the user's cache."""
    named = os.environ.get("IOMMUCTL_BOOT_LAB")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else base / "iommuctl-boot-lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@dataclass(frozen=True, slots=True)
class KernelPackage:
    """A kernel of the archive: its release, and the names of the packages that it is made of."""

    release: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """One suite for one architecture. The lists of packages are read anew when they are older than a day."""

    suite: str
    architecture: str = "amd64"

    @property
    def folder(self) -> Path:
        """Where this suite's lists and packages are kept."""
        return cache() / f"archive-{self.suite}-{self.architecture}"

    def kernel(self, package: str) -> KernelPackage:
        """Return the kernel that a package such as `linux-image-amd64` stands for."""
        found = [_KERNEL.fullmatch(name) for name in self._depends(package)]
        image = next(match for match in found if match is not None)
        release, wanted, names = image[1], [image[0]], []
        while wanted:
            names.append(wanted.pop())
            further = self._depends(names[-1])
            wanted += [one for one in further if one.endswith(f"-{release}") and one not in (*names, *wanted)]
        return KernelPackage(release, tuple(sorted(names)))

    def slim(self, kernel: KernelPackage) -> tuple[Path, ...]:
        """Return the packages of a kernel without most drivers, made once for each version."""
        with locked(self.folder / "slim.lock"):
            return tuple(self._slim(name) for name in kernel.names)

    def download(self, name: str) -> Path:
        """Return a package's file, fetched once for each version."""
        pool = self.folder / "pool"
        with locked(self.folder / "pool.lock"):
            pool.mkdir(exist_ok=True)
            for path in pool.glob(f"{name}_*.deb"):
                if self._is_current(path):
                    return path
                path.unlink()
            self._run("apt-get", "download", name, cwd=pool)
            return next(pool.glob(f"{name}_*.deb"))

    def version(self, name: str) -> str:
        """Return the version of a package."""
        return self._field(name, "Version")

    def sources_line(self) -> str:
        """Return the line of sources.list(5) for this suite."""
        return f"deb [signed-by={_KEYRING}] {debiantree.mirror()} {self.suite} main"

    def _depends(self, name: str) -> list[str]:
        words = re.split(r"[,|]", f"{self._field(name, 'Pre-Depends')},{self._field(name, 'Depends')}")
        return [word.split()[0].partition(":")[0] for word in words if word.strip()]

    def _field(self, name: str, field: str) -> str:
        """Return a field of a package, empty where it has none, from the lists as they lie: apt-cache takes seconds."""
        self._update()
        at = _lists(self.folder).index(f"\nPackage: {name}\n")
        stanza = _lists(self.folder)[at : _lists(self.folder).index("\n\n", at)]
        found = re.search(rf"^{field}: (.*)$", stanza, re.MULTILINE)
        return "" if found is None else found[1]

    def _is_current(self, path: Path) -> bool:
        name, version, _ = path.stem.split("_")
        return version.replace("%3a", ":") == self.version(name)

    def _slim(self, name: str) -> Path:
        whole = self.download(name)
        folder = self.folder / f"slim-{hashlib.sha256(KEPT.pattern.encode()).hexdigest()[:8]}"
        target = folder / whole.name
        if target.is_file():
            return target
        tree = folder / f"{name}.tree"
        shutil.rmtree(tree, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        subprocess.run(("dpkg-deb", "-R", str(whole), str(tree)), check=True, timeout=TIMEOUT_SECONDS)
        for modules in (*tree.glob("lib/modules/*/kernel"), *tree.glob("usr/lib/modules/*/kernel")):
            for path in sorted(modules.rglob("*.ko*")):
                if not KEPT.match(str(path.relative_to(modules))):
                    path.unlink()
        sums = tree / "DEBIAN" / "md5sums"
        if sums.is_file():
            lines = sums.read_text().splitlines()
            kept = [line for line in lines if (tree / line.split(None, 1)[1]).exists()]
            sums.write_text("".join(f"{line}\n" for line in kept))
        unfinished = target.with_suffix(".unfinished")
        # Without compression: it is unpacked under emulation.
        argv = ("dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(unfinished))
        subprocess.run(argv, check=True, timeout=TIMEOUT_SECONDS, capture_output=True)
        shutil.rmtree(tree)
        unfinished.rename(target)
        return target

    def _update(self) -> None:
        stamp = self.folder / "updated"
        self.folder.mkdir(exist_ok=True)
        with locked(self.folder / "lists.lock"):
            if stamp.exists() and time.time() - stamp.stat().st_mtime < _LISTS_SECONDS:
                return
            for name in ("lists/partial", "cache/archives/partial", "etc"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / "etc/sources.list").write_text(f"{self.sources_line()}\n")
            self._run("apt-get", "update")
            stamp.touch()

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::State": self.folder,
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::SourceList": self.folder / "etc/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            # Against the clock of a machine, the newest suite's list may have run out.
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
        }
        argv = [program, *(word for name, value in options.items() for word in ("-o", f"{name}={value}")), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, cwd=cwd)
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"
        return done.stdout


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have the place to oneself among the runs of this machine."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache
def _lists(folder: Path) -> str:
    files = sorted((folder / "lists").glob("*_Packages"))
    assert files, f"no lists of packages in {folder}"
    return "\n".join(["", *(path.read_text() for path in files), ""])
