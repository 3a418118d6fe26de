# SPDX-License-Identifier: Apache-2.0
"""Groundwork: files, then images, then a look into them, and only then the line that chooses devices."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from unittest.mock import NonCallableMagicMock

import pytest
from pytest_mock import MockerFixture

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.initramfs.builder import BUILDERS, Image, builder_of, images_of, kept_images
from iommuctl.app.initramfs.groundwork import require_room
from iommuctl.app.initramfs.mechanism import PATHS, script
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.errors import ExecutionError, UnavailableError
from iommuctl.facts import Platform
from iommuctl.findings import Rule
from iommuctl.host.commands import Completed, SystemRunner
from iommuctl.plan import Ahead, Command, Regenerate

OLD, NEW = "6.1.0-50-amd64", "6.12.0-1-amd64"
CHOICE = "0000:06:00.0@8086:10d3"
ENTRY = "boot/loader/entries/1f0c9e5b8d5a4f0c9d4e3b2a10987654-{}.conf"
TOOLS = ("usr/sbin/update-initramfs", "usr/sbin/mkinitramfs", "usr/sbin/lsinitramfs")
DRACUT = ("usr/bin/dracut", "usr/bin/lsinitrd")
HOOK, INIT_TOP = (
    PurePosixPath("/etc/initramfs-tools") / name for name in ("hooks/iommuctl-vfio", "scripts/init-top/iommuctl-vfio")
)
MODULE = "usr/lib/modules/x/kernel/drivers/vfio/pci/vfio-pci.ko.xz"
LISTED = f"scripts/init-top/iommuctl-vfio\n{MODULE}\n"


def tree_of(folder: Path, *programs: str, image: str = "initrd.img-{}") -> Host:
    """Return a host whose entries GRUB reads, with two kernels and these programs; its images are an hour old."""
    files = {
        "etc/os-release": "ID=debian\n",
        "etc/machine-id": "1f0c9e5b8d5a4f0c9d4e3b2a10987654\n",
        "etc/default/grub": 'GRUB_CMDLINE_LINUX=""\nGRUB_ENABLE_BLSCFG=true\n',
        "etc/kernel/cmdline": "root=/dev/vda1 ro\n",
        "boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "boot/grub2/grubenv": "# GRUB Environment Block\n".ljust(1024, "#"),
        **dict.fromkeys(programs, "#!/bin/sh\n"),
    }
    for release in (OLD, NEW):
        name = image.format(release)
        files[f"boot/vmlinuz-{release}"] = "kernel"
        files[f"boot/{name}"] = "old image"
        files[f"lib/modules/{release}/modules.builtin"] = "kernel/fs/ext4/ext4.ko\n"
        files[ENTRY.format(release)] = (
            f"title Linux {release}\nversion {release}\nlinux /boot/vmlinuz-{release}\n"
            f"initrd /boot/{name}\noptions root=/dev/vda1 ro\n"
        )
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for built in folder.glob("boot/init*"):
        past(built, 3600)
    return Host.open(folder)


def past(path: Path, seconds: int) -> None:
    when = path.stat().st_mtime - seconds
    os.utime(path, (when, when))


class Programs:
    """Programs that do what the real ones do to files, as far as it matters here."""

    def __init__(self, folder: Path, listed: str) -> None:
        self.folder = folder
        self.listed = listed
        self.calls: list[tuple[str, ...]] = []
        self.lines: list[str] = []

    def run(self, argv: tuple[str, ...], **_: object) -> Completed:
        self.calls.append(argv)
        self.lines.append((self.folder / ENTRY.format(NEW)).read_text())
        match argv:
            case ["update-initramfs", "-u", "-k", release]:
                (self.folder / f"boot/initrd.img-{release}").write_text(self.content())
            case ["dracut", "--force", image, _]:
                (self.folder / image.removeprefix("/")).write_text(self.content())
            case ["mv", "-f", old, new]:
                (self.folder / old.removeprefix("/")).rename(self.folder / new.removeprefix("/"))
            case ["rm", "-f", path]:
                (self.folder / path.removeprefix("/")).unlink(missing_ok=True)
            case _:
                pass
        shown = self.listed if argv[0].startswith("lsinit") else ""
        return Completed(argv, 0, shown, "")

    def content(self) -> str:
        there = any((self.folder / str(path).removeprefix("/")).exists() for path in PATHS)
        return "image with the script" if there else "image without it"


@pytest.fixture
def programs(mocker: MockerFixture, tmp_path: Path) -> Callable[[str], Programs]:
    def made(listed: str) -> Programs:
        found = Programs(tmp_path, listed)
        stub = mocker.create_autospec(SystemRunner, instance=True)
        assert isinstance(stub, NonCallableMagicMock)
        stub.run.side_effect = found.run
        mocker.patch.object(Host, "runner", mocker.PropertyMock(return_value=stub))
        return found

    return made


def choices(regenerate: Regenerate = Regenerate.ALWAYS) -> Choices:
    return Choices(platform=Platform.INTEL, inputs={"devices": CHOICE}, regenerate=regenerate)


def quiet(_: Command) -> "nullcontext[None]":
    return nullcontext()


def rules(host: Host, asked: Choices) -> set[str]:
    return {str(one.rule) for one in plan_apply(host, "vfio-bind", asked).steps.findings}


def line(folder: Path) -> str:
    return (folder / ENTRY.format(NEW)).read_text().rpartition("options ")[2].strip()


def test_each_image_is_built_and_looked_into_before_the_line_chooses(
    programs: Callable[[str], Programs], tmp_path: Path
) -> None:
    host, ran = tree_of(tmp_path, *TOOLS), programs(LISTED)
    plan = plan_apply(host, "vfio-bind", choices())
    assert [edit.path for edit in plan.steps.edits][:2] == [HOOK, INIT_TOP]
    assert carry_out(host, plan, progress=quiet).snapshot is not None
    assert ran.calls == [
        ("update-initramfs", "-u", "-k", OLD),
        ("lsinitramfs", f"/boot/initrd.img-{OLD}"),
        ("update-initramfs", "-u", "-k", NEW),
        ("lsinitramfs", f"/boot/initrd.img-{NEW}"),
    ]
    assert not any("iommuctl.vfio" in text for text in ran.lines)
    assert line(tmp_path) == f"root=/dev/vda1 ro intel_iommu=on iommu=pt iommuctl.vfio={CHOICE}"
    for path in (HOOK, INIT_TOP):
        assert (tmp_path / str(path)[1:]).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / str(INIT_TOP)[1:]).read_bytes() == script("bind.sh")
    assert not plan_apply(host, "vfio-bind", choices()).changes_something


def test_dracut_builds_next_to_the_image(programs: Callable[[str], Programs], tmp_path: Path) -> None:
    host = tree_of(tmp_path, *DRACUT, image="initramfs-{}.img")
    ran = programs(f"usr/lib/dracut/hooks/pre-udev/30-iommuctl-vfio.sh\n{MODULE}\n")
    carry_out(host, plan_apply(host, "vfio-bind", choices()), progress=quiet)
    new = f"/boot/initramfs-{NEW}.img.iommuctl-new"
    assert ran.calls[3:] == [
        ("dracut", "--force", new, NEW),
        ("lsinitrd", new),
        ("mv", "-f", new, f"/boot/initramfs-{NEW}.img"),
    ]
    assert (tmp_path / f"boot/initramfs-{NEW}.img").read_text() == "image with the script"
    assert sorted(path.name for path in tmp_path.glob("boot/initramfs*")) == [
        f"initramfs-{OLD}.img",
        f"initramfs-{NEW}.img",
    ]
    assert line(tmp_path).endswith(f"iommuctl.vfio={CHOICE}")


@pytest.mark.parametrize("listed", ["", MODULE, "scripts/init-top/iommuctl-vfio\nkernel/drivers/vfio/vfio.ko"])
def test_an_image_without_what_it_needs_undoes_all_of_it(
    listed: str, programs: Callable[[str], Programs], tmp_path: Path
) -> None:
    host, ran = tree_of(tmp_path, *TOOLS), programs(listed)
    with pytest.raises(ExecutionError, match="does not show what has to be there") as caught:
        carry_out(host, plan_apply(host, "vfio-bind", choices()), progress=quiet)
    assert any(one.startswith("missing: ") for one in caught.value.details)
    # The image that was built is built again of the files as they were.
    assert ran.calls[-1] == ("update-initramfs", "-u", "-k", OLD)
    assert (tmp_path / f"boot/initrd.img-{OLD}").read_text() == "image without it"
    assert (tmp_path / f"boot/initrd.img-{NEW}").read_text() == "old image"
    assert line(tmp_path) == "root=/dev/vda1 ro"
    assert not any((tmp_path / str(path)[1:]).exists() for path in PATHS)


def test_where_nothing_runs_the_line_waits_for_an_image(tmp_path: Path) -> None:
    host = tree_of(tmp_path, *TOOLS)
    plan = plan_apply(host, "vfio-bind", choices(Regenerate.NEVER))
    told = {Rule.REGENERATE_PENDING, Rule.IMAGE_WITHOUT_MECHANISM}
    assert told <= {one.rule for one in plan.steps.findings}
    carry_out(host, plan, progress=quiet)
    assert line(tmp_path) == "root=/dev/vda1 ro intel_iommu=on iommu=pt"
    assert (tmp_path / str(INIT_TOP)[1:]).exists()
    assert not plan_apply(host, "vfio-bind", choices(Regenerate.NEVER)).changes_something
    for path in (HOOK, INIT_TOP):
        past(tmp_path / str(path)[1:], 7200)
    assert not told & rules(host, choices(Regenerate.NEVER))
    carry_out(host, plan_apply(host, "vfio-bind", choices(Regenerate.NEVER)), progress=quiet)
    assert line(tmp_path).endswith(f" iommuctl.vfio={CHOICE}")


def test_a_rollback_takes_the_choice_and_the_files_and_names_what_the_images_hold(
    programs: Callable[[str], Programs], tmp_path: Path
) -> None:
    host, ran = tree_of(tmp_path, *TOOLS), programs(LISTED)
    carry_out(host, plan_apply(host, "vfio-bind", choices()), progress=quiet)
    before = len(ran.calls)
    (tmp_path / f"boot/iommuctl-kept-initrd.img-{NEW}").write_text("old image")
    plan = plan_rollback(host, None, Choices(regenerate=Regenerate.ALWAYS))
    hints = {one.rule: one.hint for one in plan.steps.findings}
    assert hints[Rule.IMAGE_KEEPS_MECHANISM] == "update-initramfs -u -k all builds them without it"
    assert hints[Rule.IMAGE_KEPT] == (
        f"mv /boot/iommuctl-kept-initrd.img-{NEW} /boot/initrd.img-{NEW} where the new one does not boot, "
        f"else rm /boot/iommuctl-kept-initrd.img-{NEW}"
    )
    carry_out(host, plan, progress=quiet)
    assert line(tmp_path) == "root=/dev/vda1 ro"
    assert not any((tmp_path / str(path)[1:]).exists() for path in PATHS)
    assert ran.calls[before:] == []


@pytest.mark.parametrize(
    "programs_there",
    [
        (),
        ("usr/bin/mkinitcpio",),
        ("usr/bin/booster",),
        ("usr/sbin/update-initramfs",),
        (*TOOLS, "usr/sbin/mktirfs"),
        (*TOOLS, *DRACUT),
        (*TOOLS, "usr/bin/booster"),
    ],
)
def test_no_other_builder_is_trusted_with_the_script(programs_there: tuple[str, ...], tmp_path: Path) -> None:
    host = tree_of(tmp_path, *programs_there)
    assert builder_of(host.root) is None
    with pytest.raises(UnavailableError, match="nothing that builds the initramfs of this host"):
        plan_apply(host, "vfio-bind", choices())


def test_a_host_without_an_image_is_refused(tmp_path: Path) -> None:
    host = tree_of(tmp_path, *TOOLS)
    for path in tmp_path.glob("boot/initrd*"):
        path.unlink()
    with pytest.raises(UnavailableError, match="no initramfs of an installed kernel"):
        plan_apply(host, "vfio-bind", choices())


def test_a_kernel_with_vfio_pci_built_in_needs_no_module(tmp_path: Path) -> None:
    host = tree_of(tmp_path, *TOOLS)
    (tmp_path / f"lib/modules/{NEW}/modules.builtin").write_text("kernel/drivers/vfio/pci/vfio-pci.ko\n")
    images = images_of(host.root, BUILDERS[0], (OLD, NEW, "6.99-without-image"), None)
    assert [one.shows for one in images] == [
        ("scripts/init-top/iommuctl-vfio", "/vfio-pci.ko"),
        ("scripts/init-top/iommuctl-vfio",),
    ]


def test_the_booted_kernel_is_last_and_its_image_is_kept_once(tmp_path: Path) -> None:
    host = tree_of(tmp_path, *TOOLS)
    found = images_of(host.root, BUILDERS[0], (OLD, NEW), OLD)
    assert [(one.release, one.is_kept) for one in found] == [(NEW, False), (OLD, True)]
    (tmp_path / f"boot/iommuctl-kept-initrd.img-{OLD}").touch()
    (tmp_path / f"boot/iommuctl-kept-initrd.img-{NEW}.half").touch()
    found = images_of(host.root, BUILDERS[0], (OLD, NEW), OLD)
    assert [(one.release, one.is_kept) for one in found] == [(NEW, False), (OLD, False)]
    kept, live = (PurePosixPath("/boot") / f"{name}initrd.img-{OLD}" for name in ("iommuctl-kept-", ""))
    assert kept_images(host.root) == ((kept, live),)


KEPT = "/boot/iommuctl-kept-initrd.img-1"
KEEPING = [
    ("cp", "-p", "/boot/initrd.img-1", f"{KEPT}.half"),
    ("sync", f"{KEPT}.half"),
    ("mv", "-f", f"{KEPT}.half", KEPT),
]


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        (
            "initramfs-tools",
            [*KEEPING, ("update-initramfs", "-u", "-k", "1"), ("lsinitramfs", "/boot/initrd.img-1")],
        ),
        (
            "dracut",
            [
                ("dracut", "--force", "/boot/initrd.img-1.iommuctl-new", "1"),
                ("lsinitrd", "/boot/initrd.img-1.iommuctl-new"),
                *KEEPING,
                ("mv", "-f", "/boot/initrd.img-1.iommuctl-new", "/boot/initrd.img-1"),
            ],
        ),
    ],
)
def test_what_boots_now_is_kept_and_put_back_by_an_undo(name: str, commands: list[tuple[str, ...]]) -> None:
    builder = next(one for one in BUILDERS if one.name == name)
    built = builder.build(Image("1", PurePosixPath("/boot/initrd.img-1"), ("script",), is_kept=True))
    assert [one.argv for one in built] == commands
    assert [one.undo for one in built if one.undo][-1] == ("mv", "-f", KEPT, "/boot/initrd.img-1")


def test_a_boot_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    host = tree_of(tmp_path, *TOOLS)
    require_room(host, Ahead(room=1))
    with pytest.raises(ExecutionError, match="no space in '/boot'"):
        require_room(host, Ahead(room=1 << 60))
