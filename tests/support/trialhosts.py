# SPDX-License-Identifier: Apache-2.0
"""Hosts for trial boots: trees that stand for a running system, and what their loader would do with them."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import efivars
from archhosts import PRESET
from entryhosts import grubenv
from peimages import unified_image
from pytest_mock import MockerFixture

from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.trial import start
from iommuctl.app.trial.start import TrialPlan, Wishes
from iommuctl.backends.trial.base import Volume
from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.peimage import parse_image
from iommuctl.host.commands import Completed, SystemRunner
from iommuctl.host.root import Root
from iommuctl.transaction.trial.record import TrialRecord

PROFILE = "passthrough-perf"
FORCED = Choices(force=frozenset({"trial-unproven"}))
UUID = "8e0e7a53-96a4-4ae8-8f4b-2f1e6d4c5b3a"
RELEASE = "6.12.107+deb13-amd64"
BEFORE = f"root=UUID={UUID} ro quiet"
WANTED = ("intel_iommu=on", "iommu=pt")  # of passthrough-perf on Intel
CPUINFO = "processor\t: 0\nvendor_id\t: GenuineIntel\n"
UKI = "boot/EFI/Linux/arch-linux.efi"
BOOT_ID = "00000000-0000-4000-8000-{:012d}"
PROGRAMS = ("grub-editenv", "grub-script-check", "grub-mkconfig", "systemctl", "bootctl", "true")
HEADER = """\
### BEGIN /etc/grub.d/00_header ###
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
set timeout=5
### END /etc/grub.d/00_header ###
"""
CUSTOM = """\
### BEGIN /etc/grub.d/41_custom ###
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
### END /etc/grub.d/41_custom ###
"""


def linux_section(line: str = "quiet", *, more: str = "", release: str = RELEASE) -> str:
    """What 10_linux writes of one kernel."""
    entry = (
        f"menuentry 'Debian GNU/Linux' --class debian {more}$menuentry_id_option 'gnulinux-simple-{UUID}' {{\n"
        f"\tload_video\n\tinsmod gzio\n\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n"
        f"\tsearch --no-floppy --fs-uuid --set=root {UUID}\n\techo\t'Loading Linux {release} ...'\n"
        f"\tlinux\t/boot/vmlinuz-{release} root=UUID={UUID} ro {line}\n\tinitrd\t/boot/initrd.img-{release}\n}}\n"
    )
    return f"### BEGIN /etc/grub.d/10_linux ###\n{entry}### END /etc/grub.d/10_linux ###\n"


def grub_cfg(line: str = "quiet", *, header: str = HEADER, custom: str = CUSTOM, more: str = "") -> str:
    return f"{header}{linux_section(line, more=more)}{custom}"


@dataclass
class TrialHost:
    """A host to change at will, and to boot. `ran` are the commands that would have run on it."""

    path: Path
    kind: str = "grub"
    boots: int = 1
    ran: list[tuple[str, ...]] = field(default_factory=list)
    checks: dict[str, str | None] = field(default_factory=dict)  # last words of each; None: it fails

    @classmethod
    def of(cls, path: Path, boots: int = 1) -> "TrialHost":
        """The host in a directory that one was made in."""
        kinds = {"grub": "boot/grub", "bls": "boot/grub2"}
        return cls(path, next((one for one, mark in kinds.items() if (path / mark).exists()), "systemd-boot"), boots)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        target = self.path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)
        return target

    def read(self, path: str) -> str:
        return (self.path / path.lstrip("/")).read_text()

    def has(self, path: str) -> bool:
        return (self.path / path.lstrip("/")).exists()

    def started(self, line: str, *, uptime: float = 60.0) -> None:
        """Make this boot one with a line."""
        self.write("proc/cmdline", f"{line}\n")
        self.write("proc/sys/kernel/random/boot_id", f"{BOOT_ID.format(self.boots)}\n")
        self.write("proc/uptime", f"{uptime} 1.0\n")
        shutil.rmtree(self.path / "run/iommuctl", ignore_errors=True)

    def reboot(self, *, uptime: float = 60.0) -> str:
        """Boot as the loader does, the choice of one boot cleared; give the line."""
        self.boots += 1
        line = {"grub": self._grub, "bls": self._bls, "systemd-boot": self._systemd_boot}[self.kind]()
        self.started(line, uptime=uptime)
        return line

    def _grub(self) -> str:
        block = self.path / "boot/grub/grubenv"
        env = GrubEnv.parse(PurePosixPath("/grubenv"), block.read_bytes())
        wanted = env.get("next_entry") or ""
        if wanted:
            block.write_bytes(env.set("next_entry", "").block)
        text = self.read("boot/grub/grub.cfg")
        if self.has("boot/grub/custom.cfg"):
            text += self.read("boot/grub/custom.cfg")
        menu = parse_menu(PurePosixPath("/grub.cfg"), text)
        entry = next((one for one in menu.entries if wanted and one.id == wanted), menu.entries[0])
        line = entry.linux[0]
        return f"BOOT_IMAGE={line.kernel} {line.cmdline}"

    def _bls(self) -> str:
        block = self.path / "boot/grub2/grubenv"
        env = GrubEnv.parse(PurePosixPath("/grubenv"), block.read_bytes())
        wanted = env.get("next_entry") or ""
        if wanted:
            block.write_bytes(env.set("next_entry", "").block)
        entries = self.path / "boot/loader/entries"
        name = wanted if (entries / f"{wanted}.conf").exists() else f"{MACHINE}-{RELEASE}"
        found = dict(one.split(" ", 1) for one in (entries / f"{name}.conf").read_text().splitlines())
        return f"BOOT_IMAGE=(hd0,gpt2){found['linux']} {found['options']}"

    def _systemd_boot(self) -> str:
        variables = self.path / efivars.FOLDER
        shot = variables / f"LoaderEntryOneShot-{efivars.LOADER}"
        wanted = ""
        if shot.exists():
            wanted = shot.read_bytes()[4:].decode("utf-16-le").rstrip("\0")
            shot.unlink()
        entries = self.path / "boot/loader/entries"
        image = "" if (entries / "debian.conf").exists() else "arch-linux.efi"
        name = wanted if wanted and (entries / wanted).exists() else image or "debian.conf"
        (variables / f"LoaderEntrySelected-{efivars.LOADER}").write_bytes(efivars.text(name))
        if name == image:
            content = (self.path / UKI).read_bytes()
            return parse_image(PurePosixPath(UKI), lambda start, size: content[start : start + size]).cmdlines[0] or ""
        options = re.search(r"^options (.*)$", (entries / name).read_text(), re.MULTILINE)
        assert options is not None
        return options[1] if image else f"initrd=\\initrd {options[1]}"

    def run(self, command: tuple[str, ...]) -> Completed:
        """What the host's programs do, in Python."""
        self.ran.append(command)
        out = ""
        match command:
            case ("grub-editenv", path, "list"):
                block = GrubEnv.parse(PurePosixPath(path), (self.path / path.lstrip("/")).read_bytes())
                out = "".join(f"{name}={value}\n" for name, value in block.variables)
            case ("grub-script-check", path):
                parse_menu(PurePosixPath(path), self.read(path))
            case ("grub-mkconfig", "-o", path):
                found = re.search(r'^GRUB_CMDLINE_LINUX_DEFAULT="(.*)"$', self.read("etc/default/grub"), re.MULTILINE)
                assert found is not None
                self.write(path, grub_cfg(found[1]))
            case ("bootctl", "list"):
                # Names with other characters are read by the loader, and not by bootctl (efi_loader_entry_name_valid).
                names = (one.name for one in (self.path / "boot/loader/entries").iterdir())
                out = "".join(f"id: {one}\n" for one in names if re.fullmatch(r"[0-9A-Za-z+._-]+", one))
            case ("mkinitcpio", "-P"):
                # In one step, which the real one does not do.
                self.write("image", unified_image(self.read("etc/kernel/cmdline").strip())).rename(self.path / UKI)
            case ("systemctl", *_):
                pass
            case (path,):
                words = self.checks[Path(path).name]
                return Completed(command, 1 if words is None else 0, words or "no route to anywhere\n", "").check()
            case _:
                raise AssertionError(command)
        return Completed(command, 0, out, "")

    def ordered_reboot(self) -> bool:
        return ("systemctl", "reboot", "--no-block") in self.ran

    def add_check(self, name: str, words: str | None = "fine\n") -> None:
        """Put a check into confirm.d; without words it fails."""
        self.write(f"etc/iommuctl/confirm.d/{name}", "#!/bin/sh\n", 0o755)
        self.checks[name] = words

    def permanent(self) -> dict[str, bytes]:
        """What a trial must leave alone: every file of the boot configuration but the trial's own."""
        own = re.compile(r"iommuctl-trial|grubenv$|boot/grub/custom\.cfg$")
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for top in ("etc", "boot")
            for path in sorted((self.path / top).rglob("*"))
            if path.is_file() and not own.search(str(path.relative_to(self.path)))
        }


def _common(host: TrialHost) -> None:
    host.write("proc/cpuinfo", CPUINFO)
    host.write("proc/sys/kernel/osrelease", f"{RELEASE}\n")
    host.write("etc/os-release", 'ID=debian\nVERSION_ID="13"\n')
    host.write("etc/machine-id", "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40\n")
    (host.path / "run/systemd/system").mkdir(parents=True)
    (host.path / "etc/systemd/system").mkdir(parents=True)
    (host.path / "var/lib").mkdir(parents=True)
    for name in PROGRAMS:
        host.write(f"usr/bin/{name}", "", 0o755)
    host.write(f"lib/modules/{RELEASE}/modules.dep", "")


def grub_host(path: Path) -> TrialHost:
    """A Debian host with GRUB on one ext4."""
    host = TrialHost(path)
    _common(host)
    host.write("etc/default/grub", 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    host.write("boot/grub/grub.cfg", grub_cfg())
    host.write("boot/grub/grubenv", grubenv())
    host.write(f"boot/vmlinuz-{RELEASE}", "kernel")
    host.write(f"boot/initrd.img-{RELEASE}", "initrd")
    host.started(f"BOOT_IMAGE=/boot/vmlinuz-{RELEASE} {BEFORE}")
    return host


MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
BLS_MENU = f"{HEADER}insmod blscfg\nblscfg\n"


def bls_host(path: Path, *, saved: str | None = f"{MACHINE}-{RELEASE}") -> TrialHost:
    """A Fedora host whose GRUB reads entries."""
    host = TrialHost(path, "bls")
    _common(host)
    host.write("etc/os-release", "ID=fedora\n")
    host.write("etc/default/grub", 'GRUB_CMDLINE_LINUX="quiet"\nGRUB_ENABLE_BLSCFG=true\n')
    host.write("etc/kernel/cmdline", f"{BEFORE}\n")
    host.write("boot/grub2/grub.cfg", BLS_MENU.replace('default="0"', 'default="${saved_entry}"'))
    host.write("boot/grub2/grubenv", grubenv() if saved is None else grubenv(saved_entry=saved))
    entry = (
        f"title Fedora\nversion {RELEASE}\nlinux /vmlinuz-{RELEASE}\ninitrd /initrd.img-{RELEASE}\noptions {BEFORE}\n"
    )
    host.write(f"boot/loader/entries/{MACHINE}-{RELEASE}.conf", entry)
    host.write(f"boot/vmlinuz-{RELEASE}", "kernel")
    host.write(f"boot/initrd.img-{RELEASE}", "initrd")
    host.started(f"BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{RELEASE} {BEFORE}")
    return host


ENTRY = (
    f"title Debian\nsort-key debian\nversion {RELEASE}\n"
    f"linux /{RELEASE}/linux\ninitrd /{RELEASE}/initrd\noptions {BEFORE}\n"
)


def entry_host(path: Path, *, entry: str = ENTRY, settings: str = "timeout 5\ndefault debian.conf\n") -> TrialHost:
    """A Debian host with systemd-boot and its one entry."""
    host = TrialHost(path, kind="systemd-boot")
    _common(host)
    host.write("etc/kernel/cmdline", f"{BEFORE}\n")
    host.write("boot/loader/loader.conf", settings)
    host.write("boot/loader/entries/debian.conf", entry)
    host.write(f"boot/{RELEASE}/linux", "kernel")
    host.write(f"boot/{RELEASE}/initrd", "initrd")
    host.write("proc/self/mounts", "/dev/vda1 /boot vfat rw 0 0\n")
    efivars.write_variables(path, LoaderInfo="systemd-boot 257.13-1~deb13u1", LoaderEntrySelected="debian.conf")
    features = path / efivars.FOLDER / f"LoaderFeatures-{efivars.LOADER}"
    features.write_bytes(efivars.ATTRIBUTES + (0xFF).to_bytes(8, "little"))
    host.started(f"initrd=\\{RELEASE}\\initrd {BEFORE}")
    return host


def on(filesystem: str | None, *, mapped: bool = False, elsewhere: str | None = None) -> Callable[..., Volume]:
    """Have every file be on one kind of file system; `elsewhere` is a file that a link leads off it."""

    def volume(_root: object, path: PurePosixPath) -> Volume:
        if elsewhere is not None and path.name == elsewhere:
            return Volume(PurePosixPath("/boot/efi/grubenv"), "vfat", is_mapped=False, device=2)
        return Volume(path, filesystem, is_mapped=mapped, device=1)

    return volume


def live_in(host: TrialHost, mocker: MockerFixture) -> Host:
    """Take a tree for the running system, and its programs for those of the host."""
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)
    mocker.patch.object(SystemRunner, "run", lambda _, command, **__: host.run(command))
    mocker.patch("iommuctl.app.trial.start.volume_of", on("ext4"))
    return Host.open(host.path)


def planned(opened: Host, wishes: Wishes = Wishes()) -> TrialPlan:  # noqa: B008 - a value
    return start.plan_trial(opened, PROFILE, FORCED, wishes, ("/usr/bin/iommuctl",))


def armed(opened: Host, wishes: Wishes = Wishes()) -> TrialRecord:  # noqa: B008 - a value
    return start.start_trial(opened, planned(opened, wishes), FORCED)


def uki_host(path: Path) -> TrialHost:
    """An Arch host that boots one unified image by systemd-boot."""
    host = entry_host(path, settings="timeout 5\n")
    (path / "boot/loader/entries/debian.conf").unlink()
    host.write("etc/os-release", "ID=arch\n")
    for name, text in PRESET.items():
        host.write(name, text, 0o755 if "bin/" in name else 0o644)
    host.write("usr/bin/mkinitcpio", "", 0o755)
    host.write(UKI, unified_image(BEFORE))
    selected = path / efivars.FOLDER / f"LoaderEntrySelected-{efivars.LOADER}"
    selected.write_bytes(efivars.text("arch-linux.efi"))
    host.started(BEFORE)
    return host


def nothing_left(host: TrialHost) -> None:
    """No entry, no choice, no unit, no token, no temporary file."""
    for top in ("etc", "boot", "var", "sys"):
        for path in (host.path / top).rglob("*"):
            assert "iommuctl-trial" not in path.name, path
            assert not path.name.endswith(".tmp"), path
    for top in ("etc", "boot"):
        for path in (host.path / top).rglob("*"):
            assert not path.is_file() or b"iommuctl" not in path.read_bytes(), path
