# SPDX-License-Identifier: Apache-2.0
"""Detection as a table of trees: proof beats files, owners are refused, and what is ambiguous is not decided."""

from pathlib import PurePosixPath

import pytest
from trees import MemoryTree

from iommuctl.backends.detection.detect import Detection, detect
from iommuctl.backends.detection.evidence import Evidence, Weight
from iommuctl.errors import NotPermittedError, UnavailableError, UsageError
from iommuctl.facts import Distribution, Facts, Platform, Runtime

KNOWN = ("grub2", "bls", "systemd-boot")
DEBIAN = Distribution("debian", (), "13")
FEDORA = Distribution("fedora", (), "42")
ALMA = Distribution("almalinux", ("rhel", "centos", "fedora"), "9.5")

GRUB_MENU = {
    "/boot/grub/grub.cfg": "menuentry 'Debian' {\n linux /vmlinuz\n}\n",
    "/etc/default/grub": "GRUB_DEFAULT=0\n",
}
BLS_MENU = {
    "/boot/grub2/grub.cfg": "insmod blscfg\nblscfg\nmenuentry 'UEFI Firmware' {\n fwsetup\n}\n",
    "/etc/default/grub": "GRUB_ENABLE_BLSCFG=true\n",
    "/boot/loader/entries/0123-6.1.conf": "linux /vmlinuz\n",
}
ENTRIES = {"/efi/loader/entries/arch.conf": "linux /vmlinuz\n", "/efi/loader/loader.conf": "timeout 3\n"}
PROGRAM = {"/boot/efi/EFI/systemd/systemd-bootx64.efi": ""}
IMAGE = {"/efi/EFI/Linux/arch-linux.efi": ""}
PROXMOX = {"/etc/kernel/proxmox-boot-uuids": "ABCD-1234\nABCD-5678\n", "/usr/sbin/proxmox-boot-tool": "#!/bin/sh\n"}
FSTAB = "UUID=1 / ext4 defaults 0 1\nUUID=2 /boot/efi vfat umask=0077 0 1\n#UUID=3 /efi vfat x 0 0\n"
BOOT_FSTAB = "UUID=2 /boot ext4 noauto 0 2\n"
SETTINGS: dict[str, str | bytes] = {"/etc/default/grub": "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n"}
GENERATOR: dict[str, str | bytes] = {"/usr/sbin/grub-mkconfig": ""}

BY_GRUB = Runtime(cmdline="BOOT_IMAGE=/vmlinuz root=UUID=1 ro", is_efi=True)
BY_BIOS = Runtime(cmdline="BOOT_IMAGE=/vmlinuz root=UUID=1 ro")
BY_GRUB_BLI = Runtime(cmdline="root=UUID=1 ro", is_efi=True, loader_info="GRUB 2.12")
BY_SYSTEMD = Runtime(cmdline="initrd=\\i.img root=UUID=1", is_efi=True, loader_info="systemd-boot 257.9-1~deb13u1")
BY_FIRMWARE = Runtime(cmdline="initrd=\\i.img root=UUID=1", is_efi=True, boot_program="\\vmlinuz-linux")
BY_STUB = Runtime(cmdline="root=UUID=1", is_efi=True, loader_info="systemd-boot 257", stub_info="systemd-stub 257")


def facts(distribution: Distribution = DEBIAN) -> Facts:
    return Facts(Platform.INTEL, False, distribution, ("6.1.0",))


def found(
    tree: MemoryTree, runtime: Runtime | None = None, distribution: Distribution = DEBIAN, wanted: str | None = None
) -> Detection:
    return detect(tree, facts(distribution), runtime, wanted=wanted, known=KNOWN)


@pytest.mark.parametrize(
    ("files", "distribution", "backend"),
    [
        (GRUB_MENU, DEBIAN, "grub2"),
        (SETTINGS | GENERATOR, DEBIAN, "grub2"),
        (GRUB_MENU | {"/etc/kernel/cmdline": "ro\n", "/boot/loader/entries/x.conf": "linux /x\n"}, DEBIAN, "grub2"),
        (BLS_MENU, FEDORA, "bls"),
        (BLS_MENU | {"/etc/kernel/cmdline": "ro\n", "/etc/kernel/install.conf": "layout=bls\n"}, ALMA, "bls"),
        ({path: text for path, text in BLS_MENU.items() if "grub.cfg" not in path}, FEDORA, "bls"),
        (SETTINGS | {"/boot/loader/entries/x.conf": "linux /x\n"}, ALMA, "bls"),
        (GENERATOR | {"/etc/default/grub": "GRUB_ENABLE_BLSCFG=false\n"}, FEDORA, "grub2"),
        ({"/etc/grub2-efi.cfg": "blscfg\n", "/etc/default/grub": ""}, ALMA, "bls"),
        ({"/etc/grub2-efi.cfg": "blscfg\n"} | GRUB_MENU, ALMA, "grub2"),
        (ENTRIES, DEBIAN, "systemd-boot"),
        ({"/boot/loader/entries/arch.conf": "linux /x\n"}, Distribution("arch"), "systemd-boot"),
        (ENTRIES | PROGRAM | {"/etc/default/grub": ""}, DEBIAN, "systemd-boot"),
        (IMAGE, Distribution("arch"), "systemd-boot"),
        (PROXMOX, DEBIAN, "systemd-boot"),
        (PROXMOX | GRUB_MENU, DEBIAN, "systemd-boot"),
        ({"/etc/kernel/proxmox-boot-uuids": "ABCD-1234\n"} | GRUB_MENU, DEBIAN, "grub2"),
        ({"/etc/kernel/proxmox-boot-uuids": "\n", "/usr/sbin/proxmox-boot-tool": ""} | GRUB_MENU, DEBIAN, "grub2"),
        ({"/etc/sysconfig/bootloader": 'LOADER_TYPE="grub2-bls"\n'}, Distribution("opensuse"), "systemd-boot"),
        ({"/etc/sysconfig/bootloader": "LOADER_TYPE=grub2-efi\n"} | ENTRIES, Distribution("opensuse"), "grub2"),
        ({"/etc/sysconfig/bootloader": "LOADER_TYPE=none\n"} | GRUB_MENU, Distribution("opensuse"), "grub2"),
        ({"/etc/kernelstub/configuration": "{}"} | GRUB_MENU, Distribution("pop"), "systemd-boot"),
        ({"/etc/zipl.conf": ""} | BLS_MENU, FEDORA, "bls"),
        (GRUB_MENU | {"/etc/fstab": FSTAB}, DEBIAN, "grub2"),
        # An image in the making: GRUB is installed, and its menu and the ESP are still to be filled.
        (SETTINGS | GENERATOR | {"/etc/fstab": FSTAB}, DEBIAN, "grub2"),
        # What belongs to a loader's package is there on hosts that boot by another one.
        (GRUB_MENU | {"/etc/default/flash-kernel": "", "/boot/grub/menu.lst": ""}, DEBIAN, "grub2"),
        (ENTRIES | PROGRAM | SETTINGS | GENERATOR, DEBIAN, "systemd-boot"),
    ],
)
def test_files_of_another_root_tell_its_backend(
    files: dict[str, str | bytes], distribution: Distribution, backend: str
) -> None:
    assert found(MemoryTree.of(files), distribution=distribution).backend == backend


@pytest.mark.parametrize(
    ("files", "runtime", "backend"),
    [
        (GRUB_MENU | PROGRAM | ENTRIES, BY_GRUB, "grub2"),
        (GRUB_MENU | PROGRAM | ENTRIES, BY_GRUB_BLI, "grub2"),
        (GRUB_MENU | PROGRAM | ENTRIES, BY_SYSTEMD, "systemd-boot"),
        (GRUB_MENU, BY_BIOS, "grub2"),
        (GRUB_MENU | PROGRAM, Runtime(cmdline="root=UUID=1"), "grub2"),
        (BLS_MENU | PROGRAM | IMAGE, BY_GRUB, "bls"),
        (BLS_MENU | IMAGE, BY_STUB, "systemd-boot"),
        (GRUB_MENU | PROGRAM, Runtime("root=UUID=1", is_efi=True, boot_program="\\EFI\\debian\\shimx64.efi"), "grub2"),
        (
            GRUB_MENU | PROGRAM,
            Runtime("root=UUID=1", is_efi=True, boot_program="\\EFI\\systemd\\systemd-bootx64.efi"),
            "systemd-boot",
        ),
        (PROXMOX | GRUB_MENU, BY_GRUB, "systemd-boot"),
        (PROXMOX, BY_SYSTEMD, "systemd-boot"),
        ({"/etc/sysconfig/bootloader": "LOADER_TYPE=grub2-bls\n"}, BY_GRUB, "systemd-boot"),
        # Older systemd-boot tells nothing but what the kernel's own EFI loader reads.
        (GRUB_MENU | ENTRIES, Runtime("initrd=\\EFI\\i.img root=UUID=1", is_efi=True), "systemd-boot"),
        (ENTRIES, BY_FIRMWARE._replace(boot_program="\\EFI\\systemd\\systemd-bootx64.efi"), "systemd-boot"),
        (ENTRIES | IMAGE, BY_FIRMWARE._replace(cmdline="root=UUID=1", stub_info="systemd-stub 257"), "systemd-boot"),
        # The boot file system is not mounted, and what booted is proven all the same.
        ({"/etc/fstab": FSTAB}, BY_SYSTEMD, "systemd-boot"),
        # GRUB's menu is not on the ESP.
        (SETTINGS | GENERATOR | {"/etc/fstab": FSTAB}, BY_GRUB, "grub2"),
        # A kernel's own stub speaks where the loader did not: GRUB without its module bli, for one.
        (GRUB_MENU, BY_GRUB._replace(loader_info="Linux EFI stub 7.1.0"), "grub2"),
        # systemd-boot and GRUB say so themselves, whatever started them.
        (ENTRIES | IMAGE, BY_STUB._replace(boot_program="\\EFI\\refind\\refind_x64.efi"), "systemd-boot"),
        (GRUB_MENU, BY_GRUB._replace(loader_info="GRUB 2.12", boot_program="\\EFI\\refind\\r.efi"), "grub2"),
    ],
)
def test_what_the_running_system_proves_beats_files(
    files: dict[str, str | bytes], runtime: Runtime, backend: str
) -> None:
    assert found(MemoryTree.of(files), runtime).backend == backend


@pytest.mark.parametrize(
    ("files", "runtime", "backend"),
    [
        (GRUB_MENU | PROGRAM, None, "grub2"),
        (GRUB_MENU | PROGRAM, Runtime("root=UUID=1", is_efi=True), "grub2"),
        (BLS_MENU | IMAGE, None, "bls"),
        # systemd-boot may start GRUB, and a parameter may have been copied: two proofs that contradict are none.
        (GRUB_MENU, Runtime("BOOT_IMAGE=/v", is_efi=True, loader_info="systemd-boot 257"), "grub2"),
        ({"/etc/kernelstub/configuration": "{}"} | GRUB_MENU, BY_GRUB, "grub2"),
    ],
)
def test_ambiguous_is_refused_with_the_evidence(
    files: dict[str, str | bytes], runtime: Runtime | None, backend: str
) -> None:
    with pytest.raises(UnavailableError) as caught:
        found(MemoryTree.of(files), runtime)
    assert caught.value.code == 69
    assert caught.value.brief == "GRUB and systemd-boot may boot this host, and nothing proves which does"
    assert caught.value.hint == f"name the one that boots with --backend {backend} or --backend systemd-boot"
    assert any(detail.startswith(next(iter(files))) for detail in caught.value.details)


@pytest.mark.parametrize(
    ("files", "runtime", "brief", "hint"),
    [
        ({}, None, "no supported bootloader found", "mount the boot file systems of that system"),
        ({"/etc/fstab": FSTAB}, None, "the boot file system '/boot/efi' is not mounted", "mount /boot/efi"),
        (GRUB_MENU, Runtime("root=UUID=1", is_efi=True, loader_info="Foo 1.0"), "'Foo 1.0' boots this host", "manual"),
        (PROGRAM, Runtime("root=UUID=1"), "no supported bootloader found", "mount the boot file systems"),
        # systemd-boot always says that it booted: the parameters are in the firmware's own boot option.
        (
            ENTRIES | PROGRAM,
            BY_FIRMWARE,
            "'\\\\vmlinuz-linux' is started by the firmware itself",
            "efibootmgr --unicode shows the boot option",
        ),
        (
            ENTRIES,
            BY_FIRMWARE._replace(cmdline="root=UUID=1", loader_info="Linux EFI stub 7.1.0"),
            "'\\\\vmlinuz-linux' is started by",
            "efibootmgr --unicode shows the boot option",
        ),
        # GRUB's settings stay where another bootloader is installed, and its files are on what is not mounted.
        (SETTINGS | {"/etc/fstab": FSTAB}, None, "the boot file system '/boot/efi' is not mounted", "mount /boot/efi"),
        (SETTINGS | {"/etc/fstab": BOOT_FSTAB}, BY_BIOS, "the boot file system '/boot' is not mounted", "mount /boot"),
        # Nobody reads settings without a menu and without the generator, and an empty file says nothing.
        (SETTINGS, None, "no supported bootloader found", "mount the boot file systems"),
        (SETTINGS, BY_BIOS, "no supported bootloader found", "mount the boot file systems"),
        (GENERATOR | {"/etc/default/grub": "\n"}, None, "no supported bootloader found", "mount the boot"),
    ],
)
def test_no_bootloader_of_ours(files: dict[str, str | bytes], runtime: Runtime | None, brief: str, hint: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        found(MemoryTree.of(files), runtime)
    assert caught.value.brief.startswith(brief)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("files", "distribution", "runtime", "owner", "command"),
    [
        (
            {"/ostree/repo/config": "", "/usr/bin/rpm-ostree": ""} | BLS_MENU,
            FEDORA,
            None,
            "ostree",
            "rpm-ostree kargs ",
        ),
        ({"/ostree/repo/config": "", "/usr/bin/bootc": ""} | BLS_MENU, FEDORA, None, "ostree", "bootc upgrade"),
        ({"/ostree/repo/config": "", "/usr/bin/less": ""} | BLS_MENU, FEDORA, None, "ostree", "ostree admin kargs "),
        ({"/sysroot/ostree/deploy/x": ""}, FEDORA, None, "ostree", "ostree admin kargs "),
        ({"/boot/loader/entries/ostree-1-fedora.conf": ""}, FEDORA, None, "ostree", "ostree admin kargs "),
        ({"/run/ostree-booted": ""} | BLS_MENU, FEDORA, BY_GRUB, "ostree", "ostree admin kargs "),
        (BLS_MENU, FEDORA, Runtime("root=UUID=1 ostree=/ostree/boot.1/x/0"), "ostree", "ostree admin kargs "),
        (BLS_MENU, FEDORA, Runtime("root=UUID=1 composefs=0123"), "bootc", "/usr/lib/bootc/kargs.d"),
        (ENTRIES, FEDORA, Runtime("composefs.digest=v1-sha512-12:0123"), "bootc", "/usr/lib/bootc/kargs.d"),
        ({"/boot/loader/entries/bootc_fedora-44-1.conf": ""}, FEDORA, None, "bootc", "/usr/lib/bootc/kargs.d"),
        (
            BLS_MENU | {"/boot/loader/entries/x-1.conf": "linux /v\noptions root=UUID=1 composefs.digest=ab rw\n"},
            FEDORA,
            None,
            "bootc",
            "/usr/lib/bootc/kargs.d",
        ),
        (
            ENTRIES | {"/efi/loader/entries/a.conf": "options ostree=/x\n"},
            FEDORA,
            None,
            "ostree",
            "ostree admin kargs ",
        ),
        ({"/boot/efi/EFI/Linux/bootc_composefs-01.efi": ""}, FEDORA, None, "bootc", "/usr/lib/bootc/kargs.d"),
        ({"/boot/efi/EFI/Linux/bootc/bootc_composefs-01.efi": ""}, FEDORA, None, "bootc", "/usr/lib/bootc/kargs.d"),
        (GRUB_MENU, Distribution("sle"), Runtime("cos-img/filename=/cOS/active.img"), "Elemental", "extra_cmdline"),
        ({"/etc/NIXOS": ""} | ENTRIES, Distribution(), None, "NixOS", "nixos-rebuild switch"),
        (ENTRIES, Distribution("nixos"), None, "NixOS", "nixos-rebuild switch"),
        (GRUB_MENU, Distribution("talos"), None, "Talos", "talosctl upgrade"),
        (GRUB_MENU, DEBIAN, Runtime("BOOT_IMAGE=/v", is_xen_host=True), "Xen", "GRUB_CMDLINE_XEN"),
        (GRUB_MENU, DEBIAN, Runtime("x", is_xen_host=True), "Xen", "run grub-mkconfig -o /boot/grub/grub.cfg"),
        (BLS_MENU, ALMA, Runtime("x", is_xen_host=True), "Xen", "run grub2-mkconfig -o /boot/grub2/grub.cfg"),
        (GRUB_MENU, Distribution(), Runtime("x", is_xen_host=True), "Xen", "then build GRUB's menu anew"),
        (GRUB_MENU, Distribution("xenenterprise"), Runtime("x", is_xen_host=True), "Xen", "xen-cmdline --get-xen"),
        (GRUB_MENU | {"/opt/xensource/libexec/xen-cmdline": ""}, Distribution(), None, "Xen", "xen-cmdline --get-xen"),
        (GRUB_MENU, Distribution("qubes"), None, "Xen", "GRUB_CMDLINE_XEN"),
        (GRUB_MENU | {"/etc/default/grub.d/truenas.cfg": ""}, DEBIAN, None, "TrueNAS", "kernel_extra_options"),
        (GRUB_MENU, Distribution("ubuntu-core"), None, "snapd", "snap get -d system system.kernel"),
        (GRUB_MENU | {"/var/lib/snapd/modeenv": "mode=run\n"}, Distribution("ubuntu"), None, "snapd", "snap get"),
        (GRUB_MENU | {"/var/lib/snapd/device/fde/marker": ""}, Distribution("ubuntu"), None, "snapd", "snap get"),
        (GRUB_MENU, Distribution("ubuntu"), Runtime("snapd_recovery_mode=run console=tty1"), "snapd", "snap get"),
        (GRUB_MENU | {"/etc/harvester-release.yaml": ""}, Distribution("sle"), None, "Harvester", "third_party_kernel"),
        (GRUB_MENU | {"/etc/kairos-release": ""}, Distribution("ubuntu"), None, "Kairos", "extra_cmdline"),
        (GRUB_MENU | {"/etc/kairos/branding/x": ""}, Distribution("ubuntu"), None, "Kairos", "extra_cmdline"),
        (GRUB_MENU | {"/etc/cos/bootargs.cfg": ""}, Distribution("sle"), None, "Elemental", "extra_cmdline"),
        ({"/etc/unraid-version": ""}, Distribution("slackware"), None, "Unraid", "/boot/syslinux/syslinux.cfg"),
        (GRUB_MENU | {"/usr/bin/abroot": ""}, Distribution("vanilla"), None, "ABRoot", "abroot kargs edit"),
        (IMAGE, Distribution("clear-linux-os"), None, "clr-boot-manager", "clr-boot-manager update"),
        (GRUB_MENU, Distribution("photon"), None, "Photon OS", "photon_cmdline="),
        (GRUB_MENU, Distribution("vyos"), None, "VyOS", "/boot/grub/grub.cfg.d/vyos-versions"),
        (GRUB_MENU | {"/boot/grub/grub.cfg.d/vyos-versions/1.cfg": ""}, DEBIAN, None, "VyOS", "boot_opts="),
        (IMAGE, Distribution("IncusOS", ("debian",)), None, "IncusOS", "KernelCommandLine"),
        (GRUB_MENU, Distribution("guix"), None, "Guix System", "guix system reconfigure"),
        (GRUB_MENU, Distribution("bottlerocket"), None, "Bottlerocket", "apiclient reboot"),
        (GRUB_MENU, Distribution("flatcar"), None, "Flatcar", "linux_append in /oem/grub.cfg"),
    ],
)
@pytest.mark.parametrize("wanted", [None, "grub2"])
def test_an_owner_is_refused_with_its_command_whatever_is_asked(
    files: dict[str, str | bytes],
    distribution: Distribution,
    runtime: Runtime | None,
    owner: str,
    command: str,
    wanted: str | None,
) -> None:
    with pytest.raises(UnavailableError, match=f"^{owner} owns the ") as caught:
        found(MemoryTree.of(files), runtime, distribution, wanted)
    assert caught.value.code == 69
    assert command in (caught.value.hint or "")


def test_the_administrators_word_outranks_evidence_and_is_part_of_it() -> None:
    detection = found(MemoryTree.of(GRUB_MENU | PROGRAM), BY_SYSTEMD, wanted="grub2")
    assert detection.backend == "grub2"
    assert detection.evidence[-1] == Evidence("--backend", "grub2", "grub2, because you say so")


def test_a_backend_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no such backend: 'lilo'"):
        found(MemoryTree.of(GRUB_MENU), wanted="lilo")


def test_evidence_tells_what_was_looked_at_and_what_it_says() -> None:
    detection = found(MemoryTree.of(GRUB_MENU | ENTRIES | {"/etc/fstab": FSTAB}), BY_SYSTEMD)
    assert detection.evidence == (
        Evidence("/sys/firmware/efi", "exists", "UEFI"),
        Evidence("EFI variable LoaderInfo", "systemd-boot 257.9-1~deb13u1", "systemd-boot", Weight.NAMED),
        Evidence(
            "/proc/cmdline", "has initrd=\\, which the kernel's own EFI loader reads", "systemd-boot", Weight.MARK
        ),
        Evidence("EFI variable BootCurrent", "not set", "unknown"),
        Evidence("/boot/grub/grub.cfg", "holds menu entries", "grub2", Weight.FILES),
        Evidence("/etc/default/grub", "exists", "GRUB"),
        Evidence("/efi/loader/loader.conf", "exists", "nothing by itself"),
        Evidence("/efi/loader/entries", "holds 1 entry", "nothing by itself"),
        Evidence("/boot/efi", "is in /etc/fstab, and not mounted", "unknown"),
        Evidence("GRUB's files", "exist beside it", "left over: not what booted"),
    )


def test_a_menu_that_may_not_be_read_is_unknown_and_settings_decide() -> None:
    fedora = {path: text for path, text in BLS_MENU.items() if path != "/boot/grub2/grub.cfg"}
    tree = MemoryTree.of(fedora, locked=("/boot/grub2/grub.cfg",))
    assert found(tree, BY_GRUB, FEDORA).backend == "bls"
    assert found(MemoryTree.of({}, locked=("/boot/grub/grub.cfg",)), BY_GRUB).backend == "grub2"


def test_a_boot_file_system_that_is_mounted_is_not_missed() -> None:
    tree = MemoryTree.of(GRUB_MENU | {"/etc/fstab": FSTAB})
    mounted = Runtime(BY_GRUB.cmdline, is_efi=True, mounts=("/boot/efi",))
    assert all(item.probe != "/boot/efi" for item in found(tree, mounted).evidence)


class ClosedEsp(MemoryTree):
    """A tree whose ESP only root may look into, as `umask=0077` in fstab has it."""

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        if directory.is_relative_to("/boot/efi"):
            raise NotPermittedError(directory, "read")
        return super().names(directory)


def test_an_esp_that_may_not_be_read_is_unknown_and_what_booted_decides() -> None:
    tree = ClosedEsp.of(GRUB_MENU)
    detection = found(tree, BY_GRUB)
    assert detection.backend == "grub2"
    assert Evidence("/boot/efi", "may not be read", "unknown") in detection.evidence
    with pytest.raises(NotPermittedError):
        found(tree)
