# SPDX-License-Identifier: Apache-2.0
"""Confine: runs one program inside a tree that nobody trusts. A program of its own; `commands` starts it.

`python -I -S confine.py ROOT [--device NAME:MAJOR:MINOR:UUID]... -- PROGRAM [ARGUMENT]...`, as root. It imports nothing
but the standard library, so that what it does can be read in one place.
"""

import codecs
import ctypes
import errno
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

# What `commands` knows a failure of ours by; env(1) and its like end with 125 where they fail.
_FAILED = 125
# What a shell ends with where a program is there and cannot be run: POSIX.1-2024, 2.8.2.
_NOT_RUN = 126
_COMPLAINT = "confine: "

# include/uapi/linux/sched.h
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mnt cgroup uts ipc pid net
# include/uapi/linux/mount.h
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_KEPT_OPTIONS = {"ro": _RDONLY, "noexec": _NOEXEC, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
_MNT_DETACH = 2
# include/uapi/linux/prctl.h
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 1, 24, 38, 47, 4
# include/uapi/linux/capability.h: what a generator needs to read and replace files that are not root's. An allow-list:
# with a list of what is denied, core_pattern could be opened for writing and open_by_handle_at(2) left the tree.
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID = 0, 1, 3, 4
_KEPT = (1 << _CHOWN) | (1 << _DAC_OVERRIDE) | (1 << _FOWNER) | (1 << _FSETID)
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
# include/uapi/linux/landlock.h; the numbers of its system calls are the same on every architecture.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT, _LANDLOCK_WRITE_FILE, _LANDLOCK_PATH = 444, 445, 446, 1 << 1, 1
# keyctl(2), KEYCTL_JOIN_SESSION_KEYRING, by machine; elsewhere the keys of who started us stay in reach.
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1

# cgroups(7), the pids controller: the one bound on processes that holds for root. A menu takes some tens of them.
_CGROUPS, _GROUP, _MOST_TASKS = "/sys/fs/cgroup", "iommuctl-", 1024

_NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9))
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
_BY_UUID, _NAMES = "/dev/disk/by-uuid", 64
_SCRATCH = "size=64m,nr_inodes=16k"
# What root may write without any capability, or what tells of the host's hardware.
_PROC_READ_ONLY = (
    "sys",
    "sysrq-trigger",
    "irq",
    "bus",
    "fs",
    "acpi",
    "scsi",
    "asound",
    "driver",
    "pressure",
    "dynamic_debug",
)

_libc = ctypes.CDLL(None, use_errno=True)
_unescaped = codecs.getdecoder("unicode_escape")  # found now: later no module of Python may be in reach


def main(arguments: Sequence[str]) -> NoReturn:
    """Run the program, and end as it ends: with its exit status, or by the signal that ended it."""
    split = arguments.index("--")
    root, devices, command = arguments[0], tuple(arguments[2:split:2]), list(arguments[split + 1 :])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends it like the other signals, without a traceback
    try:
        above = _bound_tasks()
        _check(_libc.unshare(_NAMESPACES), "unshare")
        if (child := os.fork()) != 0:
            _wait(child, above)
        _enter(root, devices)
    except OSError as error:
        _fail(error)
    try:
        os.execv(command[0], command)  # noqa: S606 - the very thing that this is for
    except OSError as error:
        _tell(f"{command[0]}: {error.strerror}; is there the interpreter that its first line names?")
        os._exit(_NOT_RUN)


def _bound_tasks() -> int | None:
    """Enter a group of its own with a bound on processes. Return the directory above; None where none can be made.

    It is held open, since the way to it is gone when the tree has become the root.
    """
    for path in _groups():
        with suppress(OSError):
            above, group = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), _group()
            _remove_empty(above)
            os.mkdir(group, 0o755, dir_fd=above)
            try:
                _say(f"{group}/pids.max", _MOST_TASKS, above)
                _say(f"{group}/cgroup.procs", 0, above)
            except OSError:
                os.rmdir(group, dir_fd=above)
                raise
            return above
    return None


def _group() -> str:
    return f"{_GROUP}{os.getpid()}"


def _remove_empty(above: int) -> None:
    """Remove the groups of runs that were killed; one that is in use stays, since it is not empty."""
    for name in os.listdir(above):
        if name.startswith(_GROUP):
            with suppress(OSError):
                os.rmdir(name, dir_fd=above)


def _groups() -> Iterator[str]:
    """Yield the directories below which a group can count processes: version 1's, and those of version 2 that may."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, own in lines:
        if "pids" in controllers.split(","):
            yield f"{_CGROUPS}/pids{own}"
        above = "" if controllers else own
        while above.strip("/"):
            above = above.rpartition("/")[0]
            yield f"{_CGROUPS}{above}"


def _leave(above: int) -> None:
    """Go to the group above, and remove one's own, which is empty then. One that stays harms nobody."""
    with suppress(OSError):
        _say("cgroup.procs", 0, above)
        os.rmdir(_group(), dir_fd=above)


def _say(name: str, number: int, directory: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(file, str(number).encode())
    finally:
        os.close(file)


def _wait(child: int, above: int | None) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    _, status = os.waitpid(child, 0)
    if above is not None:
        _leave(above)
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    os._exit(os.waitstatus_to_exitcode(status))


def _enter(root: str, devices: Sequence[str]) -> None:
    """Become process 1 of the tree, with nothing of the host in reach."""
    os.setsid()
    _check(_libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    root = _make_private(root)
    _mount(root, root, None, _BIND | _REC)
    for point, options in _mounts_below(os.path.realpath(root)):
        kept = sum(_KEPT_OPTIONS.get(option, 0) for option in options)
        with suppress(FileNotFoundError):  # one that another mount hides, from the tree too
            _mount(None, point, None, _REMOUNT | _BIND | _NOSUID | _NODEV | kept)
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
    os.umask(0o022)
    written = _make_devices(devices)
    for directory, mode in (("/run", "755"), ("/tmp", "1777")):  # noqa: S108 - of the tree, hidden by an empty one
        if _is_directory(directory):
            _mount("tmpfs", directory, "tmpfs", _NOSUID | _NODEV, f"{_SCRATCH},mode={mode}")
    if _is_directory("/sys"):
        _mount("tmpfs", "/sys", "tmpfs", _NOSUID | _NODEV | _NOEXEC | _RDONLY, "size=4k,nr_inodes=2")
    _make_proc()
    _give_up_rights()
    if devices:
        _refuse_writes_but(written)


def _make_private(root: str) -> str:
    """Keep every mount that follows from the host. Return the way to the tree from what is the root then.

    Inside a chroot(2) the root may be no mount point, which alone can be made private and be pivoted from; so the
    process, which still has every right, goes to the root of all mounts first.
    """
    try:
        _mount(None, "/", None, _REC | _PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        tree, inside = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (root, "/"))
        os.chroot(root)
        os.fchdir(inside)
        while not os.path.samefile(".", ".."):  # noqa: PTH121
            os.chdir("..")
        os.chroot(".")
        os.fchdir(tree)
        root = os.getcwd()  # noqa: PTH109
        os.closerange(3, max(tree, inside) + 1)
        _mount(None, "/", None, _REC | _PRIVATE)
    return root


def _make_devices(devices: Sequence[str]) -> list[str]:
    """Make /dev with the devices that are no hardware, and the tree's own. Return those that may be written."""
    if not _is_directory("/dev"):
        return []
    # A menu names a file system by a UUID only where /dev has it; 10_linux asks no more than that.
    names = set(os.listdir(_BY_UUID)[:_NAMES]) if _is_directory(_BY_UUID) else set()  # noqa: PTH208
    _mount("tmpfs", "/dev", "tmpfs", _NOSUID | _NOEXEC, "size=64k,nr_inodes=128,mode=755")
    for name, major, minor in _NODES:
        _make_node(name, stat.S_IFCHR | 0o666, major, minor)
    for name, target in _LINKS:
        os.symlink(target, f"/dev/{name}")  # noqa: PTH211 - the standard library's smallest part
    for device in devices:
        name, major_number, minor_number, identity = device.split(":")
        _make_node(name, stat.S_IFBLK | 0o400, int(major_number), int(minor_number))
        names |= {identity} if identity else set()
    os.makedirs(_BY_UUID)  # noqa: PTH103
    for name in names:
        os.symlink("/dev/null", f"{_BY_UUID}/{name}")  # noqa: PTH211
    _mount(None, "/dev", None, _REMOUNT | _BIND | _NOSUID | _NOEXEC | _RDONLY)
    return [f"/dev/{name}" for name, _, _ in _NODES]


def _make_node(name: str, mode: int, major: int, minor: int) -> None:
    os.mknod(f"/dev/{name}", mode, os.makedev(major, minor))
    os.chmod(f"/dev/{name}", stat.S_IMODE(mode))  # noqa: PTH101 - the umask has taken some away


def _make_proc() -> None:
    if not _is_directory("/proc"):
        return
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    for name in _PROC_READ_ONLY:
        path = f"/proc/{name}"
        if os.path.exists(path):  # noqa: PTH110
            _mount(path, path, None, _BIND | _REC)
            _mount(None, path, None, _REMOUNT | _BIND | _NOSUID | _NODEV | _NOEXEC | _RDONLY)


def _give_up_rights() -> None:
    os.setgroups([])
    if (number := _KEYCTL.get(os.uname().machine)) is not None:
        _libc.syscall(number, _JOIN_SESSION_KEYRING, None)  # no keys at all in a kernel without keys
    for capability in range(_LAST_CAPABILITY + 1):
        if not _KEPT & (1 << capability) and _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # the kernel knows no higher one
    _check(_libc.prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(_KEPT, _KEPT, 0, 0, 0, 0)  # effective, permitted, inheritable; then their high halves
    _check(_libc.capset(header, sets), "capset")
    _check(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    # Given again: a change of rights may have cleared it.
    _check(_libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def _refuse_writes_but(written: Sequence[str]) -> None:
    """Let every file be written but what is in /dev; there only these. A device that is read only by its mode is not.

    The root directory itself is left out, for a rule holds for all below it.
    """
    handled = (ctypes.c_uint64 * 1)(_LANDLOCK_WRITE_FILE)
    rules = _check(_libc.syscall(_LANDLOCK_CREATE, handled, ctypes.c_size_t(8), 0), "landlock")
    for path in (*(f"/{name}" for name in os.listdir("/") if name != "dev"), *written):  # noqa: PTH208
        with suppress(OSError):  # such as a link that leads nowhere
            place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
            rule = ctypes.create_string_buffer(
                _LANDLOCK_WRITE_FILE.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder), 12
            )
            _libc.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH, rule, 0)
            os.close(place)
    _check(_libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "landlock")
    os.close(rules)


def _mounts_below(root: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each mount point at and below a directory with its options (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", "rb") as file:  # noqa: PTH123
        lines = file.read().splitlines()
    for line in lines:
        fields = line.split(b" ")
        point = os.fsdecode(_unescaped(fields[4])[0].encode("latin-1"))
        if point == root or point.startswith(root.rstrip("/") + "/"):
            yield point, fields[5].decode().split(",")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _fail(error: OSError) -> NoReturn:
    _tell(f"{_COMPLAINT}{error.filename}: {error.strerror}")
    os._exit(_FAILED)


def _tell(text: str) -> None:
    os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    main(sys.argv[1:])
