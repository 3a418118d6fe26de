# SPDX-License-Identifier: Apache-2.0
"""Recipes: what is installed for each bootloader, and how its own tools put it on the disk."""

from dataclasses import dataclass, replace
from enum import StrEnum

from boot import guest
from boot.machine import Firmware


class Suite(StrEnum):
    """A release of Debian: of a host, or of the kernel that it runs."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"
    SID = "sid"


class Loader(StrEnum):
    """How a machine boots."""

    GRUB_BIOS = "grub-bios"
    GRUB_UEFI = "grub-uefi"
    GRUB_BLS = "grub-bls"
    SD_BOOT = "systemd-boot"
    SD_BOOT_UKI = "systemd-boot-uki"
    GRUB_ARM64 = "grub-uefi-arm64"


MACHINE_ID = "5eed1ab05eed1ab05eed1ab05eed1ab0"
ROOT_UUID = "1ab00000-0000-4000-8000-000000000001"
DISK_UUID = "1ab00000-0000-4000-8000-000000000002"
ESP_PARTUUID = "1ab00000-0000-4000-8000-000000000003"
ESP_UUID = "1AB0-0001"
# What a machine of the lab needs next to what an administrator would have. On a busy host, emulation fails the kernel's
# check of its timer interrupt, and then it panics (arch/x86/kernel/apic/io_apic.c, check_timer). Guards against what no
# emulated processor does take a fifth of its time, self-tests and another guard a second; no IOMMU driver reads them.
_QUICK = "mitigations=off init_on_alloc=0 cryptomgr.notests nokaslr apparmor=0"
PARAMETERS = f"console=ttyS0 init=/{guest.INIT_PATH} panic=-1 no_timer_check {_QUICK}"
CMDLINE = f"root=UUID={ROOT_UUID} ro {PARAMETERS}"
# Without an initramfs: the kernel has the drivers of this disk and of its file system built in, not that of the others.
ARM64_INIT_PATH = f"{guest.INIT_PATH}-arm64"
ARM64_PARAMETERS = f"console=ttyAMA0 init=/{ARM64_INIT_PATH} panic=-1"
ARM64_CMDLINE = f"root=/dev/nvme0n1p3 ro {ARM64_PARAMETERS}"
BLS_ENTRIES = "/boot/loader/entries"

NOT_UNPACKED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/share/zoneinfo/*",
)
_COMMON = ("kmod", "mount", "python3", "python3-venv", "tiny-initramfs", "util-linux", "libaugeas0")
_PYTHON = ("python3-typer", "python3-pydantic", "python3-augeas")
# What is essential comes by itself where packages are configured.
_ESSENTIAL = (
    *("base-files", "bash", "coreutils", "dash", "debianutils", "diffutils", "findutils", "grep", "hostname"),
    *("libc-bin", "mawk", "sed", "tar"),
)

# The environment that iommuctl goes into, and its program. Wheels are unpacked into it, as pip does, which takes half a
# minute under emulation, and does not work at all where packages are not configured.
_UNPACK = "python3 -m zipfile -e {} /opt/iommuctl/lib/python3.*/site-packages"
_ENVIRONMENT = """python3 -m venv --without-pip --system-site-packages /opt/iommuctl
printf '%s\\n' '#!/opt/iommuctl/bin/python3' 'from iommuctl.cli import main' 'main()' >/opt/iommuctl/bin/iommuctl
chmod 755 /opt/iommuctl/bin/iommuctl
ln -s /opt/iommuctl/bin/iommuctl /usr/local/bin/iommuctl
"""

# Kernels first: their hooks find no bootloader yet.
INSTALL = f"""
dpkg --install /root/debs/linux-base_*.deb >/root/debs/log 2>&1 || {{ cat /root/debs/log; exit 1; }}
dpkg --install /root/debs/linux-*-*-*.deb >/root/debs/log 2>&1 || {{ cat /root/debs/log; exit 1; }}
for image in /boot/vmlinuz-*; do test -f "/boot/initrd.img-${{image#/boot/vmlinuz-}}"; done
{_ENVIRONMENT}
for wheel in /root/debs/*.whl; do
    [ ! -f "$wheel" ] || {_UNPACK.format('"$wheel"')}
done
python3 -m compileall -q /usr/lib/python3/dist-packages /opt/iommuctl/lib >/dev/null || true
"""

_GRUB_DEFAULT = f"""# Settings of GRUB's menu.
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="{PARAMETERS}"
GRUB_TERMINAL=console
"""
# Under emulation a menu costs twenty seconds, nearly half of them for what no test boots. Debian 12's host has it all.
_SHORT_DEFAULT = f"{_GRUB_DEFAULT}GRUB_DISABLE_RECOVERY=true\n"
_NOT_IN_SHORT = ("05_debian_theme", "20_linux_xen", "25_bli", "30_os-prober", "30_uefi-firmware")
_EMPTIED = tuple((f"etc/grub.d/{name}", "", 0o644) for name in _NOT_IN_SHORT)
_SHORT_MENU = (("etc/default/grub", _SHORT_DEFAULT, 0o644), *_EMPTIED)
_FSTAB = f"""UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
"""
_FSTAB_ESP = f"UUID={ESP_UUID} /boot/efi vfat umask=0077 0 2\n"
_TINY_INITRAMFS = """AUTO_MODULES=no
MICROCODE=no
INCLUDE_MODULES=virtio_pci,virtio_blk,crc32c_generic,ext4
"""
# What Fedora's hook does on a GRUB that reads entries: Debian has none.
_BLS_HOOK = f"""#!/bin/sh
set -e
release=$1
mkdir -p {BLS_ENTRIES}
entry={BLS_ENTRIES}/{MACHINE_ID}-$release.conf
cat >"$entry.unfinished" <<END
title Debian GNU/Linux $release
version $release
machine-id {MACHINE_ID}
linux /boot/vmlinuz-$release
initrd /boot/initrd.img-$release
options $(cat /etc/kernel/cmdline)
END
mv "$entry.unfinished" "$entry"
"""
# Debian's own would write a menu over the one that reads entries.
_NO_HOOK = "#!/bin/sh\nexit 0\n"
_BLS_UNHOOK = f"""#!/bin/sh
rm -f "{BLS_ENTRIES}/{MACHINE_ID}-$1.conf"
"""
_BLS_MENU = f"""load_env
if [ "${{next_entry}}" ]; then
    set default="${{next_entry}}"
    set next_entry=
    save_env next_entry
else
    set default=0
fi
set timeout=0
insmod part_gpt
insmod ext2
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
insmod blsuki
blscfg --path {BLS_ENTRIES}
"""
_BLS_FILES = (
    ("etc/default/grub", _GRUB_DEFAULT + "GRUB_ENABLE_BLSCFG=true\n", 0o644),
    ("etc/kernel/cmdline", f"{CMDLINE}\n", 0o644),
    *((f"etc/kernel/{when}.d/zz-update-grub", _NO_HOOK, 0o755) for when in ("postinst", "postrm")),
    ("etc/kernel/postinst.d/zz-lab-bls", _BLS_HOOK, 0o755),
    ("etc/kernel/postrm.d/zz-lab-bls", _BLS_UNHOOK, 0o755),
    ("boot/grub/grub.cfg", _BLS_MENU, 0o600),
)
_ARM64_INIT = f"""#!/bin/sh
PATH=/usr/sbin:/usr/bin
export PATH
mount -t devtmpfs devtmpfs /dev
modprobe virtio_blk
exec /{guest.INIT_PATH}
"""
# Its packages are unpacked and no more, for their scripts cannot run where the image is made.
_ARM64_INSTALL = f"""set -ex
ln -sf mawk /usr/bin/awk
mkdir -p /usr/local/bin
{_ENVIRONMENT}
grub-install --target=arm64-efi --efi-directory=/boot/efi --removable --no-nvram
update-grub
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One host: its bootloader, suite, kernels, packages, its own files, and the job that installs the bootloader."""

    loader: Loader
    suite: Suite
    kernels: tuple[Suite, ...]
    firmware: Firmware
    packages: tuple[str, ...]
    files: tuple[tuple[str, str, int], ...]
    install: str
    architecture: str = "amd64"
    kernel_package: str = "linux-image-amd64"

    @property
    def is_foreign(self) -> bool:
        """Whether no program of the host can run where its image is made."""
        return self.architecture != "amd64"

    @property
    def cmdline(self) -> str:
        """The command line with which QEMU starts a kernel of the host by itself."""
        return ARM64_CMDLINE if self.is_foreign else CMDLINE

    @property
    def name(self) -> str:
        """Which of the hosts it is."""
        return f"{self.loader}-{self.suite}"


def install_wheel(name: str) -> str:
    """Return the command that installs iommuctl's wheel, which lies in the current directory."""
    return _UNPACK.format(f"./{name}")


def files(recipe: Recipe) -> dict[str, tuple[str, int]]:
    """Return the files of a host, with their modes, by path below its root."""
    common = {
        "etc/fstab": (_FSTAB + (_FSTAB_ESP if recipe.firmware is Firmware.UEFI else ""), 0o644),
        "etc/hostname": ("lab\n", 0o644),
        "etc/machine-id": (f"{MACHINE_ID}\n", 0o444),
        "etc/tiny-initramfs/tiny-initramfs.conf": (_TINY_INITRAMFS, 0o644),
        guest.INIT_PATH: (guest.INIT, 0o755),
    }
    return common | {path: (content, mode) for path, content, mode in recipe.files}


def recipe_for(loader: Loader, kernel: Suite) -> Recipe:
    """Return the host that boots a suite's kernel by a bootloader."""
    return next(recipe for recipe in RECIPES if recipe.loader is loader and kernel in recipe.kernels)


def _kernel_install(*, then: str = "") -> str:
    return f"""set -ex
bootctl install
echo 'timeout 0' >/boot/efi/loader/loader.conf
for image in /boot/vmlinuz-*; do
    release=${{image#/boot/vmlinuz-}}
    kernel-install add "$release" "$image" "/boot/initrd.img-$release"
done
{then}
bootctl list --no-pager
"""


_GRUB_BIOS = "set -ex\ngrub-install --target=i386-pc /dev/vda\nupdate-grub\ngrub-script-check /boot/grub/grub.cfg\n"
_ALL = tuple(Suite)
# The scripts of newer kernels need the run-parts of Debian 13, so Debian 12 boots its own kernel only.
RECIPES = (
    Recipe(
        loader=Loader.GRUB_BIOS,
        suite=Suite.BOOKWORM,
        kernels=(Suite.BOOKWORM,),
        firmware=Firmware.BIOS,
        packages=(*_COMMON, "grub-pc"),
        files=(("etc/default/grub", _GRUB_DEFAULT, 0o644),),
        install=_GRUB_BIOS,
    ),
    Recipe(
        loader=Loader.GRUB_BIOS,
        suite=Suite.TRIXIE,
        kernels=(Suite.TRIXIE, Suite.SID),
        firmware=Firmware.BIOS,
        packages=(*_COMMON, *_PYTHON, "grub-pc"),
        files=_SHORT_MENU,
        install=_GRUB_BIOS,
    ),
    Recipe(
        loader=Loader.GRUB_UEFI,
        suite=Suite.TRIXIE,
        kernels=_ALL,
        firmware=Firmware.UEFI,
        packages=(*_COMMON, *_PYTHON, "grub-efi-amd64", "efibootmgr"),
        files=_SHORT_MENU,
        install="set -ex\ngrub-install --target=x86_64-efi --efi-directory=/boot/efi\nupdate-grub\nefibootmgr\n",
    ),
    Recipe(
        loader=Loader.GRUB_BLS,
        suite=Suite.SID,
        kernels=_ALL,
        firmware=Firmware.BIOS,
        packages=(*_COMMON, *_PYTHON, "grub-pc-bin", "grub2-common"),
        files=_BLS_FILES,
        install="set -ex\ngrub-install --target=i386-pc /dev/vda\ngrub-editenv /boot/grub/grubenv create\n",
    ),
    Recipe(
        loader=Loader.SD_BOOT,
        suite=Suite.SID,
        kernels=_ALL,
        firmware=Firmware.UEFI,
        packages=(*_COMMON, *_PYTHON, "systemd-boot"),
        files=(("etc/kernel/cmdline", f"{CMDLINE}\n", 0o644),),
        install=_kernel_install(),
    ),
    Recipe(
        loader=Loader.SD_BOOT_UKI,
        suite=Suite.TRIXIE,
        kernels=_ALL,
        firmware=Firmware.UEFI,
        packages=(*_COMMON, *_PYTHON, "systemd-boot", "systemd-boot-efi", "systemd-ukify"),
        files=(
            ("etc/kernel/cmdline", f"{CMDLINE}\n", 0o644),
            ("etc/kernel/install.conf", "layout=uki\nuki_generator=ukify\n", 0o644),
        ),
        install=_kernel_install(then="ls -l /boot/efi/EFI/Linux"),
    ),
    Recipe(
        loader=Loader.GRUB_ARM64,
        suite=Suite.TRIXIE,
        kernels=(Suite.TRIXIE,),
        firmware=Firmware.UEFI,
        packages=(*_ESSENTIAL, *_COMMON, *_PYTHON, "grub-efi-arm64-bin", "grub2-common"),
        files=(
            *_EMPTIED,
            ("etc/default/grub", _SHORT_DEFAULT.replace(PARAMETERS, ARM64_PARAMETERS), 0o644),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
            (ARM64_INIT_PATH, _ARM64_INIT, 0o755),
        ),
        install=_ARM64_INSTALL,
        architecture="arm64",
        kernel_package="linux-image-cloud-arm64",
    ),
)
# Trees whose initramfs starts udev, as those of administrators do: what gives devices to guests has to be before it.
# GRUB reads their entries, which are there without a disk.
_BEFORE_UDEV = tuple(one for one in _COMMON if one != "tiny-initramfs")
WITH_UDEV = Recipe(
    loader=Loader.GRUB_BLS,
    suite=Suite.TRIXIE,
    kernels=(Suite.TRIXIE,),
    firmware=Firmware.BIOS,
    packages=(*_BEFORE_UDEV, *_PYTHON, "initramfs-tools", "grub-pc"),
    files=_BLS_FILES,
    install="",
)
WITH_UDEV_BEFORE = replace(
    WITH_UDEV,
    suite=Suite.BOOKWORM,
    kernels=(Suite.BOOKWORM,),
    packages=(*_BEFORE_UDEV, "initramfs-tools", "grub-pc"),
)
WITH_DRACUT = replace(WITH_UDEV, packages=(*_BEFORE_UDEV, *_PYTHON, "grub-pc", "dracut", "systemd"))
# Its loader shows a menu to whoever is at the serial line, and its own tool builds the image.
WITH_MENU = replace(
    recipe_for(Loader.GRUB_BIOS, Suite.TRIXIE),
    kernels=(Suite.TRIXIE,),
    packages=(*_BEFORE_UDEV, *_PYTHON, "initramfs-tools", "grub-pc"),
    files=(
        (
            "etc/default/grub",
            _GRUB_DEFAULT.replace("TIMEOUT=0", "TIMEOUT=5").replace("=console", "=serial"),
            0o644,
        ),
        ("etc/initramfs-tools/conf.d/lab", "MODULES=list\n", 0o644),
        ("etc/initramfs-tools/modules", "virtio_pci\nvirtio_blk\next4\ncrc32c_generic\ne1000e\n", 0o644),
    ),
)
