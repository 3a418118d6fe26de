# SPDX-License-Identifier: Apache-2.0
"""Root: what can be read, and that nothing leads out of it."""

import os
import threading
from pathlib import Path, PurePosixPath

import pytest
from pytest_mock import MockerFixture

from iommuctl.errors import BootConfigError, BusyError, NotFoundError, NotPermittedError
from iommuctl.host.descriptors import READ_LIMIT
from iommuctl.host.root import HELD_LIMIT, LINK_LIMIT, Root
from iommuctl.tree import RecordingTree

GRUB = PurePosixPath("/etc/default/grub")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree next to a file that must never be reached from inside it."""
    (tmp_path / "secret").write_bytes(b"outside")
    root = tmp_path / "root"
    (root / "etc/default").mkdir(parents=True)
    (root / "etc/default/grub").write_bytes(b"inside\n")
    (root / "usr/etc").mkdir(parents=True)
    (root / "secret").write_bytes(b"inside, same name")
    return root


def test_reads_a_regular_file(tree: Path) -> None:
    assert Root(tree).read(GRUB) == b"inside\n"


@pytest.mark.parametrize("path", ["/nothing", "/etc/nothing/grub", "/etc/default/grub/below", "/etc/default/gr\udcff"])
def test_reads_none_where_there_is_nothing(tree: Path, path: str) -> None:
    assert Root(tree).read(PurePosixPath(path)) is None


@pytest.mark.parametrize(
    ("target", "content", "final"),
    [
        ("grub", b"inside\n", "/etc/default/grub"),
        ("/etc/default/grub", b"inside\n", "/etc/default/grub"),
        ("/secret", b"inside, same name", "/secret"),
        ("../../secret", b"inside, same name", "/secret"),
        ("../../../../../../secret", b"inside, same name", "/secret"),
        ("/../../secret", b"inside, same name", "/secret"),
        ("/etc/./default//grub", b"inside\n", "/etc/default/grub"),
        ("/dangling/here", None, "/dangling/here"),
        ("dangling", None, "/etc/default/dangling"),
    ],
)
def test_a_link_resolves_inside_the_root(tree: Path, target: str, content: bytes | None, final: str) -> None:
    (tree / "etc/default/link").symlink_to(target)
    path = PurePosixPath("/etc/default/link")
    root = Root(tree)
    assert (root.read(path), root.resolve(path)) == (content, PurePosixPath(final))


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/usr/../etc", b"inside\n"),
        ("../etc", b"inside\n"),
        ("../../../etc", b"inside\n"),
        ("/proc/self/root/etc", None),
    ],
)
def test_a_linked_folder_resolves_inside_the_root(tree: Path, target: str, content: bytes | None) -> None:
    (tree / "conf").symlink_to(target)
    assert Root(tree).read(PurePosixPath("/conf/default/grub")) == content


def test_dots_in_a_path_stay_inside_the_root(tree: Path) -> None:
    root = Root(tree)
    assert root.read(PurePosixPath("/../../secret")) == b"inside, same name"
    assert root.resolve(PurePosixPath("/etc/../..")) == PurePosixPath("/")
    assert root.names(PurePosixPath("/etc/..")) == ("etc", "secret", "usr")


def test_a_link_loop_is_refused(tree: Path) -> None:
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(BootConfigError, match="too many levels of symbolic links"):
        Root(tree).read(PurePosixPath("/a"))


def test_the_kernels_number_of_links_is_followed(tree: Path) -> None:
    (tree / "0").symlink_to("secret")
    for number in range(1, LINK_LIMIT + 1):
        (tree / str(number)).symlink_to(str(number - 1))
    root = Root(tree)
    assert root.read(PurePosixPath(f"/{LINK_LIMIT - 1}")) == b"inside, same name"
    with pytest.raises(BootConfigError):
        root.read(PurePosixPath(f"/{LINK_LIMIT}"))


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket"])
def test_anything_but_a_regular_file_is_refused_at_once(tree: Path, kind: str) -> None:
    path = tree / "etc/default/odd"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            os.mknod(path, 0o140600)
    with pytest.raises(BootConfigError, match="not a regular file"):
        Root(tree).read(PurePosixPath("/etc/default/odd"))


def test_a_file_beyond_the_limit_is_refused(tree: Path) -> None:
    with (tree / "large").open("wb") as file:
        file.truncate(READ_LIMIT + 1)
    with pytest.raises(BootConfigError, match="larger than"):
        Root(tree).read(PurePosixPath("/large"))


@pytest.mark.parametrize(
    ("start", "size", "part"),
    [
        (0, 2, b"ab"),
        (READ_LIMIT, 9, b"yz"),
        (READ_LIMIT + 1, 1, b"z"),
        (READ_LIMIT + 2, 1, b""),
        (2**40, 9, b""),
        (5, 0, b""),
    ],
)
def test_a_part_of_a_large_file_is_read_and_ends_where_it_does(tree: Path, start: int, size: int, part: bytes) -> None:
    with (tree / "large").open("wb") as file:
        file.write(b"ab")
        file.seek(READ_LIMIT)
        file.write(b"yz")
    assert Root(tree).read_part(PurePosixPath("/large"), start, size) == part


def test_a_part_is_limited_as_a_whole_file_is(tree: Path) -> None:
    assert Root(tree).read_part(PurePosixPath("/etc/none"), 0, 1) is None
    with pytest.raises(BootConfigError, match="larger than"):
        Root(tree).read_part(GRUB, 0, READ_LIMIT + 1)
    with pytest.raises(BootConfigError, match="not a regular file"):
        Root(tree).read_part(PurePosixPath("/etc"), 0, 1)


def test_a_nul_byte_in_a_path_is_refused(tree: Path) -> None:
    with pytest.raises(BootConfigError, match="NUL"):
        Root(tree).read(PurePosixPath("/etc/\0"))


@pytest.mark.parametrize("name", ["nothing", "root/secret"])
def test_a_root_that_is_no_directory_is_not_found(tree: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="no such root"):
        Root(tree.parent / name)


def test_a_file_that_may_not_be_read_is_not_permitted(tree: Path) -> None:
    (tree / "etc/default/grub").chmod(0)
    root = Root(tree)
    child = os.fork()
    if child == 0:  # permissions bind nobody, not the superuser
        code = 1
        try:
            if os.geteuid() == 0:
                os.seteuid(65534)
            root.read(GRUB)
        except NotPermittedError as error:
            code = 0 if str(error) == "not permitted to read '/etc/default/grub'" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_directory_is_the_same_by_every_name(tree: Path) -> None:
    (tree / "conf").symlink_to("/etc/default")
    root = Root(tree)
    own = root.identity(PurePosixPath("/etc/default"))
    assert own is not None
    assert root.identity(PurePosixPath("/conf")) == own != root.identity(PurePosixPath("/etc"))
    assert root.identity(PurePosixPath("/none")) is root.identity(GRUB) is None


def test_names_are_sorted_and_empty_for_what_is_no_directory(tree: Path) -> None:
    for name in ("b", "a", "Z"):
        (tree / "usr" / name).touch()
    root = Root(tree)
    assert root.names(PurePosixPath("/usr")) == ("Z", "a", "b", "etc")
    assert root.names(PurePosixPath("/nothing")) == root.names(GRUB) == ()


def test_directories_are_made_inside_the_root_and_named(tree: Path) -> None:
    (tree / "link").symlink_to("/usr")
    root = Root(tree)
    made = root.make_directories(PurePosixPath("/link/a/b"), 0o700)
    assert made == (PurePosixPath("/usr/a"), PurePosixPath("/usr/a/b"))
    assert (tree / "usr/a/b").stat().st_mode & 0o777 == 0o700
    assert root.make_directories(PurePosixPath("/usr/a/b"), 0o700) == ()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_directory_has_its_mode_whatever_the_umask(tree: Path, umask: int) -> None:
    (tree / "usr").chmod(0o2755)
    previous = os.umask(umask)
    try:
        Root(tree).make_directories(PurePosixPath("/usr/a/b"), 0o755)
    finally:
        os.umask(previous)
    assert {path.stat().st_mode & 0o7777 for path in (tree / "usr/a", tree / "usr/a/b")} == {0o2755}


def test_a_path_up_from_a_missing_folder_makes_nothing(tree: Path) -> None:
    with pytest.raises(BootConfigError, match="goes up"):
        Root(tree).make_directories(PurePosixPath("/nothing/../../secret/x"), 0o700)


def test_a_folder_swapped_for_a_link_never_leads_outside(tree: Path) -> None:
    outside = tree.parent / "outside"
    outside.mkdir()
    (outside / "grub").write_bytes(b"outside")
    (tree / "a").mkdir()
    (tree / "a/grub").write_bytes(b"inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (tree / "a").rename(tree / "a.kept")
            (tree / "a").symlink_to(outside)
            (tree / "a").unlink()
            (tree / "a.kept").rename(tree / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    seen: set[bytes | None] = set()
    try:
        root = Root(tree)
        for _ in range(2000):
            try:
                seen.add(root.read(PurePosixPath("/a/grub")))
            except BusyError:
                seen.add(None)
    finally:
        stop.set()
        thread.join()
    assert seen <= {b"inside", None}


def test_no_descriptor_stays_open(tree: Path) -> None:
    (tree / "conf").symlink_to("/usr/../etc")
    root = Root(tree)
    before = sorted(Path("/proc/self/fd").iterdir())
    for path in ("/conf/default/grub", "/conf/nothing/x", "/usr/etc/.."):
        root.resolve(PurePosixPath(path))
    with pytest.raises(BootConfigError):
        root.read(PurePosixPath("/conf/default"))
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_recording_gives_one_view_and_tells_what_changed(tree: Path) -> None:
    root = Root(tree)
    recording = RecordingTree(root)
    folder = PurePosixPath("/etc/default")
    assert recording.read(GRUB) == b"inside\n"
    assert recording.names(folder) == ("grub",)
    assert recording.read(PurePosixPath("/etc/none")) is None
    seen = {GRUB: b"inside\n", PurePosixPath("/etc/none"): None}
    assert (recording.files, recording.listings) == (seen, {folder: ("grub",)})
    assert recording.recheck(root) == ()

    (tree / "etc/default/grub").write_bytes(b"changed\n")
    (tree / "etc/default/new").touch()
    (tree / "etc/none").touch()
    assert recording.read(GRUB) == b"inside\n"
    assert (recording.files, recording.listings) == (seen, {folder: ("grub",)})
    assert recording.recheck(root) == (folder, GRUB, PurePosixPath("/etc/none"))


def test_a_recording_compares_parts_alone(tree: Path) -> None:
    root = Root(tree)
    recording = RecordingTree(root)
    assert recording.read_part(GRUB, 0, 2) == b"in"

    (tree / "etc/default/grub").write_bytes(b"inward\n")
    assert recording.recheck(root) == ()
    other = RecordingTree(root)
    other.read_part(GRUB, 0, 2)
    assert other.parts == recording.parts
    other.read_part(GRUB, 0, 6)
    assert other.parts != recording.parts

    (tree / "etc/default/grub").write_bytes(b"out\n")
    assert recording.read_part(GRUB, 0, 2) == b"in"
    assert recording.recheck(root) == (GRUB,)


def test_a_recording_notes_what_may_not_be_read(tree: Path, mocker: MockerFixture) -> None:
    root = Root(tree)
    recording = RecordingTree(root)
    for method, path in (("read", GRUB), ("names", GRUB.parent), ("read_part", GRUB.with_name("part"))):
        mocker.patch.object(root, method, side_effect=NotPermittedError(path, "read"))
        with pytest.raises(NotPermittedError):
            getattr(recording, method)(path, *((0, 1) if method == "read_part" else ()))
    assert recording.unreadable == {GRUB, GRUB.parent, GRUB.with_name("part")}
    assert (recording.files, recording.parts, recording.listings) == ({}, {}, {})


def test_a_held_root_walks_to_a_directory_once(tree: Path, mocker: MockerFixture) -> None:
    (tree / "etc/default/other").write_bytes(b"other")
    with Root(tree).held() as held:
        walk = mocker.spy(held, "_walk")
        paths = (GRUB, GRUB.with_name("other"), GRUB.with_name("none"))
        assert [held.read(path) for path in paths * 2] == [b"inside\n", b"other", None] * 2
        assert walk.call_count == 1


def test_a_held_root_walks_once_for_what_is_not_there(tree: Path, mocker: MockerFixture) -> None:
    with Root(tree).held() as held:
        walk = mocker.spy(held, "_walk")
        assert held.read(PurePosixPath("/etc/no/such/file")) is None
        assert walk.call_count == 1


@pytest.mark.parametrize("target", ["/secret", "../../../secret", "/../secret"])
def test_a_link_in_a_held_directory_stays_inside(tree: Path, target: str) -> None:
    (tree / "etc/default/link").symlink_to(target)
    (tree / "conf").symlink_to("../../etc/default")
    with Root(tree).held() as held:
        assert held.read(GRUB) == b"inside\n"
        for folder in ("/etc/default", "/conf", "/conf/../default", "/etc/default/."):
            assert held.read(PurePosixPath(folder) / "link") == b"inside, same name"
            assert held.resolve(PurePosixPath(folder) / "grub") == GRUB
        assert held.read(PurePosixPath("/../secret")) == b"inside, same name"


def test_a_held_directory_that_becomes_a_link_leads_nowhere_else(tree: Path) -> None:
    with Root(tree).held() as held:
        assert held.read(GRUB) == b"inside\n"
        (tree / "etc/default").rename(tree / "etc/moved")
        (tree / "etc/default").symlink_to(tree.parent)
        (tree.parent / "grub").write_bytes(b"outside")
        assert held.read(GRUB) == b"inside\n"
        (tree / "etc/moved/grub").unlink()
        (tree / "etc/moved/grub").symlink_to(tree.parent / "grub")
        assert held.read(GRUB) is None


def test_a_held_root_sees_what_comes_and_goes(tree: Path) -> None:
    with Root(tree).held() as held:
        new = GRUB.with_name("new")
        assert (held.read(new), held.names(GRUB.parent)) == (None, ("grub",))
        (tree / "etc/default/new").write_bytes(b"new")
        (tree / "etc/default/grub").unlink()
        assert (held.read(new), held.read(GRUB), held.names(GRUB.parent)) == (b"new", None, ("new",))
        deep = PurePosixPath("/etc/deep/one")
        assert held.read(deep) is None
        (tree / "etc/deep").mkdir()
        (tree / "etc/deep/one").write_bytes(b"deep")
        assert held.read(deep) == b"deep"


def test_a_held_root_refuses_what_the_root_refuses(tree: Path) -> None:
    os.mkfifo(tree / "etc/default/pipe")
    (tree / "a").symlink_to("a")
    with Root(tree).held() as held:
        for path in ("/etc/default/pipe", "/etc/default", "/a", "/a/b", "/etc/default/\0"):
            with pytest.raises(BootConfigError):
                held.read(PurePosixPath(path))


def test_what_is_held_is_closed_at_the_end_of_the_block_or_with_the_view(tree: Path) -> None:
    for number in range(HELD_LIMIT + 5):
        (tree / f"usr/{number}").mkdir()
        (tree / f"usr/{number}/file").write_bytes(b"%d" % number)
    root = Root(tree)
    before = set(Path("/proc/self/fd").iterdir())
    with root.held() as held:
        paths = [PurePosixPath(f"/usr/{number}/file") for number in range(HELD_LIMIT + 5)]
        assert [held.read(path) for path in paths] == [b"%d" % number for number in range(HELD_LIMIT + 5)]
        assert len(list(Path("/proc/self/fd").iterdir())) - len(before) <= HELD_LIMIT + 1
    assert set(Path("/proc/self/fd").iterdir()) <= before
    view = root.held()
    view.read(GRUB)
    del view
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_what_one_file_is_in_each_directory_is_told_without_following_a_link(tree: Path) -> None:
    for name in ("a", "b"):
        (tree / "usr" / name).mkdir()
    (tree / "usr/a/grub").write_bytes(b"12")
    (tree / "usr/link").symlink_to("/etc/default")
    root = Root(tree)
    sizes = {name: status and status.st_size for name, status in root.look_into(PurePosixPath("/usr"), "grub").items()}
    assert sizes == {"a": 2, "b": None, "etc": None, "link": None}
    assert root.look_into(PurePosixPath("/none"), "grub") == root.look_into(GRUB, "grub") == {}


@pytest.mark.parametrize("path", ["/dev/null", "/etc/hostname", "/dev"])
def test_what_is_no_block_device_is_not_read_as_one(path: str) -> None:
    with pytest.raises(BootConfigError, match="not a block device"):
        Root(Path("/")).read_device(PurePosixPath(path), 16)
    assert Root(Path("/")).read_device(PurePosixPath("/dev/no-such-device"), 16) is None
