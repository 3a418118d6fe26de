# SPDX-License-Identifier: Apache-2.0
"""Owners: systems that keep the kernel command line themselves, with the command that is theirs. Rows of data.

Each row names the public source of its facts.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS
from iommuctl.backends.grub.distributions import grub_family
from iommuctl.errors import BootConfigError, NotPermittedError
from iommuctl.facts import Facts, Runtime
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple


class Owner(NamedTuple):
    """Who keeps the command line, by what that shows, and how a parameter is given to it.

    `ids` are of os-release (lower case); of `files` one is enough, a directory, which ends in a slash, with anything in
    it; `starts`
    are beginnings of words of the running command line; `entries` beginnings of entries' and images' names. `asked` is
    the request with parameters, a template (byhand.py), `flag` and `drop_flag` go before each one added and taken away;
    `plain` is the request without any, empty where it is the same. `program` must be there for the row to count.
    """

    name: str
    source: str
    asked: str
    plain: str = ""
    ids: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    flag: str = ""
    drop_flag: str = ""
    program: str = ""
    what: str = "the kernel command line here"
    xen: bool = False


_PROGRAMS = PurePosixPath("/usr/bin")
_FOLDERS = tuple(point / folder for point in MOUNT_POINTS for folder in ("loader/entries", "EFI/Linux"))
_ENTRY = ".conf"
_LOOKED_AT = 4
_OSTREE_FILES = ("/ostree/", "/sysroot/ostree/")
_OSTREE_STARTS = ("ostree=",)
_OSTREE_ENTRIES = ("ostree-",)
_OSTREE_BOOTED = "/run/ostree-booted"
_BOOTC_SOURCE = "bootc: building/kernel-arguments.html (kargs.d); bootc-dev/bootc 2248 (composefs.digest)"
_BOOTC = "add a file with kargs = [{quoted}] to /usr/lib/bootc/kargs.d in the image, then bootc upgrade"
_BOOTC_PLAIN = "the parameters go into a file of /usr/lib/bootc/kargs.d in the image, then bootc upgrade"

OWNERS = (
    Owner(
        "Xen",
        "docs.xcp-ng.org/guides (xen-cmdline); xapi-project/xen-api calls it with --get-xen",
        asked="the hypervisor's own iommu= is shown by /opt/xensource/libexec/xen-cmdline --get-xen iommu, "
        "and set by its --set-xen; then reboot",
        ids=("xenenterprise", "xcp-ng", "xenserver"),
        files=("/opt/xensource/libexec/xen-cmdline", "/etc/xensource-inventory"),
        what="the IOMMU of this host",
    ),
    Owner(
        "Xen",
        "xenbits.xen.org/docs: misc/xen-command-line.html (iommu); GRUB: 20_linux_xen",
        asked="put the hypervisor's own iommu= into GRUB_CMDLINE_XEN of /etc/default/grub, then {new_menu}",
        ids=("qubes",),
        what="the IOMMU of this host",
        xen=True,
    ),
    Owner(
        "bootc",
        _BOOTC_SOURCE,
        _BOOTC,
        _BOOTC_PLAIN,
        starts=("composefs=", "composefs.digest="),
        entries=("bootc",),
        files=("/composefs/", "/sysroot/composefs/"),
    ),
    Owner(
        "ostree",
        "rpm-ostree(1), kargs",
        asked="rpm-ostree kargs {flags}{drops}",
        plain="rpm-ostree kargs --editor",
        flag="--append-if-missing=",
        drop_flag="--delete-if-present=",
        program="rpm-ostree",
        files=_OSTREE_FILES,
        starts=_OSTREE_STARTS,
        entries=_OSTREE_ENTRIES,
    ),
    Owner(
        "ostree",
        _BOOTC_SOURCE,
        _BOOTC,
        _BOOTC_PLAIN,
        program="bootc",
        files=_OSTREE_FILES,
        starts=_OSTREE_STARTS,
        entries=_OSTREE_ENTRIES,
    ),
    Owner(
        "ostree",
        "ostree-admin-kargs(1)",
        asked="ostree admin kargs edit-in-place {flags}{drops}",
        plain="ostree admin kargs edit-in-place --help",
        flag="--append-if-missing=",
        drop_flag="--delete-if-present=",
        files=_OSTREE_FILES,
        starts=_OSTREE_STARTS,
        entries=_OSTREE_ENTRIES,
    ),
    Owner(
        "NixOS",
        "NixOS manual: boot.kernelParams",
        asked="set boot.kernelParams = [ {each_quoted} ] in /etc/nixos/configuration.nix, then nixos-rebuild switch",
        plain="set boot.kernelParams in /etc/nixos/configuration.nix, then nixos-rebuild switch",
        ids=("nixos",),
        files=("/etc/NIXOS",),
    ),
    Owner(
        "Guix System",
        "GNU Guix manual: operating-system, kernel-arguments",
        asked="put {each_quoted} into kernel-arguments of the operating-system declaration, then guix system "
        "reconfigure",
        plain="set kernel-arguments in the operating-system declaration, then guix system reconfigure",
        ids=("guix",),
    ),
    Owner(
        "Talos",
        "talos.dev: machine.install.extraKernelArgs",
        asked="put {quoted} into machine.install.extraKernelArgs of the machine configuration, then talosctl upgrade",
        plain="set machine.install.extraKernelArgs in the machine configuration, then talosctl upgrade",
        ids=("talos",),
    ),
    Owner(
        "Bottlerocket",
        "bottlerocket.dev: os/1.45.x/api/settings/boot (settings.boot.kernel-parameters)",
        asked="apiclient set --json '{settings}', then apiclient reboot",
        plain="apiclient get settings.boot shows what it sets, apiclient set --json changes it, then apiclient reboot",
        ids=("bottlerocket",),
    ),
    Owner(
        "Flatcar",
        "flatcar/scripts: build_library/grub.cfg (sources grub.cfg of the partition OEM before linux_append is used)",
        asked='add set linux_append="$linux_append {parameters}" to /oem/grub.cfg, then reboot',
        plain="linux_append in /oem/grub.cfg holds the parameters",
        ids=("flatcar",),
    ),
    Owner(
        "TrueNAS",
        "truenas/middleware: etc_files/grub.py, system.advanced (kernel_extra_options)",
        asked='midclt call system.advanced.update \'{{"kernel_extra_options": "{parameters}"}}\' with what '
        "midclt call system.advanced.config shows of it in front, then reboot",
        plain="kernel_extra_options holds the parameters: midclt call system.advanced.config shows them, "
        "system.advanced.update changes them",
        ids=("truenas",),
        files=(
            "/etc/default/grub.d/truenas.cfg",
            "/usr/lib/python3/dist-packages/middlewared/",
            "/data/freenas-v1.db",
        ),
    ),
    Owner(
        "snapd",
        "documentation.ubuntu.com/core: modify kernel options (system.kernel.cmdline-append)",
        asked='snap set system system.kernel.dangerous-cmdline-append="{parameters}" where the model is of grade '
        "dangerous, else system.kernel.cmdline-append, which the gadget has to allow; then reboot",
        plain="snap get -d system system.kernel shows the parameters that are appended",
        ids=("ubuntu-core",),
        files=("/var/lib/snapd/modeenv", "/var/lib/snapd/device/fde/"),
        starts=("snapd_recovery_mode=",),
    ),
    Owner(
        "Harvester",
        "harvester/harvester-installer: harv-install, /etc/cos/bootargs.cfg (third_party_kernel_args)",
        asked='grub2-editenv /oem/grubenv set third_party_kernel_args="{parameters}" with what '
        "grub2-editenv /oem/grubenv list shows of it in front, then reboot",
        plain="third_party_kernel_args in /oem/grubenv holds the parameters: grub2-editenv /oem/grubenv list",
        ids=("harvester",),
        files=("/etc/harvester-release.yaml", "/oem/harvester.config"),
    ),
    Owner(
        "Kairos",
        "kairos.io/docs: after-install, grub options (extra_cmdline)",
        asked='grub2-editenv /oem/grubenv set extra_cmdline="{parameters}" with what '
        "grub2-editenv /oem/grubenv list shows of it in front, then reboot",
        plain="extra_cmdline in /oem/grubenv holds the parameters: grub2-editenv /oem/grubenv list",
        ids=("kairos",),
        files=("/etc/kairos-release", "/etc/kairos/"),
    ),
    Owner(
        "Elemental",
        "elemental.docs.rancher.com: customizing (extra_cmdline), /etc/cos/bootargs.cfg",
        asked='grub2-editenv /oem/grubenv set extra_cmdline="{parameters}" with what '
        "grub2-editenv /oem/grubenv list shows of it in front, then reboot",
        plain="extra_cmdline in /oem/grubenv holds the parameters: grub2-editenv /oem/grubenv list",
        files=("/etc/cos/bootargs.cfg", "/etc/elemental/bootargs.cfg"),
        starts=("cos-img/filename=",),
    ),
    Owner(
        "Unraid",
        "docs.unraid.net: Flash, Syslinux configuration",
        asked="put {parameters} after append in /boot/syslinux/syslinux.cfg (Main, Flash, Syslinux Configuration), "
        "then reboot",
        plain="append in /boot/syslinux/syslinux.cfg holds the parameters (Main, Flash, Syslinux Configuration)",
        files=("/etc/unraid-version", "/boot/bzroot"),
    ),
    Owner(
        "ABRoot",
        "github.com/Vanilla-OS/ABRoot: cmd/kargs.go",
        asked="abroot kargs edit, and add {parameters}; then reboot",
        plain="abroot kargs edit",
        ids=("vanilla",),
        files=("/usr/bin/abroot",),
    ),
    Owner(
        "clr-boot-manager",
        "github.com/clearlinux/clr-boot-manager: releases v1.2.0 and v1.5.5 (/etc/kernel/cmdline.d/*.conf)",
        asked="echo '{parameters}' > /etc/kernel/cmdline.d/iommu.conf, then clr-boot-manager update",
        plain="the files of /etc/kernel/cmdline.d hold the parameters, then clr-boot-manager update",
        ids=("clear-linux-os", "solus"),
    ),
    Owner(
        "VyOS",
        "vyos/vyos-1x: python/vyos/system/grub.py (vyos-versions), src/conf_mode/system_option.py",
        asked="no setting of VyOS takes them: put {parameters} at the end of the first boot_opts= of the image's file "
        "in /boot/grub/grub.cfg.d/vyos-versions, which a commit of system option writes anew, then reboot",
        plain="the first boot_opts= of the image's file in /boot/grub/grub.cfg.d/vyos-versions holds the parameters",
        ids=("vyos",),
        files=("/boot/grub/grub.cfg.d/vyos-versions/",),
    ),
    Owner(
        "IncusOS",
        "lxc/incus-os: mkosi.conf (KernelCommandLine), doc/reference/system/kernel.md; its images are signed",
        asked="its signed images hold the line, and no setting changes that: build an image with {parameters} in "
        "KernelCommandLine of mkosi.conf (github.com/lxc/incus-os)",
        plain="its signed images hold the line: KernelCommandLine in mkosi.conf of github.com/lxc/incus-os",
        ids=("incusos",),
    ),
    Owner(
        "Photon OS",
        "vmware/photon: SPECS/linux/linux.spec (photon_cmdline, a file of each kernel's package)",
        asked="put {parameters} at the end of photon_cmdline= in /boot/photon.cfg, then reboot; the next kernel brings "
        "a photon.cfg of its own",
        plain="photon_cmdline= in /boot/photon.cfg holds the parameters",
        ids=("photon",),
        files=("/boot/photon.cfg",),
    ),
)


class Owned(NamedTuple):
    """An owner, and what shows that it owns this root."""

    owner: Owner
    mark: str


def find_owner(tree: Tree, facts: Facts, runtime: Runtime | None) -> Owned | None:
    """Return who keeps the command line of this root; None where nobody but its administrator does."""
    programs: frozenset[str] | None = None
    for owner in OWNERS:
        mark = next(_marks(tree, facts, runtime, owner), None)
        if mark is None:
            continue
        if owner.program and programs is None:
            programs = frozenset(tree.names(_PROGRAMS))
        if not owner.program or owner.program in (programs or ()):
            return Owned(owner, mark)
    return None


def new_menu(facts: Facts) -> str:
    """Return the command that builds GRUB's menu anew, in words."""
    family = grub_family(facts.distribution)
    return "build GRUB's menu anew" if family is None else f"run {family.mkconfig} -o {family.menu}"


def _marks(tree: Tree, facts: Facts, runtime: Runtime | None, owner: Owner) -> Iterator[str]:
    """What shows an owner, the running system's word first."""
    if runtime is not None:
        if owner.xen and runtime.is_xen_host:
            yield "/proc/xen/capabilities says control_d: this is its dom0"
        if any(word.startswith(owner.starts) for word in runtime.cmdline.split() if owner.starts):
            yield f"/proc/cmdline has {' or '.join(owner.starts)}"
        if owner.starts == _OSTREE_STARTS and _exists(tree, _OSTREE_BOOTED):
            yield f"{_OSTREE_BOOTED} exists"
    if facts.distribution.id.lower() in owner.ids:
        yield f"this is {facts.distribution.id}"
    yield from (f"{_path(path)} exists" for path in owner.files if _exists(tree, path))
    if owner.entries:
        yield from _entries(tree, owner.entries)
    if runtime is None and owner.entries:
        yield from _written(tree, owner.starts)


def _entries(tree: Tree, starts: tuple[str, ...]) -> Iterator[str]:
    for folder in _FOLDERS:
        yield from (f"{folder / name} exists" for name in _names(tree, folder) if name.startswith(starts))


def _written(tree: Tree, starts: tuple[str, ...]) -> Iterator[str]:
    """What the first entries of a root that does not run say; one owner writes all of them."""
    for folder in _FOLDERS:
        for name in _names(tree, folder)[:_LOOKED_AT]:
            if not name.endswith(_ENTRY):
                continue
            try:
                content = tree.read(folder / name) or b""
            except (NotPermittedError, BootConfigError):
                continue
            if any(word.startswith(starts) for word in content.decode("utf-8", "replace").split()):
                yield f"{folder / name} has {' or '.join(starts)}"


def _names(tree: Tree, folder: PurePosixPath) -> tuple[str, ...]:
    try:
        return tree.names(folder)
    except NotPermittedError:
        return ()


@cache  # of the texts in the rows, which every root is looked at by
def _path(text: str) -> PurePosixPath:
    return PurePosixPath(text)


def _exists(tree: Tree, path: str) -> bool:
    try:
        if path.endswith("/"):
            return bool(tree.names(_path(path)))
        return tree.read_part(_path(path), 0, 0) is not None
    except NotPermittedError:
        return True
    except BootConfigError:  # no regular file
        return False
