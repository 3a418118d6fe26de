# SPDX-License-Identifier: Apache-2.0
"""Images: Debian on a disk, with a bootloader and the kernels of several suites, installed once and kept in a cache.

The contract: `image(recipe)` gives an `Image` whose `disk` (raw, GPT: BIOS boot, ESP, root) and `variables` (UEFI)
are shared and never written; `Image.copy(folder)` gives a `Machine` with both of its own. Everything boots to
`/sbin/lab-init` (see guest.py). Where the partitions are is told by the constants below, which ids they have by those
of recipes.py. `iommuctl` is not in it: a job installs the wheel (see wheel.py), so an image outlives a change of it.
"""

import hashlib
import inspect
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from boot import archive, machine, recipes, wheel
from boot.archive import Archive, KernelPackage
from boot.guest import Job
from boot.machine import Firmware, Iommu, Kernel, Machine
from boot.recipes import Recipe, Suite

TIMEOUT_SECONDS = 900
MIB = 1 << 20
SECTOR = 512
ESP_START, ESP_SIZE = 2 * MIB, 192 * MIB
ROOT_START, ROOT_SIZE = ESP_START + ESP_SIZE, 1200 * MIB
DISK_SIZE = ROOT_START + ROOT_SIZE + MIB
# Another run may still use an older image.
_UNUSED_SECONDS = 7 * 24 * 3600
# GRUB 2.06 cannot read what newer versions of mke2fs switch on.
_EXT4_FEATURES = "^metadata_csum_seed,^orphan_file"
_CONFINED = (
    'mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" && mount -t devtmpfs devtmpfs "$1/dev" && '
    "root=$1 && shift && exec env -i LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root "
    'PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"'
)


@dataclass(frozen=True, slots=True)
class Image:
    """An installed disk. `releases` are its kernels by suite, and `folder` holds them for QEMU to start as well."""

    recipe: Recipe
    folder: Path
    releases: dict[Suite, str]

    @property
    def disk(self) -> Path:
        """The disk, never to be written."""
        return self.folder / "disk.raw"

    def copy(self, folder: Path, iommu: Iommu, cpu_vendor: str) -> Machine:
        """Return a machine with a disk and variables of its own, kept in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        disk = machine.overlay(self.disk, folder / "disk.qcow2")
        variables = None
        if self.recipe.firmware is Firmware.UEFI:
            variables = Path(shutil.copy(self.folder / "variables.fd", folder / "variables.fd"))
        return Machine(disk, self.recipe.firmware, iommu, cpu_vendor, variables)

    def kernel(self, suite: Suite) -> Kernel:
        """Return a kernel of the disk for QEMU to start past the bootloader."""
        release = self.releases[suite]
        initrd = self.folder / f"initrd.img-{release}"
        return Kernel(self.folder / f"vmlinuz-{release}", initrd if initrd.exists() else None, self.recipe.cmdline)


def image(recipe: Recipe) -> Image:
    """Return the image of a host, made once for each state of its inputs."""
    packages = {suite: _archive(recipe, suite).kernel(recipe.kernel_package) for suite in recipe.kernels}
    folder = archive.cache() / f"image-{recipe.name}-{_key(recipe, packages)}"
    with archive.locked(archive.cache() / f"image-{recipe.name}.lock"):
        if not folder.is_dir():
            _make(recipe, packages, folder)
        os.utime(folder)
    return Image(recipe, folder, {suite: package.release for suite, package in packages.items()})


def tree(recipe: Recipe, folder: Path) -> str:
    """Install a host in a directory, without a disk, and return the release of its kernel."""
    packages = {suite: _archive(recipe, suite).kernel(recipe.kernel_package) for suite in recipe.kernels}
    _install_tree(folder, recipe, packages)
    return packages[recipe.suite].release


def _key(recipe: Recipe, packages: dict[Suite, KernelPackage]) -> str:
    """What an image depends on: its recipe, its files, its packages' versions and parts, how this module makes it."""
    versions = _versions(recipe)
    made_by = tuple(inspect.getsource(step) for step in (_install_tree, _assemble, _install_loader))
    sizes = (ESP_START, ESP_SIZE, ROOT_START, ROOT_SIZE, DISK_SIZE)
    kept = archive.KEPT.pattern
    made_of = repr((recipe, recipes.files(recipe), recipes.INSTALL, packages, kept, versions, made_by, sizes))
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _archive(recipe: Recipe, suite: Suite) -> Archive:
    return Archive(suite, recipe.architecture)


def _versions(recipe: Recipe) -> tuple[str, ...]:
    source = _archive(recipe, recipe.suite)
    return tuple(f"{name}_{source.version(name)}" for name in recipe.packages)


def _make(recipe: Recipe, packages: dict[Suite, KernelPackage], folder: Path) -> None:
    for old in folder.parent.glob(f"image-{recipe.name}-*"):
        if time.time() - old.stat().st_mtime > _UNUSED_SECONDS:
            shutil.rmtree(old)
    work = folder.with_name(f"{recipe.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    tree = work / "tree"
    work.mkdir()
    _install_tree(tree, recipe, packages)
    for release in (package.release for package in packages.values()):
        for path in (*tree.glob(f"boot/vmlinuz-{release}"), *tree.glob(f"boot/initrd.img-{release}")):
            shutil.copy(path, work)
    _assemble(tree, work)
    shutil.rmtree(tree)
    _install_loader(Image(recipe, work, {suite: package.release for suite, package in packages.items()}))
    work.rename(folder)


def _install_tree(tree: Path, recipe: Recipe, packages: dict[Suite, KernelPackage]) -> None:
    tree.mkdir()
    _call("tar", "-xf", str(_base(recipe)), "-C", str(tree))
    for path, (content, mode) in recipes.files(recipe).items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(content)
        target.chmod(mode)
    (tree / "boot/efi").mkdir(parents=True, exist_ok=True)
    if recipe.is_foreign:
        for suite, package in packages.items():
            for file in _archive(recipe, suite).slim(package):
                _call("dpkg-deb", "-x", str(file), str(tree))
            _call("depmod", "--basedir", str(tree), package.release)
        return
    debs = tree / "root/debs"
    debs.mkdir()
    for suite, package in packages.items():
        for file in Archive(suite).slim(package):
            shutil.copy(file, debs)
    # The newest serves them all.
    shutil.copy(Archive(recipe.kernels[-1]).download("linux-base"), debs)
    for library in wheel.dependencies(recipe.suite):
        shutil.copy(library, debs)
    confined(tree, "sh", "-ec", recipes.INSTALL)
    shutil.rmtree(debs)


def _base(recipe: Recipe) -> Path:
    """Return the archive of a recipe's packages, installed once for each of their versions."""
    key = repr((recipes.NOT_UNPACKED, recipe.suite, _versions(recipe)))
    target = archive.cache() / f"base-{recipe.suite}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"
    with archive.locked(target.with_suffix(".lock")):
        if not target.is_file():
            _make_base(recipe, target)
    return target


def _make_base(recipe: Recipe, target: Path) -> None:
    unfinished = target.with_suffix(".unfinished.tar")
    _call(
        *("mmdebstrap", "--mode=root", f"--architectures={recipe.architecture}", "--quiet"),
        *(f"--variant={'extract' if recipe.is_foreign else 'essential'}", f"--include={','.join(recipe.packages)}"),
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--dpkgopt=path-exclude={path}" for path in recipes.NOT_UNPACKED),
        *(recipe.suite, str(unfinished), _archive(recipe, recipe.suite).sources_line()),
    )
    unfinished.rename(target)


def confined(tree: Path, *argv: str) -> str:
    """Run a program of a tree, in a mount and a pid namespace of its own."""
    return _call(
        *(
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation=private",
            "sh",
            "-c",
            _CONFINED,
            "sh",
        ),
        *(str(tree), *argv),
    )


def _assemble(tree: Path, work: Path) -> None:
    disk, root, esp = work / "disk.raw", work / "root.part", work / "esp.part"
    table = (
        f"label: gpt\nlabel-id: {recipes.DISK_UUID}\n"
        f"start={MIB // SECTOR}, size={MIB // SECTOR}, type=21686148-6449-6E6F-744E-656564454649\n"
        f"start={ESP_START // SECTOR}, size={ESP_SIZE // SECTOR}, type=U, uuid={recipes.ESP_PARTUUID}\n"
        f"start={ROOT_START // SECTOR}, size={ROOT_SIZE // SECTOR}, type=L\n"
    )
    for path, size in ((disk, DISK_SIZE), (root, ROOT_SIZE), (esp, ESP_SIZE)):
        with path.open("wb") as file:
            file.truncate(size)
    _call("sfdisk", "--quiet", str(disk), given=table)
    _call("mkfs.vfat", "-F", "32", "-i", recipes.ESP_UUID.replace("-", ""), str(esp))
    _call("mke2fs", "-q", "-t", "ext4", "-O", _EXT4_FEATURES, "-U", recipes.ROOT_UUID, "-d", str(tree), str(root))
    for path, start in ((root, ROOT_START), (esp, ESP_START)):
        seek = f"seek={start // MIB}"
        _call("dd", f"if={path}", f"of={disk}", "bs=1M", seek, "conv=notrunc,sparse", "status=none")
        path.unlink()


def _install_loader(made: Image) -> None:
    """Boot the disk past its bootloader once, so that the bootloader's own tools install it from inside."""
    variables = None
    if made.recipe.firmware is Firmware.UEFI:
        files = machine.firmware_files(arm64=made.recipe.is_foreign)
        assert files is not None
        variables = Path(shutil.copy(files[1], made.folder / "variables.fd"))
    booted = machine.run(
        Machine(
            made.disk,
            made.recipe.firmware,
            Iommu.SMMU if made.recipe.is_foreign else Iommu.NONE,
            "GenuineIntel",
            variables,
            made.kernel(made.recipe.kernels[0]),
            Job(made.recipe.install, {}),
        ),
        made.folder / "install",
    )
    assert booted.ended, f"{made.recipe.name} could not be installed: {booted.told()}"


def _call(*argv: str, given: str | None = None) -> str:
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, env=_environment()
    )
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
