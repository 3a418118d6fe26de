# SPDX-License-Identifier: Apache-2.0
"""Every reason for which no trial is armed, with what was looked at; nothing is written then."""

import shutil
from collections.abc import Callable
from pathlib import Path

import crash
import efivars
import pytest
import trialhosts
from entryhosts import grubenv
from peimages import addon
from pytest_mock import MockerFixture
from trialhosts import (
    BEFORE,
    BLS_MENU,
    CUSTOM,
    ENTRY,
    HEADER,
    RELEASE,
    TrialHost,
    bls_host,
    entry_host,
    grub_cfg,
    grub_host,
    uki_host,
)

from iommuctl.app.host import Host
from iommuctl.app.trial import start
from iommuctl.app.trial.start import Wishes
from iommuctl.errors import UnavailableError, UsageError
from iommuctl.transaction.trial.record import ConfirmBy

Change = Callable[[TrialHost], object]


def put(path: str, content: str | bytes) -> Change:
    return lambda host: host.write(path, content)


def menu(**parts: str) -> Change:
    return put("boot/grub/grub.cfg", grub_cfg(**parts))


def gone(path: str) -> Change:
    def remove(host: TrialHost) -> None:
        target = host.path / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return remove


def variable(name: str, content: bytes, guid: str = efivars.LOADER) -> Change:
    return put(f"{efivars.FOLDER}/{name}-{guid}", efivars.ATTRIBUTES + content)


def says(name: str, value: str) -> Change:
    return put(f"{efivars.FOLDER}/{name}-{efivars.LOADER}", efivars.text(value))


def opened_volume(name: str, uuid: str = "CRYPT-LUKS2-0f") -> Change:
    def make(host: TrialHost) -> None:
        host.write("sys/class/block/dm-0/dm/name", f"{name}\n")
        host.write("sys/class/block/dm-0/dm/uuid", f"{uuid}\n")

    return make


def both(*changes: Change) -> Change:
    def make(host: TrialHost) -> None:
        for change in changes:
            change(host)

    return make


def looped(host: TrialHost) -> None:
    (host.path / "boot/grub/grubenv").unlink()
    (host.path / "boot/grub/grubenv").symlink_to("/boot/efi/grubenv")


KERNEL = f"BOOT_IMAGE=/boot/vmlinuz-{RELEASE}"
PASSWORD = HEADER + 'set superusers="root"\n'
GRUB: dict[str, tuple[Change, str, str]] = {
    "no code": (menu(header="set default=0\n"), "trial-one-shot", "no code that takes next_entry"),
    "code after the entries": (
        put("boot/grub/grub.cfg", trialhosts.linux_section() + HEADER + CUSTOM),
        "trial-one-shot",
        "no code that takes next_entry",
    ),
    "no block": (gone("boot/grub/grubenv"), "trial-one-shot", "grubenv is missing"),
    "a short block": (put("boot/grub/grubenv", grubenv()[:512]), "trial-one-shot", "has 512 bytes"),
    "chosen by somebody": (put("boot/grub/grubenv", grubenv(next_entry="x")), "trial-armed", "boots 'x' once already"),
    "custom.cfg is not read": (menu(custom=""), "trial-loader", "does not read /boot/grub/custom.cfg"),
    "waits for ever": (menu(header=HEADER + "set timeout=-1\n"), "trial-waits", "wait for a key"),
    "a password": (menu(header=PASSWORD), "trial-waits", "asks for a password"),
    "a password in custom.cfg": (
        put("boot/grub/custom.cfg", 'set superusers="root"\n'),
        "trial-waits",
        "has GRUB ask for a password",
    ),
    "another line runs": (
        lambda host: host.started(f"BOOT_IMAGE=/boot/vmlinuz-{RELEASE} {BEFORE} x"),
        "trial-booted",
        "",
    ),
    "another kernel runs": (
        lambda host: host.started(f"BOOT_IMAGE=/boot/vmlinuz-6.1.0-1 {BEFORE}"),
        "trial-booted",
        "",
    ),
    "a line that is full": (
        both(
            menu(line=f"quiet x={'y' * 1900}"),
            lambda host: host.started(f"{KERNEL} {BEFORE} x={'y' * 1900}"),
        ),
        "trial-loader",
        "and the kernel reads 2047",
    ),
    "no kernel": (gone(f"boot/vmlinuz-{RELEASE}"), "trial-files", "vmlinuz"),
    "no initramfs": (gone(f"boot/initrd.img-{RELEASE}"), "trial-files", "initrd"),
    "no systemd": (gone("run/systemd/system"), "trial-timer", "nothing ends the trial"),
    "a leaked token": (
        both(
            menu(line="quiet iommuctl.trial=x"),
            lambda host: host.started(f"{KERNEL} {BEFORE} iommuctl.trial=x"),
        ),
        "trial-helpers",
        "",
    ),
    "a sealed key": (
        put("etc/crypttab", "root UUID=0f none tpm2-device=auto,tpm2-pcrs=7+12\n"),
        "trial-key",
        "opens volume 'root'",
    ),
    "a passphrase": (
        both(opened_volume("root"), put("etc/crypttab", "root UUID=0f none luks\n")),
        "trial-passphrase",
        "waits for the passphrase of root",
    ),
    "a volume that nobody lists": (opened_volume("root"), "trial-passphrase", "waits for the passphrase of root"),
}
ENTRIES: dict[str, tuple[Change, str, str]] = {
    "an old loader": (variable("LoaderFeatures", bytes(8)), "trial-one-shot", "does not say that it can"),
    "no features": (gone(f"{efivars.FOLDER}/LoaderFeatures-{efivars.LOADER}"), "trial-one-shot", "does not say"),
    "chosen by somebody": (says("LoaderEntryOneShot", "x.conf"), "trial-armed", "boots 'x.conf' once already"),
    "menu-force": (put("boot/loader/loader.conf", "timeout menu-force\n"), "trial-waits", "menu-force"),
    "menu-force, by a variable": (says("LoaderConfigTimeout", "menu-force"), "trial-waits", "menu-force"),
    "@saved": (put("boot/loader/loader.conf", "default @saved\n"), "trial-default", "becomes the default"),
    "@saved, by a variable": (says("LoaderEntryDefault", "@saved"), "trial-default", "becomes the default"),
    "a pattern of every name": (
        both(put("boot/loader/loader.conf", "default iommuctl*\n"), says("LoaderEntrySelected", "debian.conf")),
        "trial-default",
        "would become the default",
    ),
    "boots are counted": (
        both(
            gone("boot/loader/entries/debian.conf"),
            put("boot/loader/entries/debian+2-1.conf", ENTRY),
        ),
        "trial-default",
        "are counted",
    ),
    "another line runs": (lambda host: host.started(f"{BEFORE} x"), "trial-booted", "is not what runs"),
    "another entry runs": (says("LoaderEntrySelected", "other.conf"), "trial-booted", "is not what runs"),
    "no kernel": (gone(f"boot/{RELEASE}/linux"), "trial-files", "is not there"),
    "a new kernel would take what runs": (
        both(gone("etc/kernel/cmdline"), put("usr/lib/kernel/install.d/90-loaderentry.install", "")),
        "trial-next-kernel",
        "that of the trial",
    ),
    "Proxmox's ESPs": (
        both(put("usr/sbin/proxmox-boot-tool", ""), put("etc/kernel/proxmox-boot-uuids", "5A60-1B2C\n")),
        "trial-loader",
        "proxmox-boot-tool writes the entries",
    ),
    "a line that is full": (
        both(
            put("boot/loader/entries/debian.conf", ENTRY.replace(" quiet", f" quiet x={'y' * 1900}")),
            lambda host: host.started(f"{BEFORE} x={'y' * 1900}"),
        ),
        "trial-loader",
        "the kernel reads 2047",
    ),
    "a wrapper": (
        both(put("usr/bin/sdbootutil", "")),
        "trial-loader",
        "sdbootutil writes the entries",
    ),
}
FEDORA: dict[str, tuple[Change, str, str]] = {
    "another line runs": (lambda host: host.started(f"{KERNEL} {BEFORE} x"), "trial-booted", "is not what runs"),
    "no code": (put("boot/grub2/grub.cfg", "insmod blscfg\nblscfg\n"), "trial-one-shot", "no code that takes"),
    "chosen by somebody": (put("boot/grub2/grubenv", grubenv(next_entry="x")), "trial-armed", "boots 'x' once"),
    "a new kernel would take what runs": (
        both(gone("etc/kernel/cmdline"), put("usr/lib/kernel/install.d/20-grub.install", "")),
        "trial-next-kernel",
        "that of the trial",
    ),
    "no initramfs": (gone(f"boot/initrd.img-{RELEASE}"), "trial-files", "initrd"),
    "a password": (
        both(
            put("boot/grub2/grub.cfg", f'{BLS_MENU}### BEGIN /etc/grub.d/01_users ###\nset superusers="root"\n'),
            put("boot/grub2/user.cfg", "GRUB2_PASSWORD=x\n"),
        ),
        "trial-waits",
        "asks for a password",
    ),
    "zipl": (put("etc/zipl.conf", "x\n"), "trial-loader", "zipl writes what boots"),
    "another's default": (
        both(
            put("boot/grub2/grubenv", grubenv()),
            put(
                "boot/loader/entries/9fff0d6a5b7e4f52a9d08c6b1e2d3f40-6.99.conf",
                "title x\nlinux /x\noptions root=/dev/x\n",
            ),
        ),
        "trial-booted",
        "is not known",
    ),
}
IMAGES: dict[str, tuple[Change, str, str]] = {
    "Secure Boot": (variable("SecureBoot", b"\1", efivars.GLOBAL), "trial-secure-boot", "Secure Boot is on"),
    "an addon": (
        put("boot/EFI/Linux/arch-linux.efi.extra.d/a.addon.efi", addon("quiet")),
        "trial-loader",
        "adds to the line",
    ),
}
ROWS = [
    pytest.param(make, *row, id=f"{kind}: {name}")
    for kind, make, rows in (
        ("grub", grub_host, GRUB),
        ("systemd-boot", entry_host, ENTRIES),
        ("bls", bls_host, FEDORA),
        ("uki", uki_host, IMAGES),
    )
    for name, row in rows.items()
]


def refused(host: TrialHost, mocker: MockerFixture, wishes: Wishes = Wishes()) -> tuple[str, ...]:  # noqa: B008
    """What a start says, the host untouched."""
    opened = trialhosts.live_in(host, mocker)
    before = crash.observe(host.path, without="nothing", times=True)
    with pytest.raises(UnavailableError) as stopped:
        trialhosts.planned(opened, wishes)
    assert crash.observe(host.path, without="nothing", times=True) == before
    return stopped.value.details


@pytest.mark.parametrize(("make", "change", "rule", "words"), ROWS)
def test_a_trial_without_a_certain_way_back_is_refused(
    make: Callable[[Path], TrialHost], change: Change, rule: str, words: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    host = make(tmp_path / "host")
    change(host)
    told = [fact for fact in refused(host, mocker) if fact.startswith(f"{rule}: ")]
    assert len(told) == 1
    assert words in told[0]
    assert "(by " in told[0]


@pytest.mark.parametrize("make", [grub_host, entry_host, bls_host, uki_host])
def test_without_such_a_reason_it_is_not(
    make: Callable[[Path], TrialHost], tmp_path: Path, mocker: MockerFixture
) -> None:
    plan = trialhosts.planned(trialhosts.live_in(make(tmp_path / "host"), mocker))
    assert plan.entry is not None
    assert all(one.holds for one in plan.conditions)


VOLUMES = {
    "btrfs": trialhosts.on("btrfs"),
    "a subvolume": trialhosts.on(None),
    "zfs": trialhosts.on("zfs"),
    "f2fs": trialhosts.on("f2fs"),
    "LVM or RAID": trialhosts.on("ext4", mapped=True),
    "a linked block": trialhosts.on("ext4", elsewhere="grubenv"),
}


@pytest.mark.parametrize("volume", VOLUMES)
def test_where_grub_cannot_clear_the_choice_no_trial_is_armed(
    volume: str, tmp_path: Path, mocker: MockerFixture
) -> None:
    host = grub_host(tmp_path / "host")
    opened = trialhosts.live_in(host, mocker)
    mocker.patch("iommuctl.app.trial.start.volume_of", VOLUMES[volume])
    with pytest.raises(UnavailableError) as stopped:
        trialhosts.planned(opened)
    assert [fact.split(":")[0] for fact in stopped.value.details] == ["trial-one-shot"]


@pytest.mark.parametrize("filesystem", ["ext2", "ext3", "ext4", "vfat", "xfs"])
def test_where_grub_clears_it_one_is(filesystem: str, tmp_path: Path, mocker: MockerFixture) -> None:
    opened = trialhosts.live_in(grub_host(tmp_path / "host"), mocker)
    mocker.patch("iommuctl.app.trial.start.volume_of", trialhosts.on(filesystem))
    assert trialhosts.planned(opened).entry is not None


def test_a_key_that_opens_by_itself_and_an_attended_passphrase_are_fine(tmp_path: Path, mocker: MockerFixture) -> None:
    for number, (line, wishes) in enumerate(
        (
            ("root UUID=0f /etc/key luks\n", Wishes()),
            ("root UUID=0f none tpm2-device=auto,tpm2-pcrs=7\n", Wishes()),
            ("root UUID=0f none luks\n", Wishes(attended=True)),
        )
    ):
        host = grub_host(tmp_path / str(number))
        opened_volume("root")(host)
        host.write("etc/crypttab", line)
        assert trialhosts.planned(trialhosts.live_in(host, mocker), wishes).entry is not None


AUTO = Wishes(confirm=ConfirmBy.AUTO)


@pytest.mark.parametrize(
    ("names", "mode", "fine"),
    [
        ((), 0o755, False),
        (("50-storage",), 0o755, False),
        (("10-reach-gateway",), 0o644, False),
        ((".10-reach", "10-reach~", "10-reach.dpkg-dist"), 0o755, False),
        (("10-reach-gateway", "50-storage"), 0o755, True),
    ],
)
def test_nobody_confirms_without_a_check_of_reachability(
    names: tuple[str, ...], mode: int, fine: bool, tmp_path: Path, mocker: MockerFixture
) -> None:
    host = grub_host(tmp_path / "host")
    for name in names:
        host.write(f"etc/iommuctl/confirm.d/{name}", "#!/bin/sh\n", mode)
    if fine:
        assert trialhosts.planned(trialhosts.live_in(host, mocker), AUTO).entry is not None
    else:
        assert [fact.split(":")[0] for fact in refused(host, mocker, AUTO)] == ["trial-checks"]


def test_a_second_trial_waits_for_the_first(tmp_path: Path, mocker: MockerFixture) -> None:
    opened = trialhosts.live_in(grub_host(tmp_path / "host"), mocker)
    record = trialhosts.armed(opened)
    with pytest.raises(UnavailableError) as stopped:
        trialhosts.planned(opened)
    assert f"trial {record.id} is armed" in "".join(stopped.value.details)


def test_a_limit_that_ends_healthy_boots_is_refused(tmp_path: Path, mocker: MockerFixture) -> None:
    opened = trialhosts.live_in(grub_host(tmp_path / "host"), mocker)
    with pytest.raises(UsageError, match="ends healthy boots"):
        trialhosts.planned(opened, Wishes(timeout=start.SHORTEST - 1))


def test_another_root_has_no_trial(tmp_path: Path) -> None:
    host = grub_host(tmp_path / "host")
    with pytest.raises(UsageError, match="needs the running system"):
        trialhosts.planned(Host.open(host.path))
