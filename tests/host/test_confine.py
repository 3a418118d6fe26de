# SPDX-License-Identifier: Apache-2.0
"""Confinement: a battery of ways out of a tree, each tried by a program of the tree that runs as root."""

import contextlib
import ctypes
import os
import pty
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grubtree import UUID, GrubTree, grub_host, make_tree, why_not
from lacking import lacks

from iommuctl.errors import ExecutionError
from iommuctl.host import confine

__all__ = ["grub_host"]  # the fixture

pytestmark = pytest.mark.programs

SOURCE = Path(__file__).with_name("escape.c")
AT_FDCWD = -100


@pytest.fixture(scope="session")
def escape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with the ways out, static, so that it runs in any tree."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        lacks("no C compiler here")
    program = tmp_path_factory.mktemp("escape") / "escape"
    subprocess.run([compiler, "-static", "-o", program, SOURCE], check=True)
    return program


class Prisoner:
    """A tree with the program in it, and something of the host that it must not reach."""

    def __init__(self, tree: GrubTree, escape: Path, outside: Path) -> None:
        self.tree = tree
        self.outside = outside
        shutil.copy(escape, tree.path / "usr/bin/escape")
        (tree.path / "run").mkdir(exist_ok=True)

    def escapes(self, way: str, hint: str = "") -> bool:
        said = self.tree.runner.run(("escape", way, hint), timeout=20).stdout.strip()
        assert said in {"escaped", "held"}
        return said == "escaped"


@pytest.fixture
def prisoner(grub_host: GrubTree, escape: Path, tmp_path: Path) -> Prisoner:
    outside = tmp_path / "outside"
    outside.write_text("of the host\n")
    return Prisoner(grub_host, escape, outside)


@pytest.mark.parametrize(
    "way", ["core-pattern", "sysrq", "inherited", "mknod", "mount", "remount", "rights", "fill", "sysfs"]
)
def test_a_program_has_no_way_out(prisoner: Prisoner, way: str) -> None:
    assert not prisoner.escapes(way)


@pytest.mark.parametrize("way", ["double-chroot", "proc-root"])
def test_a_file_of_the_host_is_out_of_reach(prisoner: Prisoner, way: str) -> None:
    assert not prisoner.escapes(way, str(prisoner.outside))


@pytest.mark.parametrize("way", ["double-chroot", "proc-root", "mount", "inherited"])
def test_it_holds_when_started_in_a_chroot(prisoner: Prisoner, tmp_path: Path, way: str) -> None:
    host = prisoner.tree.path
    (host.parent / "proc/self").mkdir(parents=True)
    (host.parent / "proc/self/cgroup").write_text("")
    with (tmp_path / "said").open("wb") as said:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.dup2(said.fileno(), 1)
                os.chroot(host.parent)  # a plain directory: nothing is mounted there
                os.chdir("/")
                confine.main([f"/{host.name}", "--", "/usr/bin/escape", way, str(prisoner.outside)])
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert (os.waitstatus_to_exitcode(status), (tmp_path / "said").read_text()) == (0, "held\n")


def test_a_handle_of_a_file_opens_nothing(prisoner: Prisoner) -> None:
    assert not prisoner.escapes("by-handle", handle_of(prisoner.outside))


def handle_of(path: Path) -> str:
    """What name_to_handle_at(2) gives, as `type:bytes`."""
    handle = ctypes.create_string_buffer((128).to_bytes(4, "little") + bytes(132))
    mount = ctypes.c_int()
    result = ctypes.CDLL(None).name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount), 0)
    if result != 0:
        pytest.skip("this file system gives no handles, so it does not work here")
    size, kind = (int.from_bytes(handle.raw[at : at + 4], "little") for at in (0, 4))
    return f"{kind}:{handle.raw[8 : 8 + size].hex()}"


def test_no_disk_of_the_host_can_be_named(prisoner: Prisoner) -> None:
    device = Path("/").stat().st_dev
    assert not prisoner.escapes("block-node", f"{os.major(device)}:{os.minor(device)}")


@pytest.mark.parametrize("way", ["ptrace", "kill"])
def test_no_process_of_the_host_can_be_touched(prisoner: Prisoner, way: str) -> None:
    assert not prisoner.escapes(way, str(os.getpid()))


def test_a_socket_of_the_host_without_a_file_is_out_of_reach(prisoner: Prisoner) -> None:
    name = f"iommuctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        assert not prisoner.escapes("abstract", name)


def test_nothing_is_typed_on_the_terminal_that_it_was_started_from(prisoner: Prisoner) -> None:
    child, terminal = pty.fork()
    if child == 0:  # a session of its own with this terminal, as an administrator's
        with contextlib.suppress(BaseException):
            os._exit(int(prisoner.escapes("terminal")))
        os._exit(2)
    with contextlib.suppress(OSError):
        while os.read(terminal, 1024):
            pass
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("way", ["daemon", "bomb"])
def test_nothing_outlives_the_program(prisoner: Prisoner, way: str) -> None:
    name = f"left{os.getpid()}"
    assert not prisoner.escapes(way, name)
    deadline = time.monotonic() + 5
    while (left := named(name)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []


def test_it_cannot_take_all_processes_of_the_host(prisoner: Prisoner) -> None:
    left = groups() / "iommuctl-0"  # of a run that was killed
    left.mkdir()
    assert not prisoner.escapes("multiply")
    assert not left.exists()


def groups() -> Path:
    """Where a group can bound processes here: version 1's controller, or the first of version 2's that has it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if "pids" in controllers.split(","):
            return Path(f"/sys/fs/cgroup/pids{own}")
        for above in Path(own).parents if not controllers else ():
            place = Path(f"/sys/fs/cgroup{above}")
            if "pids" in (place / "cgroup.subtree_control").read_text().split():
                return place
    return lacks("nothing counts processes here")


def named(name: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == name[:15]:
                found.append(path.parent.name)
    return found


def test_an_open_directory_of_ours_is_not_passed_on(prisoner: Prisoner) -> None:
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(folder, True)
    try:
        assert not prisoner.escapes("inherited")
    finally:
        os.close(folder)


def test_a_program_without_its_interpreter_is_told_by_its_name(prisoner: Prisoner) -> None:
    program = prisoner.tree.path / "usr/bin/generator"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    with pytest.raises(ExecutionError) as caught:
        prisoner.tree.runner.run(("generator",), timeout=20)
    assert str(caught.value) == "'generator' failed"
    said = "/usr/bin/generator: No such file or directory; is there the interpreter that its first line names?"
    assert said in caught.value.details


def test_what_it_needs_is_there(prisoner: Prisoner) -> None:
    prisoner.tree.write(
        "/usr/bin/look", "#!/bin/sh\nls /dev /tmp /run\necho x >/dev/null && echo y >/tmp/z && cat /tmp/z\n", 0o755
    )
    said = prisoner.tree.runner.run(("look",)).stdout.split()
    assert said == [
        *("/dev:", "disk", "fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"),
        *("/run:", "/tmp:", "y"),
    ]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[GrubTree, str]]:
    """A tree on a file system of its own in an image, and the name of its device; with the real grub-probe."""
    if reason := why_not():
        lacks(reason)
    needed = {name: shutil.which(name) for name in ("grub-probe", "mkfs.ext4")}
    if lacking := [name for name, path in needed.items() if path is None]:
        lacks(f"missing here: {', '.join(lacking)}")
    image, point = tmp_path / "image", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    point.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"an image cannot be mounted here: {done.stderr.strip()}")
    try:
        tree = make_tree(tmp_path / "tree")
        subprocess.run(["cp", "-a", f"{tree.path}/.", point], check=True)
        on_image = GrubTree(point)
        (point / "usr/sbin/grub-probe").unlink()
        copy_program(Path(str(needed["grub-probe"])), point)
        lines = Path("/proc/mounts").read_text().splitlines()
        yield on_image, next(line.split()[0] for line in lines if line.split()[1] == str(point))
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


def copy_program(program: Path, root: Path) -> None:
    """Copy a program of this machine and its libraries."""
    for library in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.split():
        if library.startswith("/") and not (root / library[1:]).exists():
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    shutil.copy(program, root / "usr/sbin" / program.name)


def test_the_device_of_an_image_is_there_and_may_only_be_read(
    mounted: tuple[GrubTree, str], escape: Path, tmp_path: Path
) -> None:
    tree, device = mounted
    prisoner = Prisoner(tree, escape, tmp_path)
    assert not prisoner.escapes("device", device)
    assert not prisoner.escapes("block-node", "7:0")
    assert not prisoner.escapes("fill")


def test_the_real_grub_probe_finds_the_file_system_of_an_image(mounted: tuple[GrubTree, str]) -> None:
    tree, device = mounted
    assert tree.runner.run(("grub-probe", "--target=device", "/")).stdout == f"{device}\n"
    assert tree.runner.run(("grub-probe", "--target=fs", "/boot")).stdout == "ext2\n"
    identity = tree.runner.run(("grub-probe", "--target=fs_uuid", "/")).stdout.strip()
    assert tree.runner.run(("ls", "/dev/disk/by-uuid")).stdout.split() == sorted({identity, UUID})


def test_a_device_that_holds_something_of_the_host_is_not_there(
    mounted: tuple[GrubTree, str], escape: Path, tmp_path: Path
) -> None:
    tree, device = mounted
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", tree.path, elsewhere], check=True)
    try:
        with pytest.raises(ExecutionError, match="'grub-probe' failed"):
            tree.runner.run(("grub-probe", "--target=device", "/"))
    finally:
        subprocess.run(["umount", "--lazy", elsewhere], check=True)
    assert tree.runner.run(("grub-probe", "--target=device", "/")).stdout == f"{device}\n"
