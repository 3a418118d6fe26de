# SPDX-License-Identifier: Apache-2.0
"""Durable: a replaced file keeps everything but its content, and nothing is written through a link."""

import errno
import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from lacking import lacks

from iommuctl.errors import ExecutionError, StalePlanError
from iommuctl.host import mounts
from iommuctl.host.root import Root
from iommuctl.transaction import durable
from iommuctl.transaction.durable import Metadata, Replacement, read_metadata, remove_any, replace_files, write_file
from iommuctl.tree import digest

FILE = PurePosixPath("/etc/grub")
TEMPORARY = ".iommuctl-0123456789abcdef.tmp"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/grub").write_bytes(b"old")
    return tmp_path


def metadata(path: Path) -> Metadata:
    with path.open("rb") as file:
        return read_metadata(file.fileno())


def put(tree: Path, content: bytes | None, before: Metadata | None = None, *, keep_time: bool = False) -> None:
    path = tree / "etc/grub"
    expected = digest(path.read_bytes()) if path.exists() else None
    replace_files(Root(tree), [Replacement(FILE, TEMPORARY, expected, content, before, keep_time)])


def set_xattr(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM):
            pytest.skip(f"{name} cannot be set here: {error.strerror}")
        raise


def test_mode_owner_and_attributes_are_kept(tree: Path) -> None:
    path = tree / "etc/grub"
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    path.chmod(0o4751)
    set_xattr(path, "user.note", b"\x00\xff kept")
    before = metadata(path)
    put(tree, b"new", before)
    after = metadata(path)
    assert path.read_bytes() == b"new"
    assert (after.mode, after.uid, after.gid, after.xattrs) == (before.mode, before.uid, before.gid, before.xattrs)
    assert sorted(one.name for one in path.parent.iterdir()) == ["grub"]


def test_a_security_label_is_kept(tree: Path) -> None:
    path = tree / "etc/grub"
    set_xattr(path, "security.selinux", b"system_u:object_r:bootloader_etc_t:s0\0")
    put(tree, b"new", metadata(path))
    assert os.getxattr(path, "security.selinux") == b"system_u:object_r:bootloader_etc_t:s0\0"


def acl(path: Path) -> str:
    try:
        return subprocess.run(["getfacl", "-cpn", str(path)], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        lacks("getfacl is not installed")


def set_acl(path: Path, *options: str) -> None:
    try:
        subprocess.run(["setfacl", *options, str(path)], capture_output=True, check=True)
    except FileNotFoundError:
        lacks("setfacl is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no ACLs here: {error.stderr.decode().strip()}")


def test_an_acl_is_kept(tree: Path) -> None:
    path = tree / "etc/grub"
    set_acl(path, "-m", "u:1234:rw,g:4321:r,m::rw")
    before = acl(path)
    put(tree, b"new", metadata(path))
    assert "user:1234:rw-" in acl(path)
    assert acl(path) == before


def test_a_folders_default_acl_does_not_reach_a_file_without_one(tree: Path) -> None:
    path = tree / "etc/grub"
    path.chmod(0o640)
    before = acl(path)
    set_acl(path.parent, "-d", "-m", "u:1234:rwx")
    put(tree, b"new", metadata(path))
    assert acl(path) == before


def test_the_time_is_new_unless_it_is_to_be_kept(tree: Path) -> None:
    path = tree / "etc/grub"
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    before = metadata(path)
    put(tree, b"new", before)
    assert path.stat().st_mtime_ns > before.mtime_ns
    put(tree, b"old", before, keep_time=True)
    assert path.stat().st_mtime_ns == before.mtime_ns


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_file_is_readable_by_all_whatever_the_umask(tree: Path, umask: int) -> None:
    (tree / "etc/grub").unlink()
    previous = os.umask(umask)
    try:
        put(tree, b"new")
    finally:
        os.umask(previous)
    assert (tree / "etc/grub").stat().st_mode & 0o7777 == 0o644


def test_a_file_is_removed(tree: Path) -> None:
    put(tree, None)
    assert not (tree / "etc/grub").exists()


def test_a_file_that_changed_meanwhile_is_left_alone(tree: Path) -> None:
    with pytest.raises(StalePlanError, match="changed since the plan"):
        replace_files(Root(tree), [Replacement(FILE, TEMPORARY, digest(b"other"), b"new")])
    assert (tree / "etc/grub").read_bytes() == b"old"


def test_nothing_is_renamed_before_everything_is_written(tree: Path) -> None:
    (tree / "etc" / "taken").mkdir()
    second = Replacement(PurePosixPath("/etc/none/x"), TEMPORARY, None, b"new")
    with pytest.raises(ExecutionError, match="no such file"):
        replace_files(Root(tree), [Replacement(FILE, TEMPORARY, digest(b"old"), b"new"), second])
    assert (tree / "etc/grub").read_bytes() == b"old"


def test_a_link_that_appeared_is_not_written_through(tree: Path) -> None:
    (tree / "etc/grub").rename(tree / "elsewhere")
    (tree / "etc/grub").symlink_to("/elsewhere")
    with pytest.raises(StalePlanError, match="leads to '/elsewhere' now"):
        replace_files(Root(tree), [Replacement(FILE, TEMPORARY, digest(b"old"), b"new")])
    assert (tree / "elsewhere").read_bytes() == b"old"
    assert sorted(one.name for one in tree.iterdir()) == ["elsewhere", "etc"]


def test_a_planted_temporary_file_is_not_written_through(tree: Path) -> None:
    (tree / "victim").write_bytes(b"kept")
    (tree / "etc" / TEMPORARY).symlink_to("../victim")
    with pytest.raises(ExecutionError, match="exists"):
        put(tree, b"new")
    assert (tree / "victim").read_bytes() == b"kept"


def test_a_tree_is_removed_without_following_links(tree: Path) -> None:
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch()
    (tree / "a/folder-link").symlink_to("../etc")
    (tree / "a/file-link").symlink_to("../etc/grub")
    (tree / "a/b/dangling").symlink_to("nowhere")
    os.mkfifo(tree / "a/pipe")
    remove_any(Root(tree), PurePosixPath("/a"))
    assert not (tree / "a").exists()
    assert (tree / "etc/grub").read_bytes() == b"old"
    remove_any(Root(tree), PurePosixPath("/a"))


@pytest.mark.parametrize("kind", ["file", "pipe", "link", "dangling link"])
def test_what_is_no_directory_is_removed_itself(tree: Path, kind: str) -> None:
    path = tree / "a"
    match kind:
        case "file":
            path.touch()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("etc")
        case _:
            path.symlink_to("nowhere")
    remove_any(Root(tree), PurePosixPath("/a"))
    assert sorted(one.name for one in tree.iterdir()) == ["etc"]
    assert (tree / "etc/grub").exists()


def test_a_directory_of_any_depth_is_removed(tree: Path) -> None:
    here = os.open(tree, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path is long, than Python recurses, than descriptors go
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_any(Root(tree), PurePosixPath("/deep"))
    assert sorted(one.name for one in tree.iterdir()) == ["etc"]


def test_our_own_files_are_private(tree: Path) -> None:
    write_file(Root(tree), PurePosixPath("/etc/ours"), b"state")
    assert ((tree / "etc/ours").read_bytes(), (tree / "etc/ours").stat().st_mode & 0o7777) == (b"state", 0o600)


ORDINARY = ("sync temporary", "rename", "sync folder")
FRAGILE = (
    *("sync folder", "sync temporary", "rename"),
    *("sync folder while the old is held", "sync file while the old is held", "sync folder"),
)


@pytest.mark.parametrize(("kind", "expected"), [("ext4", ORDINARY), ("vfat", FRAGILE), (None, FRAGILE)])
def test_on_vfat_and_the_unknown_no_name_leads_to_free_space_or_to_anothers_content(
    tree: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, expected: tuple[str, ...]
) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename
    names = {TEMPORARY: "temporary", "grub": "file", "etc": "folder"}

    def note_sync(descriptor: int) -> None:
        open_files = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        held = " while the old is held" if f"{tree}/etc/grub (deleted)" in open_files else ""
        calls.append(f"sync {names[Path(f'/proc/self/fd/{descriptor}').readlink().name]}{held}")
        sync(descriptor)

    def note_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append("rename")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(durable, "filesystem_type", lambda _device: kind)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    put(tree, b"new")
    assert tuple(calls) == expected


def test_our_own_file_is_replaced_on_vfat_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "filesystem_type", lambda _device: "vfat")
    for content in (b"first", b"second"):
        write_file(Root(tree), PurePosixPath("/etc/ours"), content)
        assert (tree / "etc/ours").read_bytes() == content
    assert sorted(one.name for one in (tree / "etc").iterdir()) == ["grub", "ours"]


def test_the_type_of_a_mounted_file_system_is_known() -> None:
    assert mounts.filesystem_type(Path("/proc").stat().st_dev) == "proc"
    assert mounts.filesystem_type(os.makedev(4095, 4095)) is None
