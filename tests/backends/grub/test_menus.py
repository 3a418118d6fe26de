# SPDX-License-Identifier: Apache-2.0
"""Which menu boots: stubs on the ESP, links of packages, whole menus, and what the next kernel is written into."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from entryhosts import facts
from goldens import contents, stamps
from program import iommuctl
from project import FIXTURES
from trees import MemoryTree

from iommuctl.backends.grub.distributions import grub_family
from iommuctl.backends.grub.menus import boot_menu, require_written
from iommuctl.backends.grub.notes import unproven
from iommuctl.errors import UnavailableError
from iommuctl.facts import Distribution, Facts, Platform, Runtime

MENU = "menuentry 'Linux' {\n linux /vmlinuz-6.1.0-1-amd64 root=/dev/sda2 ro\n}\n"
DEBIAN_STUB = "search.fs_uuid 8e0e7a53-96a4-4ae8-8f4b-2f1e6d4c5b3a root hd0,gpt2\nset prefix=($root)'/boot/grub'\n"
FEDORA_STUB = "search --no-floppy --fs-uuid --set=dev 8e0e7a53-96a4-4ae8\nset prefix=($dev)/grub2\nexport $prefix\n"
ESP_STUB = "search.fs_uuid 44FB-ACAE root hd0,gpt1\nset prefix=($root)'/EFI/ubuntu/grub'\nconfigfile $prefix/grub.cfg\n"
LEAD = "configfile $prefix/grub.cfg\n"
BOOT, BOOT2 = "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"


def running(program: str | None = None, *, is_efi: bool = True) -> Runtime:
    return Runtime(cmdline="BOOT_IMAGE=/x", is_efi=is_efi, is_xen_host=False, boot_program=program)


def host(name: str, *like: str, runtime: Runtime | None = None) -> Facts:
    return Facts(Platform.INTEL, False, Distribution(name, like), (), runtime)


@pytest.mark.parametrize(
    ("system", "files", "path", "stub", "written"),
    [
        (host("debian"), {BOOT: MENU}, BOOT, None, BOOT),
        (host("debian"), {BOOT: MENU, "/boot/efi/EFI/debian/grub.cfg": DEBIAN_STUB + LEAD}, BOOT,
         "/boot/efi/EFI/debian/grub.cfg", BOOT),
        (host("fedora"), {BOOT2: MENU, "/boot/efi/EFI/fedora/grub.cfg": FEDORA_STUB + LEAD}, BOOT2,
         "/boot/efi/EFI/fedora/grub.cfg", BOOT2),
        (host("opensuse-leap", "suse"), {BOOT2: MENU, "/boot/efi/EFI/opensuse/grub.cfg":
         'set btrfs_relative_path="yes"\nsearch --fs-uuid --set=root 8e0e7a53-96a4\nset prefix=(${root})/boot/grub2\n'
         'source "${prefix}/grub.cfg"\n'}, BOOT2, "/boot/efi/EFI/opensuse/grub.cfg", BOOT2),
        (host("debian"), {BOOT: MENU, "/efi/EFI/debian/grub.cfg":
         "search.fs_uuid 8e0e7a53-96a4 root\nset prefix=($root)'/@rootfs/boot/grub'\n" + LEAD}, BOOT,
         "/efi/EFI/debian/grub.cfg", BOOT),
        (host("elementary", "ubuntu", "debian"), {BOOT: MENU, "/boot/efi/EFI/ubuntu/grub.cfg": ESP_STUB,
         "/boot/efi/EFI/ubuntu/grub/grub.cfg": MENU}, "/boot/efi/EFI/ubuntu/grub/grub.cfg",
         "/boot/efi/EFI/ubuntu/grub.cfg", BOOT),
        (host("debian"), {BOOT: MENU, "/boot/efi/EFI/debian/grub.cfg": "configfile /grub/grub.cfg\n"},
         "/boot/efi/grub/grub.cfg", "/boot/efi/EFI/debian/grub.cfg", BOOT),
        (host("debian"), {BOOT: MENU, "/boot/efi/EFI/debian/grub.cfg": MENU}, "/boot/efi/EFI/debian/grub.cfg", None,
         BOOT),
        (host("rocky", "rhel", "centos", "fedora"), {"/boot/efi/EFI/rocky/grub.cfg": MENU,
         "/etc/grub2-efi.cfg": MENU}, "/boot/efi/EFI/rocky/grub.cfg", None, "/boot/efi/EFI/rocky/grub.cfg"),
        (host("rhel", "fedora"), {"/boot/efi/EFI/redhat/grub.cfg": MENU}, "/boot/efi/EFI/redhat/grub.cfg", None, BOOT2),
        (host("debian"), {BOOT: MENU, "/boot/efi/EFI/fedora/grub.cfg": MENU, "/boot/efi/EFI/arch/grub.cfg": MENU}, BOOT,
         None, BOOT),
        (host("debian", runtime=running("\\EFI\\debian\\shimx64.efi")), {BOOT: MENU,
         "/boot/efi/EFI/debian/grub.cfg": DEBIAN_STUB + LEAD, "/boot/efi/EFI/ubuntu/grub.cfg": MENU}, BOOT,
         "/boot/efi/EFI/debian/grub.cfg", BOOT),
        (host("debian", runtime=running("\\EFI\\mine\\grubx64.efi")), {BOOT: MENU,
         "/boot/efi/EFI/mine/grub.cfg": MENU, "/boot/efi/EFI/debian/grub.cfg": DEBIAN_STUB + LEAD},
         "/boot/efi/EFI/mine/grub.cfg", None, BOOT),
        (host("debian", runtime=running(is_efi=False)), {BOOT: MENU, "/boot/efi/EFI/debian/grub.cfg": MENU}, BOOT, None,
         BOOT),
        (host("debian"), {BOOT: MENU, "/boot/efi/EFI/DEBIAN/GRUB.CFG": MENU}, "/boot/efi/EFI/DEBIAN/GRUB.CFG", None,
         BOOT),
        (host("debian"), {"/usr/sbin/update-grub": "#!/bin/sh\nexec grub-mkconfig -o /efi/grub/grub.cfg\n"},
         "/efi/grub/grub.cfg", None, "/efi/grub/grub.cfg"),
    ],
)  # fmt: skip
def test_the_menu_that_boots(
    system: Facts, files: Mapping[str, str], path: str, stub: str | None, written: str
) -> None:
    found = boot_menu(MemoryTree.of(files), grub_family(system.distribution), system)
    assert (str(found.path), found.stub and str(found.stub), str(found.written)) == (path, stub, written)


OTHER = "search --no-floppy --file --set=root /boot/grub2/grub.cfg\nset prefix=($root)/boot/grub2\n"


@pytest.mark.parametrize(
    ("stub", "path"),
    [
        (f"{OTHER}normal\n", BOOT2),  # without a file it reads grub.cfg at the prefix
        (f"{OTHER}configfile $prefix/grub.cfg;\n", BOOT2),
        ("search --label --set=root BOOT\nset prefix=($root)/grub2\nexport prefix\nnormal\n", BOOT2),
        (f"set way=/boot/grub2\nset prefix=($root)${{way}}\n{DEBIAN_STUB.splitlines()[0]}\n{LEAD}", BOOT2),
        ("configfile ${cmdpath}/real.cfg\n", "/boot/efi/EFI/debian/real.cfg"),
        (f"{DEBIAN_STUB}configfile $cmdpath/real.cfg\n", "/boot/efi/EFI/debian/real.cfg"),
        ("set root='hd0,gpt2'\nset prefix=($root)/boot/grub2\nconfigfile $prefix/grub.cfg\n", BOOT2),
        (f"{DEBIAN_STUB}root=hd0,msdos1\nconfigfile /grub2/grub.cfg\n", BOOT2),
        ("configfile (hd0,gpt2)/boot/grub2/grub.cfg\n", BOOT2),
        ("configfile (lvm/vg-root)/boot/grub2/grub.cfg\n", BOOT2),
        ("configfile (memdisk)/grub.cfg\n", None),
        (f"{OTHER}normal\n".replace("\n", "\r\n"), BOOT2),
        (f"set root='hd0,gpt2'\n{OTHER}normal\n", BOOT2),  # a search finds another
        ("set root=(hd0,gpt1)\nconfigfile /EFI/debian/real.cfg\n", "/boot/efi/EFI/debian/real.cfg"),
        ("set root='hd0,gpt2'\nconfigfile /twice/grub.cfg\n", None),  # on the ESP and on /boot
        ("set root='hd0,gpt2'\nconfigfile /nowhere/grub.cfg\n", None),
        ("configfile $elsewhere/grub.cfg\n", None),
        ("# nothing\n", None),
    ],
)
def test_a_stub_is_followed_or_said_not_to_be_followed(stub: str, path: str | None) -> None:
    where = "/boot/efi/EFI/debian/grub.cfg"
    more = ("/boot/efi/EFI/debian/real.cfg", "/boot/efi/twice/grub.cfg", "/boot/twice/grub.cfg")
    tree = MemoryTree.of({BOOT: MENU, BOOT2: MENU, **dict.fromkeys(more, MENU), where: stub})
    found = boot_menu(tree, grub_family(Distribution("debian")), host("debian"))
    assert (str(found.path), found.doubt) == (path or BOOT, None if path else f"where {where} leads to cannot be told")
    assert [one.rule for one in unproven(found)] == ([] if path else ["menu-unproven"])


@pytest.mark.parametrize(
    ("runtime", "files", "hint"),
    [
        (running(), {}, "mount /boot/efi, then run the same command again"),
        (running()._replace(mounts=("/boot/efi",)), {}, None),
        (running(is_efi=False), {}, None),
        (None, {}, "mount the /boot/efi of that system there, then run the same command again"),
        (None, {"/boot/efi/EFI/BOOT/BOOTX64.EFI": ""}, None),
    ],
)
def test_an_esp_that_is_not_mounted_is_told(runtime: Runtime | None, files: dict[str, str], hint: str | None) -> None:
    tree = MemoryTree.of({BOOT: MENU, "/etc/fstab": "UUID=2 /boot/efi vfat umask=0077 0 1\n", **files})
    system = host("debian", runtime=runtime)
    found = boot_menu(tree, grub_family(system.distribution), system)
    assert [(one.rule, one.hint) for one in unproven(found)] == ([("menu-unproven", hint)] if hint else [])


@pytest.mark.parametrize(
    ("fstab", "doubt"),
    [
        ("UUID=8E0E7A53-96a4-4ae8-8f4b-2f1e6d4c5b3a / ext4 defaults 0 1\n", None),
        ("UUID=1 / ext4\n/dev/disk/by-uuid/8e0e7a53-96a4-4ae8-8f4b-2f1e6d4c5b3a /boot ext4\n", None),
        ("/dev/mapper/vg-root / ext4\n", None),
        ("# UUID=1 / ext4\n", None),
        ('UUID="1" / ext4\nUUID=2 /boot ext4\n', "which is none of /etc/fstab"),
    ],
)
def test_a_stub_that_leads_to_another_system_proves_nothing(fstab: str, doubt: str | None) -> None:
    stub = "/boot/efi/EFI/debian/grub.cfg"
    tree = MemoryTree.of({BOOT: MENU, "/etc/fstab": fstab, stub: DEBIAN_STUB + LEAD})
    found = boot_menu(tree, grub_family(Distribution("debian")), host("debian"))
    assert (str(found.path), doubt in found.doubt if found.doubt and doubt else found.doubt) == (BOOT, doubt and True)


def test_what_may_not_be_read_is_the_distributions_own() -> None:
    tree = MemoryTree.of({BOOT: MENU}, locked=("/boot/efi/EFI/debian/grub.cfg",))
    assert str(boot_menu(tree, grub_family(Distribution("debian")), facts(id="debian")).path) == BOOT


def test_a_menu_that_the_next_kernel_is_not_written_into_is_refused() -> None:
    system = host("elementary", "ubuntu", "debian")
    tree = MemoryTree.of({"/boot/efi/EFI/ubuntu/grub.cfg": ESP_STUB, "/boot/efi/EFI/ubuntu/grub/grub.cfg": MENU})
    with pytest.raises(UnavailableError) as caught:
        require_written(boot_menu(tree, grub_family(system.distribution), system))
    said = " ".join((caught.value.brief, *caught.value.details, caught.value.hint or ""))
    assert all(name in said for name in ("/boot/efi/EFI/ubuntu/grub.cfg", "/boot/efi/EFI/ubuntu/grub/grub.cfg", BOOT))


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["apply", "dry-run"])
def test_the_stub_of_elementary_is_named_with_both_menus(dry_run: tuple[str, ...], tmp_path: Path) -> None:
    golden, root = FIXTURES / "menus/elementary-esp-stub", tmp_path / "host"
    shutil.copytree(golden / "before", root)
    before, untouched = contents(root), stamps(root)
    refused = iommuctl("apply", "passthrough-perf", "--platform", "intel", "--root", str(root), *dry_run)
    assert (refused.code, refused.stdout, refused.stderr) == (69, "", (golden / "error.txt").read_text())
    assert (contents(root), stamps(root)) == (before, untouched)
    assert iommuctl("status", "--root", str(root)).code == 0


def test_the_hint_of_that_refusal_gets_on() -> None:
    """What grub-install writes is a stub that leads to the menu of the distribution."""
    system = host("elementary", "ubuntu", "debian")
    tree = MemoryTree.of({BOOT: MENU, "/boot/efi/EFI/ubuntu/grub.cfg": DEBIAN_STUB + LEAD})
    require_written(boot_menu(tree, grub_family(system.distribution), system))
